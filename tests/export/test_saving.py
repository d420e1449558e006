"""JSON and CSV of a prediction, and how the files of a prediction are written: all or none."""

import csv
import dataclasses
import errno
import io
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from kuaihl import atomic
from kuaihl.errors import KuaiHLError
from kuaihl.export import json_csv, saving
from kuaihl.media import recording
from tests.fixtures.predictions import made_up

NAMES = ["prediction.json", "segments.csv", "report.html"]
WITH_RECORDING = [
    *NAMES, "chapters.txt", "chapters.ffmetadata", "chapters.vtt", "highlights.srt", "highlights.edl",
    "highlights.otio",
]  # fmt: skip
FULL = OSError(errno.ENOSPC, "No space left on device")


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_json_has_all_of_a_prediction():
    prediction = made_up()
    document = strict(json_csv.to_json(prediction))
    segments = [dataclasses.asdict(segment) for segment in prediction.segments]
    expected = dataclasses.asdict(prediction) | {
        "schema_version": 2,
        "segment_s": 30.0,
        "segments": [segment.pop("segment") | segment for segment in segments],
        "highlights": [dataclasses.asdict(highlight) for highlight in prediction.highlights],
        "skipped": [{"reason": "comments after the end", "count": 3, "where": "line 12"}],
        "alignments": [
            {
                "source": shown.source,
                "other": shown.other,
                "lag_segments": float(np.median([i - j for i, j in shown.path])),
                "path": [list(pair) for pair in shown.path],
                "distance": 0.41,
                "band": 20,
            }
            for shown in prediction.alignments
        ],
    }
    del expected["streamer"]
    assert document == expected
    assert document["segments"][0]["score"] is None


def test_json_is_strict_whatever_the_numbers():
    prediction = made_up()
    odd = dataclasses.replace(prediction.segments[3], score=math.nan, comments=np.int64(4))
    other = dataclasses.replace(prediction.segments[4], score=np.float32(0.25))
    sound = dataclasses.replace(prediction.recording, video_codec=None, width=None, height=None)
    prediction = dataclasses.replace(
        prediction,
        recording=sound,
        segments=(*prediction.segments[:3], odd, other, *prediction.segments[5:]),
        next_score=math.inf,
        alignments=(
            dataclasses.replace(prediction.alignments[0], distance=np.float32(math.nan), path=((np.int64(1), 0),)),
        ),
        timings_s={"opening": math.nan, "looking": np.float64(2)},
    )
    document = strict(json_csv.to_json(prediction))
    assert [s["score"] for s in document["segments"][3:5]] == [None, 0.25]
    assert document["segments"][3]["comments"] == 4
    assert document["next_score"] is None
    (alignment,) = document["alignments"]
    assert (alignment["path"], alignment["distance"], alignment["lag_segments"]) == ([[1, 0]], None, 1)
    assert document["timings_s"] == {"opening": None, "looking": 2.0}
    assert document["recording"]["width"] is None
    assert strict(json_csv.to_json(made_up(aligned=False)))["alignments"] == []


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", " =1", "'=1", "＝1"])
def test_cells_are_no_formulas(text):
    prediction = made_up()
    hostile = [dataclasses.replace(segment, speech=text) for segment in prediction.segments]
    table = json_csv.to_csv(dataclasses.replace(prediction, segments=tuple(hostile)))
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert {row["speech"] for row in rows} == {f"'{text}"}
    assert json_csv.unescape_cell(rows[0]["speech"]) == text


@pytest.mark.parametrize("text", ["", "1", "a=1", "\r=1", "it's", "'tis", "-"])
def test_cells_read_back(text):
    assert json_csv.unescape_cell(json_csv.escape_cell(text)) == text
    assert json_csv.escape_cell(-1.5) == -1.5


def test_csv_reads_back():
    prediction = made_up()
    tricky = dataclasses.replace(prediction.segments[2], speech='he said "a, b"\nand left')
    prediction = dataclasses.replace(prediction, segments=(*prediction.segments[:2], tricky, *prediction.segments[3:]))
    rows = list(csv.DictReader(io.StringIO(json_csv.to_csv(prediction), newline="")))
    assert list(rows[0]) == ["index", "start_s", "end_s", "target", "score", "reaction", "speech", "comments"]
    assert [row["speech"] for row in rows] == [s.speech for s in prediction.segments]
    assert rows[0]["score"] == ""
    assert [float(row["score"]) for row in rows[1:]] == list(prediction.curve[1:])
    assert [int(row["comments"]) for row in rows] == [s.comments for s in prediction.segments]
    assert float(rows[-1]["end_s"]) == 707.0
    assert {row["target"] for row in rows} == {"lvtr"}


