"""Alignment loss, forward and backward: ours against a Python loop over the DTW table of each window.

Run as `python -m tests.benchmarks.bench_alignment`.
"""

import time
from collections.abc import Callable

import torch

from kuaihl.dtw import cosine_cost
from train.losses import alignment_loss

BATCH, SEGMENTS, NEGATIVES, DIM = 64, 20, 7, 256
SMOOTHING = 0.1


def loop(text: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Compute the loss of one window cell by cell, as Eqs. 4-7 are written."""
    orders = [torch.arange(SEGMENTS), *(torch.randperm(SEGMENTS) for _ in range(NEGATIVES))]
    distances = []
    for order in orders:
        cost = cosine_cost(text[None], pictures[None, order])[0]
        reached: dict[tuple[int, int], torch.Tensor] = {}
        for i in range(SEGMENTS):
            for j in range(SEGMENTS):
                before = [reached[k] for k in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if k in reached]
                soft = -SMOOTHING * torch.logsumexp(-torch.stack(before) / SMOOTHING, 0) if before else 0.0
                reached[i, j] = cost[i, j] + soft
        distances.append(reached[SEGMENTS - 1, SEGMENTS - 1])
    return -(-torch.stack(distances)).log_softmax(0)[0]


def seconds(work: Callable[[], torch.Tensor], *, repeats: int) -> float:
    """Return the fastest of a few runs, forward and backward, in ms."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        work().backward()
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    """Print milliseconds per window of both, and their ratio."""
    torch.manual_seed(0)
    text, pictures = (torch.randn(BATCH, SEGMENTS, DIM, requires_grad=True) for _ in range(2))
    ours = seconds(lambda: alignment_loss(text, pictures, negatives=NEGATIVES), repeats=10) / BATCH
    looped = seconds(lambda: loop(text[0], pictures[0]), repeats=3)
    print(f"alignment loss, ms a window: ours {1e3 * ours:.2f}, loop {1e3 * looped:.1f}, ratio {looped / ours:.0f}")


if __name__ == "__main__":
    main()
