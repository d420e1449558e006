"""Calibrate a checkpoint: `python -m train.calibrate --checkpoint DIR --dataset DIR`, once for each target.

A temperature is fitted on validation rooms and multiplied into the head. The order of predictions, and tau, stay the
same.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from scipy.optimize import minimize
from scipy.special import expit, logit

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import KuaiHL, load
from train.command import plain_errors
from train.dataset import Segments
from train.files import write_json
from train.metrics import calibration
from train.run_state import CALIBRATION_FILE
from train.scoring import check_encoders, score
from train.splits import select_rooms

_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Temperature:
    """A prediction s becomes sigmoid(logit(s) / temperature + shift) (Guo et al., 2017; Platt, 1999)."""

    temperature: float
    shift: float

    def apply(self, predicted: np.ndarray) -> np.ndarray:
        """Calibrate predictions (segments,)."""
        return expit(logit(np.clip(predicted, _EDGE, 1 - _EDGE)) / self.temperature + self.shift)


@dataclass(frozen=True, slots=True)
class Report:
    """A temperature, the segments it was estimated on, and their expected calibration error before and after."""

    temperature: float
    shift: float
    split: str
    segments: int
    error_before: float
    error_after: float


def estimate_temperature(predicted: np.ndarray, true: np.ndarray) -> Temperature:
    """Minimise the cross-entropy of predictions against soft labels, both (segments,)."""
    logits = logit(np.clip(predicted, _EDGE, 1 - _EDGE))

    def loss(values: np.ndarray) -> float:
        z = logits * values[0] + values[1]
        return float(np.mean(np.logaddexp(0, z) - true * z))

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    if slope <= 0:
        raise CheckpointError("The predictions of the checkpoint fall as the labels rise: they cannot be calibrated.")
    return Temperature(1 / float(slope), float(shift))


def calibrate(checkpoint: Path, dataset: Path, *, split: str = "validation") -> Report:
    """Calibrate the head of ``checkpoint`` for the dataset's target, in place.

    The report is added to calibration.json, by target.

    Raises
    ------
    CheckpointError
        The folder is not a checkpoint, has no head for the target or other encoders than the dataset, or is calibrated
        for the target already.
    LabelError
        The dataset cannot be read or has no rooms of the split.
    """
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    target = segments.info.target
    row = model.config.target_index(target)
    file = folder / CALIBRATION_FILE
    reports = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if target in reports:
        raise CheckpointError(f"{folder} is calibrated for {target} already: see {CALIBRATION_FILE}.")
    check_encoders(folder, model, segments.info)
    scores = score(model, segments, select_rooms(segments, split))
    temperature = estimate_temperature(scores.predicted, scores.true)
    before, after = (
        calibration(predicted, scores.true).expected_error
        for predicted in (scores.predicted, temperature.apply(scores.predicted))
    )
    report = Report(
        **asdict(temperature), split=split, segments=len(scores.true), error_before=before, error_after=after
    )
    part, old = (folder.with_name(f"{folder.name}.{suffix}") for suffix in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    scale_head(model, temperature, row=row).half().save_pretrained(part)
    write_json(part / CALIBRATION_FILE, {**reports, target: asdict(report)})
    folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old)
    return report


@torch.no_grad()
def scale_head(model: KuaiHL, temperature: Temperature, *, row: int = 0) -> KuaiHL:
    """Change a row of the head so that its predictions are calibrated."""
    model.head.weight[row] /= temperature.temperature
    model.head.bias[row] = model.head.bias[row] / temperature.temperature + temperature.shift
    return model


def main(checkpoint: Path, dataset: Path) -> None:
    """Calibrate the percentages of a checkpoint on validation rooms.

    Parameters
    ----------
    checkpoint
        Folder that train.fit wrote. It is changed.
    dataset
        The dataset that it was trained on, or one of them.
    """
    report = calibrate(checkpoint, dataset)
    print(
        f"temperature {report.temperature:.3f}, shift {report.shift:+.3f}: expected calibration error on "
        f"{report.segments:,} {report.split} segments {report.error_before:.4f} before, {report.error_after:.4f} after"
    )


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
