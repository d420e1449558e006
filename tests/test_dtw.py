"""The alignment against brute force, librosa, tslearn and finite differences."""

import math

import librosa
import numpy as np
import pytest
import torch
from tslearn.metrics import SoftDTWLossPyTorch, dtw_path_from_metric

from kuaihl.dtw import banded_cost, banded_path, cosine_cost, path, soft_dtw
from train.losses import alignment_loss, draw_swap, shuffle


def all_paths(n: int, m: int) -> list[list[tuple[int, int]]]:
    """Every monotone path from (0, 0) to (n - 1, m - 1)."""
    if n == m == 1:
        return [[(0, 0)]]
    before = [(n - 1, m), (n, m - 1), (n - 1, m - 1)]
    return [[*p, (n - 1, m - 1)] for a, b in before if a and b for p in all_paths(a, b)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 4), (4, 1), (3, 3), (4, 5)])
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_soft_dtw_is_the_soft_minimum_over_all_paths(n: int, m: int, smoothing: float) -> None:
    cost = torch.rand(2, n, m, dtype=torch.float64, generator=generator())
    paths = all_paths(n, m)
    sums = torch.tensor([[sum(table[i, j] for i, j in p) for p in paths] for table in cost], dtype=torch.float64)
    expected = -smoothing * torch.logsumexp(-sums / smoothing, dim=1)
    torch.testing.assert_close(soft_dtw(cost, smoothing=smoothing), expected)


def test_soft_dtw_equals_tslearn_and_its_gradient() -> None:
    x, y = (torch.rand(3, 6, 2, dtype=torch.float64, generator=generator(i)) for i in (1, 2))
    ours = torch.cdist(x, y).square().requires_grad_()
    theirs = SoftDTWLossPyTorch(gamma=0.5)(x, y)
    torch.testing.assert_close(soft_dtw(ours, smoothing=0.5), theirs)


@pytest.mark.parametrize("shape", [(2, 4, 6), (2, 6, 4), (1, 1, 3)])
def test_soft_dtw_gradient(shape: tuple[int, int, int]) -> None:
    cost = torch.rand(shape, dtype=torch.float64, generator=generator()).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, smoothing=0.3), cost)


def test_soft_dtw_ends_at_the_last_valid_segment() -> None:
    cost = torch.rand(4, 5, 5, dtype=torch.float64, generator=generator()).requires_grad_()
    lengths = [5, 3, 1, 0]
    valid = torch.arange(5) < torch.tensor(lengths).unsqueeze(1)
    got = soft_dtw(cost, mask=valid)
    for k, length in enumerate(lengths):
        expected = soft_dtw(cost[k : k + 1, :length, :length])[0] if length else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(got[k], expected)
    got.sum().backward()
    assert not cost.grad[1, 3:].any()
    assert not cost.grad[3].any()
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, smoothing=0.3, mask=valid), cost)


def test_path_equals_librosa_and_tslearn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        cost = rng.random((7, 9))
        _, steps = librosa.sequence.dtw(C=cost, backtrack=True)
        assert path(cost) == [tuple(step) for step in steps[::-1].tolist()]
        assert path(cost) == dtw_path_from_metric(cost, metric="precomputed")[0]


def test_banded_path_is_the_path_where_the_band_holds_it() -> None:
    rng = np.random.default_rng(1)
    text, pictures = rng.normal(size=(2, 12, 4))
    full = cosine_cost(torch.from_numpy(text)[None], torch.from_numpy(pictures)[None])[0].numpy()
    cost = banded_cost(text, pictures, band=11)
    for i in range(12):
        np.testing.assert_allclose(cost[i, 11 - i : 23 - i], full[i], atol=1e-6)
    assert np.isnan(cost).sum() == cost.size - 144
    assert banded_path(cost) == path(full)
    assert all(abs(i - j) <= 2 for i, j in banded_path(banded_cost(text, pictures, band=2)))


