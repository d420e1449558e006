"""What a training run keeps on disk: the state to resume from, the best checkpoint, and the curves."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.tensorboard import SummaryWriter

from kuaihl.errors import LabelError
from kuaihl.model.hub import MODEL_FILE
from kuaihl.model.kuaihl import KuaiHL
from train.dataset import copy_encoder, read_info
from train.files import replacing, write_json

CHECKPOINT_FOLDER = "checkpoint"
CALIBRATION_FILE = "calibration.json"
STATE_FILE = "last.pt"
LOG_FILE = "fit.json"


@dataclass
class Progress:
    """How far a run is. ``best_tau`` is the mean of ``best_taus``, those of each target."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_tau: float = -math.inf
    best_epoch: int = 0
    best_taus: dict[str, float] = field(default_factory=dict)

    def end_epoch(self, taus: dict[str, float]) -> bool:
        """Count an epoch with these validation taus by target; return whether their mean is the best so far."""
        self.epoch, self.step_in_epoch = self.epoch + 1, 0
        tau = sum(taus.values()) / len(taus)
        is_best = tau > self.best_tau
        if is_best:
            self.best_tau, self.best_epoch, self.best_taus = tau, self.epoch, taus
        return is_best


@dataclass(frozen=True, slots=True)
class Run:
    """A training run with its folder ``out``; ``settings`` are all that determines its result."""

    out: Path
    settings: dict[str, Any]
    model: KuaiHL
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler

    def _parts(self) -> dict[str, Any]:
        """Return what has a state of its own."""
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def resume(self) -> Progress:
        """Load the last state in ``out``, if there is one; LabelError if it has other settings."""
        self.out.mkdir(parents=True, exist_ok=True)
        file = self.out / STATE_FILE
        if not file.exists():
            return Progress()
        state = torch.load(file, weights_only=True, map_location="cpu")
        old, new = state["settings"], self.settings
        if changed := [name for name in {**new, **old} if name not in old or name not in new or old[name] != new[name]]:
            raise LabelError(f"{self.out} has a run with other settings ({', '.join(changed)}). Choose another --out.")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        return Progress(**state["progress"])

    def save_state(self, progress: Progress) -> None:
        """Write what is needed to resume bit for bit. Random numbers depend on the step, so none are kept."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with replacing(self.out / STATE_FILE) as file:
            torch.save({**state, "settings": self.settings, "progress": asdict(progress)}, file)

    def save_checkpoint(self, progress: Progress, *, datasets: Sequence[Path], command: str, windows: int) -> None:
        """Write ``out/checkpoint``: float16 weights, the visual encoder of the features, and the training log.

        An earlier checkpoint is replaced file by file, the weights last. Within a run only weights and log change, so
        that the folder can be loaded at any time. Its calibration is removed.
        """
        final, part = self.out / CHECKPOINT_FOLDER, self.out / f"{CHECKPOINT_FOLDER}.part"
        shutil.rmtree(part, ignore_errors=True)
        copy = KuaiHL(self.model.config)
        copy.load_state_dict(self.model.state_dict())
        copy.half().save_pretrained(part)
        infos = {dataset: read_info(dataset) for dataset in datasets}
        # The encoder is copied last from a dataset that used it.
        for dataset in sorted(datasets, key=lambda dataset: infos[dataset].visual_encoder in infos[dataset].encoders):
            copy_encoder(dataset, part)
        log = {
            "command": command,
            "datasets": [asdict(info) for info in infos.values()],
            "windows": windows,
            "torch": torch.__version__,
            **asdict(progress),
        }
        write_json(part / LOG_FILE, log)
        if not final.exists():
            part.rename(final)
            return
        (final / CALIBRATION_FILE).unlink(missing_ok=True)
        for file in sorted(part.iterdir(), key=lambda file: file.name == MODEL_FILE):
            file.replace(final / file.name)
        part.rmdir()


class Curves:
    """TensorBoard curves. Points after the step that a run resumes from are dropped."""

    def __init__(self, folder: Path, *, after: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=after + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def settings_of(config: Any, *, ignored: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON has them, but those ``ignored``."""
    return {
        name: value
        for name, value in json.loads(json.dumps(asdict(config), default=str)).items()
        if name not in ignored
    }
