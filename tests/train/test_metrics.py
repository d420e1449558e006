"""Tau, calibration and mean average precision: against scipy, scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap, kendalltau, ttest_1samp, ttest_rel
from sklearn.metrics import precision_recall_curve

from train.metrics import (
    LastVideo,
    average_precision,
    calibration,
    frame_scores,
    frame_truth,
    mean_average_precision,
    over_seeds,
    paired_interval,
    paired_over_seeds,
    taus,
)


def rooms(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    room = np.repeat(["a", "b", "c"], [30, 40, 50])
    true = rng.random(120)
    return true + rng.normal(0, 0.3, 120), true, room


def test_pooled_and_per_room() -> None:
    predicted, true, room = rooms()
    mixed = np.random.default_rng(1).permutation(120)  # a room's segments need not stand together
    whole, above = taus(predicted[mixed], true[mixed], room[mixed], deltas=[None, 0.4])
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


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_thresholds_are_strict_in_float32_and_float64(kind: type) -> None:
    true = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], dtype=np.float32).astype(kind)
    result = taus(np.arange(8.0), true, np.array(["a"] * 8))
    assert [(tau.delta, tau.segments) for tau in result] == [(None, 8), (0.0, 7), (0.2, 5), (0.4, 3), (0.6, 1)]


def test_rooms_without_a_tau_are_skipped_and_counted() -> None:
    predicted, true = np.array([1.0, 2, 3, 1, 2]), np.array([0.1, 0.3, 0.2, 0.5, 0.5])
    (tau,) = taus(predicted, true, np.array(list("aaabb")), deltas=[None])
    assert tau.per_room == pytest.approx(1 / 3)
    assert tau.rooms_skipped == 1
    (none,) = taus(predicted, true, np.array(list("aaabb")), deltas=[0.9])
    assert (none.pooled, none.per_room, none.segments, none.rooms) == (None, None, 0, 0)


def test_values_must_be_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        taus(np.array([np.nan, 1]), np.array([0.1, 0.2]), np.array(["a", "a"]))


def test_the_interval_is_scipys_bootstrap_over_rooms() -> None:
    first, true, _ = rooms()
    second = np.random.default_rng(1).permutation(first)
    room = np.repeat(np.arange(12), 10)

    def gap(drawn: np.ndarray) -> float:
        rows = np.concatenate([np.flatnonzero(room == k) for k in drawn.astype(int)])
        return kendalltau(first[rows], true[rows]).statistic - kendalltau(second[rows], true[rows]).statistic

    expected = bootstrap(
        (np.arange(12),), gap, n_resamples=200, vectorized=False, method="percentile", rng=np.random.default_rng(7)
    )
    result = paired_interval(first, second, true, room, generator=np.random.default_rng(7), draws=200)
    np.testing.assert_allclose(result, expected.confidence_interval, rtol=1e-12)


def test_over_seeds_is_students_interval() -> None:
    values = [0.59, 0.61, 0.60, 0.57, 0.62]
    expected = ttest_1samp(values, 0).confidence_interval()
    result = over_seeds(values)
    assert (result.mean, result.seeds) == (pytest.approx(0.598), 5)
    assert (result.low, result.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    # By hand: deviation sqrt(.00148 / 4), error that / sqrt(5), and t with 4 degrees of freedom is 2.7764.
    assert result.high - result.mean == pytest.approx(2.7764 * np.sqrt(0.00148 / 4 / 5), rel=1e-4)
    one = over_seeds([0.5])
    assert (one.mean, one.low, one.high, one.seeds) == (0.5, None, None, 1)
    alike = over_seeds([0.5, 0.5, 0.5])
    assert (alike.low, alike.high) == (0.5, 0.5)
    with pytest.raises(ValueError, match="finite"):
        over_seeds([0.5, np.nan])


def test_differences_are_paired_by_seed() -> None:
    shared = np.array([0.3, 0.5, 0.4, 0.6])  # seeds differ much, the two by little: only pairing shows it
    first, second = np.add(shared, [0.021, 0.019, 0.02, 0.022]), shared
    result = paired_over_seeds(first, second)
    expected = ttest_rel(first, second).confidence_interval()
    assert (result.low, result.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert result.mean == pytest.approx(0.0205)
    assert result.low > 0
    with pytest.raises(ValueError, match="zip"):
        paired_over_seeds([0.1, 0.2], [0.1])


def test_calibration_by_hand() -> None:
    predicted, true = np.array([0.9, 0.1, 0.3, 0.7]), np.array([0.5, 0.1, 0.4, 0.9])
    result = calibration(predicted, true, bins=2)
    assert result.brier == pytest.approx((0.4**2 + 0.1**2 + 0.2**2) / 4)
    low, high = result.bins
    assert (low.segments, low.low, low.high) == (2, 0.1, 0.3)
    assert (low.predicted, low.true) == (pytest.approx(0.2), pytest.approx(0.25))
    assert (high.predicted, high.true) == (pytest.approx(0.8), pytest.approx(0.7))
    assert result.expected_error == pytest.approx((2 * 0.05 + 2 * 0.1) / 4)  # too low and too high do not cancel


def test_calibration_of_known_errors() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(1007)
    right = calibration(chance, chance)
    assert (right.brier, right.expected_error) == (0, pytest.approx(0, abs=1e-12))
    assert [b.segments for b in right.bins] == [101] * 7 + [100] * 3
    assert all(a.high <= b.low for a, b in zip(right.bins, right.bins[1:], strict=False))
    assert calibration(chance, chance - 0.05).expected_error == pytest.approx(0.05)
    drawn = (rng.random(1007) < chance).astype(float)  # right on average: Brier is what chance leaves, E p (1 - p)
    assert calibration(chance, drawn).brier == pytest.approx(1 / 6, abs=0.02)
    assert len(calibration(chance[:3], chance[:3]).bins) == 3


def test_average_precision_by_hand_with_ties() -> None:
    # Ranks: 1 | three tied, two of them positive | 1: precisions 1/1, 3/4, 4/5 at recalls 1/4, 3/4, 1.
    truth = np.array([1, 1, 1, 0, 1], dtype=bool)
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    # Interpolated, 3/4 becomes 4/5; three recall levels count alike.
    assert average_precision(truth, scores) == pytest.approx((1 + 4 / 5 + 4 / 5) / 3)


def test_average_precision_is_the_mean_over_scikit_learns_curve() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = np.r_[True, rng.random(40) < 0.3]
        scores = rng.integers(0, 12, 41) / 7
        precision, recall, _ = precision_recall_curve(truth, scores)  # recall falls from 1 to 0
        levels = np.unique(recall[recall > 0])
        expected = np.mean([precision[recall >= level].max() for level in levels])
        assert average_precision(truth, scores) == pytest.approx(expected)


def test_average_precision_at_its_ends() -> None:
    assert average_precision(np.array([True, True]), np.array([0.3, 0.1])) == 1
    assert average_precision(np.array([True, False, False, False]), np.full(4, 0.3)) == 0.25
    with pytest.raises(ValueError, match="positive"):
        average_precision(np.array([False]), np.array([0.3]))


def test_frame_truth_is_the_union_of_a_users_gifs() -> None:
    truth = frame_truth(np.array([[1.0, 2.0], [1.5, 3.0], [4.5, 9.0], [-1.0, 0.5]]), frames=10, fps=2)
    assert truth.astype(int).tolist() == [1, 0, 1, 1, 1, 1, 0, 0, 0, 1]
    assert not frame_truth(np.empty((0, 2)), frames=10).any()


def test_units_become_frames_as_nearest_interpolation_does() -> None:
    scores = np.random.default_rng(0).random(6).astype(np.float32)
    result = frame_scores(scores, frames=900, fps=30)  # six units of 5 s exactly
    expected = torch.nn.functional.interpolate(torch.from_numpy(scores)[None, None], size=900)[0, 0]
    np.testing.assert_array_equal(result, expected)


def test_frames_are_averaged_in_blocks_of_whole_frames() -> None:
    # At 2.5 frames a second a block holds 12 frames, a unit 12.5: frame 12 is at 4.8 s, in unit 0; frame 13 in unit 1.
    result = frame_scores(np.array([0.0, 12.0, 24.0]), frames=36, fps=2.5)
    np.testing.assert_allclose(result, np.repeat([0, 11, (1 * 12 + 11 * 24) / 12], 12))
    # What is left of the video takes the last unit's score, and the last block is shorter.
    np.testing.assert_allclose(frame_scores(np.array([1.0, 2.0]), frames=23, fps=2), [1] * 10 + [2] * 13)


def test_mean_over_users_with_history() -> None:
    def video(scores: list[float], highlights: list[tuple[float, float]], *, history: bool = True) -> LastVideo:
        return LastVideo(np.array(scores), np.array(highlights), duration_s=20.0, has_history=history)

    videos = [
        video([0.1, 0.9, 0.2, 0.3], [(5, 10)]),  # the highlight is first: 1
        video([0.1, 0.9, 0.2, 0.3], [(0, 5)]),  # it is last of four: 1/4
        video([0.1, 0.9, 0.2, 0.3], [(5, 10)], history=False),
        video([0.1, 0.9, 0.2, 0.3], [(25, 30)]),  # beyond the end
    ]
    result = mean_average_precision(videos)
    assert result.mean == pytest.approx((1 + 1 / 4) / 2)
    assert (result.users, result.without_history, result.without_highlight) == (2, 1, 1)
    # Half of a block: the five-second block is one tie, and half of its frames are right.
    assert mean_average_precision([video([0.1, 0.9, 0.2, 0.3], [(5, 7.5)])]).mean == pytest.approx(0.5)
    nobody = mean_average_precision([])
    assert (nobody.mean, nobody.users) == (None, 0)
