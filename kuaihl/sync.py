"""Timing of a comment log against its recording: whether they match, and which offset would make them match.

Viewers write more just after something happens, and what happens is often heard. Then the cross-correlation of the
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
"""Length of the bins of loudness and comments; a segment holds a whole number of them."""
MAX_LAG_S = 900.0
"""Largest lag that is searched, to both sides."""
REACTION_S = 5.0
"""Comments of a matching log follow the sound by about this: hearing, typing, and a part of the stream's delay."""
MIN_SCORE = 5.5
"""A lag is accepted if its correlation is this many standard deviations above that at other lags."""
MIN_MARGIN = 1.5
"""It must also be this many above the second best lag: a beat that repeats matches at many lags."""
TOLERANCE_S = 10.0
"""A log with a smaller estimated offset matches: how fast viewers react is not known better."""
BINS = 100
"""Default number of bins in a summary of a log."""

_MIN_LEVEL_DB = -60.0
_MIN_COMMENTS = 40
_TREND_S = 60.0
_PEAK_WIDTH_S = 30.0
_MIN_OVERLAP_S = 240.0


@dataclass(frozen=True, slots=True)
class Lag:
    """The estimated lag of a log.

    Attributes
    ----------
    offset_s
        Add it to the times of the log to make it match; None if no lag is clear.
    score
        Height of the best correlation above that at other lags, in standard deviations.
    best_s
        The offset with the best correlation, whether it is accepted or not.
    """

    offset_s: float | None
    score: float
    best_s: float

    def plus(self, offset_s: float) -> "Lag":
        """Return the lag of a log whose times are ``offset_s`` earlier."""
        return Lag(None if self.offset_s is None else self.offset_s + offset_s, self.score, self.best_s + offset_s)


