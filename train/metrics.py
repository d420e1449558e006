"""Kendall's tau between predicted and true LVTR, pooled and per room, above thresholds, with paired intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

DELTAS: tuple[float | None, ...] = (None, 0.0, 0.2, 0.4, 0.6)
"""Thresholds on the true LVTR (Sect. IV-B); None keeps every segment."""


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
    """Bootstrap interval, over rooms, of pooled tau(first) - tau(second): rooms are drawn whole and for both alike."""
    names, where = np.unique(room, return_inverse=True)
    members = [np.flatnonzero(where == k) for k in range(len(names))]
    gaps = []
    for _ in range(draws):
        drawn = np.concatenate([members[k] for k in generator.integers(len(names), size=len(names))])
        gaps.append(_tau_b(first[drawn], true[drawn]) - _tau_b(second[drawn], true[drawn]))
    low, high = np.nanquantile(gaps, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _tau(predicted: np.ndarray, true: np.ndarray, room: np.ndarray, delta: float | None) -> Tau:
    kept = np.ones(len(true), dtype=bool) if delta is None else true > delta
    predicted, true, room = predicted[kept], true[kept], room[kept]
    names = np.unique(room)
    each = np.array([_tau_b(predicted[room == name], true[room == name]) for name in names])
    defined = np.isfinite(each)
    return Tau(
        delta=delta,
        pooled=_or_none(_tau_b(predicted, true)),
        per_room=_or_none(each[defined].mean()) if defined.any() else None,
        segments=len(true),
        rooms=len(names),
        rooms_skipped=int((~defined).sum()),
    )


def _tau_b(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(kendalltau(predicted, true).statistic) if len(true) > 1 else np.nan


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
