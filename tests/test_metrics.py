"""Tau against scipy and by hand."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from train.metrics import paired_interval, taus


def rooms(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    room = np.repeat(["a", "b", "c"], [30, 40, 50])
    true = rng.random(120)
    return true + rng.normal(0, 0.3, 120), true, room


def test_pooled_and_per_room() -> None:
    predicted, true, room = rooms()
    whole, above = taus(predicted, true, room, deltas=[None, 0.4])
    assert whole.pooled == pytest.approx(kendalltau(predicted, true).statistic)
    each = [kendalltau(predicted[room == r], true[room == r]).statistic for r in "abc"]
    assert whole.per_room == pytest.approx(np.mean(each))
    assert (whole.segments, whole.rooms, whole.rooms_skipped) == (120, 3, 0)
    kept = true > 0.4
    assert above.pooled == pytest.approx(kendalltau(predicted[kept], true[kept]).statistic)
    assert above.segments == kept.sum()


def test_by_hand_with_ties() -> None:
    # Pairs (1,2) (1,2) (2,2 tied): 2 concordant of 3, 1 tied in true: tau-b = 2 / sqrt(3 * 2).
    (tau,) = taus(np.array([1.0, 2, 3]), np.array([0.1, 0.2, 0.2]), np.array(["a"] * 3), deltas=[None])
    assert tau.pooled == pytest.approx(2 / np.sqrt(6))


def test_rooms_without_a_tau_are_skipped_and_counted() -> None:
    predicted, true = np.array([1.0, 2, 3, 1, 2]), np.array([0.1, 0.3, 0.2, 0.5, 0.5])
    (tau,) = taus(predicted, true, np.array(list("aaabb")), deltas=[None])
    assert tau.per_room == pytest.approx(1 / 3)
    assert tau.rooms_skipped == 1
    (none,) = taus(predicted, true, np.array(list("aaabb")), deltas=[0.9])
    assert (none.pooled, none.per_room, none.segments) == (None, None, 0)


def test_what_is_not_scored_must_be_left_out() -> None:
    with pytest.raises(ValueError, match="finite"):
        taus(np.array([np.nan, 1]), np.array([0.1, 0.2]), np.array(["a", "a"]))


def test_interval_tells_better_from_alike() -> None:
    rng = np.random.default_rng(0)
    true = rng.random(600)
    room = np.repeat(np.arange(20), 30)
    good, bad = true + rng.normal(0, 0.1, 600), true + rng.normal(0, 1.0, 600)
    low, high = paired_interval(good, bad, true, room, generator=rng, draws=100)
    assert 0 < low < kendalltau(good, true).statistic - kendalltau(bad, true).statistic < high
    low, high = paired_interval(good, good, true, room, generator=rng, draws=20)
    assert low == high == 0
