"""Evaluation: the numbers of the live path, with and without each source, and the report."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from scipy.stats import kendalltau

from kuaihl.comments import reader, selection
from kuaihl.errors import CheckpointError, LabelError
from kuaihl.features.chat import utterances_by_segment
from kuaihl.features.embeddings import segment_features
from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder, sha256_file
from kuaihl.features.text import TextEncoder
from kuaihl.features.vision import VisualEncoder
from kuaihl.media.recording import open_recording
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL, load
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from kuaihl.speech.recognizer import SpeechRecognizer
from kuaihl.speech.transcripts import read_transcript
from tests.fixtures.predictions import reads_speech_alone
from tests.fixtures.small_dataset import INFO, write_chat_dataset, write_dataset
from tests.fixtures.videos import write_recording
from train import evaluate as evaluation
from train.data.labels import SegmentLabels
from train.dataset import DatasetInfo, Segments, write_info, write_shard
from train.evaluate import evaluate, print_report, rooms_of, score, write_report
from train.init_model import extended
from train.prepare import columns, lines, said

SOURCES = ("pictures", "speech", "comments", "streamer", "activity")


@dataclass(frozen=True)
class Given:
    recording: Path
    log: Path | None = None
    transcript: Path | None = None


@pytest.fixture(scope="module")
def given(short_recording: Path, short_log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Given]:
    """One recording with everything, with other words, and without each source."""
    folder = tmp_path_factory.mktemp("given")
    silent = write_recording(folder / "silent.mp4", duration_s=65, fps=5, audio=None)
    dark = write_recording(folder / "dark.mp4", duration_s=65, video=None)
    words = folder / "words.srt"
    words.write_text(
        "1\n00:00:02,000 --> 00:00:09,000\nhello everyone, and welcome\n\n"
        "2\n00:00:58,000 --> 00:01:03,000\nthis pan is on sale until tonight\n",
        encoding="utf-8",
    )
    return {
        "all": Given(short_recording, short_log),
        "dark": Given(dark, short_log),
        "no-comments": Given(short_recording),
        "silent": Given(silent, short_log),
        "words": Given(short_recording, short_log, words),
    }


@pytest.fixture(scope="module")
def dataset(given: dict[str, Given], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recordings as rooms of a dataset, encoded for themselves."""
    folder = tmp_path_factory.mktemp("dataset")
    model, _ = load(DEFAULT_CHECKPOINT)
    config = model.config
    visual_file = find_visual_encoder(config.visual_encoder, checkpoint=DEFAULT_CHECKPOINT)
    text_folder = find_text_encoder(config.text_encoder, checkpoint=DEFAULT_CHECKPOINT)
    visual = VisualEncoder(config.visual_encoder, weights=visual_file, device="cpu")
    text = TextEncoder(config.text_encoder, weights=text_folder, device="cpu")
    recognizer = SpeechRecognizer(config.speech_model, device="cpu")
    hashes = (sha256_file(visual_file), sha256_file(text_folder / "model.safetensors"))
    info = DatasetInfo(
        visual_encoder=config.visual_encoder,
        picture_dim=config.picture_dim,
        text_encoder=config.text_encoder,
        text_dim=config.text_dim,
        encoders=dict(zip((config.visual_encoder, config.text_encoder), hashes, strict=True)),
        target="lvtr",
        source="chequers and beeps",
        made_by="tests",
    )
    (folder / "rooms").mkdir()
    write_info(folder, info)
    rng = np.random.default_rng(0)
    for name, one in given.items():
        recording = open_recording(one.recording)
        segments, count = recording.segments, len(recording.segments)
        if one.transcript:
            heard = read_transcript(one.transcript, segments=segments)
        else:
            heard = recognizer.transcribe(recording.sound()) if recording.has_sound else None
        speech = None if heard is None else utterances_by_segment(heard, segments)
        log = reader.read(one.log).comments if one.log else None
        comments = None if log is None else selection.by_segment(selection.text_comments(log), segments)
        pictures = [visual.encode(pictures) for _, pictures in recording.pictures()]
        values = columns(
            name=name,
            streamer=config.streamers[0] if name == "all" else "a stranger",
            day=0,
            split="test",
            segments=segments,
            features=segment_features(
                segments,
                pictures=np.stack(pictures) if recording.has_pictures else None,
                speech=speech,
                comments=comments,
                text=text.encode(
                    None if speech is None else said(speech), None if comments is None else lines(comments)
                ),
            ),
            speech=speech,
            comments=comments,
            labels=SegmentLabels(rng.random(count), np.ones(count, dtype=bool), "random numbers"),
        )
        write_shard(folder / "rooms" / f"{name}.parquet", info, values)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def model() -> KuaiHL:
    """Random weights for the small dataset, whose activity says something."""
    torch.manual_seed(0)
    sizes = {"picture_dim": INFO.picture_dim, "text_dim": INFO.text_dim}
    return KuaiHL(replace(PRESETS["debug"], **sizes, streamers=("streamer 0", "streamer 1"))).eval()


