"""Chats to a dataset: finding logs, labels, features, and what is skipped."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kuaihl.errors import CommentLogError, LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.features.pretrained import find_text_encoder, sha256_file
from kuaihl.features.text import TextEncoder
from kuaihl.model.config import PRESETS
from tests.fixtures.chats import write_chats
from train.data.chat_logs import ChatConfig, find_logs, prepare_chat
from train.dataset import Segments


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("logs") / "chats.parquet"
    write_chats(file)
    return file


@pytest.fixture(scope="module")
def dataset(logs: Path) -> Path:
    out = logs.parent / "activity"
    prepare_chat(ChatConfig(logs, out, text=False))
    return out


def test_rows_are_those_of_the_chat(logs: Path, dataset: Path) -> None:
    segments = Segments(dataset)
    assert segments.info.target == "participation"
    assert segments.info.encoders == {}
    assert segments.info.made_by == "python -m train.prepare chat --logs chats.parquet --out activity --no-text"
    assert (dataset / "visual.safetensors").exists()  # a checkpoint of chat alone needs it to open a recording
    rows = pq.read_table(logs).to_pylist()
    rooms = {room.name: room for room in segments.rooms}
    assert sorted(rooms) == sorted({row["vod"] for row in rows})
    by_date = sorted(rooms.values(), key=lambda room: int(room.name))
    assert [room.split for room in by_date] == ["train"] * 8 + ["validation"] + ["test"] * 3
    room = rooms["103"]
    written = [[row for row in rows if row["vod"] == "103" and row["time_s"] // 30 == t] for t in range(45)]
    assert room.stop - room.start == 45
    for t in range(20, 45):
        present = {row["chatter"] for some in written[t - 19 : t + 1] for row in some}
        share = len({row["chatter"] for row in written[t]}) / len(present)
        assert len(present) >= 20
        assert segments.scalar("label", room.start, room.stop)[t] == pytest.approx(share)
        activity = segments.array("activity", room.start, room.stop)[t]
        assert activity[CHAT_COLUMNS.index("log1p_comments")] == pytest.approx(np.log1p(len(written[t])))
    np.testing.assert_array_equal(segments.scalar("valid", room.start, room.stop), np.arange(45) >= 20)
    for name, expected in (("pictures", False), ("speech", False), ("comments", True)):
        assert (segments.scalar(f"has_{name}", room.start, room.stop) == expected).all()
    assert not segments.array("text_comments", room.start, room.stop).any()


def test_text_is_encoded_as_in_the_app(tmp_path: Path) -> None:
    write_chats(tmp_path / "chat.parquet", streams=1, segments=21)
    prepare_chat(ChatConfig(tmp_path / "chat.parquet", tmp_path / "out"))
    rows = sorted(pq.read_table(tmp_path / "chat.parquet").to_pylist(), key=lambda row: row["time_s"])
    written = [[row["text"] for row in rows if row["time_s"] // 30 == t] for t in range(21)]
    name = PRESETS["compact"].text_encoder
    weights = find_text_encoder(name)
    segments = Segments(tmp_path / "out")
    assert segments.info.encoders == {name: sha256_file(weights / "model.safetensors")}
    expected = TextEncoder(name, weights=weights).encode(None, written).comments
    np.testing.assert_array_equal(segments.window(0, 21).text.comments, expected)
    assert segments.column("comments", segments.rooms[0])[4].tolist() == written[4]


def test_an_interrupted_run_continues(logs: Path, tmp_path: Path) -> None:
    prepare_chat(ChatConfig(logs, tmp_path, text=False))
    missing, kept = tmp_path / "rooms" / "101.parquet", tmp_path / "rooms" / "98.parquet"
    before, stamp = missing.read_bytes(), kept.stat().st_mtime_ns
    missing.unlink()
    prepare_chat(ChatConfig(logs, tmp_path, text=False))
    assert missing.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(LabelError, match="has another dataset"):
        prepare_chat(ChatConfig(logs, tmp_path))


def test_unusable_chats_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channel = tmp_path / "logs" / "red"
    channel.mkdir(parents=True)
    lines = [f"{30 * t + who},viewer{who},hi" for t in range(25) for who in range(22)]
    damaged = "1597882698,viewer0,a damaged time"
    (channel / "1.csv").write_text("\n".join(["time,user,text", *lines, damaged]) + "\n")
    (channel / "2.csv").write_text("time,user,text\n3,anna,alone\n")
    (channel / "3.csv").write_text("nothing to see\n")
    (channel / "4.csv").write_text("time,text\n3,hi\n")
    prepare_chat(ChatConfig(tmp_path / "logs", tmp_path / "out", text=False))
    (room,) = Segments(tmp_path / "out").rooms
    assert (room.name, room.streamer, room.stop) == ("1-red", "red", 25)
    skipped = [message for message in caplog.messages if message.startswith("skipped")]
    for name, message in zip(("2-red", "3.csv", "4-red"), skipped, strict=True):
        assert name in message
    (channel / "1.csv").unlink()
    with pytest.raises(LabelError, match="no chat has a segment to score"):
        prepare_chat(ChatConfig(tmp_path / "logs", tmp_path / "none", text=False))


def test_chats_of_a_table(tmp_path: Path) -> None:
    columns = {
        "vod": ["v10", "v9", "v10", "v10", "v9"],
        "channel": [1, 2, 1, 1, 2],
        "time_s": [70, 5, 3, 70, 1],
        "chatter": [1, 0, None, 0, 0],
        "text": ["b", "d", "a", "c", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "chats.parquet")
    old, new = find_logs(tmp_path / "chats.parquet")
    assert [(log.name, log.channel) for log in (old, new)] == [("v9", "2"), ("v10", "1")]
    assert [(c.time_s, c.user, c.text) for c in old.read()] == [(1, "0", ""), (5, "0", "d")]
    assert [(c.time_s, c.user, c.text) for c in new.read()] == [(3, None, "a"), (70, "1", "b"), (70, "0", "c")]


def test_chats_of_a_folder(tmp_path: Path) -> None:
    for channel in ("red", "blue"):
        (tmp_path / channel).mkdir()
    (tmp_path / "red" / "2024-05-02.txt").write_text("[0:00:07] anna: hi\n[0:00:40] ben: hello\n")
    (tmp_path / "blue" / "2024-05-01.csv").write_text("time,user,text\n3,carl,well\n")
    entry = {"content_offset_seconds": 1.5, "commenter": {"display_name": "dora"}, "message": {"body": "yes"}}
    (tmp_path / "blue" / "2024-05-02.json").write_text(json.dumps({"comments": [entry]}))
    (tmp_path / "blue" / "2024-05-03.csv").write_text("nothing to see\n")
    (tmp_path / "blue" / ".hidden").write_text("")
    logs = find_logs(tmp_path)
    assert [log.name for log in logs] == ["2024-05-01-blue", "2024-05-02-blue", "2024-05-02-red", "2024-05-03-blue"]
    assert [log.channel for log in logs] == ["blue", "blue", "red", "blue"]
    comments = [[(c.time_s, c.user, c.text) for c in log.read()] for log in logs[:3]]
    assert comments == [[(3, "carl", "well")], [(1.5, "dora", "yes")], [(7, "anna", "hi"), (40, "ben", "hello")]]
    with pytest.raises(CommentLogError):
        logs[3].read()


VALID = {"vod": ["a", "b"], "channel": [1, 1], "time_s": [1, 1], "chatter": [1, 1], "text": ["", ""]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vod": ["1"], "time_s": [1]}, "vod, channel, time_s, chatter, text"),
        (VALID | {"vod": ["a/b", "a b"]}, "two recordings of one name"),
        (VALID | {"time_s": [1, None]}, "missing in 0 and 1 rows"),
        (None, "not a Parquet file"),
    ],
)
def test_what_is_not_a_chat_is_refused(tmp_path: Path, columns: dict[str, list[object]] | None, message: str) -> None:
    file = tmp_path / "chats.parquet"
    if columns is not None:
        pq.write_table(pa.table(columns), file)
    with pytest.raises(LabelError, match=message):
        find_logs(file)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="a folder for each channel"):
        find_logs(tmp_path)
