"""Kendall's tau, calibration and PHD's mean average precision, with intervals paired by room or over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, sem, t

DELTAS: tuple[float | None, ...] = (None, 0.0, 0.2, 0.4, 0.6)
"""Thresholds on the true LVTR (Sect. IV-B); None keeps every segment."""
BLOCK_S = 5.0
"""PHD's scores are averaged in blocks of this length."""
FRAMES_PER_S = 30.0
"""PHD is evaluated at this frame rate, whatever a video's own."""


@dataclass(frozen=True, slots=True)
class Tau:
    """Kendall's tau-b of the segments whose true LVTR exceeds ``delta``.

    ``per_room`` is the mean over rooms; ``rooms_skipped`` have none (fewer than two segments, or all tied). A tau that
    is not defined is None.
    """

    delta: float | None
    pooled: float | None
    per_room: float | None
    segments: int
    rooms: int
    rooms_skipped: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Segments of neighbouring predictions: how many, from ``low`` to ``high``, and their mean prediction and label."""

    segments: int
    low: float
    high: float
    predicted: float
    true: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether predictions are right as numbers, not only in order.

    ``brier`` is the mean squared difference to the soft label, ``expected_error`` the mean over segments of their
    bin's difference between mean prediction and mean label, ``bins`` what a reliability diagram draws.
    """

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
    """What was predicted for a user's last video, and what that user cut out of it.

    ``scores`` (units,) are of consecutive units of ``BLOCK_S``, the last of which may be shorter; ``highlights``
    (gifs, 2) are start and end in seconds. What lies outside the video does not count.
    """

    scores: np.ndarray
    highlights: np.ndarray
    duration_s: float
    has_history: bool


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """Mean average precision over ``users``; left out and counted are those without history or without a highlight.

    ``mean`` is None where no user is left.
    """

    mean: float | None
    users: int
    without_history: int
    without_highlight: int


