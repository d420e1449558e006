"""From a manifest of recordings to a dataset: what the app would see, labelled, and made again only where needed."""

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
from train import prepare
from train.data.labels import LabelOptions
from train.data.manifest import read_manifest, split_by_date, with_kinds
from train.data.recordings import Prepared, prepare_recordings
from train.dataset import Segments
from train.prepare import Recordings

FEW = LabelOptions(min_impressions=1)
VIEWS = {"a": "5,70\n6,10\n40,90\n", "b": "5,70\n35,10\n", "c": "5,10\n65,70\n66,10\n67,10\n"}


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
def made(channel: Path) -> tuple[Prepared, list[str]]:
    told: list[str] = []
    return prepare_recordings(channel / "manifest.csv", channel / "out", options=FEW, tell=told.append), told


def test_a_bad_recording_is_reported_and_passed_over(made: tuple[Prepared, list[str]]) -> None:
    prepared, told = made
    assert prepared.done == {"a-stream": "encoded", "b-stream": "encoded", "c-stream": "encoded"}
    assert list(prepared.failed) == ["lost-stream"]
    assert "line 4" in prepared.failed["lost-stream"]
    assert any(line.startswith("[2/4] lost-stream: passed over: line 4") for line in told)
    assert any("notes" in line for line in told)
    (late,) = (line for line in told if "c-stream" in line)
    assert "30 comments: 100% of the comments are outside the recording" in late
    assert "Should comment_offset_s be -7200?" in late


def test_shards_are_what_the_app_sees(made: tuple[Prepared, list[str]], channel: Path) -> None:
    seen = Predictor.from_pretrained().encode(channel / "a" / "stream.mp4", channel / "a" / "chat.csv")
    segments = Segments(channel / "out")
    rooms = {room.name: room for room in segments.rooms}
    room = rooms["a-stream"]
    found = segments.features(room, streamer=0)
    np.testing.assert_array_equal(found.pictures[0], seen.features.pictures)
    np.testing.assert_array_equal(found.text[0], seen.features.text.both)
    assert [len(c) for c in segments.column("comments", room)] == COMMENTS_PER_SEGMENT
    assert (room.streamer, segments.column("day", room)[0]) == ("Ann", (date(2024, 1, 15) - date(1970, 1, 1)).days)
    assert found.token_mask.all()
    silent = segments.features(rooms["b-stream"], streamer=0)
    assert silent.mask("pictures").all()
    assert not silent.token_mask[..., 1:].any()


def test_labels_and_splits(made: tuple[Prepared, list[str]], channel: Path) -> None:
    segments = Segments(channel / "out")
    # By date, of those that could be used: each split has one.
    assert {r.name: r.split for r in segments.rooms} == {
        "a-stream": "train", "b-stream": "validation", "c-stream": "test",
    }  # fmt: skip
    assert {r.name: segments.scalar("label", r.start, r.stop).tolist() for r in segments.rooms} == {
        "a-stream": [0.5, 1.0, *[pytest.approx(np.nan, nan_ok=True)] * 3],
        "b-stream": [1.0, 0.0, pytest.approx(np.nan, nan_ok=True)],
        "c-stream": [0.0, pytest.approx(np.nan, nan_ok=True), pytest.approx(1 / 3)],
    }
    room = segments.rooms[2]
    assert segments.column("long_views", room).tolist() == [0, 0, 1]
    assert set(segments.column("label_kind", room)) == {"impressions"}
    info = segments.info
    assert info.target == "lvtr"
    assert info.source == "own recordings: 3 recordings of 2 streamers, labelled by impressions, long views from 60 s"
    assert info.made_by == "python -m train.prepare recordings manifest.csv --min-impressions 1 --out out"
    assert info.encoders[info.visual_encoder] == sha256_file(DEFAULT_CHECKPOINT / "visual.safetensors")


