"""After PR-Net (Chen et al., ICCV 2021), which is known by its abstract and figures: preferences, general and own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window

_TEMPERATURE = 0.1


class TemporalConvolution(nn.Module):
    """Causal convolutions with residuals, dilated by 1 and 2."""

    def __init__(self, before: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(before, dim)
        self.layers = nn.ModuleList(nn.Conv1d(dim, dim, 3, dilation=d) for d in (1, 2))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, segments, before) -> (batch, segments, dim); no position sees a later one."""
        values = self.project(tokens).transpose(1, 2)
        for layer in self.layers:
            values = values + F.relu(layer(F.pad(values, (2 * layer.dilation[0], 0))))
        return values.transpose(1, 2)


class PRNet(Rival):
    """Similarity to what the user likes, mixed with what all like, against similarity to what nobody likes."""

    def __init__(self, sizes: TokenSizes, *, dim: int = 256) -> None:
        super().__init__(sizes)
        self.encode = TemporalConvolution(sizes.token, dim)
        self.general, self.dislike = nn.Parameter(torch.randn(dim) * 0.02), nn.Parameter(torch.randn(dim) * 0.02)

    def forward(self, window: Window) -> Tensor:
        """Return logits (batch, segments) of two classes: like the preferred, or like the disliked."""
        history, mask = self.read_history(window)
        frames, liked = self.encode(self.read(window)), self.encode(history)
        similarity = _cosine(frames, liked).masked_fill(~mask.unsqueeze(1), -torch.inf)
        own = (similarity / _TEMPERATURE).softmax(-1) @ liked
        choices = torch.stack([own, self.general.expand_as(own)], dim=2)  # (batch, segments, 2, dim)
        weights = (F.cosine_similarity(frames.unsqueeze(2), choices, dim=-1) / _TEMPERATURE).softmax(-1)
        preference = (weights.unsqueeze(-1) * choices).sum(2)
        likes = F.cosine_similarity(frames, preference, dim=-1)
        dislikes = F.cosine_similarity(frames, self.dislike.expand_as(frames), dim=-1)
        return (likes - dislikes) / _TEMPERATURE


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosines (batch, first items, second items)."""
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).transpose(1, 2)
