"""Calibration: a known distortion is undone, and the checkpoint gives calibrated scores in the same order."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import load
from train.calibrate import Temperature, calibrate, estimate_temperature, scale_head
from train.dataset import Segments
from train.metrics import calibration
from train.run_state import CALIBRATION_FILE
from train.scoring import score
from train.splits import select_rooms

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_known_distortion_is_undone() -> None:
    rng = np.random.default_rng(0)
    true = expit(rng.normal(-0.5, 1.0, 20_000))
    distorted = expit(2.5 * logit(true) + 0.8)
    temperature = estimate_temperature(distorted, true)
    assert temperature.temperature == pytest.approx(2.5, rel=1e-3)
    assert temperature.shift == pytest.approx(-0.8 / 2.5, abs=1e-3)
    np.testing.assert_allclose(temperature.apply(distorted), true, atol=2e-3)
    assert calibration(distorted, true).expected_error > 0.1
    assert calibration(temperature.apply(distorted), true).expected_error < 0.002


def test_predictions_in_the_wrong_order_are_refused() -> None:
    true = np.linspace(0.1, 0.9, 50)
    with pytest.raises(CheckpointError, match="cannot be calibrated"):
        estimate_temperature(1 - true, true)


def test_heads_are_calibrated_one_by_one(trained: Path, rooms: Path, chats: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(trained / "checkpoint", checkpoint)
    reports = {}
    for row, dataset in enumerate((rooms, chats)):
        segments = Segments(dataset)
        validation = select_rooms(segments, "validation")
        model, _ = load(checkpoint)
        other_head = model.head.weight[1 - row].clone()
        before = score(model, segments, validation)
        report = calibrate(checkpoint, dataset)
        after = score(load(checkpoint)[0], segments, validation)
        temperature = Temperature(report.temperature, report.shift)
        expected = temperature.apply(before.predicted)
        np.testing.assert_allclose(after.predicted, expected, atol=2e-3)
        exact = score(scale_head(model, temperature, row=row), segments, validation)
        np.testing.assert_array_equal(np.argsort(exact.predicted), np.argsort(before.predicted))
        assert load(checkpoint)[0].head.weight[1 - row].tolist() == other_head.tolist()
        assert report.segments == len(before.true)
        assert report.error_after == pytest.approx(calibration(expected, before.true).expected_error)
        reports[segments.info.target] = asdict(report)
        assert json.loads((checkpoint / CALIBRATION_FILE).read_text()) == reports
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
        with pytest.raises(CheckpointError, match=f"calibrated for {segments.info.target} already"):
            calibrate(checkpoint, dataset)
