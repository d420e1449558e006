"""From a manifest of recordings to a dataset: features of the app, labels, and only what has changed made again."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kuaihl.errors import LabelError
from kuaihl.features.pretrained import sha256_file
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from tests.conftest import COMMENTS_PER_SEGMENT
from tests.fixtures.videos import write_recording
from train.data.labels import LabelOptions
from train.data.recordings import RecordingsConfig, Summary, prepare_recordings
from train.dataset import Segments

FEW = LabelOptions(min_impressions=1)
VIEWS = {"a": "5,70\n6,10\n40,90\n", "b": "5,70\n35,10\n", "c": "5,10\n65,70\n66,10\n67,10\n"}
NAN = pytest.approx(np.nan, nan_ok=True)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory, short_recording: Path, short_log: Path) -> Path:
    """A folder of three streams, of which one has sound and comments, and its manifest, with a fourth that is lost."""
    folder = tmp_path_factory.mktemp("channel")
    for name, views in VIEWS.items():
        (folder / name).mkdir()
        (folder / name / "views.csv").write_text(f"time_s,view_s\n{views}", encoding="utf-8")
    shutil.copyfile(short_recording, folder / "a" / "stream.mp4")
    shutil.copyfile(short_log, folder / "a" / "chat.csv")
    write_recording(folder / "b" / "stream.mp4", duration_s=65.0, fps=5, audio=None)
    write_recording(folder / "c" / "stream.mp4", duration_s=70.0, fps=5, audio=None)
    late = [f"{7200 + k},viewer{k},nice" for k in range(0, 60, 2)]
    (folder / "c" / "late.csv").write_text("\n".join(["time,user,text", *late]), encoding="utf-8")
    rows = [
        "recording,log,labels,streamer,date,notes",
        "c/stream.mp4,c/late.csv,c/views.csv,Ann,2024-03-01,good",
        "a/stream.mp4,a/chat.csv,a/views.csv,Ann,2024-01-15,",
        "lost/stream.mp4,,a/views.csv,Ann,2024-01-31,",
        "b/stream.mp4,,b/views.csv,Ben,2024-02-28,",
    ]
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(channel: Path) -> tuple[Summary, list[str]]:
    """What was done after an interruption, and all lines that were reported."""
    lines: list[str] = []
    config = RecordingsConfig(channel / "manifest.csv", channel / "out", labels=FEW)

    def interrupt(line: str) -> None:
        if line.startswith("[1/4]"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_recordings(config, report=interrupt)
    assert [shard.name for shard in (channel / "out" / "rooms").iterdir()] == ["a-stream.parquet"]
    return prepare_recordings(config, report=lines.append), lines


def test_an_interrupted_run_continues_and_a_bad_recording_is_skipped(made: tuple[Summary, list[str]]) -> None:
    summary, lines = made
    assert summary.done == {"a-stream": "unchanged", "b-stream": "encoded", "c-stream": "encoded"}
    assert list(summary.failed) == ["lost-stream"]
    assert "line 4" in summary.failed["lost-stream"]
    assert any(line.startswith("[2/4] lost-stream: skipped: line 4") for line in lines)
    assert any("notes" in line for line in lines)
    (late,) = (line for line in lines if "c-stream" in line)
    assert "Should comment_offset_s be -7200?" in late


def test_features_are_those_of_the_app(made: tuple[Summary, list[str]], channel: Path) -> None:
    predictor = Predictor.from_pretrained()
    embeddings = predictor.encode(channel / "a" / "stream.mp4", channel / "a" / "chat.csv")
    segments = Segments(channel / "out")
    rooms = {room.name: room for room in segments.rooms}
    room = rooms["a-stream"]
    inputs, expected = segments.features(room, streamer=0), predictor.build_inputs(embeddings)
    for name in ("pictures", "text", "token_mask"):
        np.testing.assert_array_equal(getattr(inputs, name), getattr(expected, name))
    assert [len(comments) for comments in segments.column("comments", room)] == COMMENTS_PER_SEGMENT
    assert (room.streamer, segments.column("day", room)[0]) == ("Ann", (date(2024, 1, 15) - date(1970, 1, 1)).days)
    silent = segments.features(rooms["b-stream"], streamer=0)
    assert silent.mask("pictures").all()
    assert not silent.mask("text").any()


def test_labels_and_splits(made: tuple[Summary, list[str]], channel: Path) -> None:
    segments = Segments(channel / "out")
    # By date, of those that can be used: each split has one.
    assert {room.name: room.split for room in segments.rooms} == {
        "a-stream": "train", "b-stream": "validation", "c-stream": "test",
    }  # fmt: skip
    assert {room.name: segments.scalar("label", room.start, room.stop).tolist() for room in segments.rooms} == {
        "a-stream": [0.5, 1.0, NAN, NAN, NAN],
        "b-stream": [1.0, 0.0, NAN],
        "c-stream": [0.0, NAN, pytest.approx(1 / 3)],
    }
    room = segments.rooms[2]
    assert segments.column("long_views", room).tolist() == [0, 0, 1]
    assert set(segments.column("label_kind", room)) == {"impressions"}
    info = segments.info
    assert info.target == "lvtr"
    assert info.source == "own recordings: 3 recordings of 2 streamers, labelled by impressions, long views from 60 s"
    assert info.made_by == "python -m train.prepare recordings manifest.csv --out out --min-impressions 1"
    assert info.encoders[info.visual_encoder] == sha256_file(DEFAULT_CHECKPOINT / "visual.safetensors")


def test_only_what_has_changed_is_made_again(made: tuple[Summary, list[str]], channel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "channel"
    shutil.copytree(channel, copy, ignore=shutil.ignore_patterns("cache"))
    shards = copy / "out" / "rooms"
    before = {shard.stem: shard.stat().st_mtime_ns for shard in shards.iterdir()}
    (copy / "lost").mkdir()
    shutil.copyfile(copy / "b" / "stream.mp4", copy / "lost" / "stream.mp4")
    (copy / "c" / "views.csv").write_text("time_s,view_s\nten,70\n", encoding="utf-8")
    config = RecordingsConfig(copy / "manifest.csv", copy / "out", labels=FEW)
    first = prepare_recordings(config)
    assert first.done == {"a-stream": "unchanged", "lost-stream": "encoded", "b-stream": "unchanged"}
    assert "rows without a readable time_s" in first.failed["c-stream"]
    assert (shards / "a-stream.parquet").stat().st_mtime_ns == before["a-stream"]
    assert [room.name for room in Segments(copy / "out").rooms] == ["a-stream", "b-stream", "lost-stream"]

    pictures = pq.read_table(shards / "c-stream.parquet.retired")["pictures"]
    (copy / "c" / "views.csv").write_text("time_s,view_s\n65,70\n", encoding="utf-8")
    os.utime(copy / "b" / "stream.mp4", ns=(0, 0))
    second = prepare_recordings(replace(config, labels=replace(FEW, long_view_s=65.0)))
    assert second.done == {
        "a-stream": "labelled", "lost-stream": "labelled", "b-stream": "encoded", "c-stream": "labelled",
    }  # fmt: skip
    table = pq.read_table(shards / "c-stream.parquet")
    assert table["pictures"] == pictures
    assert table["label"].to_pylist()[2] == 1.0
    assert {room.name: room.split for room in Segments(copy / "out").rooms} == {
        "a-stream": "train", "lost-stream": "train", "b-stream": "validation", "c-stream": "test",
    }  # fmt: skip
    config.manifest.write_text("recording,log,streamer,date\na/stream.mp4,a/chat.csv,Ann,2024-01-15", encoding="utf-8")
    with pytest.raises(LabelError, match="has another dataset"):
        prepare_recordings(config)


def test_the_exit_code_is_1_if_a_recording_was_skipped(made: tuple[Summary, list[str]], channel: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        RecordingsConfig(channel / "manifest.csv", channel / "out", labels=FEW).run()
    assert stopped.value.code == 1


@pytest.mark.parametrize(
    ("kind", "target", "duration_s", "labelled"),
    [
        ("own", "label", 70.0, [1]),
        ("most-replayed", "most-replayed", 100.0, [2, 3]),
        ("participation", "participation", 690.0, [20, 21, 22]),  # 21 segments in a row have a participation
    ],
)
def test_the_kind_of_labels_is_stored(
    tmp_path: Path, kind: str, target: str, duration_s: float, labelled: Sequence[int]
) -> None:
    recording = write_recording(tmp_path / "stream.mp4", duration_s=duration_s, fps=1, audio=None)
    pieces = [{"start_time": k, "end_time": k + 1, "value": k / 99} for k in range(100)]
    content = {
        "own": "segment;label\n1;0,5\n",
        "most-replayed": json.dumps({"heatmap": pieces}),
        "participation": "\n".join(f"{second},viewer {second % 29},hi" for second in range(690)),
    }[kind]
    (tmp_path / "file").write_text(content, encoding="utf-8-sig")
    column = "log" if kind == "participation" else "labels"
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"recording,streamer,date,{column}\n{recording},Ann,2024-05-01,file", encoding="utf-8")
    assert prepare_recordings(RecordingsConfig(manifest, tmp_path / "out")).done
    segments = Segments(tmp_path / "out")
    (room,) = segments.rooms
    assert set(segments.column("label_kind", room)) == {kind}
    assert (segments.info.target, segments.info.parameters["labels"]) == (target, kind)
    assert np.flatnonzero(np.isfinite(segments.scalar("label", room.start, room.stop))).tolist() == labelled
