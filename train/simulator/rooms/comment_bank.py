"""Comments of real chat, from bursts and from calm moments of training VODs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kuaihl.errors import LabelError
from kuaihl.records import SEGMENT_S

_COLUMNS = ["vod", "time_s", "text"]
_MAX_CHARACTERS = 200
_MIN_LINES = 1000
_TRAIN_SHARE = 0.7
"""Oldest VODs: the training split of the participation benchmark (train.data.participation.split_by_date)."""


@dataclass(frozen=True, slots=True)
class CommentBank:
    """Lines in the order in which they were written, window after window, as Arrow strings."""

    calm: pa.StringArray
    burst: pa.StringArray

    def sample(
        self, count: int, *, excitement: np.ndarray, share: float, rng: np.random.Generator
    ) -> tuple[list[str | None], np.ndarray]:
        """Choose ``count`` lines, burst lines with chance ``excitement`` (count,); 1 - ``share`` are None instead.

        Lines of either kind are consecutive in the chat, since comments answer each other.

        Returns
        -------
        The lines, and whether each is from a burst (count,).
        """
        from_burst = rng.random(count) < excitement
        from_bank = rng.random(count) < share
        lines: list[str | None] = [None] * count
        for source, mask in ((self.burst, from_burst & from_bank), (self.calm, ~from_burst & from_bank)):
            places = np.flatnonzero(mask)
            start = int(rng.integers(len(source) - len(places) + 1))
            for place, text in zip(places, source[start : start + len(places)].to_pylist(), strict=True):
                lines[place] = text
        return lines, from_burst


def read_bank(path: Path, *, lines: int = 200_000, seed: int = 0) -> CommentBank:
    """Read a Parquet file of chats (columns vod, time_s, text) into a bank of at most about ``lines`` lines.

    Only the oldest VODs (by id) are used: those of the training split. A window of 30 s is a burst if it has over twice
    the mean of its VOD, and calm if it has less than the mean.

    Raises
    ------
    LabelError
        The file has other columns, or too little chat.
    """
    table = _read_training_vods(path)
    vod = table["vod"].combine_chunks()
    vod_index = (vod if isinstance(vod, pa.DictionaryArray) else vod.dictionary_encode()).indices.to_numpy()
    window = np.floor(table["time_s"].to_numpy() / SEGMENT_S).astype(np.int64)
    order = np.lexsort((table["time_s"].to_numpy(), vod_index))
    key = vod_index[order].astype(np.int64) * (1 << 32) + window[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    counts = np.diff(np.r_[starts, len(key)])
    window_vod = vod_index[order][starts]
    mean = np.bincount(window_vod, counts)[window_vod] / np.bincount(window_vod)[window_vod]
    rng = np.random.default_rng(seed)
    calm, burst = (
        _sample_windows(table["text"], order, starts, counts, windows, limit=lines // 2, rng=rng)
        for windows in (np.flatnonzero(counts < mean), np.flatnonzero(counts > 2.0 * mean))
    )
    if min(len(calm), len(burst)) < _MIN_LINES:
        raise LabelError(
            f"{path} has too little chat: a comment bank needs {_MIN_LINES:,} lines of bursts and of calm."
        )
    return CommentBank(calm, burst)


def _read_training_vods(path: Path) -> pa.Table:
    try:
        vods = sorted(pc.unique(pq.read_table(path, columns=["vod"])["vod"]).to_pylist())
        train = vods[: int(_TRAIN_SHARE * len(vods))]
        if not train:
            raise LabelError(f"{path} has {len(vods)} VOD(s), of which none is left for training: give more.")
        table = pq.read_table(path, columns=_COLUMNS, filters=[("vod", "in", train)])
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise LabelError(f"{path} is no Parquet file with the columns {', '.join(_COLUMNS)}: {error}") from error
    length = pc.utf8_length(table["text"])
    return table.filter(pc.and_(pc.greater(length, 0), pc.less(length, _MAX_CHARACTERS)))


def _sample_windows(
    text: pa.ChunkedArray,
    order: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    windows: np.ndarray,
    *,
    limit: int,
    rng: np.random.Generator,
) -> pa.StringArray:
    """Sample whole windows until there are ``limit`` lines."""
    windows = rng.permutation(windows)
    windows = windows[: int(np.searchsorted(np.cumsum(counts[windows]), limit)) + 1]
    rows = [order[starts[w] : starts[w] + counts[w]] for w in windows]
    lines = text.take(np.concatenate(rows)) if rows else text.slice(0, 0)
    return lines.cast(pa.string()).combine_chunks()
