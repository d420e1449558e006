"""Check whether a log fits its recording by length, and propose an offset if it does not."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from kuaihl.comments.fields import as_clock
from kuaihl.records import Comment

OUTSIDE_SHARE = 0.05
"""Up to this share of comments outside the recording is normal: people come early and leave late."""
_STRAY_SHARE, _SILENCE_S = 0.01, 600.0
_SLACK_S, _SLACK_SHARE = 60.0, 0.02
_HOUR_S = 3600.0
_KNOWN_TO_S = 1800.0
"""Where the offset is known less exactly, that a whole hour is among the possible ones says nothing."""
_LONGER_IN_MS = 20
_FEWEST_BATCHES, _BATCH, _COARSE_S = 5, 2, 5.0
"""Whole seconds are no batches: a chat in which two write at a time writes every second."""
_HOURS_OFF = "That is a whole number of hours off: a wrong time zone?"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What does not fit.

    Attributes
    ----------
    offset_s
        Seconds to add to every time that may correct it; None if no offset does.
    is_supported
        Whether the lengths support the offset: whole hours off, or as long as the recording. Otherwise it is a guess.
    """

    message: str
    offset_s: float | None
    is_supported: bool = False


def ends(times: Sequence[float]) -> tuple[float, float]:
    """Return the first and last of sorted times without outliers: up to 1 %, separated by 10 min of silence."""
    few = int(len(times) * _STRAY_SHARE)
    first = max((i for i in range(1, few + 1) if times[i] - times[i - 1] > _SILENCE_S), default=0)
    last = max((i for i in range(1, few + 1) if times[-i] - times[-i - 1] > _SILENCE_S), default=0)
    return times[first], times[-1 - last]


def batches_s(times: Sequence[float]) -> float | None:
    """Return the step in seconds if sorted times come in batches, else None.

    Polled chats have such times, and logs without seconds.
    """
    distinct = sorted(set(times))
    if len(distinct) < _FEWEST_BATCHES or len(times) < _BATCH * len(distinct):
        return None
    gap_s = median(b - a for a, b in pairwise(distinct))
    return gap_s if gap_s >= _COARSE_S else None


def mismatch(comments: Iterable[Comment], duration_s: float) -> Mismatch | None:
    """Compare the span of a log with the length of its recording; return None if they fit.

    They fit if at most ``OUTSIDE_SHARE`` of the comments lie outside the recording. Otherwise:

    1. Times that fit when divided by 1000 are milliseconds; no offset corrects that.
    2. A log no longer than the recording is moved into it: by whole hours if there is a choice of less than half an
       hour that holds one, since that is what a wrong time zone makes, and else so that it begins with the recording.
    3. A longer one that is mostly inside, or begins or ends with the recording, has lost a part of its recording: if
       that is the beginning, both should end together; where more lies before the recording than behind, both should
       begin together. Any other is moved by whole hours if it then begins with the recording, and else so that it does.
    """
    times = sorted(c.time_s for c in comments)
    early, late = bisect_left(times, 0.0), len(times) - bisect_left(times, duration_s)
    if early + late <= OUTSIDE_SHARE * len(times):
        return None
    share = (early + late) / len(times)
    first_s, last_s = ends(times)
    length_s, slack_s = last_s - first_s, max(_SLACK_S, _SLACK_SHARE * duration_s)
    text = (
        f"{share:.0%} of the comments are outside the recording, which is {as_clock(duration_s)} long: they run from"
        f" {as_clock(first_s)} to {as_clock(last_s)}."
    )
    if length_s > _LONGER_IN_MS * duration_s and -slack_s <= first_s / 1000 and last_s / 1000 <= duration_s + slack_s:
        return Mismatch(f"{text} These look like milliseconds: name their column time_ms.", None)
    if length_s <= duration_s + slack_s:
        return _moved(text, -first_s, duration_s - last_s, slack_s, open_early=0 < early < len(times) and not late)
    return _longer(text, first_s, last_s, duration_s, slack_s, begins_before=early > late, mostly_inside=share <= 0.5)


def _longer(
    text: str,
    first_s: float,
    last_s: float,
    duration_s: float,
    slack_s: float,
    *,
    begins_before: bool,
    mostly_inside: bool,
) -> Mismatch:
    """Describe what may have happened to a log that is longer than its recording."""
    if not mostly_inside and min(abs(first_s), abs(last_s - duration_s)) > slack_s:
        hours = round(-first_s / _HOUR_S)
        if hours and abs(first_s + hours * _HOUR_S) <= slack_s:
            return Mismatch(f"{text} {_HOURS_OFF}", hours * _HOUR_S, is_supported=True)
        return Mismatch(f"{text} It may be meant to begin with the recording.", _whole(-first_s))
    longer = f"The log is {as_clock(last_s - first_s - duration_s)} longer than the recording."
    if begins_before:
        return Mismatch(
            f"{text} {longer} If the chat was open before, nothing is wrong; if both began together, it must be moved.",
            _whole(-first_s),
        )
    return Mismatch(
        f"{text} {longer} If the recording lacks its end, nothing is wrong; if it lacks its beginning, the log must be"
        " moved.",
        _whole(duration_s - last_s),
    )


def _moved(text: str, starts_s: float, stops_s: float, slack_s: float, *, open_early: bool) -> Mismatch:
    """Choose an offset that puts the log inside, between equal starts and equal ends."""
    low_s, high_s = sorted((starts_s, stops_s))
    hours = round((low_s + high_s) / 2 / _HOUR_S)
    if hours and high_s - low_s <= _KNOWN_TO_S and low_s - slack_s <= hours * _HOUR_S <= high_s + slack_s:
        return Mismatch(f"{text} {_HOURS_OFF}", hours * _HOUR_S, is_supported=True)
    if open_early:
        text += " If the chat was open before, nothing is wrong."
    free = f"; anything up to {as_clock(stops_s)} keeps them inside" if abs(stops_s - starts_s) > _SLACK_S else ""
    message = f"{text} Moved by {as_clock(starts_s)} they begin with it{free}."
    return Mismatch(message, _whole(starts_s), is_supported=high_s - low_s <= slack_s and not open_early)


def _whole(seconds: float) -> float:
    """Round to whole seconds."""
    return float(round(seconds))
