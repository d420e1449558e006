"""Chat logs to a dataset labelled by audience participation, without pictures and speech."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kuaihl.comments import reader, selection
from kuaihl.errors import LabelError
from kuaihl.features.embeddings import segment_features
from kuaihl.features.pretrained import find_text_encoder
from kuaihl.features.text import TextEncoder, TextFeatures
from kuaihl.model.config import PRESETS
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import SEGMENT_S, Comment, segments_of
from train.command import command_line
from train.data.labels import from_comments
from train.data.participation import TARGET
from train.data.shards import build_columns, comment_texts, open_dataset, write_shards
from train.splits import split_by_date

MAX_STREAM_S = 48 * 3600
"""Later comments have a damaged time and are skipped."""
_COLUMNS = ("vod", "channel", "time_s", "chatter", "text")


@dataclass(frozen=True, slots=True)
class ChatConfig:
    """Make a dataset of chat logs, labelled by audience participation."""

    logs: Path
    """Parquet file (columns vod, channel, time_s, chatter, text), or a folder with a folder of logs a channel."""
    out: Path
    """Folder for the dataset. An interrupted run continues."""
    text: bool = True
    """Encode the text of the comments, which takes most of the time. Without it there are only activity and words."""

    def run(self) -> None:
        """Prepare; see `prepare_chat`."""
        prepare_chat(self)


@dataclass(frozen=True, slots=True)
class ChatLog:
    """The chat of one recording: a unique name that is fit for a file, its channel, and a function to read it."""

    name: str
    channel: str
    read: Callable[[], list[Comment]]


def prepare_chat(config: ChatConfig) -> None:
    """Encode and label chats, a shard each. A chat that is damaged or has no segment to score is logged and skipped.

    Raises
    ------
    LabelError
        No logs are found, ``out`` has another dataset, or no chat can be used.
    CheckpointError
        An encoder is missing.
    """
    logs = find_logs(config.logs)
    model = PRESETS["compact"]
    channels = {log.channel for log in logs}
    names = "\n".join(f"{log.name}\t{log.channel}" for log in logs)
    info = open_dataset(
        config.out,
        model,
        DEFAULT_CHECKPOINT,
        unused=[model.visual_encoder, *[model.text_encoder] * (not config.text)],
        target=TARGET,
        source=f"real chat: audience participation in {len(logs)} streams of {len(channels)} channels"
        + ("" if config.text else ", activity and words alone"),
        made_by=command_line("python -m train.prepare chat", config),
        parameters={
            "text": config.text,
            "streams": len(logs),
            "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        },
    )
    encoder = None
    if config.text:
        weights = find_text_encoder(model.text_encoder, checkpoint=DEFAULT_CHECKPOINT)
        encoder = TextEncoder(model.text_encoder, weights=weights)
    splits = split_by_date(len(logs))
    encoders = {log.name: partial(_encode, log, encoder, day, splits[day]) for day, log in enumerate(logs)}
    if write_shards(config.out, info, encoders) == len(logs):
        raise LabelError(f"{config.logs}: no chat has a segment to score, with participation in 21 segments in a row.")


def _encode(log: ChatLog, encoder: TextEncoder | None, day: int, split: str) -> dict[str, object]:
    """Return the columns of a chat's shard. Its last segment is that of the last comment."""
    comments = [comment for comment in log.read() if 0 <= comment.time_s < MAX_STREAM_S]
    segments = segments_of(SEGMENT_S * (1 + comments[-1].time_s // SEGMENT_S)) if comments else []
    labels = from_comments(segments, comments)
    if not labels.valid.any():
        raise LabelError(f"{log.name}: no segment can be scored: too few chatters are present, or comments lack names.")
    by_segment = selection.by_segment(comments, segments)
    text = TextFeatures(None, None, None)
    if encoder is not None:
        text = encoder.encode(None, comment_texts(by_segment))
    return build_columns(
        name=log.name,
        streamer=log.channel,
        day=day,
        split=split,
        segments=segments,
        features=segment_features(segments, pictures=None, speech=None, comments=by_segment, text=text),
        speech=None,
        comments=by_segment,
        labels=labels,
    )


def find_logs(path: Path) -> list[ChatLog]:
    """Return all chats in order of date: of their names, with numbers compared as numbers.

    Parameters
    ----------
    path
        A Parquet file with the columns vod, channel, time_s (from the start), chatter and text; or a folder that has
        a folder for each channel, with logs of any format of `kuaihl.comments.reader`.

    Raises
    ------
    LabelError
        The file, its columns or the logs are missing, or two recordings have one name.
    """
    logs = _logs_of_folder(path) if path.is_dir() else _logs_of_table(path)
    if not logs:
        raise LabelError(f"{path} has no chat: it needs a folder for each channel with its logs.")
    if len({log.name for log in logs}) < len(logs):
        raise LabelError(f"{path} has two recordings of one name: rename one.")
    return sorted(logs, key=lambda log: [(int(n or 0), text) for n, text in re.findall(r"(\d+)|(\D+)", log.name)])


def _logs_of_folder(folder: Path) -> list[ChatLog]:
    def read(file: Path) -> list[Comment]:
        return selection.text_comments(reader.read(file).comments)

    files = [file for file in sorted(folder.glob("*/*")) if file.is_file() and not file.name.startswith(".")]
    return [
        ChatLog(_file_name(f"{file.stem}-{file.parent.name}"), file.parent.name, lambda file=file: read(file))
        for file in files
    ]


def _logs_of_table(file: Path) -> list[ChatLog]:
    try:
        table = pq.read_table(file, columns=list(_COLUMNS))
        table = table.set_column(table.schema.get_field_index("time_s"), "time_s", table["time_s"].cast(pa.float64()))
        vod = table["vod"].cast(pa.string()).combine_chunks().dictionary_encode()
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError) as error:
        raise LabelError(f"{file}: not a Parquet file with the columns {', '.join(_COLUMNS)}: {error}") from error
    if vod.null_count or table["time_s"].null_count:
        raise LabelError(
            f"{file}: every row needs vod and time_s; they are missing in {vod.null_count} and"
            f" {table['time_s'].null_count} rows."
        )

    def read(rows: np.ndarray) -> list[Comment]:
        some = table.select(["time_s", "text", "chatter"]).take(rows)
        columns = (some[name].to_pylist() for name in some.column_names)
        comments = [
            Comment(time_s, text or "", None if chatter is None else str(chatter))
            for time_s, text, chatter in zip(*columns, strict=True)
        ]
        return sorted(comments, key=lambda comment: comment.time_s)

    codes = vod.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.searchsorted(codes[order], np.arange(1, len(vod.dictionary))))
    return [
        ChatLog(_file_name(name), str(table["channel"][int(some[0])].as_py()), lambda some=some: read(some))
        for name, some in zip(vod.dictionary.to_pylist(), rows, strict=True)
    ]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)