def test_writes_whole_files_into_a_new_folder(tmp_path):
    prediction = made_up()
    out = tmp_path / "a" / "b"
    assert saving.save_prediction(prediction, out) == [out / name for name in NAMES]
    assert files_in(tmp_path) == sorted(["a", "a/b", *(f"a/b/{name}" for name in NAMES)])
    assert (out / "prediction.json").read_text(encoding="utf-8") == json_csv.to_json(prediction)
    assert (out / "segments.csv").read_bytes().decode() == json_csv.to_csv(prediction)
    assert "<title>my &lt;stream&gt;.mp4" in (out / "report.html").read_text(encoding="utf-8")


def test_writes_more_with_the_recording_whatever_its_name(tmp_path, short_recording):
    named = dataclasses.replace(made_up().recording, name="caf\udce9.mp4")  # not Unicode
    prediction = dataclasses.replace(made_up(), recording=named)
    paths = saving.save_prediction(prediction, tmp_path / "out", recording=recording.open_recording(short_recording))
    assert [path.name for path in paths] == WITH_RECORDING
    assert files_in(tmp_path / "out") == sorted(WITH_RECORDING)
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    assert strict(texts["prediction.json"])["recording"]["name"] == "caf?.mp4"
    assert texts["report.html"].count('"still":"data:image/jpeg;base64,') == len(prediction.highlights)
    # 5 frames per second are counted with the lowest timecode that has them all: 25.
    assert '"rate": 25.0' in texts["highlights.otio"]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_results_have_the_modes_of_any_new_file(tmp_path):
    saving.save_prediction(made_up(), tmp_path / "out")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("")
    for ours, plain in (("out", "plain"), ("out/report.html", "plain/file")):
        modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in (ours, plain)]
        assert modes[0] == modes[1]


def test_replaces_earlier_results_and_keeps_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    saving.save_prediction(made_up(seed=1), tmp_path)
    saving.save_prediction(made_up(seed=2), str(tmp_path))
    assert files_in(tmp_path) == sorted([*NAMES, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "prediction.json").read_text(encoding="utf-8") == json_csv.to_json(made_up(seed=2))


def failing(real, *, at, error):
    """Make the call number ``at`` of a method raise an error, as a full disk or Ctrl-C would."""
    calls = 0

    def method(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return real(*args, **kwargs)

    return method


# Writing calls write_bytes three times. Exchanging files calls replace once for each earlier file and once for each new
# one; a new folder is moved as a whole.
FAILURES = [
    *((NAMES, "write_bytes", at) for at in range(1, 4)),
    *((NAMES, "replace", at) for at in range(1, 7)),
    *((["segments.csv"], "replace", at) for at in range(1, 5)),
    ([], "write_bytes", 3),
    ([], "replace", 1),
]


@pytest.mark.parametrize(("earlier", "method", "at"), FAILURES)
@pytest.mark.parametrize(("error", "seen"), [(FULL, KuaiHLError), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_a_failure_in_the_middle_leaves_the_earlier_results(tmp_path, monkeypatch, earlier, method, at, error, seen):
    out = tmp_path / "out"
    for name in earlier:
        out.mkdir(exist_ok=True)
        (out / name).write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, failing(getattr(Path, method), at=at, error=error))
        with pytest.raises(seen) as caught:
            saving.save_prediction(made_up(), out)
    if seen is KuaiHLError:
        assert "No space left on device" in str(caught.value)
        assert str(out) in str(caught.value)
    assert files_in(tmp_path) == sorted(["out", *(f"out/{name}" for name in earlier)] if earlier else [])
    assert all((out / name).read_text() == "earlier" for name in earlier)


def test_a_folder_in_the_place_of_a_result_is_left_alone(tmp_path):
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "precious").write_text("mine")
    with pytest.raises(KuaiHLError, match=r"report\.html is a folder"):
        saving.save_prediction(made_up(), tmp_path)
    assert files_in(tmp_path) == ["report.html", "report.html/precious"]


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_file_is_no_folder(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    for function in (atomic.check_writable, lambda out: saving.save_prediction(made_up(), out)):
        with pytest.raises(KuaiHLError, match="file is not a folder"):
            function(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_write_permission_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, as in containers, may write everywhere
    with pytest.raises(KuaiHLError, match="cannot be written to"):
        atomic.check_writable(tmp_path / "out")
