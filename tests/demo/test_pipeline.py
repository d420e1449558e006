"""Runs: encoded once, predicted again with other settings, and the live replay."""

import copy
import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from kuaihl.demo import jobs, pipeline
from kuaihl.errors import CheckpointError, RecordingError
from kuaihl.highlights import HighlightOptions
from kuaihl.media.recording import open_recording, playable
from kuaihl.predictor import Predictor
from tests.fixtures.videos import write_recording


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained(device="cpu")


def quiet(stage: str, fraction: float) -> None:
    """Tell nobody."""


def given(*files: Path) -> pipeline.Given:
    return pipeline.read(pipeline.Inputs(*files), progress=quiet)


@pytest.fixture(scope="module")
def first(predictor: Predictor, short_recording: Path, short_log: Path, tmp_path_factory) -> pipeline.Run:
    settings = pipeline.Settings()
    found = given(short_recording, short_log)
    material = pipeline.encode(predictor, found, settings, progress=quiet)
    folder = tmp_path_factory.mktemp("run")
    return pipeline.begin(predictor, found.recording, material, settings, folder, progress=quiet)


def test_a_run_holds_what_a_page_shows(first: pipeline.Run) -> None:
    assert {f.name for f in first.folder.iterdir()} >= {"prediction.json", "segments.csv", "curve.html"}
    assert len(first.stills) == len(first.prediction.highlights)
    assert all(still.startswith("data:image/jpeg") for still in first.stills)
    assert set(first.contributions.scores_without) == {"pictures", "speech", "comments"}
    assert first.player.exists()


def test_comments_are_added_as_if_encoded_together(predictor: Predictor, first: pipeline.Run, short_log: Path) -> None:
    together = predictor.encode(first.opened.path, short_log)
    apart = first.material.encoded
    assert apart.comments == together.comments
    assert apart.speech == together.speech
    assert apart.skipped == together.skipped
    texts = (dataclasses.astuple(embeddings.features.text) for embeddings in (apart, together))
    for of_apart, of_together in zip(*texts, strict=True):
        np.testing.assert_array_equal(of_apart, of_together)
    np.testing.assert_array_equal(apart.features.pictures, together.features.pictures)


