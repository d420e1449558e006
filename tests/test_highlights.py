"""Highlights: by hand, against a walk along random curves, and from made-up chats whose bursts are known."""

import math
from itertools import pairwise

import numpy as np
import pytest

from kuaihl.highlights import HighlightOptions, choose_source, select
from kuaihl.reaction import measure
from kuaihl.records import Comment, Segment, segments_of

NAN = float("nan")
NO_GAP = {"min_gap_s": 0.0}


def from_forecast(curve, noise=0.0, boundaries_s=(), **options):
    return select(
        forecast=curve,
        segments=segments_of(len(curve) * 30.0),
        noise=noise,
        boundaries_s=boundaries_s,
        options=HighlightOptions(**{**NO_GAP, **options}),
    )


def spans(curve, **options):
    """Return (first segment, segment after the last, score) of the highlights of a curve, best first."""
    highlights = from_forecast(curve, **options)
    assert [h.rank for h in highlights] == list(range(1, len(highlights) + 1))
    return [(h.start_s / 30, h.end_s / 30, h.score) for h in highlights]


@pytest.mark.parametrize(
    "curve",
    [
        [],
        [None],
        [None, 0.3],
        [None, 0.3, 0.3, 0.3],
        [None, NAN, NAN],
        [math.inf, -math.inf, 0.2],
        [None, 0.5, 0.519, 0.5],  # rises less than 0.02
    ],
)
def test_nothing_stands_out_of_a_flat_forecast(curve):
    assert spans(curve) == []


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.1, 0.5, 0.1], [(0, 2, 0.5)]),  # reaches back over the segment before the peak
        ([None, 0.2, 0.4], [(1, 3, 0.4)]),
        ([0.5, 0.1, 0.1], [(0, 1, 0.5)]),
        ([0.1, 0.5, 0.5, 0.1], [(0, 2, 0.5)]),  # no longer than 60 s, from the cause on
        ([None, 0.1, 0.6, NAN, 0.5, 0.1], [(1, 3, 0.6), (3, 5, 0.5)]),
        ([0.6, 0.6, 0.1, 0.3, 0.1, 0.6, 0.5], [(0, 2, 0.6), (4, 6, 0.6)]),  # the top of a trough does not count
        ([0.2, 0.24, 0.24, 0.23, 0.23], []),  # rises, and stays there
    ],
)
def test_forecast_by_hand(curve, expected):
    assert spans(curve) == expected


def test_noise_raises_the_floor():
    curve = [0.3, 0.4, 0.3]
    assert len(spans(curve, noise=0.049)) == 1
    assert spans(curve, noise=0.051) == []


def test_strength_grows_with_the_rise():
    rises = {0.03: "weak", 0.045: "medium", 0.065: "strong"}
    assert {rise: from_forecast([0.3, 0.3 + rise, 0.3])[0].strength for rise in rises} == rises


def test_length_is_limited_but_keeps_the_cause():
    curve = [0.1, 0.1, 0.5, 0.5, 0.5, 0.5, 0.1]
    assert spans(curve, max_length_s=150) == [(2, 6, 0.5)]
    assert spans(curve, max_length_s=20) == [(2, 3, 0.5)]


def test_budget_and_gap_and_top():
    curve = [0.1, 0.5, 0.1, 0.1, 0.6, 0.1, 0.1, 0.4, 0.1]
    assert [score for *_, score in spans(curve)] == [0.6, 0.5, 0.4]
    assert [score for *_, score in spans(curve, budget_s=130)] == [0.6, 0.5]
    assert [score for *_, score in spans(curve, min_gap_s=91)] == [0.6]
    assert [score for *_, score in spans(curve, top_k=2)] == [0.6, 0.5]


def test_padding_stops_at_the_ends_and_half_way_to_a_neighbour():
    curve = [0.5, 0.1, 0.1, 0.1, 0.6, 0.1]
    assert spans(curve, padding_s=15) == [(2.5, 5.5, 0.6), (0, 1.5, 0.5)]
    assert spans(curve, padding_s=1e6) == [(2, 6, 0.6), (0, 2, 0.5)]


def test_short_last_segment():
    segments = segments_of(97.0)
    assert segments[-1] == Segment(3, 90.0, 97.0)
    (last,) = select(forecast=[None, 0.1, 0.2, 0.6], segments=segments, options=HighlightOptions(padding_s=10))
    assert (last.start_s, last.peak_s, last.end_s) == (50.0, 93.5, 97.0)


def test_ends_snap_to_boundaries_within_three_seconds():
    (snapped,) = from_forecast([0.1, 0.1, 0.5, 0.1, 0.1], boundaries_s=[92.0, 33.1, 32.5, 60.0, 86.9, 87.5])
    assert (snapped.start_s, snapped.end_s) == (32.5, 92.0)
    (snapped,) = from_forecast([0.1, 0.1, 0.5, 0.1, 0.1], boundaries_s=[92.0, 87.5])  # 62 s would be too long
    assert (snapped.start_s, snapped.end_s) == (30.0, 87.5)


