"""Chats to a dataset on disk: labels, features, what is passed over, and going on."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kuaihl.errors import LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.features.pretrained import find_text_encoder, sha256_file
from kuaihl.features.text import TextEncoder
from kuaihl.model.config import PRESETS
from tests.fixtures.chats import write_chats
from train.data.chat_logs import prepare_chat
from train.dataset import Segments


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("logs") / "chats.parquet"
    write_chats(file)
    return file


@pytest.fixture(scope="module")
def dataset(logs: Path) -> Path:
    out = logs.parent / "activity"
    prepare_chat(logs, out, text=False)
    return out


def test_rows_say_what_the_chat_did(logs: Path, dataset: Path) -> None:
    segments = Segments(dataset)
    assert segments.info.target == "participation"
    assert segments.info.encoders == {}
    assert (dataset / "visual.safetensors").exists()  # a checkpoint of chat alone needs it to open a recording
    rows = pq.read_table(logs).to_pylist()
    rooms = {room.name: room for room in segments.rooms}
    assert sorted(rooms) == sorted({row["vod"] for row in rows})
    by_date = sorted(rooms.values(), key=lambda room: int(room.name))
    assert [room.split for room in by_date] == ["train"] * 8 + ["validation"] + ["test"] * 3
    room = rooms["103"]
    written = [[r for r in rows if r["vod"] == "103" and r["time_s"] // 30 == t] for t in range(45)]
    assert room.stop - room.start == 45
    for t in range(20, 45):
        present = {r["chatter"] for some in written[t - 19 : t + 1] for r in some}
        share = len({r["chatter"] for r in written[t]}) / len(present)
        assert len(present) >= 20
        assert segments.scalar("label", room.start, room.stop)[t] == pytest.approx(share)
        activity = segments.array("activity", room.start, room.stop)[t]
        assert activity[CHAT_COLUMNS.index("log1p_comments")] == pytest.approx(np.log1p(len(written[t])))
    np.testing.assert_array_equal(segments.scalar("valid", room.start, room.stop), np.arange(45) >= 20)
    for name, there in (("pictures", False), ("speech", False), ("comments", True)):
        assert (segments.scalar(f"has_{name}", room.start, room.stop) == there).all()
    assert not segments.array("text_comments", room.start, room.stop).any()


def test_text_is_that_of_the_app(tmp_path: Path) -> None:
    write_chats(tmp_path / "one.parquet", streams=1, segments=21)
    prepare_chat(tmp_path / "one.parquet", tmp_path / "out")
    rows = pq.read_table(tmp_path / "one.parquet").to_pylist()
    rows.sort(key=lambda row: row["time_s"])
    written = [[r["text"] for r in rows if r["time_s"] // 30 == t] for t in range(21)]
    name = PRESETS["compact"].text_encoder
    expected = TextEncoder(name, weights=find_text_encoder(name)).encode(None, written).comments
    segments = Segments(tmp_path / "out")
    assert segments.info.encoders == {name: sha256_file(find_text_encoder(name) / "model.safetensors")}
    found = segments.features(segments.rooms[0], streamer=0).text[0]
    np.testing.assert_array_equal(found, expected)
    assert segments.column("comments", segments.rooms[0])[4].tolist() == written[4]


def test_an_interrupted_run_goes_on(logs: Path, tmp_path: Path) -> None:
    prepare_chat(logs, tmp_path, text=False)
    lost, kept = tmp_path / "rooms" / "101.parquet", tmp_path / "rooms" / "98.parquet"
    before, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    prepare_chat(logs, tmp_path, text=False)
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(LabelError, match="holds another dataset"):
        prepare_chat(logs, tmp_path)


def test_what_cannot_be_used_is_reported_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channel = tmp_path / "logs" / "red"
    channel.mkdir(parents=True)
    lines = [f"{30 * t + who},viewer{who},hi" for t in range(25) for who in range(22)]
    late = "1597882698,viewer0,a damaged time"
    (channel / "1.csv").write_text("\n".join(["time,user,text", *lines, late]) + "\n")
    (channel / "2.csv").write_text("time,user,text\n3,anna,alone\n")
    (channel / "3.csv").write_text("nothing to see\n")
    (channel / "4.csv").write_text("\n".join(["time,text", *(line.replace("viewer", "") for line in ["3,hi"])]) + "\n")
    prepare_chat(tmp_path / "logs", tmp_path / "out", text=False)
    (room,) = Segments(tmp_path / "out").rooms
    assert (room.name, room.streamer, room.stop) == ("1-red", "red", 25)
    passed_over = [message for message in caplog.messages if message.startswith("passed over")]
    assert [name in message for name, message in zip(("2-red", "3.csv", "4-red"), passed_over, strict=True)] == [
        True
    ] * 3
    for name in ("1.csv", "3.csv", "4.csv"):
        (channel / name).unlink()
    with pytest.raises(LabelError, match="no chat has a segment to score"):
        prepare_chat(tmp_path / "logs", tmp_path / "none", text=False)
