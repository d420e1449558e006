"""Runs: encoded once, predicted again with other settings, and the files of what was kept."""

import copy
import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
import numpy as np
import pytest
import torch

from kuaihl.demo import jobs, pipeline
from kuaihl.errors import CheckpointError, KuaiHLError, RecordingError
from kuaihl.media.recording import open_recording
from kuaihl.media.remux import make_playable
from kuaihl.predictor import Predictor
from kuaihl.progress import Progress
from kuaihl.records import Highlight, Utterance
from kuaihl.request import Request
from tests.fixtures.videos import write_recording

KEPT = [{"rank": 1, "start_s": 40.0, "end_s": 44.4}]


def opened(*files: Path) -> pipeline.OpenedFiles:
    return pipeline.open_files(pipeline.Files(*files), Request())


def shown(run: pipeline.Run) -> dict[str, Any]:
    return json.loads(run.view.read_text(encoding="utf-8"))


def file_of(url: str) -> Path:
    return Path(unquote(url).removeprefix("gradio_api/file="))


@pytest.fixture(scope="module")
def first(predictor: Predictor, short_recording: Path, short_log: Path, tmp_path_factory) -> pipeline.Run:
    files, request = opened(short_recording, short_log), Request()
    encoded = pipeline.encode(predictor, files, request)
    return pipeline.start_run(predictor, files.recording, encoded, request, tmp_path_factory.mktemp("run"))


@pytest.fixture
def encoded_once(predictor: Predictor, monkeypatch) -> None:
    """Pictures and speech must not be encoded again."""
    monkeypatch.setattr(predictor, "encode_footage", lambda *_, **__: pytest.fail("encoded again"), raising=False)


def test_a_run_has_what_the_page_shows(first: pipeline.Run) -> None:
    view, prediction = shown(first), first.prediction
    assert view["forecast"] == pytest.approx(prediction.curve, abs=1e-5)
    assert view["messages"] == [2, 1, 3, 0, 1]
    assert [card["peak_s"] for card in view["cards"]] == [highlight.peak_s for highlight in prediction.highlights]
    chat = json.loads(file_of(view["chat_url"]).read_text(encoding="utf-8"))
    assert [time_s for time_s, *_ in chat] == [1.0, 2.0, 35.0, 61.0, 62.0, 63.0, 125.0]
    assert file_of(view["player"]) == first.player
    assert len(first.stills) == len(first.prediction.highlights)
    assert all(still.startswith("data:image/jpeg") for still in first.stills)
    assert set(view["waterfall"]) == {"pictures", "speech", "comments", "other"}


def test_its_embeddings_are_those_of_the_predictor(predictor: Predictor, first: pipeline.Run, short_log: Path) -> None:
    expected, embeddings = predictor.encode(first.recording.path, short_log), first.encoded.embeddings
    for name in ("comments", "speech", "skipped"):
        assert getattr(embeddings, name) == getattr(expected, name)
    np.testing.assert_array_equal(embeddings.features.pictures, expected.features.pictures)
    ours, theirs = (dataclasses.astuple(e.features.text) for e in (embeddings, expected))
    for of_ours, of_theirs in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(of_ours, of_theirs)


@pytest.mark.usefixtures("encoded_once")
def test_the_same_files_are_not_encoded_again(
    predictor: Predictor, first: pipeline.Run, short_recording: Path, short_log: Path, tmp_path
) -> None:
    shifted = Request(comment_offset_s=30.0)
    (copied := tmp_path / "copied.mp4").write_bytes(short_recording.read_bytes())
    for recording in (short_recording, copied):
        encoded = pipeline.encode(predictor, opened(recording, short_log), shifted, previous=first.encoded)
        assert encoded.footage is first.encoded.footage
        assert [len(comments) for comments in encoded.embeddings.comments] == [0, 2, 1, 3, 0]
    changed = bytearray(short_recording.read_bytes())
    changed[-1] ^= 1
    (other := tmp_path / "other.mp4").write_bytes(changed)
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        pipeline.encode(predictor, opened(other, short_log), shifted, previous=first.encoded)


