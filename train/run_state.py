"""What a training run keeps on disk: the state it goes on from, the best checkpoint, the curves. None is half there."""

import json
import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_origin

import torch
from torch.utils.tensorboard import SummaryWriter

from kuaihl.errors import LabelError
from kuaihl.model.hub import MODEL_FILE
from kuaihl.model.kuaihl import KuaiHL
from train.calibrate import CALIBRATION_FILE
from train.dataset import ENCODER_FILES, read_info
from train.hints import Learner

CHECKPOINT_FOLDER = "checkpoint"
STATE_FILE = "last.pt"
LOG_FILE = "fit.json"


@dataclass
class Progress:
    """Where a run is. ``best_tau`` is the mean of ``best_taus``, those of each target."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_tau: float = -math.inf
    best_epoch: int = 0
    best_taus: dict[str, float] = field(default_factory=dict)

    def end_epoch(self, tau: float, taus: dict[str, float]) -> bool:
        """Count an epoch with these validation taus by target, whose mean is ``tau``; whether it is the best."""
        self.epoch, self.step_in_epoch = self.epoch + 1, 0
        better = tau > self.best_tau
        if better:
            self.best_tau, self.best_epoch, self.best_taus = tau, self.epoch, taus
        return better


@dataclass(frozen=True, slots=True)
class Run:
    """What is being trained and, in ``out``, what is kept of it; ``settings`` are all that decides what it learns."""

    out: Path
    settings: dict[str, Any]
    learner: Learner
    optimizer: torch.optim.Optimizer

    @property
    def model(self) -> KuaiHL:
        """What the checkpoint is of."""
        return self.learner.model

    def resume(self) -> Progress:
        """Go on from the last state in ``out``, if there is one; LabelError where that has other settings."""
        self.out.mkdir(parents=True, exist_ok=True)
        file = self.out / STATE_FILE
        if not file.exists():
            return Progress()
        state = torch.load(file, weights_only=True, map_location="cpu")
        old, new = state["settings"], self.settings
        if changed := [name for name in {**new, **old} if name not in old or name not in new or old[name] != new[name]]:
            raise LabelError(
                f"{self.out} holds a run with other settings ({', '.join(changed)}): choose another --out."
            )
        self.model.load_state_dict(state["model"])
        self.learner.guesses.load_state_dict(state["guesses"])
        self.optimizer.load_state_dict(state["optimizer"])
        return Progress(**state["progress"])

    def save_state(self, progress: Progress) -> None:
        """Write what is needed to go on bit for bit. All randomness is keyed by the step, so there is none to keep."""
        state = {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "guesses": self.learner.guesses.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(progress),
        }
        part = self.out / f"{STATE_FILE}.part"
        torch.save(state, part)
        part.replace(self.out / STATE_FILE)

    def save_checkpoint(self, progress: Progress, *, datasets: Sequence[Path], command: str, windows: int) -> None:
        """Write ``out/checkpoint``: float16 weights, the visual encoder that made features, and how it was trained.

        An earlier one is replaced file by file, since a folder cannot be in one go: within a run only weights and log
        change, so what is there always loads, and is the old or the new. How the old one was calibrated is forgotten.
        """
        final, part = self.out / CHECKPOINT_FOLDER, self.out / f"{CHECKPOINT_FOLDER}.part"
        shutil.rmtree(part, ignore_errors=True)
        copy = KuaiHL(self.model.config)
        copy.load_state_dict(self.model.state_dict())
        copy.half().save_pretrained(part)
        infos = {dataset: read_info(dataset) for dataset in datasets}
        seeing = sorted(datasets, key=lambda dataset: infos[dataset].visual_encoder not in infos[dataset].encoders)
        for name in ENCODER_FILES:
            if file := next((file for dataset in seeing if (file := dataset / name).exists()), None):
                shutil.copyfile(file, part / name)
        log = {
            "command": command,
            "datasets": [asdict(info) for info in infos.values()],
            "windows": windows,
            "torch": torch.__version__,
            **asdict(progress),
        }
        (part / LOG_FILE).write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")
        if not final.exists():
            part.rename(final)
            return
        (final / CALIBRATION_FILE).unlink(missing_ok=True)
        for file in sorted(part.iterdir(), key=lambda file: file.name == MODEL_FILE):
            file.replace(final / file.name)
        part.rmdir()


class Curves:
    """TensorBoard curves; what an interrupted run drew after the step it goes on from is drawn again."""

    def __init__(self, folder: Path, *, after: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=after + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of the curves named."""
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def settings_of(config: Any, *, apart: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a dataclass, but for those named in ``apart``, as `Run` keeps and compares them."""
    return {name: _plain(value) for name, value in asdict(config).items() if name not in apart}


def command_of(config: Any) -> str:
    """The command that trains the same, with the names of folders alone, for the model card."""
    parts = ["python -m train.fit"]
    for option in fields(config):
        value, flag = getattr(config, option.name), f"--{option.name.replace('_', '-')}"
        if option.default is not MISSING and value == option.default:
            continue
        if option.type is bool:
            parts.append(flag if value else flag.replace("--", "--no-", 1))
            continue
        words = [shlex.quote(v.name if isinstance(v, Path) else str(v)) for v in _several(value)]
        appended = get_origin(option.type) is Annotated  # whose flag is repeated
        parts += [f"{flag} {word}" for word in words] if appended else [f"{flag} {' '.join(words)}"]
    return " ".join(parts)


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


def _plain(value: Any) -> Any:
    """What JSON and torch.load(weights_only=True) know."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
