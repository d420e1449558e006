"""Adaptive-H-FCSN (Rochan et al., ECCV 2020), as in its authors' reimplementation, with narrower channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window


class SelfAttention(nn.Module):
    """Unscaled attention of a set to itself, without a residual; queries and keys have an eighth of the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(dim, dim // 8), nn.Linear(dim, dim // 8), nn.Linear(dim, dim)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """(batch, items, dim), (batch, items) bool -> (batch, items, dim)."""
        scores = self.query(items) @ self.key(items).transpose(1, 2)
        return scores.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(-1) @ self.value(items)


class AdaptiveFCSN(Rival):
    """A fully convolutional network over time, whose normalised features are scaled and shifted by the history.

    On 20 segments the deepest features have a length of one, and are not normalised: only the skip connection adapts.

    Parameters
    ----------
    divisor
        Divides the number of channels, 64 to 4096 in the original.
    """

    every_position = False

    def __init__(self, sizes: TokenSizes, *, divisor: int = 8) -> None:
        super().__init__(sizes)
        groups = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
        before, self.groups = sizes.token, nn.ModuleList()
        for channels, depth in groups:
            layers: list[nn.Module] = []
            for _ in range(depth):
                padding = 1 if self.groups or layers else 100
                layers += [nn.Conv1d(before, channels // divisor, 3, padding=padding), nn.ReLU()]
                before = channels // divisor
            self.groups.append(nn.Sequential(*layers, nn.MaxPool1d(2, ceil_mode=True)))
        deep = 4096 // divisor
        self.deep = nn.Sequential(
            nn.Conv1d(before, deep, 7), nn.ReLU(), nn.Dropout1d(), nn.Conv1d(deep, deep, 1), nn.ReLU(), nn.Dropout1d()
        )
        self.score_deep, self.score_skip = nn.Conv1d(deep, 2, 1), nn.Conv1d(before, 2, 1)
        self.upsample_2 = nn.ConvTranspose1d(2, 2, 4, stride=2, bias=False)
        self.upsample_16 = nn.ConvTranspose1d(2, 2, 32, stride=16, bias=False)
        self.attention = SelfAttention(sizes.token)
        self.adapt = nn.Linear(sizes.token, 2 * (deep + before))

    def forward(self, window: Window) -> Tensor:
        """Return logits of the last position (batch, 1): of the highlight against the rest."""
        tokens = F.normalize(self.read(window), dim=-1) * window.mask.unsqueeze(-1)
        history, mask = self.read_history(window)
        history = F.normalize(history, dim=-1)
        attended = self.attention(history, mask) * mask.unsqueeze(-1)
        style = self.adapt(attended.sum(1) / mask.sum(1, keepdim=True))
        features, skip = tokens.transpose(1, 2), None
        for k, group in enumerate(self.groups):
            features = group(features)
            skip = features if k == 3 else skip
        deep = self.deep(features)
        widths = [deep.shape[1], deep.shape[1], skip.shape[1], skip.shape[1]]
        deep_bias, deep_weight, skip_bias, skip_weight = style.split(widths, dim=1)
        coarse = self.upsample_2(self.score_deep(_adapt(deep, deep_weight, deep_bias)))
        fine = self.score_skip(_adapt(skip, skip_weight, skip_bias))[..., 5 : 5 + coarse.shape[-1]]
        scores = self.upsample_16(coarse + fine)[..., 27 : 27 + tokens.shape[1]]
        return window.last(scores[:, 1] - scores[:, 0]).unsqueeze(1)  # the softmax of two classes


def _adapt(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise each channel over time, then scale and shift it; unchanged where there is one time step."""
    if features.shape[-1] == 1:
        return features
    return F.instance_norm(features) * weight.unsqueeze(-1) + bias.unsqueeze(-1)
