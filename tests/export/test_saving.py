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
from kuaihl.export import html_pages, json_csv, saving
from kuaihl.media import recording
from tests.fixtures.predictions import made_up

NAMES = ["prediction.json", "segments.csv", "curve.html", "alignment.html"]
WITH_RECORDING = [
    *NAMES,
    "report.html",
    "chapters.txt",
    "chapters.ffmetadata",
    "chapters.vtt",
    "highlights.srt",
    "highlights.edl",
    "highlights.otio",
]


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_json_has_the_agreed_keys_and_values():
    prediction = made_up()
    document = strict(json_csv.to_json(prediction))
    assert list(document) == [
        "schema_version",
        "recording",
        "checkpoint",
        "target",
        "trained_on",
        "modalities",
        "segment_s",
        "segments",
        "next_score",
        "highlights",
        "highlights_by",
        "reaction",
        "alignment",
        "skipped",
        "timings_s",
    ]
    assert document["schema_version"] == 2
    assert document["recording"] == {
        "name": "my <stream>.mp4",
        "duration_s": 707.0,
        "container": "mp4",
        "video_codec": "h264",
        "audio_codec": "aac",
        "width": 1280,
        "height": 720,
    }
    assert document["checkpoint"] == {
        "name": "compact",
        "sha256": "0123456789ab",
        "visual_encoder": "swin",
        "text_encoder": "minilm",
        "speech_model": "tiny.en",
    }
    assert document["target"] == "lvtr"
    assert document["trained_on"] == prediction.trained_on
    assert document["modalities"] == {"pictures": True, "speech": True, "comments": True}
    assert document["segment_s"] == 30
    assert document["next_score"] == 0.421
    assert document["skipped"] == [{"reason": "comments after the end", "count": 3, "where": "line 12"}]
    assert document["timings_s"] == {"opening": 0.5, "listening": 10.25}
    assert document["highlights"] == [dataclasses.asdict(highlight) for highlight in prediction.highlights]
    path = [list(pair) for pair in prediction.alignment.path]
    assert document["alignment"] == {"path": path, "distance": 0.41, "band": 20}
    assert document["segments"][0]["score"] is None
    assert document["segments"] == [
        {
            "index": i,
            "start_s": i * 30.0,
            "end_s": min(i * 30.0 + 30, 707.0),
            "score": s.score,
            "reaction": s.reaction,
            "speech": s.speech,
            "comments": s.comments,
        }
        for i, s in enumerate(prediction.segments)
    ]


def test_json_is_strict_whatever_the_numbers():
    prediction = made_up()
    odd = dataclasses.replace(prediction.segments[3], score=math.nan, comments=np.int64(4))
    other = dataclasses.replace(prediction.segments[4], score=np.float32(0.25))
    prediction = dataclasses.replace(
        prediction,
        segments=(*prediction.segments[:3], odd, other, *prediction.segments[5:]),
        next_score=math.inf,
        alignment=dataclasses.replace(prediction.alignment, distance=np.float32(math.nan), path=((np.int64(0), 1),)),
        timings_s={"opening": math.nan, "looking": np.float64(2)},
    )
    document = strict(json_csv.to_json(prediction))
    assert [s["score"] for s in document["segments"][3:5]] == [None, 0.25]
    assert document["segments"][3]["comments"] == 4
    assert document["next_score"] is None
    assert document["alignment"] == {"path": [[0, 1]], "distance": None, "band": 20}
    assert document["timings_s"] == {"opening": None, "looking": 2.0}


def test_json_without_alignment_and_sizes():
    prediction = made_up(aligned=False)
    sound = dataclasses.replace(prediction.recording, video_codec=None, width=None, height=None)
    document = strict(json_csv.to_json(dataclasses.replace(prediction, recording=sound, highlights=())))
    assert document["alignment"] is None
    assert document["highlights"] == []
    assert document["recording"]["width"] is None


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


def test_writes_four_whole_files_into_a_new_folder(tmp_path):
    prediction = made_up()
    out = tmp_path / "a" / "b"
    assert saving.save_prediction(prediction, out) == [out / name for name in NAMES]
    assert files_in(tmp_path) == sorted(["a", "a/b", *(f"a/b/{name}" for name in NAMES)])
    assert (out / "prediction.json").read_text(encoding="utf-8") == json_csv.to_json(prediction)
    assert (out / "segments.csv").read_bytes().decode() == json_csv.to_csv(prediction)
    for name in NAMES[2:]:
        page = (out / name).read_text(encoding="utf-8")
        assert page.count("plotly.js v") == 1  # its licence, once
        assert "<script src" not in page
        assert "<link" not in page
        assert "<title>my &lt;stream&gt;.mp4" in page


def test_with_the_recording_there_are_more(tmp_path, short_recording):
    prediction = made_up()
    paths = saving.save_prediction(prediction, tmp_path / "out", recording=recording.open_recording(short_recording))
    assert [path.name for path in paths] == WITH_RECORDING
    assert files_in(tmp_path / "out") == sorted(WITH_RECORDING)
    for path in paths:
        assert path.read_text(encoding="utf-8")
    assert paths[4].read_text(encoding="utf-8").count('src="data:image/jpeg;base64,') == len(prediction.highlights)
    # 5 frames a second are counted on the lowest timecode that has them all: 25.
    assert '"rate": 25.0' in paths[-1].read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_results_have_the_modes_of_any_new_file(tmp_path):
    saving.save_prediction(made_up(), tmp_path / "out")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("")
    for ours, plain in (("out", "plain"), ("out/curve.html", "plain/file")):
        modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in (ours, plain)]
        assert modes[0] == modes[1]


