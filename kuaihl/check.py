"""What was understood of a comment log, and whether it fits its recording: for the page, programs and command line."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kuaihl.comments import Mismatch, Summary, mismatch, spoken, summarize
from kuaihl.lag import Lag, estimate_offset, sound_level
from kuaihl.recording import Recording
from kuaihl.records import CommentLog

BINS = 100
FITS_S = 10.0
"""An estimate nearer than this to what is set says that the log fits: how fast viewers react is not known better."""


@dataclass(frozen=True, slots=True)
class LogCheck:
    """A log in numbers, the length of its recording if that was given, and what does not fit.

    ``lag`` is what the sound tells, None where there is too little to compare; ``level_db`` its loudness, as from
    `kuaihl.lag.sound_level`.
    """

    name: str
    log: CommentLog = field(repr=False)
    summary: Summary
    recording_s: float | None = None
    mismatch: Mismatch | None = None
    lag: Lag | None = None
    level_db: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def better_s(self) -> float | None:
        """What to add to every time so that the log fits better: by its sound, else by its length; None if it fits."""
        if self.lag is not None and self.lag.offset_s is not None:
            return self.lag.offset_s if abs(self.lag.offset_s) > FITS_S else None
        return self.mismatch and self.mismatch.offset_s

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON, but for the comments and the loudness themselves."""
        parts = {part: getattr(self, part) for part in ("mismatch", "lag")}
        told = {part: found and dataclasses.asdict(found) for part, found in parts.items()}
        return {"log": self.name, **dataclasses.asdict(self.summary), "recording_s": self.recording_s, **told}

    def moved(self, offset_s: float) -> "LogCheck":
        """Check the log again, moved; nothing is read again."""
        comments = tuple(replace(c, time_s=c.time_s + offset_s) for c in self.log.comments)
        log = replace(self.log, comments=comments)
        duration_s = self.recording_s
        return replace(
            self,
            log=log,
            summary=summarize(log, bins=len(self.summary.rate), duration_s=duration_s),
            mismatch=None if duration_s is None else mismatch(comments, duration_s),
            lag=self.lag and self.lag.further(-offset_s),
        )


def check_log(
    name: str,
    log: CommentLog,
    *,
    recording: Recording | None = None,
    bins: int = BINS,
    progress: Callable[[float], None] | None = None,
) -> LogCheck:
    """Sum up the log called ``name``, its rate in so many ``bins``; compare it with length and sound of a recording.

    The sound is read once, from beginning to end. ``progress`` is told of it; what it raises stops the work.
    """
    if recording is None:
        return LogCheck(name, log, summarize(log, bins=bins))
    duration_s = recording.info.duration_s
    misfit = mismatch(log.comments, duration_s)
    level_db = sound_level(recording, progress=progress)
    # What looks like a wrong time zone is too far for a lag, which is then looked for around it.
    around_s = (misfit.offset_s if misfit else None) or 0.0
    lag = estimate_offset(level_db, [c.time_s + around_s for c in spoken(log.comments)])
    summary = summarize(log, bins=bins, duration_s=duration_s)
    return LogCheck(name, log, summary, duration_s, misfit, lag and lag.further(around_s), level_db)


def lag_text(lag: Lag | None, *, given_s: float = 0.0) -> str:
    """Put into words what the sound tells about the offset, which was set to ``given_s``."""
    if lag is None:
        return "There is too little sound or chat to compare the two."
    if lag.offset_s is None:
        return "Sound and comments do not tell where the log lies in time: no offset stands out."
    if abs(lag.offset_s) <= FITS_S:
        return f"The comments follow the sound as they should{_sure(lag)}."
    return f"The comments follow the sound best with an offset of {given_s + lag.offset_s:g} s{_sure(lag)}."


def _sure(lag: Lag) -> str:
    return f" ({lag.score:.1f} standard deviations better than elsewhere)"