@pytest.mark.parametrize("which", ["shipped", "speech alone"])
def test_the_live_path_and_the_dataset_give_the_same_numbers(
    given: dict[str, Given], dataset: Path, which: str
) -> None:
    predictor = Predictor.from_pretrained(device="cpu")
    model, _ = load(DEFAULT_CHECKPOINT)
    if which == "speech alone":
        predictor.model = model = reads_speech_alone(model.config)
    segments = Segments(dataset)
    scores = score(model, segments, rooms_of(segments, "test"))
    for name, one in given.items():
        streamer = predictor.config.streamers[0] if name == "all" else None
        live = predictor.predict(one.recording, one.log, transcript=one.transcript, streamer=streamer)
        of_room = scores.room == name
        assert scores.predicted[of_room].tolist() == live.curve[1:], name  # to the last bit: both keep float16
        assert (scores.known[of_room] == (name == "all")).all()


@pytest.mark.parametrize("which", ["shipped", "speech alone"])
def test_a_missing_source_and_a_masked_one_are_the_same(dataset: Path, which: str) -> None:
    model, _ = load(DEFAULT_CHECKPOINT)
    if which == "speech alone":
        model = reads_speech_alone(model.config)
    segments = Segments(dataset)
    rooms = {room.name: room for room in segments.rooms}

    def curve(name: str, *without: str) -> np.ndarray:
        return score(model, segments, [rooms[name]], without=without).predicted

    np.testing.assert_array_equal(curve("all", "comments", "streamer"), curve("no-comments"))
    np.testing.assert_array_equal(curve("silent", "speech"), curve("silent"))
    np.testing.assert_array_equal(curve("dark", "pictures"), curve("dark"))


def test_each_source_can_be_hidden(small: Path, model: KuaiHL) -> None:
    segments = Segments(small)
    rooms = rooms_of(segments, "validation")
    whole = score(model, segments, rooms)
    for source in SOURCES:
        hidden = score(model, segments, rooms, without=[source])
        assert not np.array_equal(hidden.predicted, whole.predicted), source
        np.testing.assert_array_equal(hidden.true, whole.true)
        np.testing.assert_array_equal(hidden.known, whole.known)
    nothing = score(model, segments, rooms[:1], without=SOURCES).predicted
    assert np.ptp(nothing[-10:]) < 1e-6  # full windows without anything to see are all alike


def test_without_activity_what_it_says_has_no_influence(small: Path, model: KuaiHL) -> None:
    segments = Segments(small)
    rooms = rooms_of(segments, "validation")

    def curve(*without: str) -> np.ndarray:
        return score(model, segments, rooms, without=without).predicted

    before, masked = curve(), curve("activity")
    kept = model.project_chat.bias.detach().clone()
    with torch.no_grad():
        model.project_chat.bias += 1
    changed, still_masked = curve(), curve("activity")
    with torch.no_grad():
        model.project_chat.bias.copy_(kept)
    assert not np.array_equal(changed, before)
    np.testing.assert_array_equal(still_masked, masked)
    np.testing.assert_array_equal(curve(), before)  # nothing of the masking stays in the model