def taus(
    predicted: np.ndarray, true: np.ndarray, room: np.ndarray, *, deltas: Sequence[float | None] = DELTAS
) -> list[Tau]:
    """Tau for each threshold.

    Parameters
    ----------
    predicted, true, room
        (segments,) each: LVTR, LVTR and any label of the room. Every segment must be scored: no NaN.
    """
    if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError("predicted and true must be finite: leave out what is not scored")
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
    """Percentile bootstrap interval, over rooms, of pooled tau(first) - tau(second).

    Rooms are drawn whole, and the same ones for both. A draw in which a tau is not defined is left out.
    """
    ours, theirs = drawn_taus([first, second], true, room, generator=generator, draws=draws)
    low, high = np.nanquantile(ours - theirs, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def drawn_taus(
    predicted: Sequence[np.ndarray], true: np.ndarray, room: np.ndarray, *, generator: np.random.Generator, draws: int
) -> np.ndarray:
    """Pooled tau of several predictions of the same segments, when rooms are drawn with replacement.

    Returns
    -------
    (predictions, draws); NaN where a tau is not defined. A draw has the same rooms for all.
    """
    members = _by_room(room)
    found = np.empty((len(predicted), draws))
    for k in range(draws):
        drawn = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        found[:, k] = [_tau_b(some[drawn], true[drawn]) for some in predicted]
    return found


def room_taus(predicted: np.ndarray, true: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Tau of each room (rooms,), in order of their names; NaN where it is not defined."""
    return np.array([_tau_b(predicted[rows], true[rows]) for rows in _by_room(room)])


def calibration(predicted: np.ndarray, true: np.ndarray, *, bins: int = 10) -> Calibration:
    """Calibration of ``predicted`` (segments,) against ``true`` (segments,), both in [0, 1].

    Bins hold equally many segments, or one more, in order of prediction. There are fewer where segments are.
    """
    order = np.argsort(predicted, kind="stable")
    ordered, labels = predicted[order].astype(np.float64), true[order].astype(np.float64)
    parts = zip(*(np.array_split(x, min(bins, len(x))) for x in (ordered, labels)), strict=True)
    found = tuple(
        Bin(len(p), float(p[0]), float(p[-1]), predicted=float(p.mean()), true=float(y.mean())) for p, y in parts
    )
    error = sum(b.segments * abs(b.predicted - b.true) for b in found) / len(ordered)
    return Calibration(brier=float(np.mean((ordered - labels) ** 2)), expected_error=error, bins=found)


def over_seeds(values: Sequence[float], *, level: float = 0.95) -> SeedMean:
    """Mean of one value a seed, with Student's t-interval."""
    if not np.isfinite(values).all():
        raise ValueError("every seed needs a finite value")
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return SeedMean(mean, None, None, seeds=1)
    half = float(sem(values) * t.ppf((1 + level) / 2, count - 1))
    return SeedMean(mean, mean - half, mean + half, seeds=count)


def paired_over_seeds(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> SeedMean:
    """Mean of first - second with its t-interval, where entry k of both comes from the same seed."""
    return over_seeds([a - b for a, b in zip(first, second, strict=True)], level=level)


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Unweighted mean, over the distinct recall levels, of the interpolated precision.

    The measure of Video2GIF and of what compares with it on PHD. Interpolated precision is the highest at this recall
    or a higher one. It equals scikit-learn's, which weighs by the step of recall and does not interpolate, where no two
    positives tie and precision never rises from one recall level to the next.

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
    """Mark the frames that lie in any of ``highlights`` (gifs, 2), in seconds -> (frames,) bool."""
    truth = np.zeros(frames, dtype=bool)
    for start, end in np.round(np.clip(highlights, 0, None) * fps).astype(int):
        truth[start:end] = True
    return truth


def frame_scores(scores: np.ndarray, *, frames: int, fps: float = FRAMES_PER_S) -> np.ndarray:
    """Scores of units (units,) of ``BLOCK_S`` -> scores of frames (frames,) float32.

    Each frame takes the score of the unit in which it lies, or of the last; then frames are averaged in blocks of
    ``BLOCK_S``, which hold whole frames.
    """
    number = np.arange(frames)
    unit = np.minimum((number / fps // BLOCK_S).astype(int), len(scores) - 1)
    block = number // int(fps * BLOCK_S)
    mean = np.bincount(block, scores.astype(np.float64)[unit]) / np.bincount(block)
    return mean.astype(np.float32)[block]  # rounded: means of equal scores must tie, whatever a sum's last digit


def mean_average_precision(videos: Sequence[LastVideo], *, fps: float = FRAMES_PER_S) -> MeanPrecision:
    """Mean over users with history of the average precision of their last video's frames (PHD-GIFs' test)."""
    each = []
    without_highlight = 0
    with_history = [video for video in videos if video.has_history]
    for video in with_history:
        frames = round(video.duration_s * fps)
        truth = frame_truth(video.highlights, frames=frames, fps=fps)
        if truth.any():
            each.append(average_precision(truth, frame_scores(video.scores, frames=frames, fps=fps)))
        else:
            without_highlight += 1
    mean = float(np.mean(each)) if each else None
    return MeanPrecision(mean, len(each), len(videos) - len(with_history), without_highlight)


def _tau(predicted: np.ndarray, true: np.ndarray, room: np.ndarray, delta: float | None) -> Tau:
    # Labels are stored in float32: 0.2 there is a little more than 0.2 in float64, and must not exceed it.
    kept = np.ones(len(true), dtype=bool) if delta is None else true.astype(np.float32) > np.float32(delta)
    predicted, true, room = predicted[kept], true[kept], room[kept]
    each = room_taus(predicted, true, room)
    defined = np.isfinite(each)
    return Tau(
        delta=delta,
        pooled=_or_none(_tau_b(predicted, true)),
        per_room=_or_none(each[defined].mean()) if defined.any() else None,
        segments=len(true),
        rooms=len(each),
        rooms_skipped=int((~defined).sum()),
    )


def _by_room(room: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each room, in order of their names; sorted once, since there may be thousands."""
    _, where, counts = np.unique(room, return_inverse=True, return_counts=True)
    return np.split(np.argsort(where, kind="stable"), np.cumsum(counts)[:-1]) if len(room) else []


def _tau_b(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(kendalltau(predicted, true).statistic) if len(true) > 1 else np.nan


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