def test_only_what_has_changed_is_made_again(made: tuple[Prepared, list[str]], channel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "channel"
    shutil.copytree(channel, copy, ignore=shutil.ignore_patterns("cache"))
    shards = copy / "out" / "rooms"
    before = {p.stem: p.stat().st_mtime_ns for p in shards.iterdir()}
    (copy / "lost").mkdir()
    shutil.copyfile(copy / "b" / "stream.mp4", copy / "lost" / "stream.mp4")
    (copy / "c" / "views.csv").write_text("time_s,view_s\nten,70\n", encoding="utf-8")
    first = prepare_recordings(copy / "manifest.csv", copy / "out", options=FEW)
    assert first.done == {"a-stream": "kept", "lost-stream": "encoded", "b-stream": "kept"}
    assert "rows without a readable time_s" in first.failed["c-stream"]
    assert (shards / "a-stream.parquet").stat().st_mtime_ns == before["a-stream"]
    assert [r.name for r in Segments(copy / "out").rooms] == ["a-stream", "b-stream", "lost-stream"]

    pictures = pq.read_table(shards / "c-stream.parquet.aside")["pictures"]
    (copy / "c" / "views.csv").write_text("time_s,view_s\n65,70\n", encoding="utf-8")
    os.utime(copy / "b" / "stream.mp4", ns=(0, 0))
    second = prepare_recordings(copy / "manifest.csv", copy / "out", options=replace(FEW, long_view_s=65.0))
    assert second.done == {
        "a-stream": "labelled", "lost-stream": "labelled", "b-stream": "encoded", "c-stream": "labelled",
    }  # fmt: skip
    again = pq.read_table(shards / "c-stream.parquet")
    assert again["pictures"] == pictures
    assert again["label"].to_pylist()[2] == 1.0
    assert {r.name: r.split for r in Segments(copy / "out").rooms} == {
        "a-stream": "train", "lost-stream": "train", "b-stream": "validation", "c-stream": "test",
    }  # fmt: skip
    other = manifest(copy, "recording,log,streamer,date", "a/stream.mp4,a/chat.csv,Ann,2024-01-15")
    with pytest.raises(LabelError, match="holds another dataset"):
        prepare_recordings(other, copy / "out", options=FEW)


def test_the_command_ends_with_1_where_something_was_passed_over(
    made: tuple[Prepared, list[str]], channel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        Recordings(channel / "manifest.csv", out=channel / "out", labels=FEW).run()
    assert end.value.code == 1
    assert "[1/4] a-stream: kept as it is" in capsys.readouterr().out


def test_interrupted_in_a_recording_it_goes_on_with_that_one(
    channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, seen = Predictor.encode, []

    def interrupted(self: Predictor, recording: Path, *given: object, **more: object) -> object:
        seen.append(recording.parent.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return whole(self, recording, *given, **more)

    monkeypatch.setattr(Predictor, "encode", interrupted)
    command = ["prepare", "recordings", str(channel / "manifest.csv"), "--out", str(tmp_path), "--min-impressions", "1"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        prepare.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err.endswith("stopped; what was written whole is kept\n")
    assert [shard.name for shard in (tmp_path / "rooms").iterdir()] == ["a-stream.parquet"]
    with pytest.raises(SystemExit) as ended:
        prepare.main()
    assert ended.value.code == 1  # the lost one
    assert "[1/4] a-stream: kept as it is" in capsys.readouterr().out
    assert seen == ["a", "b", "b", "c"]
    assert [room.name for room in Segments(tmp_path).rooms] == ["a-stream", "b-stream", "c-stream"]


def manifest(folder: Path, *lines: str) -> Path:
    file = folder / "manifest.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_what_a_manifest_says(tmp_path: Path) -> None:
    file = manifest(
        tmp_path,
        "Recording;Streamer;Date;Log;Kind;Split;Stream start;Comment offset s;Transcript",
        "new/a b.mp4;Ann;2024-05-02;/logs/x.json;participation;test;2024-05-02T20:00:00+02:00;-2.5;",
        "../old.mkv;Ben;2024-05-01 10:00;y.xml;;train;;;words.srt",
    )
    old, new = read_manifest(file).entries
    assert (old.name, new.name) == ("old", "new-a_b")
    assert (old.recording, old.log, old.transcript) == (
        tmp_path / ".." / "old.mkv", tmp_path / "y.xml", tmp_path / "words.srt",
    )  # fmt: skip
    assert (new.log, new.kind, new.split, new.comment_offset_s) == (Path("/logs/x.json"), "participation", "test", -2.5)
    assert new.stream_start.isoformat() == "2024-05-02T20:00:00+02:00"
    assert (old.date, old.labels, old.kind) == (date(2024, 5, 1), None, None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["recording,date", "a.mp4,2024-05-01"], "has no column streamer; a manifest has recording, streamer, date"),
        (["recording,streamer,date,log"], "lists no recording"),
        (["recording,streamer,date,log", "a.mp4,Ann,May,x"], "line 2, column date: 'May' is no date such as"),
        (["recording,streamer,date,log", "a.mp4,,2024-05-01,x"], "line 2, column streamer: it is empty"),
        (["recording,streamer,date,log", "a.mp4,Ann,2024-05-01,"], "line 2: a recording needs labels, or a comment"),
        (
            ["recording,streamer,date,log", "a.mp4,Ann,B.,2024-05-01,x"],
            "line 2: rows that do not have 4 columns; quote",
        ),
        (["recording,streamer,date,log"] + ["a.mp4,Ann,2024-05-01,x"] * 2, "lists 2 recordings .* called a: rename"),
        (["recording,streamer,date,log,kind", "a.mp4,Ann,2024-05-01,x,likes"], "column kind: 'likes' is none of"),
        (
            ["recording,streamer,date,log,stream_start", "a.mp4,A,2024-05-01,x,8 pm"],
            "column stream_start: The stream's",
        ),
        (
            ["recording,streamer,date,log,split", "a.mp4,A,2024-05-01,x,test", "b.mp4,A,2024-05-01,x,"],
            "give every recording a split",
        ),
    ],
)
def test_what_a_manifest_may_not_say(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_manifest(manifest(tmp_path, *lines))


def test_one_kind_of_labels_for_all(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("segment,label\n0,1\n", encoding="utf-8")
    rows = ["a.mp4,A,2024-05-01,,own.csv", "b.mp4,A,2024-05-01,x.json,"]
    file = manifest(tmp_path, "recording,streamer,date,log,labels", *rows)
    with pytest.raises(LabelError, match=r"several kinds: .*own \(line 2\).* make a manifest for each"):
        prepare_recordings(file, tmp_path / "out", options=FEW)


def test_participation_is_measured_in_the_log_whatever_labels_lie_beside_it(tmp_path: Path) -> None:
    file = manifest(
        tmp_path,
        "recording,streamer,date,log,labels,kind",
        "a.mp4,A,2024-05-01,a.json,a.csv,participation",
        "b.mp4,A,2024-05-02,,b.json,participation",
    )
    first, second = with_kinds(read_manifest(file).entries, {}, file)
    assert (first.labels, first.log) == (None, tmp_path / "a.json")
    assert second.labels == tmp_path / "b.json"


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough that 21 segments on end have a participation."""
    folder = tmp_path_factory.mktemp("long")
    return write_recording(folder / "stream.mp4", duration_s=690.0, fps=1, audio=None)


@pytest.mark.parametrize(
    ("kind", "target", "labelled"),
    [
        ("own", "label", [3, 22]),
        ("most-replayed", "most-replayed", range(2, 23)),
        ("participation",) * 2 + ([20, 21, 22],),
    ],
)
def test_the_kind_of_labels_is_recorded(
    long_recording: Path, tmp_path: Path, kind: str, target: str, labelled: Sequence[int]
) -> None:
    files = {
        "own": "segment;label\n3;0,5\n22;1\n",
        "most-replayed": json.dumps(
            {"heatmap": [{"start_time": 6.9 * k, "end_time": 6.9 * (k + 1), "value": k / 99} for k in range(100)]}
        ),
        "participation": "\n".join(f"{second},viewer {second % 29},hi" for second in range(690)),
    }
    (tmp_path / "file").write_text(files[kind], encoding="utf-8-sig")
    column = "log" if kind == "participation" else "labels"
    file = manifest(tmp_path, f"recording,streamer,date,{column}", f"{long_recording},Ann,2024-05-01,file")
    assert prepare_recordings(file, tmp_path / "out", options=LabelOptions()).done
    segments = Segments(tmp_path / "out")
    (room,) = segments.rooms
    assert set(segments.column("label_kind", room)) == {kind}
    assert (segments.info.target, segments.info.parameters["labels"]) == (target, kind)
    assert np.flatnonzero(np.isfinite(segments.scalar("label", room.start, room.stop))).tolist() == list(labelled)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (6, (3, 1, 2)), (10, (7, 1, 2)), (350, (244, 36, 70))],
)
def test_the_split_by_date(count: int, sizes: tuple[int, int, int]) -> None:
    splits = split_by_date(count)
    assert tuple(splits.count(name) for name in ("train", "validation", "test")) == sizes
    assert splits == sorted(splits, key=["train", "validation", "test"].index)
