"""Pointwise and pairwise losses on the predicted LVTR (Eqs. 8-12): pure functions."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Region = Literal["all", "border", "inverted", "under"]
"""Which pairs count: L0 (Eq. 9), L1 (Eq. 10), L2 (Eq. 11), L3 (Eq. 12)."""


def pointwise_loss(lvtr_pred: Tensor, lvtr_true: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy against the soft target, averaged inside each window, then over windows (Eq. 8).

    Parameters
    ----------
    lvtr_pred, lvtr_true
        (batch, segments), both in [0, 1].
    valid
        (batch, segments) bool; True where there is a label. A window without one counts as 0.
    """
    valid = torch.ones_like(lvtr_true, dtype=torch.bool) if valid is None else valid
    loss = F.binary_cross_entropy(lvtr_pred, torch.where(valid, lvtr_true, 0.0), reduction="none")
    return _mean_where(loss, valid).mean()


def pairwise_loss(
    lvtr_pred: Tensor,
    lvtr_true: Tensor,
    *,
    region: Region = "border",
    sigma: float = 1.0,
    valid: Tensor | None = None,
) -> Tensor:
    """Logistic ranking loss over the pairs ``y_i > y_j`` of each window, averaged over pairs, then over windows.

    Parameters
    ----------
    lvtr_pred, lvtr_true
        (batch, segments), both in [0, 1]: s and y.
    region
        ``"all"`` pairs (Eq. 9), ``"border"`` where s_i - s_j <= y_i - y_j (Eq. 10), ``"inverted"`` where s_i <= s_j
        (Eq. 11), ``"under"`` where 0 < s_i - s_j < y_i - y_j (Eq. 12). No gradient flows through the choice.
    sigma
        Scale of the logistic.
    valid
        (batch, segments) bool; padding and missing labels form no pairs. A window without pairs counts as 0, and so
        do its gradients.
    """
    pred_gap = lvtr_pred.unsqueeze(-1) - lvtr_pred.unsqueeze(-2)  # (batch, i, j)
    true_gap = lvtr_true.unsqueeze(-1) - lvtr_true.unsqueeze(-2)
    kept = (true_gap > 0) & pairwise_region(pred_gap, true_gap, region)
    if valid is not None:
        kept = kept & valid.unsqueeze(-1) & valid.unsqueeze(-2)
    loss = F.softplus(-sigma * pred_gap)
    return _mean_where(loss.flatten(-2), kept.flatten(-2)).mean()


def pairwise_region(pred_gap: Tensor, true_gap: Tensor, region: Region) -> Tensor:
    """Which of the pairs with ``true_gap`` = y_i - y_j > 0 a region keeps (Fig. 2c); bool, of the same shape."""
    pred_gap, true_gap = pred_gap.detach(), true_gap.detach()
    if region == "all":
        return torch.ones_like(pred_gap, dtype=torch.bool)
    if region == "border":
        return true_gap >= pred_gap
    if region == "inverted":
        return pred_gap <= 0
    if region == "under":
        return (pred_gap > 0) & (pred_gap < true_gap)
    raise ValueError(f"region must be 'all', 'border', 'inverted' or 'under', not {region!r}")


def _mean_where(values: Tensor, kept: Tensor) -> Tensor:
    """Mean over the last axis of the entries kept; 0 where none is."""
    return torch.where(kept, values, 0.0).sum(-1) / kept.sum(-1).clamp(min=1)
