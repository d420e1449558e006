"""Training losses: pointwise and pairwise (Eqs. 8-12), alignment (Eqs. 6-7)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kuaihl.dtw import cosine_cost, soft_dtw

MIN_ALIGNED_SEGMENTS = 5
"""Windows with fewer valid segments have no alignment loss: too few orders are possible."""

Region = Literal["all", "border", "inverted", "under"]
"""Pairs of the pairwise loss: L0 (Eq. 9), L1 (Eq. 10), L2 (Eq. 11), L3 (Eq. 12)."""


def pointwise_loss(scores: Tensor, labels: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Compute binary cross-entropy, averaged over the segments of each window, then over windows (Eq. 8).

    Parameters
    ----------
    scores, labels
        (batch, segments), in [0, 1].
    mask
        (batch, segments) bool: True where there is a label. A window without labels counts as 0.
    """
    mask = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
    loss = F.binary_cross_entropy(scores, torch.where(mask, labels, 0.0), reduction="none")
    return _masked_mean(loss, mask).mean()


def pairwise_loss(
    scores: Tensor, labels: Tensor, *, region: Region = "border", sigma: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Compute the logistic ranking loss of pairs y_i > y_j, averaged over the pairs of each window, then over windows.

    Parameters
    ----------
    scores, labels
        (batch, segments), in [0, 1]: s and y.
    region
        ``"all"`` pairs (Eq. 9), ``"border"``: s_i - s_j <= y_i - y_j (Eq. 10), ``"inverted"``: s_i <= s_j (Eq. 11),
        ``"under"``: 0 < s_i - s_j < y_i - y_j (Eq. 12). The choice has no gradient.
    sigma
        Scale of the logistic.
    mask
        (batch, segments) bool: True where there is a label. A window without pairs counts as 0.
    """
    score_gap = scores.unsqueeze(-1) - scores.unsqueeze(-2)  # (batch, i, j)
    label_gap = labels.unsqueeze(-1) - labels.unsqueeze(-2)
    pairs = (label_gap > 0) & in_region(score_gap, label_gap, region)
    if mask is not None:
        pairs = pairs & mask.unsqueeze(-1) & mask.unsqueeze(-2)
    loss = F.softplus(-sigma * score_gap)
    return _masked_mean(loss.flatten(-2), pairs.flatten(-2)).mean()


def in_region(score_gap: Tensor, label_gap: Tensor, region: Region) -> Tensor:
    """Return which pairs with ``label_gap`` = y_i - y_j > 0 are in a region (Fig. 2c): bool of the same shape."""
    score_gap, label_gap = score_gap.detach(), label_gap.detach()
    if region == "all":
        return torch.ones_like(score_gap, dtype=torch.bool)
    if region == "border":
        return label_gap >= score_gap
    if region == "inverted":
        return score_gap <= 0
    if region == "under":
        return (score_gap > 0) & (score_gap < label_gap)
    raise ValueError(f"region must be 'all', 'border', 'inverted' or 'under', not {region!r}")


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over the last axis where ``mask`` is True; 0 where it never is."""
    return torch.where(mask, values, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)


def alignment_loss(
    text: Tensor,
    pictures: Tensor,
    *,
    positive: Literal["swap", "plain"] = "swap",
    negatives: int = 7,
    gamma: float = 0.1,
    temperature: float = 1.0,
    smoothing: float = 0.1,
    mask: Tensor | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> Tensor:
    """Contrast an order of the pictures that fits the text with random orders (Eqs. 6-7).

    InfoNCE over -distance / temperature, since the paper's +distance would reward a large one.

    Parameters
    ----------
    text, pictures
        (batch, segments, dim).
    positive
        ``"swap"``: two pictures, drawn by their similarity to each other's text, change places (Eq. 6). ``"plain"``:
        the original order (L'_align of Table II, and the authors' code).
    negatives
        Number of random orders, none equal to the original or the swapped one.
    gamma
        Temperature of the draw.
    temperature
        tau of InfoNCE.
    smoothing
        lambda of the soft minimum.
    mask
        (batch, segments) bool: False for padding, at the end. Windows with fewer than `MIN_ALIGNED_SEGMENTS` do not
        count.
    generator
        One for the batch, or one for each window, so that the draws of a window do not depend on its batch.

    Returns
    -------
    Scalar mean over the windows that count; 0 if there are none.
    """
    batch, segments, _ = text.shape
    mask = text.new_ones((batch, segments), dtype=torch.bool) if mask is None else mask
    counts = mask.sum(-1) >= MIN_ALIGNED_SEGMENTS
    cost = cosine_cost(text, pictures)
    noise = _draw_uniform((negatives + 1, segments), batch, generator, cost.device)
    order = draw_swap(1 - cost.detach(), noise[:, 0, 0], gamma=gamma, mask=mask)
    random_orders = shuffle(noise[:, 1:], order, mask=mask)
    if positive == "plain":
        order = torch.arange(segments, device=cost.device).expand(batch, segments)
    orders = torch.cat([order.unsqueeze(1), random_orders], dim=1)  # (batch, 1 + negatives, segments)

    tables = cost.unsqueeze(1).expand(-1, negatives + 1, -1, -1)
    tables = tables.gather(-1, orders.unsqueeze(2).expand(tables.shape))  # permuting pictures permutes columns
    masks = mask.unsqueeze(1).expand(-1, negatives + 1, -1)
    distance = soft_dtw(tables.flatten(0, 1), smoothing=smoothing, mask=masks.flatten(0, 1))
    logits = -distance.view(batch, negatives + 1) / temperature
    loss = -logits.log_softmax(-1)[:, 0]
    return torch.where(counts, loss, 0.0).sum() / counts.sum().clamp(min=1)


def draw_swap(similarity: Tensor, uniform: Tensor, *, gamma: float, mask: Tensor) -> Tensor:
    """Draw a pair (i < j) of each window from softmax(similarity / gamma) over the upper triangle; swap it (Eq. 6).

    Parameters
    ----------
    similarity
        (batch, segments, segments).
    uniform
        (batch,) in [0, 1): the draw, by inverse transform sampling.
    mask
        (batch, segments) bool.

    Returns
    -------
    (batch, segments) int64: the order of the pictures; unchanged with fewer than two valid segments.
    """
    batch, segments, _ = similarity.shape
    pairs = mask.unsqueeze(-1) & mask.unsqueeze(-2)
    pairs = pairs & torch.ones_like(pairs).triu(1)
    logits = (similarity / gamma).masked_fill(~pairs, -torch.inf).flatten(1)
    has_pair = pairs.flatten(1).any(-1, keepdim=True)
    cumulative = torch.where(has_pair, logits, 0.0).softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(cumulative, uniform.unsqueeze(-1) * cumulative[:, -1:], right=True)
    drawn = drawn.clamp(max=segments**2 - 1)
    order = torch.arange(segments, device=similarity.device).expand(batch, segments)
    i, j = drawn // segments, drawn % segments
    return torch.where(has_pair, order.scatter(1, i, j).scatter(1, j, i), order)


def shuffle(uniform: Tensor, swapped: Tensor, *, mask: Tensor) -> Tensor:
    """Return random orders of the valid segments, none the original or ``swapped``; padding stays in its place.

    Parameters
    ----------
    uniform
        (batch, orders, segments) in [0, 1): sorting it gives the order.
    swapped
        (batch, segments) from `draw_swap`.
    mask
        (batch, segments) bool.

    Returns
    -------
    (batch, orders, segments) int64.
    """
    segments = uniform.shape[-1]
    index = torch.arange(segments, device=uniform.device)
    orders = torch.where(mask.unsqueeze(1), uniform, 2.0 + index).argsort(-1)
    excluded = (orders == index).all(-1) | (orders == swapped.unsqueeze(1)).all(-1)
    # Rotate excluded orders by one: from three segments on, that is neither the original nor one swap from it.
    length = mask.sum(-1).clamp(min=1).view(-1, 1, 1)
    rotation = torch.where(index < length, (index + 1) % length, index).expand_as(orders)
    return torch.where(excluded.unsqueeze(-1), orders.gather(-1, rotation), orders)


def _draw_uniform(
    shape: tuple[int, ...],
    batch: int,
    generator: torch.Generator | Sequence[torch.Generator] | None,
    device: torch.device,
) -> Tensor:
    r"""Draw uniform noise (batch, \*shape) on the device of the generator."""
    if generator is None or isinstance(generator, torch.Generator):
        source = device if generator is None else generator.device
        return torch.rand((batch, *shape), generator=generator, device=source).to(device)
    return torch.stack([torch.rand(shape, generator=g, device=g.device) for g in generator]).to(device)
