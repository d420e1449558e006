"""Diagnostics of a parser: skipped entries by reason with the place of the first, and validation of times."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from kuaihl.comments.fields import as_clock, clean, date_readings, epoch_s, is_bot
from kuaihl.records import Comment, Skipped

MAX_TIME_S = 366 * 86_400.0
"""Longer than any recording: a larger time is an epoch in seconds or milliseconds."""

_SAME_DAY = timedelta(days=2)
"""Of the readings of an ambiguous date, the one this near to the stream start counts."""
_LATE_S = 30.0
"""Comments of a sorted log are late by no more than this."""
_RESTART_COMMENTS = 4
"""After a drop of the time to the first half of the log, so many comments there in a row begin a second log."""


@dataclass(slots=True)
class _Restart:
    """A drop of the time: where, from which time to which, and the first time of the log before it."""

    where: str
    last_s: float
    first_s: float
    begin_s: float
    comments: int = 1


class Report:
    """Collects what was left out of a log and what was damaged.

    ``understood`` and ``damaged`` count entries. ``is_sorted`` is False for formats that do not keep the order of time.

    Parameters
    ----------
    start
        Start of the recording with a time zone; without it, dates cannot be converted.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.start = start
        self.understood = 0
        self.damaged = 0
        self.wall_clock_example = ""
        self.placed = False
        self.is_sorted = True
        self._skipped: dict[str, Skipped] = {}
        self._damages: set[str] = set()
        self._notes: dict[str, None] = {}
        self._start_s = start.timestamp() if start else 0.0
        self._begin_s = self._previous_s = self._latest_s = math.nan
        self._late = 0
        self._drop: _Restart | None = None
        self._restarts: list[_Restart] = []

    @property
    def note(self) -> str:
        """Notes for the user; they become part of the format name."""
        return "; ".join(self._notes)

    def add_note(self, note: str) -> None:
        """Add a note; duplicates are ignored."""
        self._notes[note] = None

    def flaw(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count damage that is not an entry, such as characters or a missing end."""
        known = self._skipped.get(reason)
        self._skipped[reason] = (
            Skipped(reason, known.count + count, known.where) if known else Skipped(reason, count, where)
        )

    def skip(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count a valid entry that is left out on purpose."""
        self.understood += count
        self.flaw(reason, where, count=count)

    def damage(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count an entry that could not be parsed."""
        self.damaged += count
        self._damages.add(reason)
        self.flaw(reason, where, count=count)

    def comment(
        self, time_s: float | None, user: str, text: str, where: str, kind: str = "message"
    ) -> tuple[Comment, ...]:
        """Return a comment as a tuple; an empty one if it has no time, or no text, which is counted."""
        if time_s is None:
            return ()
        if not text:
            self.flaw("comments without text", where)
            return ()
        self.understood += 1
        return (Comment(time_s, text, user or None, "bot" if kind == "message" and is_bot(user) else kind),)

    def time(self, seconds: float | None, where: str, *, shown: object = None) -> float | None:
        """Return a time from the start of the recording, converted if it is an epoch.

        Invalid times are counted, and None.
        """
        if seconds is None:
            self.damage("entries without a readable time", where)
        elif not math.isfinite(seconds):
            self.damage("times that are not finite", where)
        elif abs(seconds) > MAX_TIME_S:
            return self.epoch(seconds, where, shown=shown)
        else:
            if not seconds >= self._latest_s or self._drop:
                self._check_order(seconds, where)
            else:
                self._previous_s, self._latest_s = self._latest_s, seconds
            return seconds + 0.0  # -0.0 becomes 0.0
        return None

    def epoch(self, value: float | None, where: str, *, shown: object = None) -> float | None:
        """Convert an epoch in any unit to the time from the start of the recording; None, and counted, if invalid."""
        since_1970_s = None if value is None or not math.isfinite(value) else epoch_s(value)
        if since_1970_s is None:
            self.damage("numbers that are neither seconds of a recording nor dates (milliseconds?)", where)
            return None
        return self._place(since_1970_s, where, value if shown is None else shown)

    def date(self, text: str, where: str, *, zone: tzinfo | None = None) -> float | None:
        """Convert a date to the time from the start of the recording; None, and counted, if invalid.

        A date without a zone is in ``zone``; if that is unknown, in the zone of the stream start, with a note. Of a
        date with two readings, such as 03/04/2025, the one near the stream start counts.
        """
        if self.start is None:
            return self._place(0.0, where, text)
        readings = date_readings(text)
        if not readings:
            self.damage("dates in an unknown notation (known: 2024-05-01 20:00:00)", where)
            return None
        if len(readings) > 1:
            start = self.start.replace(tzinfo=None)
            readings = [r for r in readings if abs(r.replace(tzinfo=None) - start) < _SAME_DAY]
        if not readings:
            self.damage("dates that can begin with the day or the month, neither near the stream start", where)
            return None
        return self.moment(readings[0], where, zone=zone, shown=text)

    def moment(self, moment: datetime, where: str, *, shown: object, zone: tzinfo | None = None) -> float | None:
        """Convert a moment to the time from the start of the recording; for its zone see ``date``."""
        if self.start is None:
            return self._place(0.0, where, shown)
        if moment.tzinfo is None:
            if zone is None:
                offset = self.start.isoformat()[-6:]
                self.add_note(f"dates without a time zone are read in that of the stream start, {offset}")
            moment = moment.replace(tzinfo=zone or self.start.tzinfo)
        return self._place(moment.timestamp(), where, shown)

    def _place(self, since_1970_s: float, where: str, shown: object) -> float | None:
        if self.start is None:
            self.wall_clock_example = self.wall_clock_example or f"{clean(str(shown))[:60]} at {where}"
            self.skip("wall-clock times instead of times from the start of the recording", where)
            return None
        self.placed = True
        time_s = since_1970_s - self._start_s
        if abs(time_s) > MAX_TIME_S:
            self.damage("dates more than a year away from the stream start", where)
            return None
        self._check_order(time_s, where)
        return time_s

    def _check_order(self, time_s: float, where: str) -> None:
        """Record where the time drops to the first half of the log and stays there."""
        drop = self._drop
        if math.isnan(self._latest_s):
            self._begin_s = self._previous_s = self._latest_s = time_s
        elif drop is not None:
            if time_s > (drop.begin_s + drop.last_s) / 2:  # the comments after the drop were strays
                self._begin_s, self._latest_s, self._drop = drop.begin_s, max(drop.last_s, time_s), None
                return
            self._latest_s = max(self._latest_s, time_s)
            drop.comments += 1
            if drop.comments == _RESTART_COMMENTS:
                self._restarts.append(drop)
                self._drop = None
        elif time_s >= self._latest_s:
            self._previous_s, self._latest_s = self._latest_s, time_s
        elif time_s < self._latest_s - _LATE_S:
            self._late += 1
            if self._latest_s - self._previous_s > self._previous_s - self._begin_s:  # a stray far ahead
                self._latest_s = max(self._previous_s, time_s)
            elif time_s <= (self._begin_s + self._latest_s) / 2 and self._latest_s - self._begin_s > _LATE_S:
                self._drop = _Restart(where, self._latest_s, time_s, self._begin_s)
                self._begin_s = self._previous_s = self._latest_s = time_s

    def note_restarts(self, comments: int) -> bool:
        """Add a note if times start again, and this log of so many ``comments`` is sorted otherwise."""
        few = 0.02 * comments + 2
        if not self.is_sorted or not 0 < len(self._restarts) <= few or self._late - len(self._restarts) > few:
            return False
        first = self._restarts[0]
        more = f", and {len(self._restarts) - 1} times more" if len(self._restarts) > 1 else ""
        self.add_note(
            f"times start again at {first.where} ({as_clock(first.first_s)} after {as_clock(first.last_s)}){more}:"
            " joined logs, which must be separated"
        )
        return True

    def main_damage(self) -> Skipped:
        """Return the most frequent kind of damage."""
        return next(skipped for skipped in self.skipped() if skipped.reason in self._damages)

    def skipped(self) -> tuple[Skipped, ...]:
        """Return what was left out, most frequent first."""
        return tuple(sorted(self._skipped.values(), key=lambda s: -s.count))