@pytest.mark.parametrize("stage", jobs.STAGES)
def test_every_stage_can_be_stopped_and_leaves_nothing(
    predictor: Predictor, short_recording: Path, short_log: Path, tmp_path: Path, stage: str
) -> None:
    def report(reached: str, fraction: float) -> None:
        if reached == stage and fraction > 0:
            raise jobs.Stopped

    def run() -> None:
        progress, request = Progress(report), Request()
        files = pipeline.open_files(pipeline.Files(short_recording, short_log), request, progress=progress)
        encoded = pipeline.encode(predictor, files, request, progress=progress)
        pipeline.start_run(predictor, files.recording, encoded, request, tmp_path, progress=progress)

    with pytest.raises(jobs.Stopped):
        run()
    assert not list(tmp_path.iterdir())


def stop(stage: str, fraction: float) -> None:
    raise jobs.Stopped


def test_a_stopped_copy_for_the_player_leaves_nothing(tmp_path: Path) -> None:
    stream = write_recording(tmp_path / "stream.ts", duration_s=20.0, fps=5)
    (out := tmp_path / "out").mkdir()
    with pytest.raises(jobs.Stopped):
        make_playable(open_recording(stream), out, progress=Progress(stop))
    assert not list(out.iterdir())


def with_highlight(run: pipeline.Run) -> pipeline.Run:
    highlight = Highlight(rank=1, start_s=31.0, end_s=52.0, peak_s=45.0, score=0.5)
    return dataclasses.replace(
        run, prediction=dataclasses.replace(run.prediction, highlights=(highlight,)), stills=("",)
    )


def test_stopped_clips_leave_nothing(first: pipeline.Run, tmp_path: Path) -> None:
    with pytest.raises(jobs.Stopped):
        pipeline.export_clips(with_highlight(first), KEPT, tmp_path, progress=Progress(stop))
    assert not list(tmp_path.iterdir())


def test_exports_hold_what_was_kept(first: pipeline.Run, tmp_path: Path) -> None:
    run = with_highlight(first)
    timeline = pipeline.export_file(run, "highlights.edl", KEPT, tmp_path).read_text(encoding="utf-8")
    assert "00:00:40:00 00:00:44:10" in timeline
    document = json.loads(pipeline.export_file(run, "prediction.json", [], tmp_path).read_text(encoding="utf-8"))
    assert document["highlights"] == []
    with zipfile.ZipFile(pipeline.export_clips(run, KEPT, tmp_path)) as clips:
        (name,) = clips.namelist()
        with av.open(io.BytesIO(clips.read(name))) as clip:
            assert float(clip.duration) / av.time_base == pytest.approx(4.4, abs=4.1), "from the keyframe before"


def test_clips_are_vertical_and_captioned_on_request(first: pipeline.Run, tmp_path: Path) -> None:
    said = Utterance(38.0, 41.0, "well played")
    embeddings = dataclasses.replace(first.encoded.embeddings, speech=[(), (said,), (), (), ()])
    run = with_highlight(dataclasses.replace(first, encoded=dataclasses.replace(first.encoded, embeddings=embeddings)))
    path = pipeline.export_clips(run, KEPT, tmp_path, vertical=True, captions="srt")
    with zipfile.ZipFile(path) as clips:
        video, captions = sorted(clips.namelist(), reverse=True)[::-1]
        with av.open(io.BytesIO(clips.read(video))) as clip:
            assert clip.streams.video[0].width * 16 == clip.streams.video[0].height * 9
            assert clip.duration / av.time_base == pytest.approx(4.4, abs=0.3)
        assert "00:00:00,000 --> 00:00:01,000\nwell played" in clips.read(captions).decode()
    with zipfile.ZipFile(pipeline.export_clips(run, KEPT, tmp_path, captions="burnt")) as clips:
        with av.open(io.BytesIO(clips.read(clips.namelist()[0]))) as clip:
            brightest = [frame.to_ndarray(format="gray")[60:].max() for frame in clip.decode(video=0)]
        assert max(brightest[:4]) > max(brightest[7:]) + 20, "the caption is there for the first second"