@pytest.mark.usefixtures("short_pages")
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


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def short_pages(monkeypatch):
    """What the pages hold does not matter to how they are written, and drawing them takes time."""
    monkeypatch.setattr("kuaihl.export.saving.curve_page", lambda prediction: f"curve {prediction.segments}")
    monkeypatch.setattr("kuaihl.export.saving.alignment_page", lambda prediction: f"alignment {prediction.alignment}")


# Writing calls write_bytes four times; exchanging four files for four calls replace eight times.
@pytest.mark.parametrize(
    ("method", "at"), [*(("write_bytes", at) for at in range(1, 5)), *(("replace", at) for at in range(1, 9))]
)
@pytest.mark.parametrize(("error", "seen"), [(FULL, KuaiHLError), (KeyboardInterrupt(), KeyboardInterrupt)])
@pytest.mark.usefixtures("short_pages")
def test_a_failure_in_the_middle_leaves_the_earlier_results_whole(tmp_path, monkeypatch, method, at, error, seen):
    saving.save_prediction(made_up(seed=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, failing(getattr(Path, method), at=at, error=error))
        with pytest.raises(seen) as caught:
            saving.save_prediction(made_up(seed=2), tmp_path)
    if seen is KuaiHLError:
        assert "No space left on device" in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("method", "at"), [("write_bytes", 3), ("replace", 1)])
@pytest.mark.usefixtures("short_pages")
def test_a_failure_in_the_middle_leaves_no_new_folder(tmp_path, monkeypatch, method, at):
    monkeypatch.setattr(Path, method, failing(getattr(Path, method), at=at, error=FULL))
    with pytest.raises(KuaiHLError, match="No space left"):
        saving.save_prediction(made_up(), tmp_path / "out")
    assert files_in(tmp_path) == []


@pytest.mark.usefixtures("short_pages")
def test_part_of_earlier_results_is_replaced_or_comes_back(tmp_path, monkeypatch):
    (tmp_path / "segments.csv").write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing(Path.replace, at=4, error=FULL))
        with pytest.raises(KuaiHLError):
            saving.save_prediction(made_up(), tmp_path)
    assert files_in(tmp_path) == ["segments.csv"]
    assert (tmp_path / "segments.csv").read_text() == "earlier"


def test_a_folder_in_the_place_of_a_result_is_left_alone(tmp_path):
    (tmp_path / "curve.html").mkdir()
    (tmp_path / "curve.html" / "precious").write_text("mine")
    with pytest.raises(KuaiHLError, match=r"curve\.html is a folder"):
        saving.save_prediction(made_up(), tmp_path)
    assert files_in(tmp_path) == ["curve.html", "curve.html/precious"]


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_file_is_no_folder(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    for function in (atomic.check_writable, lambda out: saving.save_prediction(made_up(), out)):
        with pytest.raises(KuaiHLError, match="file is not a folder"):
            function(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_told_early(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, as in containers, may write everywhere
    with pytest.raises(KuaiHLError, match="cannot be written to"):
        atomic.check_writable(tmp_path / "out")


def test_names_and_words_that_are_not_unicode_do_not_stop_the_writing(tmp_path, short_recording):
    prediction = made_up()
    named = dataclasses.replace(prediction.recording, name="caf\udce9.mp4")
    prediction = dataclasses.replace(prediction, recording=named)
    saving.save_prediction(prediction, tmp_path, recording=recording.open_recording(short_recording))
    assert strict((tmp_path / "prediction.json").read_text(encoding="utf-8"))["recording"]["name"] == "caf?.mp4"


def test_alignment_page_has_a_figure_for_each_highlight():
    prediction = made_up()
    page = html_pages.alignment_page(prediction)
    assert page.count('class="plotly-graph-div"') == 2
    assert (
        html_pages.alignment_page(dataclasses.replace(prediction, highlights=())).count('class="plotly-graph-div"') == 1
    )
    assert "No alignment" in html_pages.alignment_page(made_up(aligned=False))


@pytest.mark.browser
def test_pages_open_offline_in_a_browser_of_any_width(tmp_path, browser):
    paths = saving.save_prediction(made_up(), tmp_path)
    page = browser.new_page()
    asked, mistakes = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    for path, figures in zip(paths[2:], (1, 2), strict=True):
        page.goto(path.as_uri())
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("Math.abs(document.querySelector('.main-svg')?.clientWidth - innerWidth) < 300")
            assert page.locator(".plotly-graph-div").count() == figures
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            texts = page.evaluate(
                "[...document.querySelectorAll('.main-svg text')].map(t => [t.textContent, t.getBoundingClientRect()])"
                ".filter(([, box]) => box.width).map(([text, box]) => [text, box.left, box.right])"
            )
            assert len(texts) > 10
            assert [text for text in texts if text[1] < 0 or text[2] > width] == []
    assert mistakes == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    page.close()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs Debian's chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        yield started
        started.close()
