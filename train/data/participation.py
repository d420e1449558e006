"""Audience participation: of the chatters present, the share who write. Its definition, what is scored, the split."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kuaihl.comments import reader, selection
from kuaihl.errors import LabelError
from kuaihl.features.chat import PRESENCE_SEGMENTS
from kuaihl.records import Comment
from train.dataset import Room, Segments

PRESENT_AT_LEAST = 20
"""With fewer chatters present, participation is not defined."""
HISTORY = 20
"""A segment is scored where it and so many before it have a participation."""
TARGET = "participation"

_COLUMNS = ("vod", "channel", "time_s", "chatter", "text")


@dataclass(frozen=True, slots=True)
class Participation:
    """How the chat took part in each segment, all (segments,).

    ``writers`` are the distinct chatters of the segment, ``present`` those of the last 20 segments, itself included,
    and ``share`` = writers / present, NaN where fewer than 20 are present.
    """

    share: np.ndarray
    writers: np.ndarray
    present: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Where the benchmark scores (segments,) bool: the share is defined here and in the 20 segments before."""
        defined = np.cumsum(np.r_[0, np.isfinite(self.share)])
        scored = np.zeros(len(self.share), dtype=bool)
        scored[HISTORY:] = defined[HISTORY + 1 :] - defined[: -HISTORY - 1] == HISTORY + 1
        return scored


def participation(segment: np.ndarray, chatter: np.ndarray, *, segments: int) -> Participation:
    """Measure the participation of a chat.

    Parameters
    ----------
    segment, chatter
        (comments,) int64 each, in any order: where a comment fell, 0 <= segment < segments, and who wrote it, >= 0.
    segments
        How many there are.
    """
    pairs = np.unique(np.stack([chatter, segment], axis=1).reshape(-1, 2), axis=0)
    who, start = pairs[:, 0], pairs[:, 1]
    # A chatter is present from a segment written in until the next one, but no longer than the presence lasts.
    stays = np.full(len(pairs), segments)
    again = np.flatnonzero(who[1:] == who[:-1])
    stays[again] = start[again + 1]
    stop = np.minimum(stays, start + PRESENCE_SEGMENTS)
    change = np.bincount(start, minlength=segments + 1) - np.bincount(
        np.minimum(stop, segments), minlength=segments + 1
    )
    present = np.cumsum(change)[:segments]
    writers = np.bincount(start, minlength=segments)
    share = np.where(present >= PRESENT_AT_LEAST, writers / np.maximum(present, 1), np.nan)
    return Participation(share, writers, present)


def split_by_date(count: int) -> list[str]:
    """Split of each of ``count`` recordings in order of date: the last fifth tests, the tenth before validates.

    Bounds are rounded down as the published numbers have it: of 350 recordings, 244, 36 and 70.
    """
    bounds = (int(0.7 * count), int(0.8 * count))
    return ["train" if k < bounds[0] else "validation" if k < bounds[1] else "test" for k in range(count)]


def leave_out(segments: Segments, streamers: Sequence[str]) -> list[Room]:
    """Split the rooms of a dataset anew: those of ``streamers`` test, the last tenth of all others validates.

    Raises
    ------
    LabelError
        There is no room of a streamer named, or fewer than two rooms of others.
    """
    rooms = sorted(segments.rooms, key=lambda room: int(segments.column("day", room)[0]))
    if unknown := set(streamers) - {room.streamer for room in rooms}:
        there = ", ".join(sorted({room.streamer for room in rooms}))
        raise LabelError(f"The dataset has no rooms of {', '.join(sorted(unknown))}; it has those of {there}.")
    others = [room for room in rooms if room.streamer not in streamers]
    if len(others) < 2:
        raise LabelError("Leaving these streamers out leaves nothing to train and to validate with.")
    first = len(others) - max(1, len(others) // 10)
    kept = [replace(room, split="train" if k < first else "validation") for k, room in enumerate(others)]
    return kept + [replace(room, split="test") for room in rooms if room.streamer in streamers]


@dataclass(frozen=True, slots=True)
class ChatLog:
    """The chat of one recording: its name, unique and fit for a file, its channel, and how to read its comments."""

    name: str
    channel: str
    read: Callable[[], list[Comment]]


def find_logs(path: Path) -> list[ChatLog]:
    """Find all chats, in order of date, which is the order of their names with numbers compared as numbers.

    Parameters
    ----------
    path
        A Parquet file with the columns vod, channel, time_s (seconds from the start), chatter and text; or a folder
        that holds a folder for each channel, with logs of any format that `kuaihl.comments.reader` reads.

    Raises
    ------
    LabelError
        There is no such file, or none of these columns, or no log.
    """
    logs = _of_folder(path) if path.is_dir() else _of_table(path)
    if not logs:
        raise LabelError(f"{path} holds no chat: it needs a folder for each channel with its logs.")
    if len({log.name for log in logs}) < len(logs):
        raise LabelError(f"{path} holds two recordings of one name: rename one.")
    return sorted(logs, key=lambda log: _in_order(log.name))


def _of_folder(folder: Path) -> list[ChatLog]:
    files = [p for p in sorted(folder.glob("*/*")) if p.is_file() and not p.name.startswith(".")]
    return [ChatLog(_safe(f"{p.stem}-{p.parent.name}"), p.parent.name, lambda p=p: _read_file(p)) for p in files]


def _read_file(file: Path) -> list[Comment]:
    return selection.text_comments(reader.read(file).comments)


def _of_table(file: Path) -> list[ChatLog]:
    try:
        table = pq.read_table(file, columns=list(_COLUMNS))
        seconds = table["time_s"].cast(pa.float64())
        vod = table["vod"].cast(pa.string()).combine_chunks().dictionary_encode()
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError) as error:
        raise LabelError(f"{file}: not a Parquet file with the columns {', '.join(_COLUMNS)}: {error}") from error
    if vod.null_count or seconds.null_count:
        raise LabelError(
            f"{file}: each row needs a vod and a time_s; {vod.null_count} and {seconds.null_count} lack it."
        )
    table = table.set_column(table.schema.get_field_index("time_s"), "time_s", seconds)
    code = vod.indices.to_numpy()
    order = np.argsort(code, kind="stable")
    bounds = np.searchsorted(code[order], np.arange(len(vod.dictionary) + 1))
    found = []
    for k, name in enumerate(vod.dictionary.to_pylist()):
        rows = order[bounds[k] : bounds[k + 1]]
        channel = str(table["channel"][int(rows[0])].as_py())
        found.append(ChatLog(_safe(name), channel, lambda rows=rows: _read_rows(table, rows)))
    return found


def _read_rows(table: pa.Table, rows: np.ndarray) -> list[Comment]:
    part = table.select(["time_s", "text", "chatter"]).take(rows)
    columns = (part[name].to_pylist() for name in part.column_names)
    comments = [
        Comment(time_s, text or "", None if who is None else str(who))
        for time_s, text, who in zip(*columns, strict=True)
    ]
    return sorted(comments, key=lambda c: c.time_s)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _in_order(name: str) -> list[tuple[int, str]]:
    """Key that puts 9 before 10."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d+)|(\D+)", name)]
