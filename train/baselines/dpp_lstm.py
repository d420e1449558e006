"""dppLSTM (Zhang et al., ECCV 2016), as in its authors' code: segments of quality that differ from each other."""

import torch
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window, masked_mean, mlp

SHARE = 0.15
"""Share of a window's labelled segments that is its summary: those with the highest labels."""
_DPP_WEIGHT = 0.01
_JITTER = 1e-4


class DppLSTM(Rival):
    """An LSTM in both directions, with the same weights, whose state starts from the mean of the window."""

    every_position = False

    def __init__(self, sizes: TokenSizes, *, dim: int = 256) -> None:
        super().__init__(sizes)
        self.start_hidden, self.start_cell = nn.Linear(sizes.token, dim), nn.Linear(sizes.token, dim)
        self.lstm = nn.LSTM(sizes.token, dim, batch_first=True)
        self.quality = mlp(sizes.token + 2 * dim, dim, 1, activation=nn.Sigmoid)
        self.similarity = mlp(sizes.token + 2 * dim, dim, dim, activation=nn.Sigmoid)

    def quality_and_similarity(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return q (batch, segments) and k (batch, segments, dim)."""
        tokens, lengths = self.read(window), window.mask.sum(1, keepdim=True).clamp(min=1)
        mean = (tokens * window.mask.unsqueeze(-1)).sum(1) / lengths
        start = tuple(layer(mean).tanh().unsqueeze(0) for layer in (self.start_hidden, self.start_cell))
        index = torch.arange(tokens.shape[1], device=tokens.device)
        reverse = torch.where(index < lengths, lengths - 1 - index, index)  # padding stays at the end
        order = reverse.unsqueeze(-1)
        forward, _ = self.lstm(tokens, start)
        backward, _ = self.lstm(tokens.gather(1, order.expand_as(tokens)), start)
        states = torch.cat([tokens, forward, backward.gather(1, order.expand_as(backward))], dim=-1)
        return self.quality(states).squeeze(-1), self.similarity(states)

    def forward(self, window: Window) -> Tensor:
        """Return the quality of the last position (batch, 1)."""
        return window.last(self.quality_and_similarity(window)[0]).unsqueeze(1)

    def loss(self, window: Window, label: Tensor, label_mask: Tensor) -> Tensor:
        """Return the squared error of the last position, less the weighted likelihood of the windows' summaries."""
        quality, similarity = self.quality_and_similarity(window)
        last, true, has_label = self.targets(window, quality, label, label_mask)
        kernel = dpp_kernel(quality, similarity, window.mask)
        likelihood = dpp_log_likelihood(kernel, summary(label, label_mask))
        return masked_mean((last - true) ** 2, has_label) - _DPP_WEIGHT * likelihood.mean()


def summary(label: Tensor, mask: Tensor) -> Tensor:
    """Return which segments are among the highest labels of their window: (batch, segments) bool."""
    rank = torch.where(mask, label, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank < torch.ceil(SHARE * mask.sum(1, keepdim=True))) & mask


def dpp_kernel(quality: Tensor, similarity: Tensor, mask: Tensor) -> Tensor:
    """Return L = (k k^T) o (q q^T): (batch, segments, segments); zero for padding."""
    scaled = similarity * (quality * mask).unsqueeze(-1)
    return scaled @ scaled.transpose(1, 2)


def dpp_log_likelihood(kernel: Tensor, chosen: Tensor) -> Tensor:
    """Return log det(L_S) - log det(L + I), the log-likelihood of a set under a determinantal point process.

    Parameters
    ----------
    kernel
        (batch, items, items). A little is added to its diagonal, as sets may be larger than its rank.
    chosen
        (batch, items) bool: S.

    Returns
    -------
    (batch,)
    """
    eye = torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    kernel = kernel + _JITTER * eye
    both = chosen.unsqueeze(1) & chosen.unsqueeze(2)
    subset = torch.where(both, kernel, eye)  # the identity elsewhere leaves the determinant of L_S
    return torch.logdet(subset) - torch.logdet(kernel + eye)
