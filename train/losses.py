"""Training losses: pointwise, pairwise (Eqs. 8-12) and alignment (Eqs. 6-7)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kuaihl.dtw import cosine_cost, soft_dtw

MIN_ALIGNED_SEGMENTS = 5
"""Windows with fewer valid segments are left out of the alignment loss: their orders are too few."""

Generators = torch.Generator | Sequence[torch.Generator]


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


def alignment_loss(
    text: Tensor,
    pictures: Tensor,
    *,
    positive: Literal["swap", "plain"] = "swap",
    negatives: int = 7,
    gamma: float = 0.1,
    temperature: float = 1.0,
    smoothing: float = 0.1,
    valid: Tensor | None = None,
    generator: Generators | None = None,
) -> Tensor:
    """Contrast the order of the pictures that fits the text with random orders (Eqs. 6-7).

    InfoNCE over -distance / temperature: the paper's +distance would reward a large one.

    Parameters
    ----------
    text, pictures
        (batch, segments, dim): one vector a segment for each.
    positive
        ``"swap"``: two pictures, drawn by their similarity to each other's text (Eq. 6), change places.
        ``"plain"``: the order as it is (L'_align of Table II, and what the authors' code does).
    negatives
        How many random orders, none equal to the original or to the swapped one.
    gamma
        Temperature of the draw.
    temperature
        tau of InfoNCE.
    smoothing
        lambda of the soft minimum.
    valid
        (batch, segments) bool, padding at the end. Windows with fewer than ``MIN_ALIGNED_SEGMENTS`` are left out.
    generator
        One for the batch, or one for each window: then a window's draws do not depend on its batch.

    Returns
    -------
    Scalar mean over the windows that count; 0 where none does.
    """
    batch, segments, _ = text.shape
    valid = text.new_ones((batch, segments), dtype=torch.bool) if valid is None else valid
    counted = valid.sum(-1) >= MIN_ALIGNED_SEGMENTS
    cost = cosine_cost(text, pictures)
    noise = _uniform((negatives + 1, segments), batch, generator, cost.device)
    swapped = swapped_order(1 - cost.detach(), noise[:, 0, 0], gamma=gamma, valid=valid)
    shuffled = shuffled_orders(noise[:, 1:], swapped, valid=valid)
    kept = torch.arange(segments, device=cost.device).expand(batch, segments) if positive == "plain" else swapped
    orders = torch.cat([kept.unsqueeze(1), shuffled], dim=1)  # (batch, 1 + negatives, segments)

    tables = cost.unsqueeze(1).expand(-1, negatives + 1, -1, -1)
    tables = tables.gather(-1, orders.unsqueeze(2).expand(tables.shape))  # permuting pictures permutes columns
    repeated = valid.unsqueeze(1).expand(-1, negatives + 1, -1)
    distance = soft_dtw(tables.flatten(0, 1), smoothing=smoothing, mask=repeated.flatten(0, 1))
    logits = -distance.view(batch, negatives + 1) / temperature
    loss = -logits.log_softmax(-1)[:, 0]
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp(min=1)


def swapped_order(similarity: Tensor, uniform: Tensor, *, gamma: float, valid: Tensor) -> Tensor:
    """Draw a pair (i < j) of each window from softmax(similarity / gamma) over the upper triangle; swap it (Eq. 6).

    Parameters
    ----------
    similarity
        (batch, segments, segments).
    uniform
        (batch,) in [0, 1): the draw, by the inverse of the distribution function.

    Returns
    -------
    (batch, segments) int64: the order of the pictures. Windows with fewer than two valid segments keep theirs.
    """
    batch, segments, _ = similarity.shape
    pairs = valid.unsqueeze(-1) & valid.unsqueeze(-2)
    pairs = pairs & torch.ones_like(pairs).triu(1)
    chance = (similarity / gamma).masked_fill(~pairs, -torch.inf).flatten(1)
    possible = pairs.flatten(1).any(-1, keepdim=True)
    chance = torch.where(possible, chance, 0.0).softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(chance, uniform.unsqueeze(-1) * chance[:, -1:], right=True).clamp(max=segments**2 - 1)
    order = torch.arange(segments, device=similarity.device).expand(batch, segments)
    i, j = drawn // segments, drawn % segments
    swapped = order.scatter(1, i, j).scatter(1, j, i)
    return torch.where(possible, swapped, order)


def shuffled_orders(uniform: Tensor, swapped: Tensor, *, valid: Tensor) -> Tensor:
    """Random orders of the valid segments, none the original or ``swapped``; padding stays in its place.

    Parameters
    ----------
    uniform
        (batch, orders, segments) in [0, 1): sorting it gives the order.
    swapped
        (batch, segments) from `swapped_order`.

    Returns
    -------
    (batch, orders, segments) int64.
    """
    segments = uniform.shape[-1]
    index = torch.arange(segments, device=uniform.device)
    keys = torch.where(valid.unsqueeze(1), uniform, 2.0 + index)
    orders = keys.argsort(-1)
    taken = (orders == index).all(-1) | (orders == swapped.unsqueeze(1)).all(-1)
    # An order that is taken is turned by one place: no such turn is the original or one swap from three segments on.
    length = valid.sum(-1).clamp(min=1).view(-1, 1, 1)
    turned = torch.where(index < length, (index + 1) % length, index).expand_as(orders)
    return torch.where(taken.unsqueeze(-1), orders.gather(-1, turned), orders)


def _uniform(shape: tuple[int, ...], batch: int, generator: Generators | None, device: torch.device) -> Tensor:
    r"""Uniform noise (batch, \*shape), drawn where the generator lives."""
    if generator is None or isinstance(generator, torch.Generator):
        source = device if generator is None else generator.device
        return torch.rand((batch, *shape), generator=generator, device=source).to(device)
    return torch.stack([torch.rand(shape, generator=g, device=g.device) for g in generator]).to(device)
