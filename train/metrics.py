"""Kendall's tau, calibration and PHD's mean average precision, with intervals paired by room or over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, sem, t

DELTAS: tuple[float | None, ...] = (None, 0.0, 0.2, 0.4, 0.6)
"""Thresholds on the label (Sect. IV-B); None keeps every segment."""
BLOCK_S = 5.0
"""PHD's scores are averaged in blocks of this length."""
FRAMES_PER_S = 30.0
"""PHD is evaluated at this frame rate, for all videos."""


@dataclass(frozen=True, slots=True)
class Tau:
    """Kendall's tau-b of the segments whose label exceeds ``delta``; None where it is undefined.

    ``per_room`` is the mean over rooms, without the ``rooms_skipped`` of fewer than two segments or ties only.
    """

    delta: float | None
    pooled: float | None
    per_room: float | None
    segments: int
    rooms: int
    rooms_skipped: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Segments with predictions from ``low`` to ``high``: their number, mean prediction and mean label."""

    segments: int
    low: float
    high: float
    predicted: float
    true: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Brier score and expected calibration error, with the ``bins`` of a reliability diagram."""

    brier: float
    expected_error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class SeedMean:
    """Mean over training seeds with its t-interval, whose ends are None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class LastVideo:
    """Predictions and GIFs of a user's last video.

    ``scores`` (units,) are of consecutive units of ``BLOCK_S``, the last of which may be shorter; ``highlights``
    (gifs, 2) are start and end in seconds, ignored outside the video.
    """

    scores: np.ndarray
    highlights: np.ndarray
    duration_s: float
    has_history: bool


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """Mean average precision over ``users``, None without any, and how many users do not count."""

    mean: float | None
    users: int
    without_history: int
    without_highlight: int


def taus(
    predicted: np.ndarray, true: np.ndarray, room: np.ndarray, *, deltas: Sequence[float | None] = DELTAS
) -> list[Tau]:
    """Compute tau for each threshold.

    Parameters
    ----------
    predicted, true, room
        (segments,): scores and labels, which must be finite, and any name of the room.
    """
    if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError("predicted and true must be finite")
    return [_tau(predicted, true, room, delta) for delta in deltas]


def paired_interval(
    first: np.ndarray,
    second: np.ndarray,
    true: np.ndarray,
    room: np.ndarray,
    *,
    generator: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of pooled tau(first) - tau(second), over rooms.

    Both have the same rooms in a draw. Draws in which a tau is undefined are left out.
    """
    ours, theirs = drawn_taus([first, second], true, room, generator=generator, draws=draws)
    low, high = np.nanquantile(ours - theirs, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def drawn_taus(
    predicted: Sequence[np.ndarray], true: np.ndarray, room: np.ndarray, *, generator: np.random.Generator, draws: int
) -> np.ndarray:
    """Compute pooled tau of several predictions of the same segments, with rooms drawn with replacement.

    Returns
    -------
    (predictions, draws); NaN where a tau is undefined. All have the same rooms in a draw.
    """
    members = _rows_by_room(room)
    result = np.empty((len(predicted), draws))
    for k in range(draws):
        rows = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        result[:, k] = [_tau_b(values[rows], true[rows]) for values in predicted]
    return result


def room_taus(predicted: np.ndarray, true: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Compute tau of each room (rooms,), in order of their names; NaN where it is undefined."""
    return np.array([_tau_b(predicted[rows], true[rows]) for rows in _rows_by_room(room)])


def calibration(predicted: np.ndarray, true: np.ndarray, *, bins: int = 10) -> Calibration:
    """Compute the calibration of ``predicted`` (segments,) against ``true`` (segments,), both in [0, 1].

    Bins are in order of prediction, of equal size up to one segment, and never empty.
    """
    order = np.argsort(predicted, kind="stable")
    predicted, true = predicted[order].astype(np.float64), true[order].astype(np.float64)
    split = (np.array_split(x, min(bins, len(x))) for x in (predicted, true))
    result = tuple(
        Bin(len(p), float(p[0]), float(p[-1]), predicted=float(p.mean()), true=float(y.mean()))
        for p, y in zip(*split, strict=True)
    )
    error = sum(b.segments * abs(b.predicted - b.true) for b in result) / len(predicted)
    return Calibration(brier=float(np.mean((predicted - true) ** 2)), expected_error=error, bins=result)


def over_seeds(values: Sequence[float], *, level: float = 0.95) -> SeedMean:
    """Return the mean of one value a seed, with Student's t-interval."""
    if not np.isfinite(values).all():
        raise ValueError("every seed needs a finite value")
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return SeedMean(mean, None, None, seeds=1)
    half = float(sem(values) * t.ppf((1 + level) / 2, count - 1))
    return SeedMean(mean, mean - half, mean + half, seeds=count)


def paired_over_seeds(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> SeedMean:
    """Return the mean of first - second with its t-interval; entry k of both is of the same seed."""
    return over_seeds([a - b for a, b in zip(first, second, strict=True)], level=level)


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Average the interpolated precision over the distinct recall levels, as Video2GIF and PHD's benchmarks do.

    The interpolated precision is the highest at this recall or a higher one. scikit-learn's average precision does not
    interpolate, and weighs levels by the step of recall: with ties or rising precision it differs.

    Parameters
    ----------
    truth, scores
        (n,) bool, with at least one True, and float.
    """
    if not truth.any():
        raise ValueError("average precision needs a positive")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    hits = np.cumsum(truth[order])[last_of_tie]
    precision = hits / (last_of_tie + 1)
    interpolated = np.maximum.accumulate(precision[::-1])[::-1]
    return float(interpolated[np.diff(hits, prepend=0) > 0].mean())


def frame_truth(highlights: np.ndarray, *, frames: int, fps: float = FRAMES_PER_S) -> np.ndarray:
    """Mark the frames in any of ``highlights`` (gifs, 2), in seconds: (frames,) bool."""
    truth = np.zeros(frames, dtype=bool)
    for start, end in np.round(np.clip(highlights, 0, None) * fps).astype(int):
        truth[start:end] = True
    return truth


def frame_scores(scores: np.ndarray, *, frames: int, fps: float = FRAMES_PER_S) -> np.ndarray:
    """Turn scores of units (units,) of ``BLOCK_S`` into scores of frames (frames,) float32.

    Each frame takes the score of its unit, or of the last one; then frames are averaged in blocks of ``BLOCK_S``,
    which have whole frames.
    """
    number = np.arange(frames)
    unit = np.minimum((number / fps // BLOCK_S).astype(int), len(scores) - 1)
    block = number // int(fps * BLOCK_S)
    mean = np.bincount(block, scores.astype(np.float64)[unit]) / np.bincount(block)
    return mean.astype(np.float32)[block]  # rounded, so that means of equal scores tie


def mean_average_precision(videos: Sequence[LastVideo], *, fps: float = FRAMES_PER_S) -> MeanPrecision:
    """Average the precision of the frames of the last video over users with history (PHD-GIFs' test)."""
    precisions = []
    with_history = [video for video in videos if video.has_history]
    for video in with_history:
        frames = round(video.duration_s * fps)
        truth = frame_truth(video.highlights, frames=frames, fps=fps)
        if truth.any():
            precisions.append(average_precision(truth, frame_scores(video.scores, frames=frames, fps=fps)))
    mean = float(np.mean(precisions)) if precisions else None
    users = len(precisions)
    return MeanPrecision(mean, users, len(videos) - len(with_history), without_highlight=len(with_history) - users)


def _tau(predicted: np.ndarray, true: np.ndarray, room: np.ndarray, delta: float | None) -> Tau:
    # Labels are stored in float32: 0.2 there is a little more than 0.2 in float64, and must not exceed it.
    mask = np.ones(len(true), dtype=bool) if delta is None else true.astype(np.float32) > np.float32(delta)
    predicted, true, room = predicted[mask], true[mask], room[mask]
    per_room = room_taus(predicted, true, room)
    defined = np.isfinite(per_room)
    return Tau(
        delta=delta,
        pooled=_finite_or_none(_tau_b(predicted, true)),
        per_room=float(per_room[defined].mean()) if defined.any() else None,
        segments=len(true),
        rooms=len(per_room),
        rooms_skipped=int((~defined).sum()),
    )


def _rows_by_room(room: np.ndarray) -> list[np.ndarray]:
    """Return the row numbers of each room, in order of their names."""
    _, number, counts = np.unique(room, return_inverse=True, return_counts=True)
    return np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1]) if len(room) else []


def _tau_b(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(kendalltau(predicted, true).statistic) if len(true) > 1 else np.nan


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
