"""Text against pictures in time: soft-DTW distance, hard path and alignment loss (Eqs. 4-7), pure functions."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ALIGNED_SEGMENTS = 5
"""Windows with fewer valid segments are left out of the alignment loss: their orders are too few."""

Generators = torch.Generator | Sequence[torch.Generator]


def cosine_cost(text: Tensor, pictures: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Cost of matching each text with each picture: 1 - cosine.

    The paper writes the similarity (above Eq. 4); a minimum over paths needs a cost.

    Parameters
    ----------
    text, pictures
        (batch, n, dim) and (batch, m, dim).
    eps
        Added to the product of the norms.

    Returns
    -------
    (batch, n, m), from 0 (same direction) to 2 (opposite).
    """
    dot = text @ pictures.transpose(-1, -2)
    norms = text.norm(dim=-1).unsqueeze(-1) * pictures.norm(dim=-1).unsqueeze(-2)
    return 1.0 - dot / (norms + eps)


def soft_dtw(cost: Tensor, *, smoothing: float = 0.1, valid: Tensor | None = None) -> Tensor:
    """DTW distance with a soft minimum (Eqs. 4-5; Cuturi and Blondel, 2017), with exact gradients.

    Parameters
    ----------
    cost
        (batch, n, m).
    smoothing
        lambda of the soft minimum ``-lambda log sum exp(-x / lambda)``; towards 0 it becomes the minimum.
    valid
        (batch, n) bool for square tables padded at their end: the path ends at the last valid cell. A table without
        any has distance 0.

    Returns
    -------
    (batch,)
    """
    batch, n, m = cost.shape
    if smoothing <= 0:
        raise ValueError(f"smoothing must be positive, not {smoothing}; use path() for the hard minimum")
    if valid is None:
        ends = torch.tensor([n - 1, m - 1], device=cost.device).expand(batch, 2)
        return _SoftDTW.apply(cost, smoothing, ends)
    if n != m or valid.shape != (batch, n):
        raise ValueError(f"valid must be (batch, n) for tables (batch, n, n), not {tuple(valid.shape)}")
    lengths = valid.sum(-1)
    ends = (lengths - 1).clamp(min=0).unsqueeze(-1).expand(batch, 2)
    return torch.where(lengths > 0, _SoftDTW.apply(cost, smoothing, ends), 0.0)


