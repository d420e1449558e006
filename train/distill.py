"""Train the compact Swin from an ImageNet teacher, on photos and on the simulator's drawings.

The teacher looks once at several views of every picture; the student then learns its pooled features (standardised)
and its class probabilities from the same views (Beyer et al., "A good teacher is patient and consistent", CVPR 2022),
small ones first, which is several times faster. Needs photos, in tar files or folders with one folder a class.
"""

import json
import logging
import shlex
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from safetensors.torch import load_file, save
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from kuaihl.devices import autocast
from kuaihl.encoders import VisualEncoder, build_swin
from kuaihl.errors import LabelError
from train.console import plain_errors
from train.photos import VIEW_SIZE, Pictures, Split, load_pictures, split_for_probe, views, whole
from train.teacher import Teacher

logger = logging.getLogger(__name__)

TEACHER_DIM, TEACHER_CLASSES = 1280, 1000
TEACHER_BATCH = 64
TEMPERATURE = 2.0
WARM_UP = 0.05
"""Share of the budget over which the learning rate rises."""
SIZES = ((0.7, 112), (0.9, 160), (1.0, VIEW_SIZE))
"""Side of the student's pictures until that share of the budget is spent."""
LOG_EVERY = 50


@dataclass(frozen=True)
class DistillConfig:
    """What to train, on what, and for how long."""

    images: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="TAR|DIR...")]
    """Photos: tar files or folders, one folder a class."""
    out: Path
    """Folder for visual.safetensors, distill.json and the state of the run; a run found there is resumed."""
    teacher: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    student: str = "swin_compact_224"
    minutes: float = 60.0
    """Wall-clock budget of the student, after the teacher is done; the learning rate follows it."""
    steps: int | None = None
    """Budget in steps, in place of minutes."""
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0
    drawings: int = 0
    """Frames of simulated training rooms to add to the photos."""
    variants: int = 4
    """Views of every picture."""
    init: Path | None = None
    """Start from these weights (.safetensors)."""
    checkpoint_minutes: float = 2.0
    threads: int = 2


@dataclass(frozen=True)
class Lessons:
    """What the teacher saw in each view, float16: features (views, 1280), logits (views, 1000).

    View i is variant ``variants[i]`` of picture ``pictures[i]``; mean and std (1280,) are those of the features.
    """

    pictures: np.ndarray
    variants: np.ndarray
    features: Tensor
    logits: Tensor
    mean: Tensor
    std: Tensor


class Student(nn.Module):
    """The Swin and two linear heads that speak the teacher's language; only the Swin is kept."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.swin = build_swin(name, strict_img_size=False)
        self.features = nn.Linear(self.swin.num_features, TEACHER_DIM)
        self.logits = nn.Linear(self.swin.num_features, TEACHER_CLASSES)
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (batch, 3, size, size) in [0, 1] -> guesses of the standardised features, and of the logits."""
        with autocast(pictures.device):
            pooled = self.swin((pictures - self.mean) / self.std)
            features, logits = self.features(pooled), self.logits(pooled)
        return features.float(), logits.float()


