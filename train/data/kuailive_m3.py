"""KuaiLive-M3, the public data of the paper's platform, to a dataset and to the labels of its benchmark."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from kuaihl.errors import LabelError
from kuaihl.features.pretrained import find_text_encoder
from kuaihl.features.text import TextEncoder
from kuaihl.model.config import PRESETS
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import Comment, Segment
from train.command import command_line
from train.data.kuailive_rooms import AudienceRoom, ReleaseConfig, session_labels, write_audience_room
from train.data.labels import SegmentLabels
from train.data.m3_labels import Events, room_labels, scale_statistics, split_rooms
from train.data.m3_tables import Tables
from train.dataset import DATASET_FILE, DatasetInfo, write_info
from train.files import replacing

LABELS_FILE = "labels.parquet"
"""The benchmark's labels in the folder of the dataset, for ``train.evaluate --protocol kuailive-m3``."""
EMBEDDING_DIM = 128
PICTURE_DIM = EMBEDDING_DIM + 2
"""A picture token holds the embedding, and log1p of likes and of new sessions in the segment."""
TARGETS = {"score": "kuailive-m3", "lvtr": "lvtr"}
_UNITS = {"s": 1e0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class M3Config(ReleaseConfig):
    """Make a dataset of the most watched rooms of KuaiLive-M3."""

    label: Literal["score", "lvtr"] = "score"
    """The benchmark's score, or the paper's LVTR."""
    exact_start: bool = False
    """Start each room's first segment at the room's start. The benchmark divides its time by 1e9 whatever its unit, so
    that the first segment begins in 1970 unless the unit is ns; by default the labels are as there."""
    labels_out: Path | None = None
    """Parquet file for a copy of the benchmark's labels."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Checkpoint whose text encoder to use."""

    def run(self) -> None:
        """Prepare; see `prepare_m3`."""
        prepare_m3(self)


def prepare_m3(config: M3Config) -> None:
    """Label and encode the rooms, a shard each.

    Raises
    ------
    LabelError
        A table is missing, lacks a column or cannot be read; no room can be used; or ``out`` has a dataset.
    CheckpointError
        The text encoder is missing.
    """
    if (config.out / DATASET_FILE).exists():
        raise LabelError(f"{config.out} has a dataset already. Choose another folder.")
    (config.out / "rooms").mkdir(parents=True, exist_ok=True)
    model = PRESETS["compact"]
    encoder = TextEncoder(
        model.text_encoder, weights=find_text_encoder(model.text_encoder, checkpoint=config.checkpoint)
    )
    with TemporaryDirectory(dir=config.out) as scratch:
        tables = Tables(config.folder, scratch=Path(scratch), memory=config.memory)
        _read_tables(tables, config)
        labels = _read_labels(tables, config)
        for file in filter(None, (config.out / LABELS_FILE, config.labels_out)):
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part:
                _benchmark_columns(labels).to_parquet(part, index=False)
        info = DatasetInfo(
            visual_encoder="kuailive_m3",
            picture_dim=PICTURE_DIM,
            picture_tokens=1,
            text_encoder=model.text_encoder,
            text_dim=model.text_dim,
            encoders={},
            target=TARGETS[config.label],
            source=f"KuaiLive-M3: {labels['live_stream_id'].nunique()} rooms of {config.folder.name}",
            made_by=command_line("python -m train.prepare kuailive-m3", config),
            parameters={"label": config.label, "top_k": config.top_k, "exact_start": config.exact_start},
        )
        rooms = labels.groupby("live_stream_id", sort=False)
        for room, rows in tqdm(rooms, unit="room"):
            write_audience_room(config.out, info, _read_room(tables, config, int(room), rows), encoder)
    write_info(config.out, info)
    print(f"{len(rooms)} rooms, {len(labels)} segments are in {config.out}")


def _read_tables(tables: Tables, config: M3Config) -> None:
    """Copy what concerns the rooms with the most sessions to tables on disk, sorted by room."""
    tables.view(
        "raw_sessions",
        "live_interaction.csv",
        {
            "live_id": "id",
            "user_id": "id",
            "live_play_start_timestamp": "time",
            "live_play_end_timestamp": "time",
            "play_duration": "int",
        },
    )
    tables.view("raw_rooms", "live_room_meta.parquet", {"live_id": "id", "author_id": "id", "start_timestamp": "time"})
    tables.view(
        "raw_comments",
        "live_comment.csv",
        {"live_stream_id": "id", "user_id": "id", "content": "text", "comment_ts": "time"},
    )
    tables.view("raw_likes", "live_like.csv", {"live_id": "id", "like_timestamp": "time"})
    tables.view(
        "raw_segments",
        "live_emb_128_ts/live_emb_128_ts_part*.parquet",
        {"live_stream_id": "id", "segment_id": "text", "feature_128": "vector", "timestamp": "time"},
    )
    tables.query(
        "CREATE TABLE rooms AS SELECT live_id AS room, any_value(author_id) AS streamer, any_value(start_timestamp) AS"
        " start_us FROM raw_rooms SEMI JOIN (SELECT live_id FROM raw_sessions GROUP BY live_id"
        " ORDER BY count(*) DESC, live_id LIMIT ?) USING (live_id) WHERE start_timestamp IS NOT NULL GROUP BY live_id",
        [config.top_k],
    )
    selected = {
        "sessions": ("live_id", "live_play_start_timestamp AS start_us, live_play_end_timestamp AS end_us,"
                     " play_duration AS view_ms", "raw_sessions"),
        "comments": ("live_stream_id", "comment_ts AS time_us, user_id, content", "raw_comments"),
        "likes": ("live_id", "like_timestamp AS time_us", "raw_likes"),
        "segments": ("live_stream_id", "timestamp AS time_us, segment_id, feature_128", "raw_segments"),
    }  # fmt: skip
    if config.shows:
        tables.view("raw_shows", "live_show.parquet", {"live_id": "id", "show_timestamp": "time"})
        selected["shows"] = ("live_id", "show_timestamp AS time_us", "raw_shows")
    for name, (room, columns, source) in selected.items():
        tables.query(
            f"CREATE TABLE {name} AS SELECT {room} AS room, {columns} FROM {source}"
            f" WHERE {room} IN (SELECT room FROM rooms) ORDER BY room"
        )


def _read_labels(tables: Tables, config: M3Config) -> pd.DataFrame:
    """Compute the benchmark's labels of all rooms, a row a segment in order of room and time."""
    room_file = tables.find("live_room_meta.parquet")[0]
    kind = pq.read_schema(room_file).field("start_timestamp").type
    stored = _UNITS[kind.unit] if hasattr(kind, "unit") else 1e3
    frames, starts, skipped = [], {}, 0
    for room, streamer, start_us in tqdm(tables.query("SELECT * FROM rooms ORDER BY room"), unit="room"):
        segments = tables.query("SELECT time_us, segment_id FROM segments WHERE room = ? ORDER BY 1, 2", [room])
        ends_s = np.array([time for time, _ in segments], dtype=np.int64) / 1e6
        first_s = start_us / 1e6 if config.exact_start else start_us * (stored / 1e6) / 1e9
        frame = room_labels(ends_s, first_s=first_s, events=_read_events(tables, room)) if segments else None
        if frame is None:
            skipped += 1
            continue
        starts[room] = start_us
        names = [segments[k][1] for k in frame["segment"]]
        frames.append(
            frame.assign(live_stream_id=room, segment_id=names, timestamp=ends_s[frame["segment"]], streamer=streamer,
                         room_start_us=start_us)
        )  # fmt: skip
    if not frames:
        raise LabelError(f"{config.folder}: none of its {skipped} most watched rooms has 5 segments and 5 viewers.")
    print(f"{skipped} rooms have fewer than 5 segments or a peak of fewer than 5 viewers")
    splits = split_rooms(starts)
    labels = scale_statistics(pd.concat(frames, ignore_index=True))
    return labels.assign(split=labels["live_stream_id"].map(splits))


def _read_events(tables: Tables, room: int) -> Events:
    """Read the events of a room. The benchmark drops sessions without an end, and those that end before they start."""
    sessions = tables.query(
        "SELECT start_us, end_us FROM sessions WHERE room = ? AND end_us >= start_us ORDER BY 1", [room]
    )
    times = (
        tables.query(f"SELECT time_us FROM {name} WHERE room = ? AND time_us IS NOT NULL ORDER BY 1", [room])
        for name in ("likes", "comments")
    )
    likes, comments = (np.array(rows, dtype=np.int64).reshape(-1) for rows in times)
    # Dates go through ns, as in the benchmark: a float64 of them is coarser than one of ms, which decides on ties.
    return Events(_from_ns(np.array(sessions, dtype=np.int64).reshape(-1, 2)), _from_ns(likes), comments / 1e6)


def _from_ns(times_us: np.ndarray) -> np.ndarray:
    return (times_us * 1000).astype(np.float64) / 1e9


def _benchmark_columns(labels: pd.DataFrame) -> pd.DataFrame:
    """Return the columns and types that the benchmark writes."""
    counts = ["viewers_entered", "like_cnt_seg", "comment_cnt_seg"]
    statistics = [name for name in labels if name.startswith("stat_")]
    values = ["lvtr", "ed", "lvtr_norm", "ed_norm", "hl_score", *statistics]
    columns = [
        "live_stream_id", "segment_id", "timestamp", "seg_start_ts", "seg_end_ts", "lvtr", "ed", *counts,
        "lvtr_norm", "ed_norm", "hl_score", "hl_binary", "split", *statistics,
    ]  # fmt: skip
    types = dict.fromkeys(values, np.float32) | dict.fromkeys(counts, np.int32)
    return labels[columns].astype(types).assign(split=labels["split"].replace("validation", "val"))


def _read_room(tables: Tables, config: M3Config, room: int, rows: pd.DataFrame) -> AudienceRoom:
    """Read the features and events of a room, with times from its start."""
    start_us = int(rows["room_start_us"].iloc[0])
    ends_s = rows["seg_end_ts"].to_numpy() - start_us / 1e6
    starts_s = rows["seg_start_ts"].to_numpy() - start_us / 1e6
    starts_s[0] = min(0.0, ends_s[0])
    segments = [Segment(k, *map(float, span)) for k, span in enumerate(zip(starts_s, ends_s, strict=True))]
    sessions = tables.query(
        "SELECT start_us, coalesce(end_us - start_us, view_ms * 1000) FROM sessions WHERE room = ? AND start_us IS NOT"
        " NULL AND coalesce(end_us - start_us, view_ms * 1000) >= 0 ORDER BY 1",
        [room],
    )
    begins_us, views_us = np.array(sessions, dtype=np.int64).reshape(-1, 2).T
    begins_s = (begins_us - start_us) / 1e6
    if config.label == "score":
        labels = SegmentLabels(rows["hl_score"].to_numpy(), np.ones(len(rows), dtype=bool), "benchmark score")
    else:
        shown_s = None
        if config.shows:
            shows = tables.query("SELECT time_us FROM shows WHERE room = ? AND time_us IS NOT NULL", [room])
            shown_s = (np.array(shows, dtype=np.int64).reshape(-1) - start_us) / 1e6
        labels = session_labels(segments, begins_s, views_us / 1e6, shown_s=shown_s, options=config.options)
    vectors = dict(tables.query("SELECT segment_id, feature_128 FROM segments WHERE room = ?", [room]))
    embedded = np.array([vectors[name] for name in rows["segment_id"]], dtype=np.float32)
    if embedded.shape[1:] != (EMBEDDING_DIM,):
        raise LabelError(f"{config.folder}: an embedding of room {room} is not {EMBEDDING_DIM} numbers.")
    edges = np.r_[starts_s[0], ends_s]
    activity = np.log1p([rows["like_cnt_seg"].to_numpy(), np.histogram(begins_s, edges)[0]])
    return AudienceRoom(
        name=str(room),
        streamer=str(rows["streamer"].iloc[0]),
        start_s=start_us / 1e6,
        split=rows["split"].iloc[0],
        segments=segments,
        pictures=np.c_[embedded, activity.T],
        comments=list(_read_comments(tables, room, start_us)),
        labels=labels,
    )


def _read_comments(tables: Tables, room: int, start_us: int) -> Iterator[Comment]:
    rows = tables.query(
        "SELECT time_us, content, user_id FROM comments WHERE room = ? AND time_us IS NOT NULL ORDER BY 1, 3, 2", [room]
    )
    for time_us, content, user in rows:
        yield Comment((time_us - start_us) / 1e6, content or "", str(user))