def prominence(curve, peak):
    """Return how far one must go down from a peak before going higher; the ends have only one side."""
    lows = []
    for step in (-1, 1):
        low, at = math.inf, peak + step
        while 0 <= at < len(curve) and curve[at] <= curve[peak]:
            low = min(low, curve[at])
            at += step
        lows.append(low)
    return curve[peak] - max(low for low in lows if low < math.inf)


@pytest.mark.parametrize("seed", range(25))
def test_random_curves_against_a_walk(seed):
    rng = np.random.default_rng(seed)
    curve = rng.random(int(rng.integers(3, 120)))  # no two values are equal: each peak is a segment
    gap_s, padding_s, k = float(rng.integers(0, 4) * 30), float(rng.random() * 100), int(rng.integers(1, 9))
    found = from_forecast(curve, noise=0.05, min_gap_s=gap_s, top_k=k, max_length_s=60)
    peaks = [
        i
        for i in range(len(curve))
        if all(curve[i] > curve[j] for j in (i - 1, i + 1) if 0 <= j < len(curve))
        and prominence(curve, i) >= 0.1
        and curve[i] >= curve.mean()
    ]
    chosen = []
    for i in sorted(peaks, key=lambda i: -curve[i]):
        span = (max(i - 1, 0), i + 1) if i else (0, 1)
        last = i
        while last + 1 < len(curve) and curve[last + 1] >= curve[i] - prominence(curve, i) / 2:
            last += 1
        if i == 0 and last > 0:
            span = (0, 2)
        free = all(span[1] <= a or b <= span[0] for a, b, _ in chosen)
        if free and all(abs(i - j) * 30 >= gap_s for *_, j in chosen):
            chosen.append((*span, i))
    assert [(h.start_s / 30, h.end_s / 30) for h in found] == [(a, b) for a, b, _ in chosen[:k]]

    padded = from_forecast(curve, noise=0.05, min_gap_s=gap_s, top_k=k, max_length_s=60, padding_s=padding_s)
    assert [h.peak_s for h in padded] == [h.peak_s for h in found]
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(sorted(padded, key=lambda h: h.start_s)))
    for before, after in zip(found, padded, strict=True):
        assert max(before.start_s - padding_s, 0) <= after.start_s <= before.start_s
        assert before.end_s <= after.end_s <= min(before.end_s + padding_s, len(curve) * 30)


def made_chat(bursts_s, *, minutes=40, chatters=60, seed=0):
    """Return calm chat with bursts of laughter by many chatters at the given times."""
    rng = np.random.default_rng(seed)
    calm = [Comment(float(t), "nice", f"u{rng.integers(chatters)}") for t in rng.uniform(0, minutes * 60, minutes * 12)]
    burst = [
        Comment(at_s + float(rng.uniform(0, 8)), "KEKW" if i % 3 else "LUL", f"u{i}")
        for at_s in bursts_s
        for i in range(chatters // 2)
    ]
    return sorted(calm + burst, key=lambda comment: comment.time_s)


def test_bursts_of_laughter_are_the_highlights():
    bursts_s = [905.0, 1500.0, 2105.0]
    reaction = measure(made_chat(bursts_s), duration_s=2400.0)
    found = select(reaction=reaction, forecast=[None] * 80, segments=segments_of(2400.0))
    assert {h.source for h in found} == {"reaction"}
    best = sorted(found, key=lambda h: h.rank)[:3]
    for at_s, highlight in zip(bursts_s, sorted(best, key=lambda h: h.start_s), strict=True):
        assert highlight.start_s <= at_s + 4 <= highlight.end_s
        assert 15 <= highlight.end_s - highlight.start_s <= 60
        assert highlight.strength == "strong"
        assert "KEKW × 20" in highlight.why


def test_auto_takes_the_reaction_only_where_there_is_enough_chat():
    enough, few = measure(made_chat([900.0])), measure([Comment(5.0, "hi", "a"), Comment(700.0, "lol", "b")])
    assert choose_source(enough) == "reaction"
    assert choose_source(few) == choose_source(None) == "forecast"
    assert choose_source(few, "reaction") == "reaction"
    curve = [0.1] * 40 + [0.5] + [0.1] * 39
    (only,) = select(reaction=few, forecast=curve, segments=segments_of(2400.0))
    assert only.source == "forecast"


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_k": 0},
        {"by": "luck"},
        {"min_gap_s": -1.0},
        {"min_gap_s": NAN},
        {"padding_s": -0.1},
        {"padding_s": math.inf},
        {"max_length_s": 0.0},
        {"max_length_s": NAN},
        {"max_length_s": 10.0},
        {"budget_s": 0.0},
        {"min_length_s": -1.0},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HighlightOptions(**wrong)


def test_missing_or_unequal_curves_are_refused():
    with pytest.raises(ValueError, match="3 segments, but 2 scores"):
        select(forecast=[None, 0.1], segments=segments_of(90.0))
    with pytest.raises(ValueError, match="need a reaction"):
        select(forecast=[None, 0.1, 0.2], segments=segments_of(90.0), options=HighlightOptions(by="reaction"))
    with pytest.raises(ValueError, match="need a forecast"):
        select(options=HighlightOptions(by="forecast"))
