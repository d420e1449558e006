"""What a parser could not take over: counted by reason, with the place of the first."""

import math

from kuaihl.records import Skipped

MAX_TIME_S = 366 * 86_400.0
"""No recording lasts a year: a larger time is a date in seconds or milliseconds."""


class Report:
    """Collects what was left out of a log, and what in it was damaged.

    ``note`` is what a user must know about the log's variety; it becomes part of the format's name.
    """

    def __init__(self) -> None:
        self._found: dict[str, Skipped] = {}
        self.damaged = 0
        self.note = ""
        self.wall_clock_example = ""

    def skip(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count something sound that is left out on purpose."""
        known = self._found.get(reason)
        self._found[reason] = (
            Skipped(reason, known.count + count, known.where) if known else Skipped(reason, count, where)
        )

    def damage(self, reason: str, where: str, *, count: int = 1) -> None:
        """Count something that could not be understood."""
        self.damaged += count
        self.skip(reason, where, count=count)

    def wall_clock(self, shown: object, where: str) -> None:
        """Count an entry that tells a date, not the time since the start."""
        self.wall_clock_example = self.wall_clock_example or f"{shown} at {where}"
        self.damage("times by the wall clock, not from the start of the recording", where)

    def time(self, seconds: float | None, where: str, *, shown: object = None) -> float | None:
        """Return a time that can be one, in seconds; otherwise count it and return None."""
        if seconds is None:
            self.damage("entries without a readable time", where)
        elif not math.isfinite(seconds):
            self.damage("times that are not finite", where)
        elif abs(seconds) > MAX_TIME_S:
            self.wall_clock(seconds if shown is None else shown, where)
        else:
            return seconds + 0.0  # -0.0 becomes 0.0
        return None

    def skipped(self) -> tuple[Skipped, ...]:
        """Return what was left out, most frequent first."""
        return tuple(sorted(self._found.values(), key=lambda s: -s.count))