@dataclass
class Run:
    """A training run under way: all that its state on disk holds."""

    student: Student
    optimizer: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0
    losses: list[tuple[int, float, float]] = field(default_factory=list)
    """(step, feature loss, logit loss), means since the entry before."""

    def progress(self, config: DistillConfig) -> float:
        """Share of the budget that is spent."""
        return min(1.0, self.step / config.steps if config.steps else self.elapsed_s / (60 * config.minutes))

    def save(self, out: Path) -> None:
        """Write state.pt and visual.safetensors, each whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "losses": self.losses,
        }
        torch.save(state, out / "state.part")
        (out / "state.part").replace(out / "state.pt")
        swin = {name: value.half().contiguous() for name, value in self.student.swin.state_dict().items()}
        _write(out / "visual.safetensors", save(swin))

    def load(self, out: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(out / "state.pt", weights_only=True)
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s, self.losses = state["step"], state["elapsed_s"], state["losses"]


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier over frozen features, on photos that were never distilled."""

    classes: int
    train_photos: int
    test_photos: int
    teacher_accuracy: float
    student_accuracy: float


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def teach(config: DistillConfig, teacher: Teacher, pictures: Pictures, chosen: np.ndarray) -> Lessons:
    """Let the teacher look at every variant of every chosen picture, or read what it saw from ``config.out``.

    Raises
    ------
    LabelError
        The folder belongs to a run on other pictures.
    """
    parts = []
    for variant in range(config.variants):
        file = config.out / f"lessons-{variant}.safetensors"
        if not file.exists():
            logger.info("the teacher looks at %d pictures, variant %d of %d", len(chosen), variant, config.variants)
            _write(file, save(_look(config, teacher, pictures, chosen, variant=variant)))
        parts.append(load_file(file))
        if len(parts[-1]["features"]) != len(chosen):
            raise LabelError(f"{config.out} holds a run on other pictures; give another folder with --out")
    features = torch.cat([part["features"] for part in parts])
    std, mean = torch.std_mean(features.float(), dim=0)
    return Lessons(
        pictures=np.tile(chosen, config.variants),
        variants=np.repeat(np.arange(config.variants), len(chosen)),
        features=features,
        logits=torch.cat([part["logits"] for part in parts]),
        mean=mean,
        std=std.clamp(min=1e-3),
    )


def _look(
    config: DistillConfig, teacher: Teacher, pictures: Pictures, chosen: np.ndarray, *, variant: int
) -> dict[str, Tensor]:
    seen = []
    for start in range(0, len(chosen), TEACHER_BATCH):
        some = chosen[start : start + TEACHER_BATCH]
        seen.append(teacher(views(pictures, some, np.full(len(some), variant), seed=config.seed)))
    features, logits = (torch.cat(parts).half() for parts in zip(*seen, strict=True))
    return {"features": features, "logits": logits}


def begin(config: DistillConfig) -> Run:
    """Resume the run of ``config.out``, or begin one."""
    with torch.random.fork_rng(devices=[]):  # timm initialises from the global generator alone
        torch.manual_seed(config.seed)
        student = Student(config.student)
    if config.init is not None:
        student.swin.load_state_dict({name: value.float() for name, value in load_file(config.init).items()})
    groups = param_groups_weight_decay(student, config.weight_decay)
    run = Run(student, torch.optim.AdamW(groups, lr=config.lr))
    if (config.out / "state.pt").exists():
        run.load(config.out)
        logger.info("resumed at step %d, %.0f s", run.step, run.elapsed_s)
    return run


