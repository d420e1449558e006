"""Runs: encoded once, predicted again with other settings, and the live replay."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from kuaihl import runs
from kuaihl.highlights import HighlightOptions
from kuaihl.predictor import Predictor


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def first(predictor: Predictor, short_recording: Path, short_log: Path, tmp_path_factory) -> runs.Run:
    inputs = runs.Inputs(short_recording, short_log)
    encoded = runs.encode(predictor, inputs, before=None, progress=lambda *_: None)
    return runs.begin(predictor, inputs, encoded, runs.Settings(), tmp_path_factory.mktemp("run"))


def test_a_run_holds_what_a_page_shows(first: runs.Run) -> None:
    assert {f.name for f in first.folder.iterdir()} >= {"prediction.json", "segments.csv", "curve.html"}
    assert len(first.stills) == len(first.prediction.highlights)
    assert all(still.startswith("data:image/jpeg") for still in first.stills)
    assert set(first.contributions.without) == {"pictures", "speech", "comments"}
    assert first.player.exists()


def test_the_same_files_are_not_encoded_again(
    predictor: Predictor, first: runs.Run, short_recording: Path, short_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "encode", lambda *_, **__: pytest.fail("it was encoded again"), raising=False)
    same = runs.Inputs(short_recording, short_log)
    assert runs.encode(predictor, same, before=first, progress=lambda *_: None) is first.encoded
    moved = runs.Inputs(short_recording, short_log, comment_offset_s=3.0)
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        runs.encode(predictor, moved, before=first, progress=lambda *_: None)


def test_other_settings_change_prediction_and_files(predictor: Predictor, first: runs.Run) -> None:
    settings = runs.Settings(without=("comments",), options=HighlightOptions(top_k=1))
    other = runs.again(predictor, first, settings)
    expected = predictor.score(first.encoded.without("comments"), options=settings.options)
    assert (other.prediction.segments, other.prediction.highlights) == (expected.segments, expected.highlights)
    assert len(other.prediction.highlights) <= 1
    assert set(other.contributions.without) == {"pictures", "speech"}
    written = json.loads((other.folder / "prediction.json").read_text(encoding="utf-8"))
    assert written["modalities"]["comments"] is False
    assert runs.again(predictor, other, runs.Settings()).prediction.curve == first.prediction.curve


def test_live_values_never_change_and_end_as_the_whole(predictor: Predictor, first: runs.Run) -> None:
    shown = list(runs.play(predictor, first))
    assert [len(p.segments) for p in shown] == list(range(1, len(first.prediction.segments) + 1))
    for earlier, later in pairwise(shown):
        assert later.segments[:-1] == earlier.segments
        assert later.segments[-1].lvtr == earlier.forecast
    assert shown[-1].curve == first.prediction.curve
    assert shown[-1].forecast == first.prediction.forecast


def test_reasons_are_of_the_sources_shown(predictor: Predictor, first: runs.Run) -> None:
    other = runs.again(predictor, first, runs.Settings(without=("pictures",)))
    assert {m.source for m in runs.why(predictor, other, 3, top=20)} == {"speech", "comments"}


def test_truth_lies_beside_recordings_of_the_simulator(example: Path, short_recording: Path, tmp_path: Path) -> None:
    true = runs.truth_beside(example / "recording.mp4")
    assert len(true) == 21
    assert all(0 <= value <= 1 for value in true)
    assert runs.truth_beside(short_recording) is None
    (tmp_path / "truth.json").write_text('["of another program"]')
    assert runs.truth_beside(tmp_path / "recording.mp4") is None
