"""The models of the KuaiLive-M3 benchmark (2026): MLP, GRU, causal and local-plus-global transformer, and their loss.

Unlike there, where the last reads whole rooms, future included, all read the window before the predicted segment.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window, masked_mean, mlp

_DIM, _HEADS, _LAYERS, _LOCAL, _DROPOUT = 128, 8, 4, 7, 0.1
_LONGEST = 64


class KuaiLiveModel(Rival):
    """A projection, an encoder of the window, and a sigmoid head."""

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.project = nn.Linear(sizes.token, _DIM)
        self.head = mlp(_DIM, _DIM // 2, 1)

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """(batch, segments, dim), (batch, segments) bool -> (batch, segments, dim)."""
        raise NotImplementedError

    def forward(self, window: Window) -> Tensor:
        """Return scores in [0, 1]: (batch, segments), or (batch, 1) of the last position."""
        values = self.encode(self.project(self.read(window)), window.mask)
        scores = self.head(values).squeeze(-1).sigmoid()
        return scores if self.every_position else window.last(scores).unsqueeze(1)

    def loss(self, window: Window, label: Tensor, label_mask: Tensor) -> Tensor:
        """Return the loss of the benchmark. Windows with one prediction make one sequence of the batch."""
        scores, (label, label_mask) = self(window), self.targets(window, label, label_mask)
        if not self.every_position:
            scores, label, label_mask = scores.T, label.T, label_mask.T
        return benchmark_loss(scores, label, label_mask, neighbours=self.every_position)


def benchmark_loss(scores: Tensor, label: Tensor, mask: Tensor, *, neighbours: bool = True) -> Tensor:
    """Return MSE + 0.5 (pairs that differ by more than 0.2) + 0.3 (MSE that weighs jumps of more than 0.15 more).

    Parameters
    ----------
    scores, label, mask
        (batch, segments).
    neighbours
        Whether segments next to each other follow each other, so that there are jumps.
    """
    error = (scores - label) ** 2
    gap = label.unsqueeze(2) - label.unsqueeze(1)
    pairs = (gap > 0.2) & mask.unsqueeze(2) & mask.unsqueeze(1)
    ranking = torch.where(pairs, F.softplus(scores.unsqueeze(1) - scores.unsqueeze(2)), 0.0).sum((1, 2))
    has_pair = pairs.any(2).any(1)
    ranking = masked_mean(ranking / pairs.sum((1, 2)).clamp(min=1), has_pair)
    weight = torch.ones_like(label)
    if neighbours:
        jump = 2.0 * (((label[:, 1:] - label[:, :-1]).abs() > 0.15) & mask[:, 1:] & mask[:, :-1])
        weight = weight + F.pad(jump, (0, 1)) + F.pad(jump, (1, 0))
    weight = weight * mask
    border = (weight * error).sum() / weight.sum().clamp(min=1)
    return masked_mean(error, mask) + 0.5 * ranking + 0.3 * border


class KuaiLiveMLP(KuaiLiveModel):
    """Each segment alone."""

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.before_head = nn.Sequential(nn.LayerNorm(_DIM), nn.ReLU(), nn.Dropout(_DROPOUT))

    def encode(self, values: Tensor, _mask: Tensor) -> Tensor:
        """Normalise."""
        return self.before_head(values)


class KuaiLiveGRU(KuaiLiveModel):
    """A GRU of four layers."""

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.gru = nn.GRU(_DIM, _DIM, _LAYERS, batch_first=True, dropout=_DROPOUT)

    def encode(self, values: Tensor, _mask: Tensor) -> Tensor:
        """Run forward in time."""
        return self.gru(values)[0]


class KuaiLiveCausal(KuaiLiveModel):
    """Transformer layers in which a segment attends to those before it."""

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.position = nn.Embedding(_LONGEST, _DIM)
        self.layers = _transformer(_LAYERS)

    def encode(self, values: Tensor, _mask: Tensor) -> Tensor:
        """Attend to the past."""
        length = values.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=values.device).triu(1)
        return self.layers(values + self.position.weight[:length], mask=future)


class KuaiLiveLocalGlobal(KuaiLiveModel):
    """A layer in which segments attend to at most three on each side, then layers over all of the window."""

    every_position = False

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.position = nn.Embedding(_LONGEST, _DIM)
        self.local, self.whole = _transformer(1), _transformer(_LAYERS)

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Attend to neighbours, then to all."""
        index = torch.arange(values.shape[1], device=values.device)
        distance = (index[:, None] - index).abs()
        hidden = (distance > _LOCAL // 2) | (~mask.unsqueeze(1) & (distance > 0))  # padding sees itself, not nothing
        values = self.local(values + self.position.weight[: len(index)], mask=hidden.repeat_interleave(_HEADS, dim=0))
        return self.whole(values, src_key_padding_mask=~mask)


def _transformer(layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(_DIM, _HEADS, 4 * _DIM, _DROPOUT, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
