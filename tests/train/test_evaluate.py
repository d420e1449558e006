"""Evaluation: the scores are those of live prediction, with and without each input, and the report is right."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from scipy.stats import kendalltau

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.features.embeddings import Embeddings
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL, load
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from tests.fixtures.predictions import reads_speech_alone
from tests.fixtures.small_dataset import INFO, SIMULATION
from tests.fixtures.videos import write_recording
from train.data.labels import SegmentLabels
from train.data.shards import build_columns, open_dataset
from train.dataset import Segments, write_shard
from train.evaluate import evaluate, main, print_report
from train.files import write_json
from train.init_model import extend
from train.scoring import score
from train.simulator.rooms.room import room_ids, simulate_room
from train.splits import select_rooms

INPUTS = ("pictures", "speech", "comments", "streamer", "activity")


@dataclass(frozen=True)
class Live:
    """A predictor and what it computed from recordings with everything, with a transcript, and without an input."""

    predictor: Predictor
    embeddings: dict[str, Embeddings]


@pytest.fixture(scope="module")
def live(short_recording: Path, short_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Live:
    folder = tmp_path_factory.mktemp("recordings")
    silent = write_recording(folder / "silent.mp4", duration_s=65, fps=5, audio=None)
    dark = write_recording(folder / "dark.mp4", duration_s=65, video=None)
    transcript = folder / "transcript.srt"
    transcript.write_text(
        "1\n00:00:02,000 --> 00:00:09,000\nhello everyone, and welcome\n\n"
        "2\n00:00:58,000 --> 00:01:03,000\nthis pan is on sale until tonight\n",
        encoding="utf-8",
    )
    predictor = Predictor.from_pretrained(device="cpu")
    embeddings = {
        "all": predictor.encode(short_recording, short_log),
        "dark": predictor.encode(dark, short_log),
        "no-comments": predictor.encode(short_recording),
        "silent": predictor.encode(silent, short_log),
        "transcript": predictor.encode(short_recording, short_log, transcript=transcript),
    }
    return Live(predictor, embeddings)


@pytest.fixture(scope="module")
def dataset(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recordings as test rooms of a dataset."""
    folder = tmp_path_factory.mktemp("dataset")
    config = live.predictor.config
    info = open_dataset(folder, config, DEFAULT_CHECKPOINT, target="lvtr", source="chequers", made_by="tests")
    rng = np.random.default_rng(0)
    for name, encoded in live.embeddings.items():
        count = len(encoded.segments)
        values = build_columns(
            name=name,
            streamer=config.streamers[0] if name == "all" else "a stranger",
            day=0,
            split="test",
            segments=encoded.segments,
            features=encoded.features,
            speech=encoded.speech,
            comments=encoded.comments,
            labels=SegmentLabels(rng.random(count), np.ones(count, dtype=bool), "random numbers"),
        )
        write_shard(folder / "rooms" / f"{name}.parquet", info, values)
    return folder


@pytest.fixture(scope="module")
def model() -> KuaiHL:
    """Random weights for the small rooms."""
    torch.manual_seed(0)
    sizes = {"picture_dim": INFO.picture_dim, "text_dim": INFO.text_dim, "text_encoder": INFO.text_encoder}
    return KuaiHL(replace(PRESETS["debug"], **sizes, streamers=("streamer 0", "streamer 1"))).eval()


@pytest.fixture(scope="module", params=["shipped", "all tokens"])
def full_model(request: pytest.FixtureRequest, live: Live) -> KuaiHL:
    return live.predictor.model if request.param == "shipped" else reads_speech_alone(live.predictor.config)


def test_scores_are_those_of_live_prediction(live: Live, dataset: Path, full_model: KuaiHL) -> None:
    segments = Segments(dataset)
    scores = score(full_model, segments, select_rooms(segments, "test"))
    for name, embeddings in live.embeddings.items():
        inputs = live.predictor.build_inputs(
            embeddings, streamer=live.predictor.config.streamers[0] if name == "all" else None
        )
        of_room = scores.room == name
        # To the last bit, since both have features in float16.
        assert scores.predicted[of_room].tolist() == full_model.sweep(inputs)[1:-1].tolist(), name
        assert (scores.known[of_room] == (name == "all")).all()


def test_a_missing_input_and_a_masked_one_are_the_same(dataset: Path, full_model: KuaiHL) -> None:
    segments = Segments(dataset)
    rooms = {room.name: room for room in segments.rooms}

    def predict(name: str, *without: str) -> np.ndarray:
        return score(full_model, segments, [rooms[name]], without=without).predicted

    np.testing.assert_array_equal(predict("all", "comments", "streamer"), predict("no-comments"))
    np.testing.assert_array_equal(predict("silent", "speech"), predict("silent"))
    np.testing.assert_array_equal(predict("dark", "pictures"), predict("dark"))


def test_each_input_can_be_hidden(rooms: Path, model: KuaiHL) -> None:
    segments = Segments(rooms)
    validation = select_rooms(segments, "validation")
    whole = score(model, segments, validation)
    for name in INPUTS:
        hidden = score(model, segments, validation, without=[name])
        assert not np.array_equal(hidden.predicted, whole.predicted), name
        np.testing.assert_array_equal(hidden.true, whole.true)
        np.testing.assert_array_equal(hidden.known, whole.known)
    nothing = score(model, segments, validation[:1], without=INPUTS).predicted
    assert np.ptp(nothing[-10:]) < 1e-6  # full windows of nothing are all alike