def test_the_report(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate(DEFAULT_CHECKPOINT, dataset)
    model, _ = load(DEFAULT_CHECKPOINT)
    segments = Segments(dataset)
    scores = score(model, segments, rooms_of(segments, "test"))
    assert report["kuaihl"][0]["pooled"] == pytest.approx(kendalltau(scores.predicted, scores.true).statistic)
    assert report["rooms"] == 5
    assert [report[name][0]["rooms"] for name in ("known_streamers", "new_streamers")] == [1, 4]
    assert report["last_value"][0]["segments"] == len(scores.true)
    assert "ceiling" not in report  # nobody knows the truth of beeps
    bins = report["calibration"]["bins"]
    assert sum(b["segments"] for b in bins) == len(scores.true)
    assert report["calibration"]["brier"] == pytest.approx(np.mean((scores.predicted - scores.true) ** 2))
    write_report(report, tmp_path / "new" / "scores.json")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["scores.json"]
    assert json.loads((tmp_path / "new" / "scores.json").read_text()) == json.loads(json.dumps(report))
    print_report(report)
    printed = capsys.readouterr().out
    assert f"{report['calibration']['brier']:.4f}" in printed
    assert "without" not in printed
    print_report(evaluate(DEFAULT_CHECKPOINT, dataset, without=["speech", "activity"]))
    assert "without activity, speech" in capsys.readouterr().out


def test_a_split_that_is_not_there(dataset: Path) -> None:
    with pytest.raises(LabelError, match="no 'validation' rooms"):
        evaluate(DEFAULT_CHECKPOINT, dataset, split="validation")


def test_numbers_are_on_disk_before_anything_is_printed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(report: dict[str, object]) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(evaluation, "print_report", closed)
    with pytest.raises(BrokenPipeError):
        evaluation.main(DEFAULT_CHECKPOINT, dataset, out=tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["split"] == "test"


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_report({"rooms": 1}, file)
    with pytest.raises(ValueError, match="JSON"):
        write_report({"rooms": float("nan")}, file)
    assert json.loads(file.read_text()) == {"rooms": 1}


def test_a_constant_prediction_has_no_tau_and_no_interval(
    small: Path, model: KuaiHL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "check_encoders", lambda *_: None)  # the small dataset's are made up
    copy = KuaiHL(model.config)
    copy.load_state_dict(model.state_dict())
    torch.nn.init.zeros_(copy.head.weight)
    copy.save_pretrained(tmp_path)
    report = evaluate(tmp_path, small)
    assert report["kuaihl"][0]["pooled"] is None
    assert report["kuaihl_minus_last_value"] == {"pooled": None, "interval": None}
    print_report(report)


def test_a_dataset_is_scored_by_the_head_of_its_target(small: Path, model: KuaiHL, tmp_path: Path) -> None:
    write_chat_dataset(tmp_path)
    segments = Segments(tmp_path)
    with pytest.raises(CheckpointError, match="does not predict 'participation': it predicts lvtr"):
        score(model, segments, segments.rooms)
    targets = (Target("lvtr"), Target("participation", excluded_inputs=("pictures", "speech")))
    both = extended(model, replace(model.config, targets=targets)).eval()
    alone = KuaiHL(replace(model.config, targets=targets[1:])).eval()
    weights = {name: both.state_dict()[name] for name in alone.state_dict()}
    heads = {name: weights[name][1:] for name in ("head.weight", "head.bias")}
    alone.load_state_dict({**weights, **heads})
    expected = score(alone, segments, segments.rooms).predicted
    np.testing.assert_allclose(score(both, segments, segments.rooms).predicted, expected, atol=1e-6)
    rooms = Segments(small)
    found, expected = (score(m, rooms, rooms_of(rooms, "test")).predicted for m in (both, model))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_streamers_left_out_are_tested_on(
    small: Path, model: KuaiHL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "check_encoders", lambda *_: None)
    extended(model, replace(model.config, streamers=("streamer 1", "stranger"))).save_pretrained(tmp_path)
    report = evaluate(tmp_path, small, left_out=["streamer 0"])
    assert (report["rooms"], report["left_out"]) == (3, ["streamer 0"])  # two for training, one for validation
    assert report["known_streamers"][0]["segments"] == 0
    print_report(report)
    assert "left out of its training: streamer 0" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="was trained on stranger, which should be left out"):
        evaluate(tmp_path, small, left_out=["streamer 0", "stranger"])


def test_the_command_line(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--checkpoint", str(DEFAULT_CHECKPOINT), "--dataset", str(dataset), "--without", "speech"]
    with pytest.raises(SystemExit) as stopped:
        tyro.cli(evaluation.main, args=[*command, "--without", "smell"])
    assert stopped.value.code == 2
    assert "smell" in capsys.readouterr().err
    tyro.cli(evaluation.main, args=[*command, "--without", "pictures"])
    assert "without pictures, speech" in capsys.readouterr().out
