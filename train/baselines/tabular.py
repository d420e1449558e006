"""Inputs of tabular baselines: the 20 segments before each scored one as a row of numbers, NaN if unknown."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from kuaihl.features.chat import CHAT_COLUMNS, SPEECH_COLUMNS
from train.baselines.task import Task
from train.dataset import Room, Segments

LOOKBACK = 20
"""Segments before the one to predict."""
_PCA_ROWS = 20_000


def lags(values: np.ndarray) -> np.ndarray:
    """(segments,) -> (segments, 20): row t has the values t - 20 to t - 1, oldest first; NaN before the start."""
    padded = np.r_[np.full(LOOKBACK, np.nan), values.astype(np.float64)]
    return np.lib.stride_tricks.sliding_window_view(padded, LOOKBACK)[: len(values)]


def nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, ignoring NaN; NaN (without a warning) if all are."""
    known = np.isfinite(values)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)


def activity_columns(segments: Segments, room: Room) -> dict[str, np.ndarray]:
    """Return the activity of a room by column (segments,), NaN if its source is missing."""
    activity = segments.array("activity", room.start, room.stop).astype(np.float64).T
    columns = dict(zip((*CHAT_COLUMNS, *SPEECH_COLUMNS), activity, strict=True))
    for source, names in (("comments", CHAT_COLUMNS), ("speech", SPEECH_COLUMNS)):
        missing = ~segments.scalar(f"has_{source}", room.start, room.stop)
        for name in names:
            columns[name][missing] = np.nan
    return columns


def activity_table(task: Task, rooms: Sequence[Room]) -> np.ndarray:
    """Return all activity of the last 20 segments, and log1p of the index of the segment (rows, columns)."""

    def columns(room: Room) -> np.ndarray:
        index = np.log1p(np.arange(room.stop - room.start))[:, None]
        return np.hstack([*map(lags, activity_columns(task.segments, room).values()), index])

    return task.rows(rooms, columns)


class PooledFeatures:
    """Features of the last segment and their mean over the last 20, reduced by PCA on the training rooms.

    ``components`` are kept of each of pictures, text, and text of speech.
    """

    def __init__(self, task: Task, *, components: int = 32, seed: int = 0) -> None:
        self._task = task
        self._pca: dict[str, PCA] = {}
        rng = np.random.default_rng(seed)
        share = _PCA_ROWS / sum(room.stop - room.start for room in task.train)
        for source in ("pictures", "text", "speech_text"):
            features = (self._features(room, source) for room in task.train)
            sample = np.concatenate([rows[rng.random(len(rows)) < share] for rows in features])
            sample = sample[np.isfinite(sample[:, 0])]
            if len(sample) > components and sample.std(0).any():
                self._pca[source] = PCA(min(components, sample.shape[1]), random_state=seed).fit(sample)

    def __bool__(self) -> bool:
        """Whether there are any features."""
        return bool(self._pca)

    def table(self, rooms: Sequence[Room]) -> np.ndarray:
        """Return the features (rows, columns)."""
        return self._task.rows(rooms, lambda room: np.hstack([self._columns(room, source) for source in self._pca]))

    def _columns(self, room: Room, source: str) -> np.ndarray:
        features = self._features(room, source)
        reduced = np.full((len(features), self._pca[source].n_components_), np.nan)
        known = np.isfinite(features[:, 0])
        if known.any():
            reduced[known] = self._pca[source].transform(features[known])
        past = np.stack([lags(column) for column in reduced.T], axis=1)  # (segments, components, 20)
        return np.hstack([past[:, :, -1], nanmean(past)])

    def _features(self, room: Room, source: str) -> np.ndarray:
        inputs = self._task.segments.features(room, streamer=0)
        values, known = getattr(inputs, source)[0].float().numpy(), inputs.mask(source)[0].numpy()
        return np.where(known[:, None], values.mean(1) if source == "pictures" else values, np.nan)