def learning_rate(progress: float) -> float:
    """Share of the full rate: linear warm-up, then a cosine to 0."""
    if progress < WARM_UP:
        return 0.02 + 0.98 * progress / WARM_UP
    return 0.5 * (1 + np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def take_step(run: Run, config: DistillConfig, pictures: Pictures, lessons: Lessons) -> tuple[float, float]:
    """Update once, on views that (seed, step) determine; returns the feature loss and the logit loss."""
    progress = run.progress(config)
    for group in run.optimizer.param_groups:
        group["lr"] = config.lr * learning_rate(progress)
    size = next(size for until, size in SIZES if progress <= until)
    rng = np.random.default_rng([config.seed, run.step])
    some = rng.choice(len(lessons.pictures), size=min(config.batch, len(lessons.pictures)), replace=False)
    seen = views(pictures, lessons.pictures[some], lessons.variants[some], seed=config.seed, size=size)
    features, logits = lessons.features[some].float(), lessons.logits[some].float()
    guess, guessed_logits = run.student(seen)
    feature_loss = F.mse_loss(guess, (features - lessons.mean) / lessons.std)
    logit_loss = TEMPERATURE**2 * F.kl_div(
        F.log_softmax(guessed_logits / TEMPERATURE, dim=1),
        F.log_softmax(logits / TEMPERATURE, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    run.optimizer.zero_grad()
    (feature_loss + logit_loss).backward()
    nn.utils.clip_grad_norm_(run.student.parameters(), 5.0)
    run.optimizer.step()
    run.step += 1
    return feature_loss.item(), logit_loss.item()


def train(run: Run, config: DistillConfig, pictures: Pictures, lessons: Lessons) -> None:
    """Spend what is left of the budget."""
    run.student.train()
    saved_s = run.elapsed_s
    began_s = time.monotonic() - run.elapsed_s
    recent: list[tuple[float, float]] = []
    while run.progress(config) < 1:
        recent.append(take_step(run, config, pictures, lessons))
        run.elapsed_s = time.monotonic() - began_s
        done = run.progress(config)
        if run.step % LOG_EVERY == 0 or done == 1:
            feature_loss, logit_loss = np.mean(recent, axis=0).tolist()
            recent.clear()
            run.losses.append((run.step, feature_loss, logit_loss))
            told = (run.step, 100 * done, run.elapsed_s, feature_loss, logit_loss)
            logger.info("step %d (%.1f %%, %.0f s): features %.4f, logits %.4f", *told)
        if run.elapsed_s - saved_s > 60 * config.checkpoint_minutes or done == 1:
            run.save(config.out)
            saved_s = run.elapsed_s


def probe(config: DistillConfig, teacher: Teacher, pictures: Pictures, split: Split) -> Probe:
    """Compare the teacher with the student as it was saved, on whole photos: standardised, logistic regression."""
    encoder = VisualEncoder(config.student, weights=config.out / "visual.safetensors", device="cpu")

    def by_teacher(photos: np.ndarray) -> np.ndarray:
        return teacher(torch.from_numpy(photos).permute(0, 3, 1, 2) / 255)[0].numpy()

    classes = np.array(pictures.classes)
    accuracy = []
    for look in (by_teacher, encoder.encode):
        features = [
            np.concatenate([look(whole(pictures, some)) for some in np.array_split(part, -(-len(part) // 32))])
            for part in (split.probe_train, split.probe_test)
        ]
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        classifier.fit(features[0].astype(np.float32), classes[split.probe_train])
        accuracy.append(float(classifier.score(features[1].astype(np.float32), classes[split.probe_test])))
    counts = len(set(classes[split.probe_train])), len(split.probe_train), len(split.probe_test)
    return Probe(*counts, teacher_accuracy=accuracy[0], student_accuracy=accuracy[1])


def distill(config: DistillConfig) -> None:
    """Train; write visual.safetensors (float16) and distill.json into ``config.out``.

    Raises
    ------
    LabelError
        No photos where they were said to be, or a folder of another run.
    """
    torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(config.images, drawings=config.drawings)
    split = split_for_probe(pictures.classes)
    chosen = np.concatenate([split.distil, np.arange(len(pictures.classes), len(pictures.squares))])
    logger.info("%d photos and %d drawings to distil from", len(split.distil), config.drawings)
    teacher = Teacher()
    lessons = teach(config, teacher, pictures, chosen)
    run = begin(config)
    train(run, config, pictures, lessons)
    # A probe needs two classes with photos to spare.
    compared = len(set(np.array(pictures.classes)[split.probe_test])) > 1
    report = {
        "command": shlex.join(
            ["python", "-m", "train.distill", *(Path(a).name if "/" in a else a for a in sys.argv[1:])]
        ),
        "photos": len(split.distil),
        "drawings": config.drawings,
        "variants": config.variants,
        "steps": run.step,
        "batch": min(config.batch, len(lessons.pictures)),
        "student_s": round(run.elapsed_s, 1),
        "losses": run.losses,
        "probe": asdict(probe(config, teacher, pictures, split)) if compared else None,
    }
    _write(config.out / "distill.json", (json.dumps(report, indent=1) + "\n").encode())
    logger.info("done: %s", report["probe"])


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = tyro.cli(DistillConfig, description=__doc__)
    with plain_errors():
        distill(config)


if __name__ == "__main__":
    main()