def test_swap_follows_the_similarity() -> None:
    similarity = torch.zeros(1, 6, 6)
    similarity[0, 1, 4] = similarity[0, 4, 1] = similarity[0, 3, 3] = 1.0
    valid = torch.ones(1, 6, dtype=torch.bool)
    order = draw_swap(similarity, torch.tensor([0.5]), gamma=0.05, mask=valid)
    assert order.tolist() == [[0, 4, 2, 3, 1, 5]]
    draws = [
        tuple(draw_swap(similarity * 0, torch.tensor([u]), gamma=0.1, mask=valid)[0].tolist())
        for u in np.linspace(0, 0.999, 60)
    ]
    assert len(set(draws)) == 15  # every pair i < j, all alike, and no order but swaps
    assert all(sum(a != b for a, b in enumerate(order)) == 2 for order in draws)


def test_negatives_are_orders_of_the_valid_segments_and_none_is_taken() -> None:
    lengths = torch.tensor([5, 6, 8])
    valid = torch.arange(8) < lengths.unsqueeze(1)
    swapped = torch.arange(8).repeat(3, 1)
    swapped[:, [0, 1]] = swapped[:, [1, 0]]
    orders = shuffle(torch.rand(3, 400, 8, generator=generator()), swapped, mask=valid)
    for row, length, taken in zip(orders, lengths.tolist(), swapped, strict=True):
        assert (row.sort(-1).values == torch.arange(8)).all()
        assert (row[:, length:] == torch.arange(length, 8)).all()
        assert not (row == torch.arange(8)).all(-1).any()
        assert not (row == taken).all(-1).any()


def test_loss_equals_a_loop_over_windows() -> None:
    text, pictures = (torch.rand(3, 6, 4, dtype=torch.float64, generator=generator(i)) for i in (3, 4))
    got = alignment_loss(text, pictures, positive="plain", negatives=2, temperature=0.5, generator=generator(5))
    noise = torch.rand((3, 3, 6), generator=generator(5))
    expected = []
    for b in range(3):
        cost = [[1 - float(torch.cosine_similarity(z, v, dim=0)) for v in pictures[b]] for z in text[b]]
        orders = [list(range(6)), *noise[b, 1:].argsort(-1).tolist()]
        scores = []
        for order in orders:
            sums = [sum(cost[i][order[j]] for i, j in p) for p in all_paths(6, 6)]
            least = min(sums)
            distance = least - 0.1 * math.log(sum(math.exp((least - s) / 0.1) for s in sums))
            scores.append(math.exp(-distance / 0.5))
        expected.append(-math.log(scores[0] / sum(scores)))
    assert float(got) == pytest.approx(sum(expected) / 3, abs=1e-6)


def test_padding_and_batch_change_nothing() -> None:
    text, pictures = (torch.rand(2, 9, 4, generator=generator(i)) for i in (6, 7))
    valid = torch.arange(9) < torch.tensor([[7], [3]])
    draws = [generator(8), generator(9)]
    got = alignment_loss(text, pictures, mask=valid, generator=draws)
    other = text.clone()
    other[:, 7:] = 100.0
    again = alignment_loss(other, pictures, mask=valid, generator=[generator(8), generator(9)])
    alone = alignment_loss(text[:1], pictures[:1], mask=valid[:1], generator=[generator(8)])
    torch.testing.assert_close(got, again)
    torch.testing.assert_close(got, alone)  # the second window has too few segments to count


def test_no_window_no_gradient() -> None:
    text = torch.rand(2, 4, 3, requires_grad=True)
    loss = alignment_loss(text, torch.rand(2, 4, 3), generator=generator())
    loss.backward()
    assert loss.item() == 0
    assert not text.grad.any()


def test_training_on_the_loss_finds_the_order() -> None:
    scene = torch.eye(8).unsqueeze(0)
    text = (0.1 * torch.randn(1, 8, 8, generator=generator(2))).requires_grad_()
    optimizer = torch.optim.Adam([text], lr=0.05)
    for step in range(60):
        optimizer.zero_grad()
        alignment_loss(text, scene, positive="plain", temperature=0.1, generator=generator(step)).backward()
        optimizer.step()
    cost = cosine_cost(text.detach(), scene)[0]
    assert sum(i == j for i, j in path(cost)) >= 6
