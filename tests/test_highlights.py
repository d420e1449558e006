import math
from itertools import pairwise

import numpy as np
import pytest

from kuaihl.highlights import HighlightOptions, select
from kuaihl.records import Segment, segments_of

NAN = float("nan")


def spans(curve, **options):
    """Highlights of a curve of whole segments as (first segment, segment after the last, LVTR), best first."""
    options = {"min_gap_s": 0.0, **options}
    found = select(segments_of(len(curve) * 30.0), curve, options=HighlightOptions(**options))
    assert [h.rank for h in found] == list(range(1, len(found) + 1))
    return [(h.start_s / 30, h.end_s / 30, h.score) for h in found]


@pytest.mark.parametrize(
    "curve",
    [
        [],
        [None],
        [None, 0.3],
        [None, 0.3, 0.3, 0.3],
        [0.0, 0.0],
        [None, NAN, NAN],
        [None, None],
        [math.inf, -math.inf, 0.2],
        [None, 0.5, 0.5 + 1e-9, 0.5],
    ],
)
def test_nothing_stands_out(curve):
    assert spans(curve) == []


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.1, 0.5, 0.1], [(1, 2, 0.5)]),
        ([None, 0.2, 0.4], [(2, 3, 0.4)]),
        ([None, 0.1, 0.2, 0.3], [(2, 4, 0.3)]),  # rising: half-way between 0.3 and 0.1 is 0.2
        ([None, 0.3, 0.2, 0.1], [(1, 3, 0.3)]),
        ([0.1, 0.4, 0.5, 0.35, 0.1], [(1, 4, 0.5)]),  # the shoulder is at 0.3
        ([0.1, 0.2, 0.5, 0.35, 0.1], [(2, 4, 0.5)]),
        ([0.1, 0.5, 0.5, 0.1], [(1, 3, 0.5)]),
        ([0.5, 0.5, 0.1], [(0, 2, 0.5)]),  # plateaus at the ends
        ([0.1, 0.5, 0.5], [(1, 3, 0.5)]),
        ([None, 0.1, 0.6, NAN, 0.5, 0.1], [(2, 3, 0.6), (4, 5, 0.5)]),  # a gap ends a highlight
        ([None, 0.1, None, 0.6, None], [(3, 4, 0.6)]),
        ([0.1, 0.3, 0.1, 0.6, 0.1, 0.5, 0.1], [(3, 4, 0.6), (5, 6, 0.5), (1, 2, 0.3)]),
    ],
)
def test_shoulders_by_hand(curve, expected):
    assert spans(curve) == expected


def test_equal_peaks_are_ranked_in_order_of_time():
    assert [start for start, _, _ in spans([0.1, 0.5, 0.1, 0.5, 0.1])] == [1, 3]


def test_middle_of_a_plateau_is_the_peak_and_is_kept_when_it_is_too_long():
    curve = [0.1] * 5 + [0.6] * 41 + [0.1] * 5
    (found,) = select(segments_of(len(curve) * 30.0), curve, options=HighlightOptions(max_length_s=150))
    assert (found.start_s, found.peak_s, found.end_s) == (23 * 30, 25.5 * 30, 28 * 30)


def test_too_long_a_highlight_loses_its_lower_end():
    curve = [0.1, 0.45, 0.5, 0.6, 0.4, 0.39, 0.1]
    assert spans(curve) == [(1, 6, 0.6)]
    assert spans(curve, max_length_s=90) == [(1, 4, 0.6)]
    assert spans(curve, max_length_s=1) == [(3, 4, 0.6)]


def test_lower_shoulder_widens():
    curve = [0.1, 0.2, 0.5, 0.35, 0.1]
    assert spans(curve, shoulder=0.9) == [(1, 4, 0.5)]
    assert spans(curve, shoulder=0.1) == [(2, 3, 0.5)]


def test_small_ripples_do_not_count():
    curve = [0.6, 0.3, 0.305, 0.3, 0.0, 0.2]
    assert len(spans(curve, min_prominence=0.01)) == 1
    assert len(spans(curve, min_prominence=0.004)) == 2


def test_the_top_of_a_trough_is_none():
    assert spans([0.6, 0.6, 0.1, 0.3, 0.1, 0.6, 0.5]) == [(0, 2, 0.6), (5, 7, 0.6)]


