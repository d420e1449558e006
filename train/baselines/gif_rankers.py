"""Video2GIF (Gygli et al., CVPR 2016), and after PHD-GIFs (Garcia del Molino and Gygli, ACM MM 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.rival import HISTORY, Rival, TokenSizes, Window, mlp

_DELTA = 1.5


class Video2GIF(Rival):
    """A perceptron over the last segment, trained to rank the segments of a window."""

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.score = mlp(sizes.token, 512, 128, 1)

    def forward(self, window: Window) -> Tensor:
        """Return scores (batch, segments)."""
        return self.score(self.read(window)).squeeze(-1)

    def loss(self, window: Window, label: Tensor, label_mask: Tensor) -> Tensor:
        """Return the Huber loss of the margins of pairs."""
        return pair_huber(self(window), label, label_mask)


def pair_huber(scores: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Return the mean Huber loss of 1 - (s_i - s_j) where positive, over pairs y_i > y_j of a window.

    Parameters
    ----------
    scores, label, mask
        (batch, segments).
    """
    pairs = (label.unsqueeze(2) > label.unsqueeze(1)) & mask.unsqueeze(2) & mask.unsqueeze(1)
    violation = (1 - (scores.unsqueeze(2) - scores.unsqueeze(1))).clamp(min=0)
    loss = F.huber_loss(violation, torch.zeros_like(violation), reduction="none", delta=_DELTA)
    return torch.where(pairs, loss, 0.0).sum() / pairs.sum().clamp(min=1)


class PHDGIFs(Rival):
    """A perceptron over the segment and the mean of the history, and a linear model of the cosines to it, sorted."""

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__(sizes)
        self.score = mlp(2 * sizes.token, 512, 64, 1)
        self.distance = nn.Linear(HISTORY, 1)

    def forward(self, window: Window) -> Tensor:
        """Return logits (batch, segments)."""
        tokens, (history, mask) = self.read(window), self.read_history(window)
        mean = (history * mask.unsqueeze(-1)).sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        cosines = F.normalize(tokens, dim=-1) @ F.normalize(history, dim=-1).transpose(1, 2)
        cosines = cosines.masked_fill(~mask.unsqueeze(1), -1.0).sort(-1, descending=True).values
        joint = torch.cat([tokens, mean.expand_as(tokens)], dim=-1)
        return (self.score(joint) + self.distance(cosines)).squeeze(-1)
