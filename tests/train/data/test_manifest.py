"""The manifest: what it says, and what it may not say."""

from datetime import date
from pathlib import Path

import pytest

from kuaihl.errors import LabelError
from train.data.manifest import assign_kinds, read_manifest


def write_manifest(folder: Path, *lines: str) -> Path:
    file = folder / "manifest.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_entries(tmp_path: Path) -> None:
    file = write_manifest(
        tmp_path,
        "Recording;Streamer;Date;Log;Kind;Split;Stream start;Comment offset s;Transcript;Notes",
        "new/a b.mp4;Ann;2024-05-02;/logs/x.json;participation;test;2024-05-02T20:00:00+02:00;-2.5;;good",
        "../old.mkv;Ben;2024-05-01 10:00;y.xml;;train;;;words.srt;",
    )
    manifest = read_manifest(file)
    assert manifest.unused == ("notes",)
    old, new = manifest.entries
    assert (old.name, new.name) == ("old", "new-a_b")
    assert (old.recording, old.log, old.transcript) == (
        tmp_path / ".." / "old.mkv", tmp_path / "y.xml", tmp_path / "words.srt",
    )  # fmt: skip
    assert (new.log, new.kind, new.split, new.comment_offset_s) == (Path("/logs/x.json"), "participation", "test", -2.5)
    assert new.stream_start.isoformat() == "2024-05-02T20:00:00+02:00"
    assert (old.date, old.labels, old.kind) == (date(2024, 5, 1), None, None)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("recording,date", ["a.mp4,2024-05-01"], "has no column streamer"),
        ("recording,streamer,date,log", [], "lists no recording"),
        ("recording,streamer,date,log", ["a.mp4,Ann,May,x"], "line 2, column date: 'May' is not a date"),
        ("recording,streamer,date,log", ["a.mp4,,2024-05-01,x"], "line 2, column streamer is empty"),
        ("recording,streamer,date,log", ["a.mp4,Ann,2024-05-01,"], "line 2: a recording needs labels"),
        ("recording,streamer,date,log", ["a.mp4,Ann,B.,2024-05-01,x"], "line 2: rows that do not have 4 columns"),
        ("recording,streamer,date,log", ["a.mp4,Ann,2024-05-01,x"] * 2, "lists 2 recordings .* called a: rename"),
        ("recording,streamer,date,log,kind", ["a.mp4,Ann,2024-05-01,x,likes"], "kind: 'likes' is not one of"),
        ("recording,streamer,date,log,stream_start", ["a.mp4,A,2024-05-01,x,8 pm"], "column stream_start: "),
        ("recording,streamer,date,log,comment_offset_s", ["a.mp4,A,2024-05-01,x,late"], "'late' is not a number"),
        (
            "recording,streamer,date,log,split",
            ["a.mp4,A,2024-05-01,x,test", "b.mp4,A,2024-05-01,x,"],
            "give every recording a split",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, header: str, rows: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_manifest(write_manifest(tmp_path, header, *rows))


def test_all_recordings_have_one_kind_of_labels(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("segment,label\n0,1\n", encoding="utf-8")
    rows = ["a.mp4,A,2024-05-01,,own.csv", "b.mp4,A,2024-05-01,x.json,"]
    file = write_manifest(tmp_path, "recording,streamer,date,log,labels", *rows)
    with pytest.raises(LabelError, match=r"several kinds: .*own \(line 2\).* a manifest for each"):
        assign_kinds(read_manifest(file).entries, file)


def test_participation_is_computed_from_the_log(tmp_path: Path) -> None:
    file = write_manifest(
        tmp_path,
        "recording,streamer,date,log,labels,kind",
        "a.mp4,A,2024-05-01,a.json,a.csv,participation",
        "b.mp4,A,2024-05-02,,b.json,participation",
        "c.mp4,A,2024-05-02,c.json,,own",
    )
    (first, second), failed = assign_kinds(read_manifest(file).entries, file)
    assert (first.labels, first.log) == (None, tmp_path / "a.json")
    assert second.labels == tmp_path / "b.json"
    assert list(failed) == ["c"]
    assert "line 4" in failed["c"]
