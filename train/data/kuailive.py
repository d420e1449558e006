"""KuaiLive, the public data of the paper's platform without content, to a dataset labelled by LVTR."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS
from kuaihl.records import Comment, segments_of
from train.command import command_line
from train.data.kuailive_rooms import AudienceRoom, ReleaseConfig, session_labels, write_audience_room
from train.data.m3_labels import split_rooms
from train.data.m3_tables import Tables
from train.dataset import DATASET_FILE, DatasetInfo, write_info

_EVENTS = {"comments": "comment.csv", "likes": "like.csv", "gifts": "gift.csv"}
PICTURE_DIM = 3
"""There are no pictures: the token holds log1p of likes, of gifts, and of their price in the segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KuaiLiveConfig(ReleaseConfig):
    """Make a dataset of the most watched rooms of KuaiLive: activity and streamers, without pictures and text."""

    def run(self) -> None:
        """Prepare; see `prepare_kuailive`."""
        prepare_kuailive(self)


def prepare_kuailive(config: KuaiLiveConfig) -> None:
    """Label the rooms that ended, in segments of 30 s, a shard each.

    Raises
    ------
    LabelError
        A table is missing, lacks a column or cannot be read; no segment has a label; or ``out`` has a dataset.
    """
    if (config.out / DATASET_FILE).exists():
        raise LabelError(f"{config.out} has a dataset already. Choose another folder.")
    (config.out / "rooms").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=config.out) as scratch:
        tables = Tables(config.folder, scratch=Path(scratch), memory=config.memory)
        _read_tables(tables, config)
        listed = tables.query("SELECT room, streamer, start_us, end_us FROM rooms ORDER BY room")
        rooms = [row for row in listed if segments_of((row[3] - row[2]) / 1e6)]
        if not rooms:
            raise LabelError(f"{config.folder}: no room of room.csv has clicks, a start and an end after it.")
        splits = split_rooms({room: start_us for room, _, start_us, _ in rooms})
        model = PRESETS["compact"]
        info = DatasetInfo(
            visual_encoder="kuailive",
            picture_dim=PICTURE_DIM,
            picture_tokens=1,
            text_encoder=model.text_encoder,
            text_dim=model.text_dim,
            encoders={},
            target="lvtr",
            source=f"KuaiLive: {len(rooms)} rooms of {config.folder.name}",
            made_by=command_line("python -m train.prepare kuailive", config),
            parameters={"top_k": config.top_k},
        )
        labelled = 0
        for room, streamer, start_us, end_us in tqdm(rooms, unit="room"):
            audience = _read_room(tables, config, room, streamer, start_us, end_us, splits[room])
            labelled += int(audience.labels.valid.sum())
            write_audience_room(config.out, info, audience, None)
    if not labelled:
        raise LabelError(f"{config.folder}: no segment has {config.options.min_impressions} impressions.")
    write_info(config.out, info)
    print(f"{len(rooms)} rooms, {labelled} labelled segments are in {config.out}")


def _read_tables(tables: Tables, config: KuaiLiveConfig) -> None:
    """Copy what concerns the rooms with the most clicks to tables on disk, sorted by room."""
    time = {"live_id": "id", "user_id": "id", "timestamp": "time"}
    tables.view(
        "raw_rooms",
        "room.csv",
        {"live_id": "id", "streamer_id": "id", "start_timestamp": "time", "end_timestamp": "time"},
    )
    tables.view("raw_clicks", "click.csv", time | {"watch_live_time": "int"})
    tables.query(
        "CREATE TABLE rooms AS SELECT live_id AS room, any_value(streamer_id) AS streamer, min(start_timestamp) AS"
        " start_us, max(end_timestamp) AS end_us FROM raw_rooms SEMI JOIN (SELECT live_id FROM raw_clicks GROUP BY"
        " live_id ORDER BY count(*) DESC, live_id LIMIT ?) USING (live_id) WHERE end_timestamp > start_timestamp"
        " GROUP BY live_id",
        [config.top_k],
    )
    columns = {"clicks": "timestamp AS time_us, watch_live_time AS view_ms"}
    for name, file in {**_EVENTS, **({"shows": "negative.csv"} if config.shows else {})}.items():
        price = {"gift_price": "int"} if name == "gifts" else {}
        tables.view(f"raw_{name}", file, time | price)
        columns[name] = ", ".join(["timestamp AS time_us, user_id", *price])
    for name, selected in columns.items():
        tables.query(
            f"CREATE TABLE {name} AS SELECT live_id AS room, {selected} FROM raw_{name}"
            " WHERE live_id IN (SELECT room FROM rooms) AND timestamp IS NOT NULL ORDER BY room"
        )


def _read_room(
    tables: Tables, config: KuaiLiveConfig, room: int, streamer: int, start_us: int, end_us: int, split: str
) -> AudienceRoom:
    """Read the events of a room, with times from its start."""

    def read(name: str, columns: str) -> np.ndarray:
        rows = tables.query(f"SELECT time_us - ?, {columns} FROM {name} WHERE room = ? ORDER BY 1, 2", [start_us, room])
        return np.array(rows, dtype=np.float64).reshape(-1, 2) / (1e6, 1)

    segments = segments_of((end_us - start_us) / 1e6)
    edges = [0.0, *(segment.end_s for segment in segments)]
    clicks, comments, likes = read("clicks", "view_ms"), read("comments", "user_id"), read("likes", "user_id")
    gifts = read("gifts", "gift_price")
    shown_s = read("shows", "user_id")[:, 0] if config.shows else None
    counts = [np.histogram(events[:, 0], edges)[0] for events in (likes, gifts)]
    price = np.histogram(gifts[:, 0], edges, weights=np.nan_to_num(gifts[:, 1]).clip(min=0))[0]
    return AudienceRoom(
        name=str(room),
        streamer=str(streamer),
        start_s=start_us / 1e6,
        split=split,
        segments=segments,
        pictures=np.log1p([*counts, price]).T,
        comments=[Comment(time_s, "", str(int(user))) for time_s, user in comments],
        labels=session_labels(segments, clicks[:, 0], clicks[:, 1] / 1e3, shown_s=shown_s, options=config.options),
    )
