"""From a curve of scores to highlights: peaks widened to their shoulders, ranked by the score at the peak."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.signal import find_peaks, peak_widths

from kuaihl.records import Highlight, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class HighlightOptions:
    """How highlights are selected.

    Attributes
    ----------
    top_k
        How many at most.
    min_gap_s
        Minimum gap between two, before padding.
    padding_s
        Added on both sides.
    max_length_s
        Maximum length before padding, but at least one segment.
    min_prominence
        Least height of a peak above its surroundings, in units of the score.
    shoulder
        A highlight ends where the curve has fallen by this share of the peak's height above its surroundings.

    Raises
    ------
    ValueError
        An option is out of its range.
    """

    top_k: int = 5
    min_gap_s: float = 60.0
    padding_s: float = 0.0
    max_length_s: float = 300.0
    min_prominence: float = 0.001
    shoulder: float = 0.5

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        for name in ("min_gap_s", "padding_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number from 0 up, not {value}")
        for name in ("max_length_s", "min_prominence"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 < self.shoulder <= 1:
            raise ValueError(f"shoulder must be above 0 and at most 1, not {self.shoulder}")


@dataclass(frozen=True, slots=True)
class _Peak:
    """A peak of the curve: its segment, the first and the last segment between its shoulders, and its score."""

    index: int
    first: int
    last: int
    score: float


def select(
    segments: Sequence[Segment], scores: Sequence[float | None], *, options: HighlightOptions
) -> tuple[Highlight, ...]:
    """Select the highlights of a curve, best first.

    Highlights are whole segments. A peak may be a plateau, whose middle then stands for it, or the curve's first or
    last value; one below the curve's mean does not count. A segment without a score (None, NaN) ends a highlight, and a
    flat curve has none. ``padding_s`` stops at the recording's ends and half-way to a neighbour.

    Parameters
    ----------
    segments
        The recording's segments, in order.
    scores
        (segments,): the score of each.

    Raises
    ------
    ValueError
        The two differ in length.
    """
    if len(segments) != len(scores):
        raise ValueError(f"{len(segments)} segments, but {len(scores)} values")
    curve = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    selected: list[_Peak] = []
    for peak in sorted(_peaks(curve, options), key=lambda peak: (-peak.score, peak.index)):
        trimmed = _trim(peak, segments, curve, options.max_length_s)
        if all(_gap_s(trimmed, other, segments) >= options.min_gap_s for other in selected):
            selected.append(trimmed)
        if len(selected) == options.top_k:
            break
    return _pad(selected, segments, options.padding_s)


def _peaks(curve: np.ndarray, options: HighlightOptions) -> Iterator[_Peak]:
    """Find the peaks of each unbroken run of the curve."""
    known = np.isfinite(curve)
    if not known.any():
        return
    floor, mean = curve[known].min(), curve[known].mean()
    steps = np.flatnonzero(np.diff(known.astype(np.int8), prepend=0, append=0))
    for start, stop in steps.reshape(-1, 2):
        # Beyond its ends a run counts as low as the curve ever is: its first and last value can then be peaks, while a
        # flat curve still has none.
        run = np.pad(curve[start:stop], 1, constant_values=floor)
        tops, peaks = find_peaks(run, prominence=options.min_prominence)
        prominence_data = (peaks["prominences"], peaks["left_bases"], peaks["right_bases"])
        _, _, left, right = peak_widths(run, tops, rel_height=options.shoulder, prominence_data=prominence_data)
        # The shoulders lie between two segments: the inner ones are on the peak. Padding shifted all of them by one.
        first = np.clip(np.ceil(left), 1, tops).astype(int) - 1 + start
        last = np.clip(np.floor(right), tops, len(run) - 2).astype(int) - 1 + start
        for top, begin, end in zip(tops - 1 + start, first, last, strict=True):
            if curve[top] >= mean:
                yield _Peak(int(top), int(begin), int(end), float(curve[top]))


def _trim(peak: _Peak, segments: Sequence[Segment], curve: np.ndarray, max_length_s: float) -> _Peak:
    """Shorten a peak by dropping the lower of its two outermost segments, again and again."""
    first, last = peak.first, peak.last
    while first < last and segments[last].end_s - segments[first].start_s > max_length_s:
        # Of equals, as on a plateau, the one further from the peak goes; the peak itself never.
        left_is_lower = (curve[first], first - peak.index) < (curve[last], peak.index - last)
        if last == peak.index or (first < peak.index and left_is_lower):
            first += 1
        else:
            last -= 1
    return replace(peak, first=first, last=last)


def _gap_s(peak: _Peak, other: _Peak, segments: Sequence[Segment]) -> float:
    """Return the gap between two peaks, negative where they overlap."""
    early, late = sorted((peak, other), key=lambda peak: peak.index)
    return segments[late.first].start_s - segments[early.last].end_s if early.last < late.first else -1.0


def _pad(peaks: Sequence[_Peak], segments: Sequence[Segment], padding_s: float) -> tuple[Highlight, ...]:
    """Pad peaks, which are in order of rank, without letting two of them meet."""
    in_time = sorted(peaks, key=lambda peak: peak.index)
    spans = [(segments[peak.first].start_s, segments[peak.last].end_s) for peak in in_time]
    # Where padding has to stop: the recording's ends, and the middle between two neighbours.
    middles = [(end + start) / 2 for (_, end), (start, _) in pairwise(spans)]
    stops = [segments[0].start_s, *middles, segments[-1].end_s] if spans else []
    padded = {
        peak: (max(start - padding_s, stops[i]), min(end + padding_s, stops[i + 1]))
        for i, (peak, (start, end)) in enumerate(zip(in_time, spans, strict=True))
    }
    return tuple(
        Highlight(
            rank=rank,
            start_s=padded[peak][0],
            end_s=padded[peak][1],
            peak_s=(segments[peak.index].start_s + segments[peak.index].end_s) / 2,
            score=peak.score,
        )
        for rank, peak in enumerate(peaks, 1)
    )