def test_pictures_and_speech_of_the_same_files_are_not_encoded_again(
    predictor: Predictor, first: pipeline.Run, short_recording: Path, short_log: Path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(
        predictor, "encode_footage", lambda *_, **__: pytest.fail("it was encoded again"), raising=False
    )
    moved = pipeline.Settings(comment_offset_s=30.0)
    material = pipeline.encode(
        predictor, given(short_recording, short_log), moved, before=first.material, progress=quiet
    )
    assert material.footage is first.material.footage
    assert [len(part) for part in material.encoded.comments] == [0, 2, 1, 3, 0]
    (copied := tmp_path / "copied.mp4").write_bytes(short_recording.read_bytes())
    material = pipeline.encode(predictor, given(copied, short_log), moved, before=first.material, progress=quiet)
    assert material.footage is first.material.footage, "what counts is what is in a file, not its place or time"
    changed = bytearray(short_recording.read_bytes())
    changed[-1] ^= 1
    (other := tmp_path / "other.mp4").write_bytes(changed)
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        pipeline.encode(predictor, given(other, short_log), moved, before=first.material, progress=quiet)


@pytest.mark.parametrize("stage", jobs.STAGES)
def test_every_stage_can_be_stopped_and_leaves_nothing(
    predictor: Predictor, short_recording: Path, short_log: Path, tmp_path: Path, stage: str
) -> None:
    def until(reached: str, share: float) -> None:
        if reached == stage and share > 0:
            raise jobs.Stopped

    def run() -> None:
        found = pipeline.read(pipeline.Inputs(short_recording, short_log), progress=until)
        material = pipeline.encode(predictor, found, pipeline.Settings(), progress=until)
        pipeline.begin(predictor, found.recording, material, pipeline.Settings(), tmp_path, progress=until)

    with pytest.raises(jobs.Stopped):
        run()
    assert not list(tmp_path.iterdir())


def test_a_stopped_copy_for_the_player_leaves_nothing(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        raise jobs.Stopped

    stream = write_recording(tmp_path / "stream.ts", duration_s=20.0, fps=5)
    (out := tmp_path / "out").mkdir()
    with pytest.raises(jobs.Stopped):
        playable(open_recording(stream), out, progress=stop)
    assert not list(out.iterdir())


def test_stopped_clips_leave_nothing(first: pipeline.Run, tmp_path: Path) -> None:
    def stop(stage: str, share: float) -> None:
        raise jobs.Stopped

    with pytest.raises(jobs.Stopped):
        pipeline.clips(first, progress=stop)
    assert not (first.folder / "clips.zip").exists()
    assert not [file for file in first.folder.iterdir() if file.name.startswith(".kuaihl")]


def test_a_file_that_is_gone_is_named(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"There is no file .*gone\.mp4"):
        given(tmp_path / "gone.mp4")


def test_comments_are_moved_and_chosen_without_encoding_again(
    predictor: Predictor, first: pipeline.Run, short_log: Path, monkeypatch
) -> None:
    expected = predictor.predict(first.opened.path, short_log, comment_offset_s=30.0)
    monkeypatch.setattr(
        predictor, "encode_footage", lambda *_, **__: pytest.fail("it was encoded again"), raising=False
    )
    moved = pipeline.again(predictor, first, pipeline.Settings(comment_offset_s=30.0))
    assert moved.prediction.segments == expected.segments
    assert moved.prediction.skipped == expected.skipped
    none = pipeline.again(predictor, moved, pipeline.Settings(counted=("gift",)))
    assert [s.comments for s in none.prediction.segments] == [0] * 5
    assert none.prediction.modalities.comments, "an empty log is a quiet chat, not a missing one"
    assert pipeline.again(predictor, none, pipeline.Settings()).prediction.curve == first.prediction.curve


def test_another_model_takes_over_features_of_the_same_encoders_only(predictor: Predictor, first: pipeline.Run) -> None:
    other = copy.copy(predictor)
    other.checkpoint = dataclasses.replace(predictor.checkpoint, name="other", sha256="0")
    other.model = copy.deepcopy(predictor.model)
    torch.nn.init.zeros_(other.model.head.weight)
    taken = pipeline.again(other, first, pipeline.Settings())
    assert len(set(taken.prediction.curve[1:])) == 1, "the other model predicts one value always"
    other.visual_encoder = copy.deepcopy(predictor.visual_encoder)
    next(other.visual_encoder.parameters()).data += 1.0
    with pytest.raises(CheckpointError, match="press Run"):
        pipeline.again(other, first, pipeline.Settings())


def test_other_settings_change_prediction_and_files(predictor: Predictor, first: pipeline.Run) -> None:
    settings = pipeline.Settings(without=("comments",), options=HighlightOptions(top_k=1))
    other = pipeline.again(predictor, first, settings)
    expected = predictor.score(first.material.encoded, sources=["pictures", "speech"], options=settings.options)
    assert (other.prediction.segments, other.prediction.highlights) == (expected.segments, expected.highlights)
    assert len(other.prediction.highlights) <= 1
    assert set(other.contributions.scores_without) == {"pictures", "speech"}
    written = json.loads((other.folder / "prediction.json").read_text(encoding="utf-8"))
    assert written["modalities"]["comments"] is False
    assert pipeline.again(predictor, other, pipeline.Settings()).prediction.curve == first.prediction.curve


def test_live_values_never_change_and_end_as_the_whole(predictor: Predictor, first: pipeline.Run) -> None:
    shown = list(pipeline.play(predictor, first))
    assert [len(p.segments) for p in shown] == list(range(1, len(first.prediction.segments) + 1))
    for earlier, later in pairwise(shown):
        assert later.segments[:-1] == earlier.segments
        assert later.segments[-1].score == earlier.next_score
    assert shown[-1].curve == first.prediction.curve
    assert shown[-1].next_score == first.prediction.next_score


def test_reasons_are_of_the_sources_shown(predictor: Predictor, first: pipeline.Run) -> None:
    other = pipeline.again(predictor, first, pipeline.Settings(without=("pictures",)))
    assert {source for m in pipeline.why(predictor, other, 3) for source in m.contributions} == {"speech", "comments"}


def test_truth_lies_beside_recordings_of_the_simulator(example: Path, short_recording: Path, tmp_path: Path) -> None:
    true = pipeline.truth_beside(example / "recording.mp4", target="lvtr")
    assert len(true) == 21
    assert pipeline.truth_beside(example / "recording.mp4", target="participation") is None
    assert all(0 <= value <= 1 for value in true)
    assert pipeline.truth_beside(short_recording, target="lvtr") is None
    (tmp_path / "truth.json").write_text('["of another program"]')
    assert pipeline.truth_beside(tmp_path / "recording.mp4", target="lvtr") is None
