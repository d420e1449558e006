"""Labels of the KuaiLive-M3 benchmark: retention and engagement of each segment, causal statistics, splits."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

STATISTICS = (
    "rel_pos", "seg_dur_log", "cum_viewers", "cum_likes", "cum_comments",
    "roll_view_mean", "roll_view_std", "roll_like_mean", "roll_cmt_mean", "view_trend",
)  # fmt: skip
RETENTION_WEIGHT, QUANTILE, WINDOW = 0.6, 0.7, 5
MIN_SEGMENTS, MIN_PEAK = 5, 5
_BLOCK = 4_000_000
"""Comparisons of segments with sessions at a time."""


@dataclass(frozen=True, slots=True)
class Events:
    """What happened in one room, times in seconds since 1970.

    Attributes
    ----------
    sessions
        (sessions, 2): start and end of each.
    likes, comments
        (events,), sorted.
    """

    sessions: np.ndarray
    likes: np.ndarray
    comments: np.ndarray


def room_labels(ends_s: np.ndarray, *, first_s: float, events: Events) -> pd.DataFrame | None:
    """Compute the counts, the score and the label of the segments of a room.

    Parameters
    ----------
    ends_s
        (segments,), sorted: the end of each segment.
    first_s
        Start of the first segment.

    Returns
    -------
    A row for each segment that is longer than 0, ``segment`` being its place in ``ends_s``; None if the room has too
    few segments or viewers.
    """
    starts_s = np.r_[first_s, ends_s[:-1]]
    keep = ends_s > starts_s
    segment, start, end = np.flatnonzero(keep), starts_s[keep], ends_s[keep]
    if len(segment) < MIN_SEGMENTS:
        return None
    entered = np.searchsorted(np.sort(events.sessions[:, 0]), start, side="right")
    if entered.max() < MIN_PEAK:
        return None
    likes, comments = (_count(times, start, end) for times in (events.likes, events.comments))
    viewers = np.maximum(entered, 1)
    retention = _stayed(events.sessions, start, end) / viewers
    density = (likes + 2 * comments) / viewers
    retention_scaled, density_scaled = _scale(retention), _scale(density)
    score = RETENTION_WEIGHT * retention_scaled + (1 - RETENTION_WEIGHT) * density_scaled
    frame = pd.DataFrame(
        {
            "segment": segment,
            "seg_start_ts": start,
            "seg_end_ts": end,
            "lvtr": retention,
            "ed": density,
            "viewers_entered": entered,
            "like_cnt_seg": likes,
            "comment_cnt_seg": comments,
            "lvtr_norm": retention_scaled,
            "ed_norm": density_scaled,
            "hl_score": score,
            "hl_binary": (score >= np.quantile(score, QUANTILE)).astype(np.int8),
        }
    )
    return frame.assign(**_statistics(frame))


def split_rooms(starts: dict[int, int]) -> dict[int, str]:
    """Split rooms in order of their start: 70 % train, 10 % validate, the rest tests."""
    rooms = sorted(starts, key=lambda room: (starts[room], room))
    train, validation = int(0.7 * len(rooms)), int(0.1 * len(rooms))
    return {
        room: "train" if k < train else "validation" if k < train + validation else "test"
        for k, room in enumerate(rooms)
    }


def scale_statistics(labels: pd.DataFrame) -> pd.DataFrame:
    """Scale each statistic of all rooms to [0, 1]."""
    return labels.assign(**{f"stat_{name}": _scale(labels[f"stat_{name}"].to_numpy(float)) for name in STATISTICS})


def _statistics(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the ten statistics, unscaled. None depends on what happens in the segment or later."""
    counts = {
        "viewers": frame["viewers_entered"],
        "likes": frame["like_cnt_seg"],
        "comments": frame["comment_cnt_seg"],
    }
    before = {name: values.shift(1) for name, values in counts.items()}
    recent = {name: values.rolling(WINDOW, min_periods=1) for name, values in before.items()}
    mean = {name: values.mean().fillna(0.0) for name, values in recent.items()}
    columns = {
        "rel_pos": np.arange(1, len(frame) + 1) / len(frame),
        "seg_dur_log": np.log1p(frame["seg_end_ts"] - frame["seg_start_ts"]),
        **{f"cum_{name}": values.fillna(0.0).cumsum() for name, values in before.items()},
        "roll_view_mean": mean["viewers"],
        "roll_view_std": recent["viewers"].std().fillna(0.0),
        "roll_like_mean": mean["likes"],
        "roll_cmt_mean": mean["comments"],
        "view_trend": mean["viewers"].astype(np.float32).diff().fillna(0.0).clip(-1.0, 1.0),
    }
    return {f"stat_{name}": np.asarray(values, dtype=float) for name, values in columns.items()}


def _count(times: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Count times in [start, end)."""
    return np.searchsorted(times, end, side="left") - np.searchsorted(times, start, side="left")


def _stayed(sessions: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Count the sessions that cover each segment."""
    rows = max(1, _BLOCK // max(1, len(sessions)))
    first, last = sessions.T
    blocks = [slice(k, k + rows) for k in range(0, len(start), rows)]
    return np.concatenate([((first <= start[b, None]) & (last >= end[b, None])).sum(1) for b in blocks])


def _scale(values: np.ndarray) -> np.ndarray:
    """Scale to [0, 1]; a constant gives 0."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
