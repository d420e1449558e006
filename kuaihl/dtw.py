"""Dynamic time warping: cosine cost, soft-DTW with gradients, and the cheapest path (Eqs. 4 and 5)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_cost(text: Tensor, pictures: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Return the cost of matching each text with each picture: 1 - cosine.

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


def soft_dtw(cost: Tensor, *, smoothing: float = 0.1, mask: Tensor | None = None) -> Tensor:
    """Return the DTW distance with a soft minimum (Eqs. 4-5; Cuturi and Blondel, 2017), with exact gradients.

    Parameters
    ----------
    cost
        (batch, n, m).
    smoothing
        lambda of the soft minimum ``-lambda log sum exp(-x / lambda)``; towards 0 it becomes the minimum.
    mask
        (batch, n) bool, True = valid, for square tables padded at their end: the path ends at the last valid cell. A
        table without any has distance 0.

    Returns
    -------
    (batch,)
    """
    batch, n, m = cost.shape
    if smoothing <= 0:
        raise ValueError(f"smoothing must be positive, not {smoothing}; use path() for the hard minimum")
    if mask is None:
        ends = torch.tensor([n - 1, m - 1], device=cost.device).expand(batch, 2)
        return _SoftDTW.apply(cost, smoothing, ends)
    if n != m or mask.shape != (batch, n):
        raise ValueError(f"mask must be (batch, n) for tables (batch, n, n), not {tuple(mask.shape)}")
    lengths = mask.sum(-1)
    ends = (lengths - 1).clamp(min=0).unsqueeze(-1).expand(batch, 2)
    return torch.where(lengths > 0, _SoftDTW.apply(cost, smoothing, ends), 0.0)


class _SoftDTW(torch.autograd.Function):
    """The recursion along anti-diagonals: cell (i, j) is in row i + j, column i of the skewed table."""

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
    """Return the cheapest monotone path through a table (n, m) from its first cell to its last (Eq. 4).

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
    """Return the cost 1 - cosine of each text with the pictures up to ``band`` segments before and after it.

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
    """Return the `path` through a table of `banded_cost`: time and memory grow with segments, not their square."""
    segments, width = cost.shape
    first = np.arange(segments) - width // 2
    return _trace(np.where(np.isnan(cost), np.inf, cost.astype(np.float64)), first, last=segments - 1)


def _trace(table: np.ndarray, first: np.ndarray, *, last: int) -> list[tuple[int, int]]:
    """Return the cheapest path to column ``last``; row i of the table starts at column ``first[i]``."""
    steps = ((1, 1), (1, 0), (0, 1))  # rows and columns gone forward; of equally cheap ones, the first is taken
    taken = np.zeros(table.shape, dtype=np.int8)
    above = [np.inf] * (table.shape[1] + 2)  # totals of the row above, with a cell outside the table at either end
    shifts = np.diff(first, prepend=first[0]).tolist()
    for i, (row, shift) in enumerate(zip(table.tolist(), shifts, strict=True)):
        totals = [np.inf] * len(above)
        for k, cost in enumerate(row):
            before = (above[k + shift], above[k + shift + 1], totals[k])
            least = 0.0 if i == 0 and k == -first[0] else min(before)
            if cost + least < np.inf:
                taken[i, k] = before.index(min(before))
                totals[k + 1] = cost + least
        above = totals
    i, j = len(table) - 1, last
    if above[j - first[i] + 1] == np.inf:
        raise ValueError("no path joins the first cell with the last")
    cells = [(i, j)]
    while (i, j) != (0, 0):
        down, right = steps[taken[i, j - first[i]]]
        i, j = i - down, j - right
        cells.append((i, j))
    return cells[::-1]
