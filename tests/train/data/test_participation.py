"""Participation by hand and by a slow loop, and which segments are scored."""

import numpy as np
import pytest

from train.data.participation import Participation, participation


def measure(lines: list[tuple[int, int]], *, segments: int) -> Participation:
    segment, chatter = np.array(lines, dtype=np.int64).reshape(-1, 2).T
    return participation(segment, chatter, segments=segments)


def test_by_hand() -> None:
    first = [(0, chatter) for chatter in range(20)]
    measured = measure([*first, (0, 3), (2, 3), (2, 7), (2, 20), (2, 7)], segments=24)
    np.testing.assert_array_equal(measured.writers, [20, 0, 3, *[0] * 21])
    # Those of segment 0 are present up to segment 19, those of segment 2 up to segment 21.
    np.testing.assert_array_equal(measured.present, [20, 20, *[21] * 18, 3, 3, 0, 0])
    np.testing.assert_array_equal(measured.share[:3], [1.0, 0.0, 3 / 21])
    assert np.isfinite(measured.share).sum() == 20


@pytest.mark.parametrize("chatters", [19, 20])
def test_twenty_must_be_present(chatters: int) -> None:
    measured = measure([(0, chatter) for chatter in range(chatters)], segments=1)
    assert np.isfinite(measured.share[0]) == (chatters == 20)


def test_by_a_slow_loop_in_any_order() -> None:
    rng = np.random.default_rng(0)
    segment, chatter = rng.integers(70, size=900), rng.integers(60, size=900)
    segment[segment > 50] //= 5  # silence at the end
    measured = participation(segment, chatter, segments=75)
    for t in range(75):
        writers = set(chatter[segment == t])
        present = set(chatter[(segment <= t) & (segment > t - 20)])
        assert (measured.writers[t], measured.present[t]) == (len(writers), len(present))
        expected = len(writers) / len(present) if len(present) >= 20 else np.nan
        np.testing.assert_equal(measured.share[t], expected)
    order = rng.permutation(900)
    np.testing.assert_array_equal(participation(segment[order], chatter[order], segments=75).share, measured.share)


def test_scored_are_those_with_twenty_defined_before() -> None:
    share = np.full(70, 0.5)
    share[[3, 30]] = np.nan
    scored = Participation(share, share, share).scored
    expected = [t >= 20 and np.isfinite(share[t - 20 : t + 1]).all() for t in range(70)]
    np.testing.assert_array_equal(scored, expected)
    assert scored.sum() == 6 + 19
    assert not measure([], segments=0).scored.any()
    assert len(measure([(0, 1)], segments=3).scored) == 3
