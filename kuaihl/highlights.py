"""Highlights: rank the moments of a recording by the reaction of its audience, or by the forecast of the model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.signal import find_peaks

from kuaihl.reaction import Reaction
from kuaihl.records import Highlight, Segment, Strength

By = Literal["auto", "reaction", "forecast"]
MIN_PROMINENCE = 0.02
"""Least rise of a peak of the forecast above its surroundings."""
SNAP_S = 3.0
"""Starts and ends move to a sentence boundary or a cut that is at most this far away."""
_SHOULDER = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HighlightOptions:
    """Which highlights to select.

    Attributes
    ----------
    top_k
        How many at most.
    by
        ``"reaction"``, ``"forecast"``, or ``"auto"``: the reaction if the log has enough chat
        (see `kuaihl.reaction.Reaction.too_little`), otherwise the forecast.
    min_length_s, max_length_s
        Length of a highlight. One from the forecast covers at least the segment that caused its peak.
    budget_s
        Total length of all highlights; unlimited if None. A highlight that does not fit is left out.
    min_gap_s
        Least distance between two peaks.
    padding_s
        Added at both ends, where it does not reach into another highlight.

    Raises
    ------
    ValueError
        An option is out of range.
    """

    top_k: int = 5
    by: By = "auto"
    min_length_s: float = 15.0
    max_length_s: float = 60.0
    budget_s: float | None = None
    min_gap_s: float = 60.0
    padding_s: float = 0.0

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        if self.by not in ("auto", "reaction", "forecast"):
            raise ValueError(f"by must be auto, reaction or forecast, not {self.by!r}")
        for name in ("min_length_s", "min_gap_s", "padding_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number from 0 up, not {value}")
        for name in ("max_length_s", "budget_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if self.max_length_s < self.min_length_s:
            raise ValueError(f"max_length_s {self.max_length_s} must not be below min_length_s {self.min_length_s}")


def select(
    *,
    forecast: Sequence[float | None] | None = None,
    segments: Sequence[Segment] = (),
    reaction: Reaction | None = None,
    boundaries_s: Sequence[float] = (),
    noise: float = 0.0,
    options: HighlightOptions = HighlightOptions(),
) -> tuple[Highlight, ...]:
    """Select the highlights of a recording, best first; empty if nothing stands out.

    Parameters
    ----------
    forecast, segments
        Predicted score of each segment, and the segments: (segments,) both. None and NaN mean no prediction.
    reaction
        From `kuaihl.reaction.measure`.
    boundaries_s
        Times at which a highlight may well begin or end, such as ends of sentences and cuts, in any order.
    noise
        How far the forecast strays from its median on still input. Peaks of the forecast that rise less than twice
        this, or less than `MIN_PROMINENCE`, are left out.

    Raises
    ------
    ValueError
        ``forecast`` and ``segments`` differ in length, or the options ask for a curve that is missing.
    """
    if forecast is not None and len(forecast) != len(segments):
        raise ValueError(f"{len(segments)} segments, but {len(forecast)} scores")
    if choose_source(reaction, options.by) == "reaction":
        if reaction is None:
            raise ValueError("highlights by reaction need a reaction")
        candidates = _from_reaction(reaction, options)
    else:
        if forecast is None:
            raise ValueError("highlights by forecast need a forecast")
        scores = np.array([np.nan if value is None else value for value in forecast], dtype=np.float64)
        candidates = _from_forecast(scores, segments, max(MIN_PROMINENCE, 2 * noise), options)
    end_s = segments[-1].end_s if segments else math.inf
    return _place(candidates, np.sort(np.asarray(boundaries_s, np.float64)), end_s, options)


def choose_source(reaction: Reaction | None, by: By = "auto") -> Literal["reaction", "forecast"]:
    """Return the curve that highlights come from."""
    if by != "auto":
        return by
    return "reaction" if reaction is not None and reaction.too_little is None else "forecast"


def _from_reaction(reaction: Reaction, options: HighlightOptions) -> Iterator[Highlight]:
    """Yield the moments that stand out, best first."""
    for moment in reaction.moments(min_gap_s=options.min_gap_s):
        start_s, end_s = _limit(moment.start_s, moment.end_s, moment.time_s, options)
        why = reaction.evidence(moment.start_s, moment.end_s).summary
        yield Highlight(0, start_s, end_s, moment.time_s, moment.score, moment.strength or "weak", why, "reaction")


def _limit(start_s: float, end_s: float, peak_s: float, options: HighlightOptions) -> tuple[float, float]:
    """Bring a span to an allowed length; a third of the longest highlight lies before the peak."""
    if end_s - start_s <= options.max_length_s:
        return start_s, max(end_s, start_s + options.min_length_s)
    start_s = max(start_s, peak_s - options.max_length_s / 3)
    return start_s, min(end_s, start_s + options.max_length_s)


def _from_forecast(
    scores: np.ndarray, segments: Sequence[Segment], floor: float, options: HighlightOptions
) -> Iterator[Highlight]:
    """Yield the peaks of the forecast, best first, each with the segment before it, which caused it."""
    known = np.isfinite(scores)
    if not known.any():
        return
    usual = float(scores[known].mean())
    peaks: list[tuple[float, int, int, float]] = []
    runs = np.flatnonzero(np.diff(known.astype(np.int8), prepend=0, append=0))
    for start, stop in runs.reshape(-1, 2):
        run = scores[start:stop]
        # Padded, so that the first and last value can be peaks; the middle of a plateau is its peak.
        for top in find_peaks(np.pad(run, 1, constant_values=run.min() - 1))[0] - 1:
            rise = _rise(run, int(top))
            if rise >= floor and run[top] >= usual:
                below = np.flatnonzero(run[top:] < run[top] - rise * _SHOULDER)
                last = top + int(below[0]) - 1 if len(below) else len(run) - 1
                peaks.append((float(run[top]), start + int(top), start + last, rise))
    for score, index, last, rise in sorted(peaks, key=lambda peak: (-peak[0], peak[1])):
        cause, peak = segments[max(index - 1, 0)], segments[index]
        end_s = max(cause.end_s, min(segments[last].end_s, cause.start_s + options.max_length_s))
        strength: Strength = "strong" if rise >= 3 * floor else "medium" if rise >= 2 * floor else "weak"
        why = f"predicted {score:.0%}, usually {usual:.0%}"
        yield Highlight(0, cause.start_s, end_s, (peak.start_s + peak.end_s) / 2, score, strength, why, "forecast")


def _rise(run: np.ndarray, top: int) -> float:
    """Return the prominence of a peak; the first and last value rise above their only side."""
    higher = np.flatnonzero(run > run[top])
    start = int(higher[higher < top].max(initial=-1)) + 1
    stop = int(higher[higher > top].min(initial=len(run)))
    sides = [side.min() for side in (run[start:top], run[top + 1 : stop]) if len(side)]
    return float(run[top] - max(sides)) if sides else 0.0


def _place(
    candidates: Iterator[Highlight], boundaries_s: np.ndarray, end_s: float, options: HighlightOptions
) -> tuple[Highlight, ...]:
    """Snap, space and rank candidates, which come best first; ``end_s`` is the end of the recording."""
    chosen: list[Highlight] = []
    left_s = math.inf if options.budget_s is None else options.budget_s
    for candidate in candidates:
        highlight = _snap(candidate, boundaries_s, options)
        length_s = highlight.end_s - highlight.start_s
        apart = all(
            abs(highlight.peak_s - other.peak_s) >= options.min_gap_s
            and (highlight.end_s <= other.start_s or other.end_s <= highlight.start_s)
            for other in chosen
        )
        if apart and length_s <= left_s:
            left_s -= length_s
            chosen.append(replace(highlight, rank=len(chosen) + 1))
        if len(chosen) == options.top_k:
            break
    return tuple(_pad(highlight, chosen, options.padding_s, end_s) for highlight in chosen)


def _snap(highlight: Highlight, boundaries_s: np.ndarray, options: HighlightOptions) -> Highlight:
    """Move start and end to the nearest boundary within `SNAP_S`, if the length stays allowed."""
    start_s, end_s = highlight.start_s, highlight.end_s
    longest_s = max(options.max_length_s, end_s - start_s)
    for near_s in _near(boundaries_s, start_s):
        if near_s < highlight.peak_s and options.min_length_s <= end_s - near_s <= longest_s:
            start_s = near_s
            break
    for near_s in _near(boundaries_s, end_s):
        if near_s > highlight.peak_s and options.min_length_s <= near_s - start_s <= longest_s:
            end_s = near_s
            break
    return replace(highlight, start_s=start_s, end_s=end_s)


def _near(boundaries_s: np.ndarray, time_s: float) -> list[float]:
    low, high = np.searchsorted(boundaries_s, [time_s - SNAP_S, time_s + SNAP_S], side="left")
    return sorted(map(float, boundaries_s[low:high]), key=lambda near_s: abs(near_s - time_s))


def _pad(highlight: Highlight, chosen: Sequence[Highlight], padding_s: float, recording_s: float) -> Highlight:
    """Widen a highlight, at most to the ends of the recording and half-way to its neighbours."""
    before_s = max((h.end_s for h in chosen if h.end_s <= highlight.start_s), default=-highlight.start_s)
    after_s = min((h.start_s for h in chosen if h.start_s >= highlight.end_s), default=math.inf)
    start_s = max(highlight.start_s - padding_s, (before_s + highlight.start_s) / 2)
    end_s = min(highlight.end_s + padding_s, (after_s + highlight.end_s) / 2, max(recording_s, highlight.end_s))
    return replace(highlight, start_s=start_s, end_s=end_s)
