"""Make a checkpoint's percentages mean what they say: a temperature, fitted on validation rooms, folded into its head.

Order is not changed, so tau is not. Run as `python -m train.calibrate --checkpoint DIR --dataset DIR`, once for each
target that the checkpoint predicts, with the dataset of that.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from scipy.optimize import minimize
from scipy.special import expit, logit

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import KuaiHL, load
from train.command import plain_errors
from train.dataset import Segments
from train.evaluate import check_encoders, rooms_of, score
from train.metrics import calibration

CALIBRATION_FILE = "calibration.json"
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Temperature:
    """A prediction s becomes sigmoid(logit(s) / temperature + shift) (Guo et al., 2017; Platt, 1999)."""

    temperature: float
    shift: float

    def apply(self, lvtr: np.ndarray) -> np.ndarray:
        """Calibrate predictions (segments,)."""
        return expit(logit(np.clip(lvtr, _EDGE, 1 - _EDGE)) / self.temperature + self.shift)


@dataclass(frozen=True, slots=True)
class Report:
    """What was fitted on which segments, and the expected calibration error before and after it, on the same ones."""

    temperature: float
    shift: float
    split: str
    segments: int
    error_before: float
    error_after: float


def fit_temperature(predicted: np.ndarray, true: np.ndarray) -> Temperature:
    """Minimise the cross-entropy of predictions against soft labels, both (segments,)."""
    scores = logit(np.clip(predicted, _EDGE, 1 - _EDGE))

    def loss(values: np.ndarray) -> float:
        z = scores * values[0] + values[1]
        return float(np.mean(np.logaddexp(0, z) - true * z))

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="BFGS").x
    if slope <= 0:
        raise CheckpointError("The checkpoint's predictions fall where the labels rise: there is nothing to calibrate.")
    return Temperature(1 / float(slope), float(shift))


def calibrate(checkpoint: Path, dataset: Path, *, split: str = "validation") -> Report:
    """Fit a temperature and fold it into the head of ``checkpoint`` for the dataset's target, in place.

    calibration.json has the report of each head that was calibrated, by target.

    Raises
    ------
    CheckpointError, LabelError
        The folder is no checkpoint, has no head for the target or is calibrated already, or has not the dataset's
        encoders; no rooms of the split.
    """
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    target = segments.info.target
    row = model.config.target_index(target)
    file = folder / CALIBRATION_FILE
    reports = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if target in reports:
        raise CheckpointError(f"{folder} is calibrated already for {target}: {CALIBRATION_FILE} says how.")
    check_encoders(folder, model, segments.info)
    scores = score(model, segments, rooms_of(segments, split))
    found = fit_temperature(scores.predicted, scores.true)
    before, after = (
        calibration(predicted, scores.true).expected_error
        for predicted in (scores.predicted, found.apply(scores.predicted))
    )
    report = Report(**asdict(found), split=split, segments=len(scores.true), error_before=before, error_after=after)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    fold(model, found, target=row).half().save_pretrained(part)
    reports[target] = asdict(report)
    (part / CALIBRATION_FILE).write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    old = folder.with_name(f"{folder.name}.old")
    folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old)
    return report


@torch.no_grad()
def fold(model: KuaiHL, found: Temperature, *, target: int = 0) -> KuaiHL:
    """Change a row of the head of a model so that it gives calibrated predictions."""
    model.head.weight[target] /= found.temperature
    model.head.bias[target] = model.head.bias[target] / found.temperature + found.shift
    return model


def main(
    checkpoint: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    dataset: Annotated[Path, tyro.conf.arg(metavar="DIR")],
) -> None:
    """Fit a temperature on validation rooms and fold it into a checkpoint.

    Parameters
    ----------
    checkpoint
        Folder that train.fit wrote; it is changed.
    dataset
        The dataset that it was trained on, or one of them.
    """
    with plain_errors():
        found = calibrate(checkpoint, dataset)
        print(
            f"temperature {found.temperature:.3f}, shift {found.shift:+.3f}: expected calibration error on "
            f"{found.segments:,} {found.split} segments {found.error_before:.4f} before, {found.error_after:.4f} after"
        )


if __name__ == "__main__":
    tyro.cli(main)
