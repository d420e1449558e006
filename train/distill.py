"""Train the compact Swin from an ImageNet teacher, on photos and on frames of simulated rooms.

The teacher encodes several views of every picture once. The student learns its pooled features (standardised) and its
class probabilities from the same views (Beyer et al., "A good teacher is patient and consistent", CVPR 2022), small
ones first, which is several times faster. Views that blend two pictures keep it from memorising few photos.
"""

import json
import logging
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from kuaihl.features.vision import VisualEncoder
from train.command import command_line, plain_errors
from train.encoder.photos import PhotoSplit, Pictures, load_pictures, resize_pictures, sample_views, split_for_probe
from train.encoder.student import Student, distillation_losses
from train.encoder.teacher import Teacher, TeacherOutputs, run_teacher
from train.files import replacing, write_json

logger = logging.getLogger(__name__)

WEIGHTS_FILE, LOG_FILE, STATE_FILE = "visual.safetensors", "distill.json", "state.pt"
WARM_UP = 0.05
"""Share of the budget over which the learning rate rises."""
SIZES = ((0.4, 64), (0.7, 96), (1.0, 128))
"""Side of the student's pictures until that share of the budget is spent, unless `DistillConfig.side` is given."""
LOG_EVERY = 50
SAVE_EVERY_S = 120.0
LOSSES = ("features", "logits")


@dataclass(frozen=True)
class DistillConfig:
    """What to train, on what, and for how long."""

    images: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="TAR|DIR...")]
    """Photos: tar files or folders, one folder a class."""
    out: Path
    """Folder for visual.safetensors, distill.json and the state. An interrupted run continues."""
    student: str = "swin_compact_128"
    """Name of the Swin."""
    minutes: float = 60.0
    """Time to train the student, after the teacher is done; the learning rate follows it."""
    steps: int | None = None
    """Steps to train the student, in place of minutes."""
    side: int | None = None
    """Side of the student's pictures; by default small ones first."""
    batch_size: int = 64
    """Views in a step."""
    learning_rate: float = 3e-3
    """Peak learning rate of Muon and AdamW."""
    weight_decay: float = 0.05
    """Weight decay of matrices."""
    seed: int = 0
    """Seed of all random numbers."""
    drawings: int = 0
    """Frames of simulated training rooms to add to the photos."""
    scenes: Path | None = None
    """Photos that half of their shots show, as train.prepare rooms takes them: one of ``images``."""
    variants: int = 4
    """Views of every picture alone."""
    blends: int = 0
    """Views of every picture blended with another."""
    init: Path | None = None
    """Start from these weights (.safetensors)."""
    threads: int = 2
    """Threads of the processor."""