class _SoftDTW(torch.autograd.Function):
    """The recursion along anti-diagonals: cell (i, j) lies in row i + j, column i of the skewed table."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, smoothing: float, ends: Tensor) -> Tensor:
        batch, n, m = cost.shape
        diagonals = n + m - 1
        rows = torch.arange(n, device=cost.device)
        columns = torch.arange(diagonals, device=cost.device).unsqueeze(-1) - rows  # (diagonals, n): j of each cell
        inside = (columns >= 0) & (columns < m)
        skewed = cost[:, rows.expand(diagonals, n), columns.clamp(0, m - 1)].permute(1, 0, 2)  # (diagonals, batch, n)
        infinite = torch.finfo(cost.dtype).max / 4
        skewed = torch.where(inside.unsqueeze(1), skewed, infinite)

        total = cost.new_full((diagonals + 1, batch, n + 1), infinite)  # one more row and column: outside the table
        moves = cost.new_zeros(diagonals, 3, batch, n)  # share of each predecessor: left, above, diagonal
        total[1, :, 1] = skewed[0, :, 0]
        for d in range(1, diagonals):
            before = torch.stack([total[d, :, 1:], total[d, :, :-1], total[d - 1, :, :-1]])
            least = before.amin(0)
            shares = torch.exp((least - before) / smoothing)
            mass = shares.sum(0)
            moves[d] = shares / mass
            reach = skewed[d] + (least - smoothing * mass.log())
            total[d + 1, :, 1:] = torch.where(inside[d], reach, infinite)
        ctx.save_for_backward(moves, ends, inside, rows, columns)
        ctx.columns = m
        return total[ends.sum(-1) + 1, torch.arange(batch, device=cost.device), ends[:, 0] + 1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        moves, ends, inside, rows, columns = ctx.saved_tensors
        diagonals, _, batch, n = moves.shape
        flow = grad.new_zeros(diagonals + 2, batch, n + 1)  # what each cell adds to the distance
        flow[ends.sum(-1), torch.arange(batch, device=grad.device), ends[:, 0]] = grad
        moves = F.pad(torch.where(inside[:, None, None], moves, 0.0), (0, 1, 0, 0, 0, 0, 0, 2))
        for d in range(diagonals - 2, -1, -1):
            left, above = flow[d + 1] * moves[d + 1, 0], flow[d + 1] * moves[d + 1, 1]
            diagonal = flow[d + 2] * moves[d + 2, 2]
            flow[d, :, :-1] += left[:, :-1] + above[:, 1:] + diagonal[:, 1:]
        skewed = torch.where(inside.unsqueeze(1), flow[:-2, :, :-1], 0.0).permute(1, 0, 2)
        unskewed = grad.new_zeros(batch, n, ctx.columns)
        at = inside.nonzero(as_tuple=True)
        unskewed[:, rows[at[1]], columns[at]] = skewed[:, at[0], at[1]]
        return unskewed, None, None


def path(cost: np.ndarray | Tensor) -> list[tuple[int, int]]:
    """Cheapest monotone path through a table (n, m) from its first cell to its last, by the hard minimum (Eq. 4).

    Among equally cheap ways the diagonal is taken, then the step in text.

    Returns
    -------
    Pairs (i, j) in order, from (0, 0) to (n - 1, m - 1).
    """
    table = np.asarray(cost, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"cost must be a table (n, m), not {table.shape}")
    return _trace(table, np.zeros(len(table), dtype=int), last=table.shape[1] - 1)


def banded_cost(text: np.ndarray, pictures: np.ndarray, *, band: int) -> np.ndarray:
    """Cost 1 - cosine of each text with the pictures up to ``band`` segments before and after it.

    Parameters
    ----------
    text, pictures
        (segments, dim) each.

    Returns
    -------
    (segments, 2 * band + 1) float32; row i, column k is text i against picture i - band + k, NaN outside.
    """
    segments = len(text)
    text, pictures = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-8) for x in (text, pictures))
    columns = np.arange(segments)[:, None] - band + np.arange(2 * band + 1)
    inside = (columns >= 0) & (columns < segments)
    cost = np.full(columns.shape, np.nan, dtype=np.float32)
    for k in range(2 * band + 1):  # a diagonal at a time: memory stays that of the features
        rows = inside[:, k]
        cost[rows, k] = 1 - np.einsum("sd,sd->s", text[rows], pictures[columns[rows, k]])
    return cost


def banded_path(cost: np.ndarray) -> list[tuple[int, int]]:
    """`path` through a table in the layout of `banded_cost`: time and memory grow with segments, not their square."""
    segments, width = cost.shape
    first = np.arange(segments) - width // 2
    return _trace(np.where(np.isnan(cost), np.inf, cost.astype(np.float64)), first, last=segments - 1)


def _trace(table: np.ndarray, first: np.ndarray, *, last: int) -> list[tuple[int, int]]:
    """Follow the cheapest path to column ``last``; row i of the table starts at column ``first[i]``."""
    above, left, none = 1, 2, 3  # and 0 the diagonal: the order of `ways`
    rows, width = table.shape
    came_from = np.full(table.shape, none, dtype=np.int8)
    previous: dict[int, float] = {}
    for i in range(rows):
        reached: dict[int, float] = {}
        for k in range(width):
            j = int(first[i]) + k
            if not np.isfinite(table[i, k]):
                continue
            ways = (previous.get(j - 1, np.inf), previous.get(j, np.inf), reached.get(j - 1, np.inf))
            if i == 0 and j == 0:
                reached[j] = table[i, k]
            elif (least := min(ways)) < np.inf:
                came_from[i, k] = ways.index(least)
                reached[j] = table[i, k] + least
        previous = reached
    i, j = rows - 1, last
    if j not in previous:
        raise ValueError("no path joins the first cell with the last")
    steps = [(i, j)]
    while (i, j) != (0, 0):
        way = came_from[i, j - first[i]]
        i, j = i - (way != left), j - (way != above)
        steps.append((int(i), int(j)))
    return steps[::-1]


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
    distance = soft_dtw(tables.flatten(0, 1), smoothing=smoothing, valid=repeated.flatten(0, 1))
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
