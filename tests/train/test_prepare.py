"""From simulated rooms to a dataset, its evaluation and a model card, through the shipped encoders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.model.kuaihl import load
from kuaihl.predictor import DEFAULT_CHECKPOINT
from train import prepare
from train.dataset import Segments
from train.evaluate import evaluate, print_report, rooms_of, score
from train.release.card import write_card
from train.simulator.render.draw import draw
from train.simulator.rooms.room import room, room_ids
from train.simulator.settings import SimulatorConfig

CONFIG = SimulatorConfig(size="tiny", min_segments=6, max_segments=9)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rooms")
    prepare.rooms(CONFIG, out)
    return out


def test_rows_are_the_rooms(dataset: Path) -> None:
    segments = Segments(dataset)
    assert sorted(r.name for r in segments.rooms) == sorted(room_ids(CONFIG))
    for found in segments.rooms:
        made = room(CONFIG, room_ids(CONFIG).index(found.name))
        assert (found.streamer, found.split) == (made.streamer, made.split)
        np.testing.assert_allclose(segments.scalar("label", found.start, found.stop), made.lvtr, rtol=1e-6)
        impressions = [t.impressions for t in made.truth]
        np.testing.assert_array_equal(segments.column("impressions", found), impressions)


def test_features_are_those_of_the_shipped_encoders(dataset: Path) -> None:
    from kuaihl.features.vision import VisualEncoder

    segments = Segments(dataset)
    found = segments.rooms[0]
    made = room(CONFIG, room_ids(CONFIG).index(found.name))
    encoder = VisualEncoder(
        segments.info.visual_encoder, weights=DEFAULT_CHECKPOINT / "visual.safetensors", device="cpu"
    )
    np.testing.assert_array_equal(
        segments.array("pictures", found.start, found.start + 1).reshape(3, -1), encoder.encode(draw(made, 0))
    )


def test_an_interrupted_run_goes_on(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy, ignore=shutil.ignore_patterns("cache"))
    lost = copy / "rooms" / "test-0006.parquet"
    kept = copy / "rooms" / "train-0000.parquet"
    before, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    prepare.rooms(CONFIG, copy)
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(LabelError, match="holds another dataset"):
        prepare.rooms(SimulatorConfig(size="tiny", seed=1), copy)


def test_rooms_are_the_same_made_by_two_processes(dataset: Path, tmp_path: Path) -> None:
    prepare.rooms(CONFIG, tmp_path, workers=2)
    made, other = Segments(tmp_path), Segments(dataset)
    assert made.info == other.info
    assert made.rooms == other.rooms
    rows = (0, made.rooms[-1].stop)
    for name in ("label", "has_pictures"):
        np.testing.assert_array_equal(made.scalar(name, *rows), other.scalar(name, *rows))
    for name in ("words", "activity"):
        np.testing.assert_array_equal(made.array(name, *rows), other.array(name, *rows))
    for name in ("pictures", "text_both"):  # sums may be split among threads in another way
        np.testing.assert_allclose(made.array(name, *rows), other.array(name, *rows), atol=0.02)


@pytest.mark.parametrize("command", ["recordings {there} --out {out}", "chat --logs {there} --out {out}"])
def test_a_mistake_is_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there, out = tmp_path / "not-there", tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["train.prepare", *command.format(there=there, out=out).split()])
    with pytest.raises(SystemExit) as end:
        prepare.main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(there) in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_evaluation_scores_each_segment_once(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate(DEFAULT_CHECKPOINT, dataset)
    segments, (model, _) = Segments(dataset), load(DEFAULT_CHECKPOINT)
    rooms = rooms_of(segments, "test")
    scores = score(model, segments, rooms)
    assert len(scores.true) == sum(r.stop - r.start - 1 for r in rooms)
    assert report["kuaihl"][0]["segments"] == len(scores.true)
    assert report["kuaihl"][0]["pooled"] == pytest.approx(kendalltau(scores.predicted, scores.true).statistic)
    made = [room(CONFIG, room_ids(CONFIG).index(r.name)) for r in rooms]
    truth, observed = (np.concatenate([getattr(m, x)[1:] for m in made]) for x in ("appeal", "lvtr"))
    assert report["ceiling"][0]["pooled"] == pytest.approx(kendalltau(truth, observed).statistic, abs=1e-6)
    persisted = np.concatenate([m.appeal[:-1] for m in made])
    assert report["true_persistence"][0]["pooled"] == pytest.approx(kendalltau(persisted, observed).statistic, abs=1e-6)
    print_report(report)
    printed = capsys.readouterr().out
    assert f"{report['kuaihl'][0]['pooled']:.4f}" in printed
    assert "simulated" in printed


def test_features_of_another_encoder_are_refused(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy, ignore=shutil.ignore_patterns("cache"))
    info = json.loads((copy / "dataset.json").read_text())
    info["encoders"] = dict.fromkeys(info["encoders"], "0" * 64)
    (copy / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(CheckpointError, match="Prepare it with this checkpoint"):
        evaluate(DEFAULT_CHECKPOINT, copy)


def test_the_card_says_what_it_was_trained_on_and_what_it_scores(tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    shutil.copytree(DEFAULT_CHECKPOINT, copy)
    text = write_card(copy).read_text()
    assert text == (DEFAULT_CHECKPOINT / "README.md").read_text(), "the shipped card is not the one of its numbers"
    report = json.loads((copy / "evaluation-lvtr.json").read_text())
    model, _ = load(copy)
    assert model.config.targets[0].trained_on in text
    assert f"{report['kuaihl'][0]['pooled']:.4f}" in text
    assert "python -m train.fit" in text
    (copy / "evaluation-lvtr.json").unlink()
    with pytest.raises(CheckpointError, match=r"train\.evaluate"):
        write_card(copy)