def test_a_dataset_is_scored_by_the_head_of_its_target(rooms: Path, chats: Path, model: KuaiHL) -> None:
    segments, of_chats = Segments(rooms), Segments(chats)
    with pytest.raises(CheckpointError, match="does not predict 'participation': it predicts lvtr"):
        score(model, of_chats, of_chats.rooms)
    targets = (Target("lvtr"), Target("participation", excluded_inputs=("pictures", "speech")))
    both = extend(model, replace(model.config, targets=targets)).eval()
    only = KuaiHL(replace(model.config, targets=targets[1:])).eval()
    weights = {name: both.state_dict()[name] for name in only.state_dict()}
    only.load_state_dict({**weights, **{name: weights[name][1:] for name in ("head.weight", "head.bias")}})
    for data, other in ((of_chats, only), (segments, model)):
        expected = score(other, data, data.rooms).predicted
        np.testing.assert_allclose(score(both, data, data.rooms).predicted, expected, atol=1e-6)


def test_the_report(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate(DEFAULT_CHECKPOINT, dataset)
    model, _ = load(DEFAULT_CHECKPOINT)
    segments = Segments(dataset)
    scores = score(model, segments, select_rooms(segments, "test"))
    assert report["kuaihl"][0]["pooled"] == pytest.approx(kendalltau(scores.predicted, scores.true).statistic)
    assert report["rooms"] == 5
    assert [report[name][0]["rooms"] for name in ("known_streamers", "new_streamers")] == [1, 4]
    assert report["last_value"][0]["segments"] == len(scores.true)
    assert "ceiling" not in report  # only a simulator knows it
    assert sum(b["segments"] for b in report["calibration"]["bins"]) == len(scores.true)
    assert report["calibration"]["brier"] == pytest.approx(np.mean((scores.predicted - scores.true) ** 2))
    print_report(report)
    assert f"{report['calibration']['brier']:.4f}" in capsys.readouterr().out
    with pytest.raises(LabelError, match="no 'validation' rooms"):
        evaluate(DEFAULT_CHECKPOINT, dataset, split="validation")


def test_simulated_rooms_have_a_ceiling(simulated_rooms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate(DEFAULT_CHECKPOINT, simulated_rooms, split="all")
    names = room_ids(SIMULATION)
    made = [simulate_room(SIMULATION, index) for index in range(len(names))]
    assert report["rooms"] == len(names) == 8
    assert report["kuaihl"][0]["segments"] == sum(len(x.segments) - 1 for x in made)
    appeal, lvtr = (np.concatenate([getattr(x, name)[1:] for x in made]) for name in ("appeal", "lvtr"))
    before = np.concatenate([x.appeal[:-1] for x in made])
    for name, rival in (("ceiling", appeal), ("true_persistence", before)):
        assert report[name][0]["pooled"] == pytest.approx(kendalltau(rival, lvtr).statistic, abs=1e-6)
    print_report(report)
    printed = capsys.readouterr().out
    assert f"{report['ceiling'][0]['pooled']:.4f}" in printed
    assert "simulated" in printed
    assert evaluate(DEFAULT_CHECKPOINT, simulated_rooms)["rooms"] == 2  # the test split


def test_features_of_another_encoder_are_refused(simulated_rooms: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated_rooms, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    file = tmp_path / "copy" / "dataset.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, "encoders": dict.fromkeys(info["encoders"], "0" * 64)}))
    with pytest.raises(CheckpointError, match=r"Run train\.prepare with this checkpoint"):
        evaluate(DEFAULT_CHECKPOINT, tmp_path / "copy")


def test_a_constant_prediction_has_no_tau_and_no_interval(rooms: Path, model: KuaiHL, tmp_path: Path) -> None:
    constant = extend(model, model.config)
    torch.nn.init.zeros_(constant.head.weight)
    constant.save_pretrained(tmp_path)
    report = evaluate(tmp_path, rooms)
    assert report["kuaihl"][0]["pooled"] is None
    assert report["kuaihl_minus_last_value"] == {"pooled": None, "interval": None}
    print_report(report)


def test_streamers_left_out_are_tested_on(
    rooms: Path, model: KuaiHL, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extend(model, replace(model.config, streamers=("streamer 1", "stranger"))).save_pretrained(tmp_path)
    report = evaluate(tmp_path, rooms, left_out=["streamer 0"])
    assert (report["rooms"], report["left_out"]) == (3, ["streamer 0"])
    assert report["known_streamers"][0]["segments"] == 0
    print_report(report)
    assert "left out of training: streamer 0" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="was trained on stranger, which should be left out"):
        evaluate(tmp_path, rooms, left_out=["streamer 0", "stranger"])


def test_the_command_line(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--checkpoint", str(DEFAULT_CHECKPOINT), "--dataset", str(dataset), "--without", "speech"]
    with pytest.raises(SystemExit) as stopped:
        tyro.cli(main, args=[*command, "--without", "smell"])
    assert stopped.value.code == 2
    assert "smell" in capsys.readouterr().err
    out = tmp_path / "new" / "scores.json"
    tyro.cli(main, args=[*command, "--without", "pictures", "--split", "all", "--out", str(out)])
    assert "without pictures, speech" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert (report["split"], report["without"]) == ("all", "pictures, speech")
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]
    with pytest.raises(ValueError, match="JSON"):
        write_json(out, {"rooms": float("nan")})
    assert json.loads(out.read_text()) == report
