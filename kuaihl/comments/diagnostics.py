"""Diagnostics of a parser: skipped entries by reason with the place of the first, and validation of times."""

import math
from datetime import datetime, tzinfo

from kuaihl.comments.fields import clean
from kuaihl.comments.wall_clock import epoch_s, read_date, zone_name
from kuaihl.records import Skipped

MAX_TIME_S = 366 * 86_400.0
"""Longer than any recording: a larger time is an epoch in seconds or milliseconds."""


class Report:
    """Collects what was left out of a log and what was damaged.

    Parameters
    ----------
    start
        Start of the recording with a time zone; without it, dates cannot be converted.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.start = start
        self.damaged = 0
        self.wall_clock_example = ""
        self.placed = False
        self._found: dict[str, Skipped] = {}
        self._notes: dict[str, None] = {}
        self._start_s = start.timestamp() if start else 0.0

    @property
    def note(self) -> str:
        """Notes for the user; they become part of the format name."""
        return "; ".join(self._notes)

    def add_note(self, note: str) -> None:
        """Add a note; duplicates are ignored."""
        self._notes[note] = None

    def skip(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count a valid entry that is left out on purpose."""
        known = self._found.get(reason)
        self._found[reason] = (
            Skipped(reason, known.count + count, known.where) if known else Skipped(reason, count, where)
        )

    def damage(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count an entry that could not be parsed."""
        self.damaged += count
        self.skip(reason, where, count=count)

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
            return seconds + 0.0  # -0.0 becomes 0.0
        return None

    def epoch(self, value: float | None, where: str, *, shown: object = None) -> float | None:
        """Convert an epoch in any unit to the time from the start of the recording; None, and counted, if invalid."""
        found = None if value is None or not math.isfinite(value) else epoch_s(value)
        if found is None:
            self.damage("numbers that are neither seconds of a recording nor dates (milliseconds?)", where)
            return None
        return self._placed(found, where, value if shown is None else shown)

    def date(self, text: str, where: str, *, zone: tzinfo | None = None) -> float | None:
        """Convert a date to the time from the start of the recording; None, and counted, if invalid.

        A date without a zone is in ``zone``; if that is unknown, in the zone of the stream start, with a note.
        """
        if self.start is None:
            return self._placed(0.0, where, text)
        found = read_date(text)
        if found is None:
            self.damage("dates that do not begin with the year, as in 2024-05-01 20:00:00", where)
            return None
        return self.moment(found, where, zone=zone, shown=text)

    def moment(self, found: datetime, where: str, *, shown: object, zone: tzinfo | None = None) -> float | None:
        """Convert a moment to the time from the start of the recording; for its zone see ``date``."""
        if self.start and found.tzinfo is None:
            if zone is None:
                self.add_note(
                    f"dates without a time zone are read in that of the stream start, {zone_name(self.start)}"
                )
            found = found.replace(tzinfo=zone or self.start.tzinfo)
        return self._placed(found.timestamp() if self.start else 0.0, where, shown)

    def _placed(self, since_1970_s: float, where: str, shown: object) -> float | None:
        if self.start is None:
            self.wall_clock_example = self.wall_clock_example or f"{clean(str(shown))[:60]} at {where}"
            self.damage("wall-clock times instead of times from the start of the recording", where)
            return None
        self.placed = True
        time_s = since_1970_s - self._start_s
        if abs(time_s) > MAX_TIME_S:
            self.damage("dates more than a year away from the stream start", where)
            return None
        return time_s

    def skipped(self) -> tuple[Skipped, ...]:
        """Return what was left out, most frequent first."""
        return tuple(sorted(self._found.values(), key=lambda s: -s.count))
