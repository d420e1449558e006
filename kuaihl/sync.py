"""Timing of a comment log against its recording: whether they fit, and which offset would make them fit.

Viewers write more just after something happens, which is often heard. Where that is so, the cross-correlation of the
comment rate with the loudness of the sound has a clear peak at the lag between them.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kuaihl.comments.selection import text_comments
from kuaihl.comments.statistics import Summary, summarize
from kuaihl.comments.timing import Mismatch, mismatch
from kuaihl.media.audio import SAMPLE_RATE_HZ
from kuaihl.media.recording import Recording
from kuaihl.progress import SILENT, Progress
from kuaihl.records import CommentLog

BIN_S = 2.0
"""Loudness and comments are taken in bins of so many seconds; a segment holds whole ones."""
LIMIT_S = 900.0
"""Lags are looked for up to this, to both sides."""
REACTION_S = 5.0
"""Comments of a log that fits follow the sound by about this: hearing, typing, and a part of the stream's delay."""
CLEAR = 5.5
"""A lag is believed where its correlation is so many standard deviations above that at other lags."""
APART = 1.5
"""And where it is above the next best lag by so many: a beat that repeats fits at many lags."""

_QUIET_DB = -60.0
_FEW = 40
_TREND_S = 60.0
_NEAR_S = 30.0
_LEAST_OVERLAP_S = 240.0


@dataclass(frozen=True, slots=True)
class Lag:
    """What to add to the times of a log so that it fits (None where that is not clear), and how clear it is.

    ``score`` is the height of the best correlation over that at other lags, in standard deviations; ``best_s`` is the
    offset that it stands for, whether it is believed or not.
    """

    offset_s: float | None
    score: float
    best_s: float

    def further(self, by_s: float) -> "Lag":
        """Say the same of times that are so much earlier."""
        return Lag(None if self.offset_s is None else self.offset_s + by_s, self.score, self.best_s + by_s)


def sound_level(recording: Recording, *, progress: Progress = SILENT) -> np.ndarray:
    """Measure the loudness of a recording, in dB of full scale for each ``BIN_S``: (bins,) float32; none without sound.

    The sound is read piece by piece; memory does not grow with its length but for the result. ``progress`` is told
    which share was read; what it raises stops the work.
    """
    if not recording.has_sound:
        return np.zeros(0, np.float32)
    size = round(BIN_S * SAMPLE_RATE_HZ)
    levels = []
    for segment, sound in recording.sound():
        progress(segment.index / len(recording.segments))
        power = np.square(sound[: len(sound) // size * size].reshape(-1, size)).mean(1)
        levels.append(np.maximum(10 * np.log10(np.maximum(power, 1e-12)), _QUIET_DB))
    return np.concatenate(levels).astype(np.float32)


def comment_rate(times_s: Sequence[float], bins: int) -> np.ndarray:
    """Count comments in each of ``bins`` bins of ``BIN_S`` from the start of the recording: (bins,) int."""
    return np.histogram(times_s, bins=bins, range=(0.0, bins * BIN_S))[0]


def estimate_offset(level_db: np.ndarray, times_s: Sequence[float]) -> Lag | None:
    """Estimate what to add to the times of comments so that they follow the sound by ``REACTION_S``.

    Parameters
    ----------
    level_db
        From `sound_level`: (bins,).
    times_s
        When the comments were written.

    Returns
    -------
    None where there is too little to compare: few comments, no sound, one that never changes, or too short a time.
    """
    times = np.asarray(times_s, np.float64)
    if len(times) < _FEW or not len(level_db):
        return None
    begin = int(np.floor(times.min() / BIN_S))
    bins = int(np.floor(times.max() / BIN_S)) + 1 - begin
    written = _varying(np.sqrt(np.histogram(times, bins=bins, range=(begin * BIN_S, (begin + bins) * BIN_S))[0]))
    heard = _varying(level_db)
    reach = round(LIMIT_S / BIN_S)
    shifts, scores = [], []
    for shift in range(-reach, reach + 1):  # the comments moved by so many bins
        first = begin + shift
        low, high = max(first, 0), min(first + bins, len(heard))
        if (high - low) * BIN_S < _LEAST_OVERLAP_S:
            continue
        a, b = heard[low:high], written[low - first : high - first]
        if (norm := np.linalg.norm(a) * np.linalg.norm(b)) > 0:
            shifts.append(shift)
            scores.append(a @ b / norm * np.sqrt(high - low))
    if len(shifts) * BIN_S < 4 * _NEAR_S:
        return None
    return _peak(np.array(shifts) * BIN_S + REACTION_S, np.array(scores))


def _varying(values: np.ndarray) -> np.ndarray:
    """Take away what changes slowly: streams grow louder and fuller over hours without any connection."""
    values = np.asarray(values, np.float64)
    return values - gaussian_filter1d(values, _TREND_S / BIN_S)


def _peak(offsets_s: np.ndarray, scores: np.ndarray) -> Lag:
    best = int(np.argmax(scores))
    others = scores[np.abs(offsets_s - offsets_s[best]) > _NEAR_S]
    spread = max(float(others.std()), 1e-9)
    score = float(scores[best] - others.mean()) / spread
    clear = score >= CLEAR and score - float(others.max() - others.mean()) / spread >= APART
    offset_s = float(round(offsets_s[best]))
    return Lag(offset_s if clear else None, score, offset_s)


BINS = 100
FITS_S = 10.0
"""An estimate nearer than this to what is set says that the log fits: how fast viewers react is not known better."""


@dataclass(frozen=True, slots=True)
class LogCheck:
    """A log in numbers, the length of its recording if that was given, and what does not fit.

    ``lag`` is what the sound tells, None where there is too little to compare; ``level_db`` its loudness, as from
    `sound_level`.
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
        log = self.log.shifted(offset_s)
        duration_s = self.recording_s
        return replace(
            self,
            log=log,
            summary=summarize(log, bins=len(self.summary.rate), duration_s=duration_s),
            mismatch=None if duration_s is None else mismatch(log.comments, duration_s),
            lag=self.lag and self.lag.further(-offset_s),
        )


def check_log(
    name: str,
    log: CommentLog,
    *,
    recording: Recording | None = None,
    bins: int = BINS,
    progress: Progress = SILENT,
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
    lag = estimate_offset(level_db, [c.time_s + around_s for c in text_comments(log.comments)])
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