def sound_level(recording: Recording, *, progress: Progress = SILENT) -> np.ndarray:
    """Measure the loudness of a recording in dB of full scale, per ``BIN_S``: (bins,) float32; empty without sound."""
    if not recording.has_audio:
        return np.zeros(0, np.float32)
    size = round(BIN_S * SAMPLE_RATE_HZ)
    levels = []
    for segment, sound in recording.read_audio():
        progress(segment.index / len(recording.segments))
        power = np.square(sound[: len(sound) // size * size].reshape(-1, size)).mean(1)
        levels.append(np.maximum(10 * np.log10(np.maximum(power, 1e-12)), _MIN_LEVEL_DB))
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
        Times of the comments.

    Returns
    -------
    None if there is too little to compare: few comments, no sound, sound that never changes, or too short a time.
    """
    times = np.asarray(times_s, np.float64)
    if len(times) < _MIN_COMMENTS or not len(level_db):
        return None
    begin = int(np.floor(times.min() / BIN_S))
    bins = int(np.floor(times.max() / BIN_S)) + 1 - begin
    counts = np.histogram(times, bins=bins, range=(begin * BIN_S, (begin + bins) * BIN_S))[0]
    rate, level = _detrend(np.sqrt(counts)), _detrend(level_db)
    reach = round(MAX_LAG_S / BIN_S)
    shifts, scores = [], []
    for shift in range(-reach, reach + 1):  # of the comments, in bins
        first = begin + shift
        low, high = max(first, 0), min(first + bins, len(level))
        if (high - low) * BIN_S < _MIN_OVERLAP_S:
            continue
        a, b = level[low:high], rate[low - first : high - first]
        if (norm := np.linalg.norm(a) * np.linalg.norm(b)) > 0:
            shifts.append(shift)
            scores.append(a @ b / norm * np.sqrt(high - low))
    if len(shifts) * BIN_S < 4 * _PEAK_WIDTH_S:
        return None
    return _peak(np.array(shifts) * BIN_S + REACTION_S, np.array(scores))


def _detrend(values: np.ndarray) -> np.ndarray:
    """Remove slow changes: over hours, streams grow louder and chats busier without any connection."""
    values = np.asarray(values, np.float64)
    return values - gaussian_filter1d(values, _TREND_S / BIN_S)


def _peak(offsets_s: np.ndarray, scores: np.ndarray) -> Lag:
    best = int(np.argmax(scores))
    others = scores[np.abs(offsets_s - offsets_s[best]) > _PEAK_WIDTH_S]
    spread = max(float(others.std()), 1e-9)
    score = float(scores[best] - others.mean()) / spread
    clear = score >= MIN_SCORE and score - float(others.max() - others.mean()) / spread >= MIN_MARGIN
    offset_s = float(round(offsets_s[best]))
    return Lag(offset_s if clear else None, score, offset_s)


@dataclass(frozen=True, slots=True)
class LogCheck:
    """A summary of a log, and how it matches its recording.

    ``lag`` is estimated from the sound, None if there is too little to compare; ``level_db`` is from `sound_level`.
    """

    name: str
    log: CommentLog = field(repr=False)
    summary: Summary
    recording_s: float | None = None
    mismatch: Mismatch | None = None
    lag: Lag | None = None
    level_db: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def suggested_offset_s(self) -> float | None:
        """What to add to every time: by the sound if that is clear, else by the length if that supports an offset.

        None if the log matches, or if nothing supports an offset: then none may be proposed.
        """
        if self.lag is not None and self.lag.offset_s is not None:
            return self.lag.offset_s if abs(self.lag.offset_s) > TOLERANCE_S else None
        return self.mismatch.offset_s if self.mismatch and self.mismatch.is_supported else None

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the comments and the loudness, for JSON."""
        return {
            "log": self.name,
            **dataclasses.asdict(self.summary),
            "recording_s": self.recording_s,
            "mismatch": self.mismatch and dataclasses.asdict(self.mismatch),
            "lag": self.lag and dataclasses.asdict(self.lag),
            "suggested_offset_s": self.suggested_offset_s,
        }

    def shifted(self, offset_s: float) -> "LogCheck":
        """Check the log again with ``offset_s`` added to every time. Nothing is read again."""
        log, duration_s = self.log.shifted(offset_s), self.recording_s
        return replace(
            self,
            log=log,
            summary=summarize(log, bins=len(self.summary.rate), duration_s=duration_s),
            mismatch=None if duration_s is None else mismatch(log.comments, duration_s),
            lag=self.lag and self.lag.plus(-offset_s),
        )


def check_log(
    name: str,
    log: CommentLog,
    *,
    recording: Recording | None = None,
    bins: int = BINS,
    progress: Progress = SILENT,
) -> LogCheck:
    """Summarise the log called ``name``, its rate in ``bins`` bins, and compare it with a recording.

    The sound of the recording is read once, from beginning to end.
    """
    if recording is None:
        return LogCheck(name, log, summarize(log, bins=bins))
    duration_s = recording.info.duration_s
    by_length = mismatch(log.comments, duration_s)
    level_db = sound_level(recording, progress=progress)
    # A wrong time zone is too far for a lag, which is then searched around it.
    around_s = (by_length.offset_s if by_length else None) or 0.0
    lag = estimate_offset(level_db, [c.time_s + around_s for c in text_comments(log.comments)])
    summary = summarize(log, bins=bins, duration_s=duration_s)
    return LogCheck(name, log, summary, duration_s, by_length, lag and lag.plus(around_s), level_db)


def lag_text(lag: Lag | None, *, current_s: float = 0.0) -> str:
    """Say in a sentence what the sound suggests about the offset, which is ``current_s`` now."""
    if lag is None:
        return "There is too little sound or chat to compare the two."
    if lag.offset_s is None:
        return "Sound and comments do not show the offset of the log: no offset is clearly better than the others."
    confidence = f" ({lag.score:.1f} standard deviations better than elsewhere)"
    if abs(lag.offset_s) <= TOLERANCE_S:
        return f"The comments follow the sound as they should{confidence}."
    return f"The comments follow the sound best with an offset of {current_s + lag.offset_s:g} s{confidence}."