@pytest.mark.parametrize(
    "clips",
    [None, 7, [{}], [{"rank": 2, "start_s": 1, "end_s": 2}], [{"rank": 1, "start_s": 5, "end_s": 4}],
     [{"rank": 1, "start_s": "x", "end_s": 4}], [{"rank": 1, "start_s": 5, "end_s": 1e9}]],
)  # fmt: skip
def test_moments_of_nowhere_are_refused(first: pipeline.Run, clips: Any) -> None:
    with pytest.raises(KuaiHLError):
        pipeline.kept(with_highlight(first), clips)


def test_a_preview_has_the_player_the_chat_and_the_reaction(
    first: pipeline.Run, short_recording: Path, short_log: Path, tmp_path: Path
) -> None:
    path = pipeline.preview(opened(short_recording, short_log), Request(by="reaction"), tmp_path)
    early, whole = json.loads(path.read_text(encoding="utf-8")), shown(first)
    assert early["partial"]
    assert early["forecast"] == [None] * 5
    for name in ("player", "messages", "duration_s"):
        assert early[name] == whole[name]
    assert early["reaction"]["scores"] == whole["reaction"]["scores"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.mp4"):
        opened(tmp_path / "gone.mp4")


def test_comments_are_shifted_and_selected_without_encoding_footage(
    predictor: Predictor, first: pipeline.Run, short_log: Path, request: pytest.FixtureRequest
) -> None:
    expected = predictor.predict(first.recording, short_log, comment_offset_s=30.0)
    request.getfixturevalue("encoded_once")
    shifted = pipeline.update_run(predictor, first, Request(comment_offset_s=30.0))
    assert shifted.prediction.segments == expected.segments
    assert shifted.prediction.skipped == expected.skipped
    none = pipeline.update_run(predictor, shifted, Request(counted=("gift",)))
    assert [s.comments for s in none.prediction.segments] == [0] * 5
    assert none.prediction.modalities.comments, "an empty log is a quiet chat, not a missing one"
    assert pipeline.update_run(predictor, none, Request()).prediction.curve == first.prediction.curve


def test_another_model_reuses_embeddings_of_the_same_encoders_only(predictor: Predictor, first: pipeline.Run) -> None:
    other = copy.copy(predictor)
    other.checkpoint = dataclasses.replace(predictor.checkpoint, name="other", sha256="0")
    other.model = copy.deepcopy(predictor.model)
    torch.nn.init.zeros_(other.model.head.weight)
    run = pipeline.update_run(other, first, Request())
    assert len(set(run.prediction.curve[1:])) == 1, "the other model always predicts the same score"
    other.visual_encoder = copy.deepcopy(predictor.visual_encoder)
    next(other.visual_encoder.parameters()).data += 1.0
    with pytest.raises(CheckpointError, match="other encoders"):
        pipeline.update_run(other, first, Request())


def test_other_settings_change_prediction_and_files(predictor: Predictor, first: pipeline.Run) -> None:
    request = Request(sources=("pictures", "speech"), highlights=1)
    other = pipeline.update_run(predictor, first, request)
    expected = predictor.score(
        first.encoded.embeddings, sources=["pictures", "speech"], options=request.highlight_options
    )
    assert (other.prediction.segments, other.prediction.highlights) == (expected.segments, expected.highlights)
    assert len(other.prediction.highlights) <= 1
    view = shown(other)
    assert set(view["waterfall"]) == {"pictures", "speech", "other"}
    assert (view["inputs"], view["messages"]) == (["pictures", "speech"], None)
    assert pipeline.update_run(predictor, other, Request()).prediction.curve == first.prediction.curve
