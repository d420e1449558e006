"""Real chat as a bank of comments: lines of bursts and lines of calm moments, from training VODs only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kuaihl.errors import LabelError
from kuaihl.records import SEGMENT_S
from train.splits import split_by_date

_COLUMNS = ["vod", "time_s", "text"]
_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class CommentBank:
    """Lines in the order in which they were written, window after window, as Arrow strings."""

    calm: pa.StringArray
    burst: pa.StringArray

    def draw(
        self, count: int, *, hype: float, share: float, rng: np.random.Generator
    ) -> tuple[list[str | None], np.ndarray]:
        """Choose ``count`` lines, ``None`` for the 1 - ``share`` of them that are not from the bank.

        Lines of a burst come with chance ``hype``; those of either kind are consecutive, as one answers another.

        Returns
        -------
        The lines, and which are of a burst (count,), where they are from the bank.
        """
        hot = rng.random(count) < hype
        taken = rng.random(count) < share
        lines: list[str | None] = [None] * count
        for source, wanted in ((self.burst, hot & taken), (self.calm, ~hot & taken)):
            places = np.flatnonzero(wanted)
            start = int(rng.integers(len(source) - len(places) + 1))
            for place, text in zip(places, source[start : start + len(places)].to_pylist(), strict=True):
                lines[place] = text
        return lines, hot


def read_bank(path: Path, *, lines: int = 200_000, seed: int = 0) -> CommentBank:
    """Read a Parquet file of chats (columns vod, time_s, text) into a bank of at most about ``lines`` lines.

    VODs are sorted by id; of the participation benchmark's split, the training part is used. A window of 30 s is a
    burst where it has over twice the mean of its VOD's windows, and calm where it has less than the mean.

    Raises
    ------
    LabelError
        If the file is no such Parquet, or holds too little chat.
    """
    table = _training_part(path)
    vod = table["vod"].combine_chunks()
    vod_index = (vod if isinstance(vod, pa.DictionaryArray) else vod.dictionary_encode()).indices.to_numpy()
    window = np.floor(table["time_s"].to_numpy() / SEGMENT_S).astype(np.int64)
    order = np.lexsort((table["time_s"].to_numpy(), vod_index))
    key = vod_index[order].astype(np.int64) * (1 << 32) + window[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    counts = np.diff(np.r_[starts, len(key)])
    of_vod = vod_index[order][starts]
    mean = np.bincount(of_vod, counts)[of_vod] / np.bincount(of_vod)[of_vod]
    rng = np.random.default_rng(seed)
    text = table["text"]
    picked = [
        _lines(text, order, starts, counts, windows, limit=lines // 2, rng=rng)
        for windows in (np.flatnonzero(counts < mean), np.flatnonzero(counts > 2.0 * mean))
    ]
    if min(len(p) for p in picked) < 1000:
        raise LabelError(f"{path}: too little chat for a comment bank; it needs bursts and calm of 1,000 lines each.")
    return CommentBank(calm=picked[0], burst=picked[1])


def _training_part(path: Path) -> pa.Table:
    try:
        vods = sorted(pc.unique(pq.read_table(path, columns=["vod"])["vod"]).to_pylist())
        kept = [vod for vod, split in zip(vods, split_by_date(len(vods)), strict=True) if split == "train"]
        if not kept:
            raise LabelError(f"{path}: the chat of {len(vods)} VOD(s) leaves none for training; a bank needs more.")
        table = pq.read_table(path, columns=_COLUMNS, filters=[("vod", "in", kept)])
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise LabelError(f"{path}: not a Parquet file with the columns {', '.join(_COLUMNS)}: {error}") from error
    usable = pc.and_(
        pc.greater(pc.utf8_length(table["text"]), 0), pc.less(pc.utf8_length(table["text"]), _MAX_CHARACTERS)
    )
    return table.filter(usable)


def _lines(
    text: pa.ChunkedArray,
    order: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    windows: np.ndarray,
    *,
    limit: int,
    rng: np.random.Generator,
) -> pa.StringArray:
    """Take whole windows at random until there are ``limit`` lines."""
    windows = rng.permutation(windows)
    windows = windows[: int(np.searchsorted(np.cumsum(counts[windows]), limit)) + 1]
    rows = [order[starts[w] : starts[w] + counts[w]] for w in windows]
    taken = text.take(np.concatenate(rows)) if rows else text.slice(0, 0)
    return taken.cast(pa.string()).combine_chunks()