def test_a_peak_too_close_to_a_better_one_is_passed_over():
    curve = [0.1, 0.5, 0.1, 0.6, 0.1, 0.1, 0.4, 0.1]
    assert [lvtr for _, _, lvtr in spans(curve, min_gap_s=30)] == [0.6, 0.5, 0.4]
    assert [lvtr for _, _, lvtr in spans(curve, min_gap_s=31)] == [0.6, 0.4]
    assert [lvtr for _, _, lvtr in spans(curve, min_gap_s=61)] == [0.6]
    assert [lvtr for _, _, lvtr in spans(curve, top_k=2)] == [0.6, 0.5]


def test_padding_stops_at_the_ends_and_half_way_to_a_neighbour():
    curve = [0.5, 0.1, 0.1, 0.6, 0.1]
    assert spans(curve, padding_s=15) == [(2.5, 4.5, 0.6), (0, 1.5, 0.5)]
    assert spans(curve, padding_s=40) == [(2, 5, 0.6), (0, 2, 0.5)]
    assert spans(curve, padding_s=1e6) == [(2, 5, 0.6), (0, 2, 0.5)]


def test_short_last_segment():
    segments = segments_of(97.0)
    assert segments[-1] == Segment(3, 90.0, 97.0)
    (found,) = select(segments, [None, 0.1, 0.2, 0.6], options=HighlightOptions(padding_s=10))
    assert (found.start_s, found.peak_s, found.end_s) == (80.0, 93.5, 97.0)


def prominence(curve, peak):
    """How far one must go down from a peak before going higher, by walking; beyond the ends it is as low as it gets."""
    lows = []
    for step in (-1, 1):
        low, at = curve[peak], peak
        while True:
            at += step
            if not 0 <= at < len(curve):
                low = min(curve)
                break
            if curve[at] > curve[peak]:
                break
            low = min(low, curve[at])
        lows.append(low)
    return curve[peak] - max(lows)


@pytest.mark.parametrize("seed", range(25))
def test_random_curves_against_a_walk(seed):
    rng = np.random.default_rng(seed)
    curve = rng.random(int(rng.integers(3, 120)))  # no two values alike: each peak is a segment
    gap_s, padding_s, k = float(rng.integers(0, 4) * 30), float(rng.random() * 100), int(rng.integers(1, 9))
    options = HighlightOptions(top_k=k, min_gap_s=gap_s, max_length_s=1e9, min_prominence=0.1)
    segments = segments_of(len(curve) * 30.0)
    found = select(segments, curve, options=options)

    peaks = [
        i
        for i in range(len(curve))
        if all(curve[i] > curve[j] for j in (i - 1, i + 1) if 0 <= j < len(curve))
        and prominence(curve, i) >= 0.1
        and curve[i] >= curve.mean()
    ]
    expected = []
    for peak in sorted(peaks, key=lambda i: -curve[i]):
        height = curve[peak] - prominence(curve, peak) / 2
        first = last = peak
        while first > 0 and curve[first - 1] >= height:
            first -= 1
        while last < len(curve) - 1 and curve[last + 1] >= height:
            last += 1
        span = (first * 30.0, last * 30.0 + 30)
        if all(span[0] - end >= gap_s or start - span[1] >= gap_s for start, end, _ in expected):
            expected.append((*span, curve[peak]))
    assert [(h.start_s, h.end_s, h.score) for h in found] == expected[:k]

    padded = select(
        segments,
        curve,
        options=HighlightOptions(top_k=k, min_gap_s=gap_s, max_length_s=1e9, min_prominence=0.1, padding_s=padding_s),
    )
    assert [h.peak_s for h in padded] == [h.peak_s for h in found]
    in_time = sorted(padded, key=lambda h: h.start_s)
    assert all(early.end_s <= late.start_s for early, late in pairwise(in_time))
    assert all(0 <= h.start_s <= h.peak_s <= h.end_s <= len(curve) * 30 for h in padded)
    for before, after in zip(found, padded, strict=True):
        assert before.start_s - padding_s <= after.start_s <= before.start_s
        assert before.end_s <= after.end_s <= before.end_s + padding_s


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_k": 0},
        {"min_gap_s": -1.0},
        {"min_gap_s": NAN},
        {"padding_s": -0.1},
        {"padding_s": math.inf},
        {"max_length_s": 0.0},
        {"max_length_s": NAN},
        {"min_prominence": 0.0},
        {"min_prominence": NAN},
        {"shoulder": 0.0},
        {"shoulder": 1.1},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HighlightOptions(**wrong)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 segments, but 2 values"):
        select(segments_of(90.0), [None, 0.1], options=HighlightOptions())
