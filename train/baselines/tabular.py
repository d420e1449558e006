"""What a tabular baseline sees: the 20 segments before each scored one as a row of numbers, NaN where unknown."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from kuaihl.features.chat import CHAT_COLUMNS, SPEECH_COLUMNS
from train.data.participation import TARGET
from train.dataset import Room, Segments

LOOKBACK = 20
"""Segments before the one to predict."""
_PCA_ROWS = 20_000


def scored_of(segments: Segments, room: Room) -> np.ndarray:
    """Where a room is scored (segments,) bool: labelled segments but the first, as in `train.evaluate.score`."""
    scored = segments.scalar("valid", room.start, room.stop).copy()
    scored[:1] = False
    return scored


def labels_of(segments: Segments, rooms: Sequence[Room]) -> np.ndarray:
    """Labels of all scored segments (rows,), room after room."""
    return np.concatenate([segments.scalar("label", r.start, r.stop)[scored_of(segments, r)] for r in rooms])


def rooms_of_rows(segments: Segments, rooms: Sequence[Room]) -> np.ndarray:
    """Name of the room of each row (rows,)."""
    return np.concatenate([np.full(scored_of(segments, r).sum(), r.name) for r in rooms])


def lags(values: np.ndarray) -> np.ndarray:
    """(segments,) -> (segments, 20): row t holds the values of t - 20 to t - 1, oldest first; NaN before the start."""
    padded = np.r_[np.full(LOOKBACK, np.nan), values.astype(np.float64)]
    return np.lib.stride_tricks.sliding_window_view(padded, LOOKBACK)[: len(values)]


def chat_lags(segments: Segments, rooms: Sequence[Room], column: str) -> np.ndarray:
    """One of `CHAT_COLUMNS` of the 20 segments before each scored one (rows, 20)."""
    return np.concatenate([lags(_activity(segments, r)[column])[scored_of(segments, r)] for r in rooms])


def label_lags(segments: Segments, rooms: Sequence[Room]) -> np.ndarray:
    """Labels of the 20 segments before each scored one (rows, 20), which of LVTR a user does not have.

    Participation is read off the activity, since it is known before it is scored.
    """
    if segments.info.target == TARGET:
        return chat_lags(segments, rooms, "participation")
    parts = []
    for room in rooms:
        label = segments.scalar("label", room.start, room.stop)
        parts.append(lags(label)[scored_of(segments, room)])
    return np.concatenate(parts)


def activity_table(segments: Segments, rooms: Sequence[Room], *, place: bool = False) -> np.ndarray:
    """Activity before each scored segment (rows, columns).

    Participation and log1p of comments of the last 20 segments, log1p of those present in the last one, words and
    seconds of speech of the last 20, and with ``place`` log1p of the segment's index.
    """
    parts = []
    for room in rooms:
        activity = _activity(segments, room)
        columns = [lags(activity["participation"]), lags(activity["log1p_comments"])]
        columns += [lags(activity["log1p_present"])[:, -1:]]
        columns += [lags(activity[name]) for name in SPEECH_COLUMNS]
        if place:
            columns.append(np.log1p(np.arange(room.stop - room.start))[:, None])
        parts.append(np.concatenate(columns, axis=1)[scored_of(segments, room)])
    return np.concatenate(parts)


def whole_activity_table(segments: Segments, rooms: Sequence[Room]) -> np.ndarray:
    """All the activity that KuaiHL sees of the last 20 segments, and log1p of the segment's index (rows, columns)."""
    parts = []
    for room in rooms:
        columns = [lags(values) for values in _activity(segments, room).values()]
        columns.append(np.log1p(np.arange(room.stop - room.start))[:, None])
        parts.append(np.concatenate(columns, axis=1)[scored_of(segments, room)])
    return np.concatenate(parts)


def _activity(segments: Segments, room: Room) -> dict[str, np.ndarray]:
    """Columns of activity by name, NaN where their source is missing."""
    names = (*CHAT_COLUMNS, *SPEECH_COLUMNS)
    values = segments.array("activity", room.start, room.stop).astype(np.float64).T
    found = dict(zip(names, values, strict=True))
    for source, columns in (("comments", CHAT_COLUMNS), ("speech", SPEECH_COLUMNS)):
        there = segments.scalar(f"has_{source}", room.start, room.stop)
        for name in columns:
            found[name] = np.where(there, found[name], np.nan)
    return found


class PooledFeatures:
    """ModelInputs of the last segment and their mean over the last 20: pictures, text and that of the speech alone.

    They are reduced to what varies most.

    Parameters
    ----------
    rooms
        Those that the components are found on.
    components
        How many are kept of each source.
    """

    def __init__(self, segments: Segments, rooms: Sequence[Room], *, components: int = 32, seed: int = 0) -> None:
        self._segments = segments
        rng = np.random.default_rng(seed)
        self._reduce: dict[str, PCA] = {}
        share = _PCA_ROWS / sum(r.stop - r.start for r in rooms)
        for source in ("pictures", "text", "speech_text"):
            drawn = [raw[rng.random(len(raw)) < share] for raw in (self._raw(r, source) for r in rooms)]
            rows = np.concatenate(drawn)
            rows = rows[np.isfinite(rows[:, 0])]
            if len(rows) > components and rows.std(0).any():
                self._reduce[source] = PCA(min(components, rows.shape[1]), random_state=seed).fit(rows)

    def __bool__(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self._reduce)

    def table(self, rooms: Sequence[Room]) -> np.ndarray:
        """(rows, columns) of the scored segments."""
        parts = []
        for room in rooms:
            scored = scored_of(self._segments, room)
            columns = [self._columns(room, source)[scored] for source in self._reduce]
            parts.append(np.concatenate(columns, axis=1))
        return np.concatenate(parts)

    def _columns(self, room: Room, source: str) -> np.ndarray:
        raw = self._raw(room, source)
        reduced = np.full((len(raw), self._reduce[source].n_components_), np.nan)
        there = np.isfinite(raw[:, 0])
        if there.any():
            reduced[there] = self._reduce[source].transform(raw[there])
        past = np.stack([lags(column) for column in reduced.T], axis=1)  # (segments, components, 20)
        known = np.isfinite(past)
        mean = np.where(known, past, 0.0).sum(-1) / np.maximum(known.sum(-1), 1)
        return np.concatenate([past[:, :, -1], np.where(known.any(-1), mean, np.nan)], axis=1)

    def _raw(self, room: Room, source: str) -> np.ndarray:
        features = self._segments.features(room, streamer=0)
        values, there = getattr(features, source)[0].float().numpy(), features.mask(source)[0].numpy()
        values = values.mean(1) if source == "pictures" else values
        return np.where(there[:, None], values, np.nan)