@dataclass
class Run:
    """A training run: all that its state on disk has. ``losses`` are step and means since the entry before."""

    student: Student
    optimizers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    elapsed_s: float = 0.0
    losses: list[tuple[float, ...]] = field(default_factory=list)

    def progress(self, config: DistillConfig) -> float:
        """Return the share of the budget that is spent."""
        return min(1.0, self.step / config.steps if config.steps else self.elapsed_s / (60 * config.minutes))

    def save(self, out: Path) -> None:
        """Write the state and the weights of the Swin."""
        state = {
            "student": self.student.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "losses": self.losses,
        }
        with replacing(out / STATE_FILE) as file:
            torch.save(state, file)
        write_weights(self.student.swin.state_dict(), out / WEIGHTS_FILE)

    def load(self, out: Path) -> None:
        """Load the state."""
        state = torch.load(out / STATE_FILE, weights_only=True)
        self.student.load_state_dict(state["student"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s, self.losses = state["step"], state["elapsed_s"], state["losses"]


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier over frozen features, on photos that were not used in distillation."""

    classes: int
    train_photos: int
    test_photos: int
    teacher_accuracy: float
    student_accuracy: float


def start(config: DistillConfig) -> Run:
    """Start a run, or resume that of ``config.out``."""
    with torch.random.fork_rng(devices=[]):  # timm initialises from the global generator
        torch.manual_seed(config.seed)
        student = Student(config.student)
    if config.init is not None:
        student.swin.load_state_dict({name: value.float() for name, value in load_file(config.init).items()})
    run = Run(student, _build_optimizers(student, config))
    if (config.out / STATE_FILE).exists():
        run.load(config.out)
        logger.info("resumed at step %d, %.0f s", run.step, run.elapsed_s)
    return run


def _build_optimizers(student: Student, config: DistillConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Create Muon (Jordan et al., 2024) for matrices in the blocks, and AdamW for the rest."""
    inner = {
        name: parameter
        for name, parameter in student.named_parameters()
        if name.startswith("swin.layers.") and parameter.ndim == 2 and "relative_position" not in name
    }
    decay = config.weight_decay
    muon = torch.optim.Muon(inner.values(), lr=config.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    groups = param_groups_weight_decay(student, decay, no_weight_decay_list=list(inner))
    outer = [{**g, "params": [p for p in g["params"] if not any(p is q for q in inner.values())]} for g in groups]
    return muon, torch.optim.AdamW(outer, lr=config.learning_rate)


def learning_rate(progress: float) -> float:
    """Return the share of the peak learning rate: linear warm-up, then a cosine to 0."""
    if progress < WARM_UP:
        return 0.02 + 0.98 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def take_step(run: Run, config: DistillConfig, pictures: Pictures, outputs: TeacherOutputs) -> tuple[float, ...]:
    """Take one step, on views that depend on seed and step only; return the losses of features and logits."""
    progress = run.progress(config)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate(progress)
    size = config.side or next(size for until, size in SIZES if progress <= until)
    rng = np.random.default_rng([config.seed, run.step])
    rows = rng.choice(len(outputs.pictures), size=min(config.batch_size, len(outputs.pictures)), replace=False)
    keys = outputs.pictures[rows], outputs.variants[rows]
    batch = sample_views(pictures, *keys, others=outputs.others[rows], seed=config.seed, size=size)
    losses = distillation_losses(*run.student(batch), outputs, rows)
    run.student.zero_grad()
    sum(losses).backward()
    nn.utils.clip_grad_norm_(run.student.parameters(), 5.0)
    for optimizer in run.optimizers:
        optimizer.step()
    run.step += 1
    return tuple(loss.item() for loss in losses)


def train(run: Run, config: DistillConfig, pictures: Pictures, outputs: TeacherOutputs) -> None:
    """Spend the rest of the budget."""
    run.student.train()
    saved_s = run.elapsed_s
    start_s = time.monotonic() - run.elapsed_s
    recent: list[tuple[float, ...]] = []
    while run.progress(config) < 1:
        recent.append(take_step(run, config, pictures, outputs))
        run.elapsed_s = time.monotonic() - start_s
        progress = run.progress(config)
        if run.step % LOG_EVERY == 0 or progress == 1:
            losses = np.mean(recent, axis=0).tolist()
            recent.clear()
            run.losses.append((run.step, *losses))
            values = ", ".join(f"{name} {loss:.4f}" for name, loss in zip(LOSSES, losses, strict=True))
            logger.info("step %d (%.1f %%, %.0f s): %s", run.step, 100 * progress, run.elapsed_s, values)
        if run.elapsed_s - saved_s > SAVE_EVERY_S or progress == 1:
            run.save(config.out)
            saved_s = run.elapsed_s


def write_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write the weights of a Swin in float16."""
    with replacing(path) as file:
        save_file({name: value.half().contiguous() for name, value in weights.items()}, file)


def probe(config: DistillConfig, teacher: Teacher, pictures: Pictures, split: PhotoSplit) -> Probe:
    """Compare the teacher with the saved student on whole photos: logistic regression on standardised features."""
    encoder = VisualEncoder(config.student, weights=config.out / WEIGHTS_FILE, device="cpu")

    def encode_by_teacher(photos: np.ndarray) -> np.ndarray:
        return teacher(torch.from_numpy(photos).permute(0, 3, 1, 2) / 255)[0].numpy()

    classes = np.array(pictures.classes)
    accuracy = []
    for encode in (encode_by_teacher, encoder.encode):
        train_features, test_features = (
            np.concatenate(
                [encode(resize_pictures(pictures, part)) for part in np.array_split(rows, -(-len(rows) // 32))]
            )
            for rows in (split.probe_train, split.probe_test)
        )
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        classifier.fit(train_features.astype(np.float32), classes[split.probe_train])
        accuracy.append(float(classifier.score(test_features.astype(np.float32), classes[split.probe_test])))
    counts = len(set(classes[split.probe_train])), len(split.probe_train), len(split.probe_test)
    return Probe(*counts, teacher_accuracy=accuracy[0], student_accuracy=accuracy[1])


def distill(config: DistillConfig) -> None:
    """Train; write visual.safetensors (float16) and distill.json into ``config.out``.

    Raises
    ------
    LabelError
        There are no photos, or the folder has another run.
    """
    torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(config.images, drawings=config.drawings, scenes=config.scenes)
    split = split_for_probe(pictures.names)
    chosen = np.concatenate([split.distil, np.arange(len(pictures.names), len(pictures.squares))])
    logger.info("%d photos and %d drawings to distil from", len(split.distil), config.drawings)
    teacher = Teacher()
    variants, blends = config.variants, config.blends
    outputs = run_teacher(teacher, pictures, chosen, out=config.out, variants=variants, blends=blends, seed=config.seed)
    run = start(config)
    train(run, config, pictures, outputs)
    # A probe needs two classes.
    compared = len(set(np.array(pictures.classes)[split.probe_test])) > 1
    report = {
        "command": command_line("python -m train.distill", config),
        "before": _read_earlier(config.init),
        "photos": len(split.distil),
        **{name: getattr(config, name) for name in ("drawings", "variants", "blends", "side")},
        "steps": run.step,
        "batch_size": min(config.batch_size, len(outputs.pictures)),
        "student_s": round(run.elapsed_s, 1),
        "losses": run.losses,
        "probe": asdict(probe(config, teacher, pictures, split)) if compared else None,
    }
    write_json(config.out / LOG_FILE, report)
    logger.info("done: %s", report["probe"])


def _read_earlier(init: Path | None) -> dict[str, object] | None:
    """Return command, steps, seconds and probe of the distillation of the weights that this one started from."""
    if init is None or not (log := init.with_name(LOG_FILE)).exists():
        return None
    earlier = json.loads(log.read_text(encoding="utf-8"))
    return {name: earlier.get(name) for name in ("command", "before", "steps", "student_s", "probe")}


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = tyro.cli(DistillConfig, description=__doc__)
    with plain_errors():
        distill(config)


if __name__ == "__main__":
    main()
