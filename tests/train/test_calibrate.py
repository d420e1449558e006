"""Calibration: a known distortion is undone, order is kept, and the checkpoint itself gives the calibrated numbers."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import load
from tests.fixtures.small_dataset import write_chat_dataset, write_dataset
from train.calibrate import CALIBRATION_FILE, Temperature, calibrate, fit_temperature, fold
from train.dataset import Segments
from train.evaluate import rooms_of, score
from train.fit import FitConfig, fit
from train.metrics import calibration


def test_a_known_distortion_is_undone() -> None:
    rng = np.random.default_rng(0)
    true = expit(rng.normal(-0.5, 1.0, 20_000))
    distorted = expit(2.5 * logit(true) + 0.8)
    found = fit_temperature(distorted, true)
    assert found.temperature == pytest.approx(2.5, rel=1e-3)
    assert found.shift == pytest.approx(-0.8 / 2.5, abs=1e-3)
    np.testing.assert_allclose(found.apply(distorted), true, atol=2e-3)
    assert calibration(distorted, true).expected_error > 0.1
    assert calibration(found.apply(distorted), true).expected_error < 0.002


def test_predictions_of_the_wrong_order_are_refused() -> None:
    true = np.linspace(0.1, 0.9, 50)
    with pytest.raises(CheckpointError, match="nothing to calibrate"):
        fit_temperature(1 - true, true)


@pytest.mark.parametrize("data", ["rooms", "chats"])
def test_the_checkpoint_gives_calibrated_numbers_in_the_same_order(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "rooms")
    write_chat_dataset(tmp_path / "chats")
    datasets = tuple(tmp_path / name for name in ("rooms", "chats"))
    checkpoint = fit(FitConfig(datasets, tmp_path / "run", preset="debug", epochs=8, rate=3e-3, warmup=5, batch=16))
    monkeypatch.setattr("train.calibrate.check_encoders", lambda *_: None)  # its encoders are made up
    segments = Segments(tmp_path / data)
    target = segments.info.target
    row = load(checkpoint)[0].config.target_index(target)
    rooms = rooms_of(segments, "validation")
    model, _ = load(checkpoint)
    before = score(model, segments, rooms)
    report = calibrate(checkpoint, tmp_path / data)
    calibrated, _ = load(checkpoint)
    after = score(calibrated, segments, rooms)
    assert torch.equal(calibrated.head.weight[1 - row], model.head.weight[1 - row])
    expected = Temperature(report.temperature, report.shift).apply(before.predicted)
    np.testing.assert_allclose(after.predicted, expected, atol=2e-3)
    np.testing.assert_array_equal(
        np.argsort(
            score(fold(model, Temperature(report.temperature, report.shift), target=row), segments, rooms).predicted
        ),
        np.argsort(before.predicted),
    )
    assert report.segments == len(before.true)
    assert report.error_after == pytest.approx(calibration(expected, before.true).expected_error)
    assert json.loads((checkpoint / CALIBRATION_FILE).read_text()) == {target: asdict(report)}
    assert sorted(p.name for p in checkpoint.parent.iterdir() if p.name.startswith("checkpoint")) == ["checkpoint"]
    with pytest.raises(CheckpointError, match=f"calibrated already for {target}"):
        calibrate(checkpoint, tmp_path / data)
    (other,) = {"rooms", "chats"} - {data}
    calibrate(checkpoint, tmp_path / other)
    assert {*json.loads((checkpoint / CALIBRATION_FILE).read_text())} == {"lvtr", "participation"}
