"""Train the compact Swin from an ImageNet teacher, on photos and on the simulator's drawings.

The teacher looks once at several views of every picture; the student then learns its pooled features (standardised)
and its class probabilities from the same views (Beyer et al., "A good teacher is patient and consistent", CVPR 2022),
small ones first, which is several times faster. Views of two pictures blended are more pictures than there are: with
few photos they keep the student from learning those by heart. From whole drawings it can learn, beside, to tell what
they show. Needs photos, in tar files or folders with one folder a class.
"""

import json
import logging
import math
import shlex
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from safetensors.torch import load_file, save
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from kuaihl.errors import LabelError
from kuaihl.features.vision import VisualEncoder
from train.command import plain_errors
from train.encoder.photos import Pictures, Split, load_pictures, split_for_probe, views, whole
from train.encoder.student import Student, lesson_losses, telling_loss
from train.encoder.teacher import Lessons, Teacher, teach, write
from train.encoder.training_frames import Drawings, draw_rooms

logger = logging.getLogger(__name__)

WARM_UP = 0.05
"""Share of the budget over which the learning rate rises."""
SIZES = ((0.4, 64), (0.7, 96), (1.0, 128))
"""Side of the student's pictures until that share of the budget is spent, unless `DistillConfig.side` is given."""
LOG_EVERY = 50


@dataclass(frozen=True)
class DistillConfig:
    """What to train, on what, and for how long."""

    images: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="TAR|DIR...")]
    """Photos: tar files or folders, one folder a class."""
    out: Path
    """Folder for visual.safetensors, distill.json and the state of the run; a run found there is resumed."""
    teacher: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    student: str = "swin_compact_128"
    minutes: float = 60.0
    """Wall-clock budget of the student, after the teacher is done; the learning rate follows it."""
    steps: int | None = None
    """Budget in steps, in place of minutes."""
    side: int | None = None
    """Side of the student's pictures from the first step to the last; small ones first if not given."""
    batch: int = 64
    lr: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0
    drawings: int = 0
    """Frames of simulated training rooms to add to the photos."""
    scenes: Path | None = None
    """Photos that half of those rooms show, as the simulator's --scenes: one of ``images``."""
    variants: int = 4
    """Views of every picture by itself."""
    blends: int = 0
    """Views of every picture blended with another."""
    told: int = 0
    """Whole frames of simulated training rooms to learn from what they show: scene, intensity, gifts. In every step as
    many as views."""
    init: Path | None = None
    """Start from these weights (.safetensors)."""
    keep: float = 0.0
    """Share of the weights of ``init`` that is mixed in again in the end, so that little of what they knew is lost
    (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022)."""
    checkpoint_minutes: float = 2.0
    threads: int = 2


@dataclass
class Run:
    """A training run under way: all that its state on disk holds."""

    student: Student
    optimizers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    elapsed_s: float = 0.0
    losses: list[tuple[float, ...]] = field(default_factory=list)
    """Step, then the losses of `take_step`, means since the entry before."""

    def progress(self, config: DistillConfig) -> float:
        """Share of the budget that is spent."""
        return min(1.0, self.step / config.steps if config.steps else self.elapsed_s / (60 * config.minutes))

    def save(self, out: Path) -> None:
        """Write state.pt and visual.safetensors, each whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "losses": self.losses,
        }
        torch.save(state, out / "state.part")
        (out / "state.part").replace(out / "state.pt")
        write_weights(self.student.swin.state_dict(), out / "visual.safetensors")

    def load(self, out: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(out / "state.pt", weights_only=True)
        self.student.load_state_dict(state["student"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s, self.losses = state["step"], state["elapsed_s"], state["losses"]


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier over frozen features, on photos that were never distilled."""

    classes: int
    train_photos: int
    test_photos: int
    teacher_accuracy: float
    student_accuracy: float


def begin(config: DistillConfig) -> Run:
    """Resume the run of ``config.out``, or begin one."""
    with torch.random.fork_rng(devices=[]):  # timm initialises from the global generator alone
        torch.manual_seed(config.seed)
        student = Student(config.student)
    if config.init is not None:
        student.swin.load_state_dict({name: value.float() for name, value in load_file(config.init).items()})
    run = Run(student, _optimizers(student, config))
    if (config.out / "state.pt").exists():
        run.load(config.out)
        logger.info("resumed at step %d, %.0f s", run.step, run.elapsed_s)
    return run


def _optimizers(student: Student, config: DistillConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al., 2024) for matrices in the blocks, which it trains in far fewer steps; AdamW for the rest."""
    inner = {
        name: parameter
        for name, parameter in student.named_parameters()
        if name.startswith("swin.layers.") and parameter.ndim == 2 and "relative_position" not in name
    }
    muon = torch.optim.Muon(
        inner.values(), lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    groups = param_groups_weight_decay(student, config.weight_decay, no_weight_decay_list=list(inner))
    outer = [{**g, "params": [p for p in g["params"] if not any(p is q for q in inner.values())]} for g in groups]
    return muon, torch.optim.AdamW(outer, lr=config.lr)


def learning_rate(progress: float) -> float:
    """Share of the full rate: linear warm-up, then a cosine to 0."""
    if progress < WARM_UP:
        return 0.02 + 0.98 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))  # no NumPy scalar: states hold it


def take_step(
    run: Run, config: DistillConfig, pictures: Pictures, lessons: Lessons, drawings: Drawings | None = None
) -> tuple[float, ...]:
    """Update once, on views that (seed, step) determine.

    Returns
    -------
    The loss of the features and that of the logits; with ``drawings``, also that of what they show.
    """
    progress = run.progress(config)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * learning_rate(progress)
    size = config.side or next(size for until, size in SIZES if progress <= until)
    rng = np.random.default_rng([config.seed, run.step])
    some = rng.choice(len(lessons.pictures), size=min(config.batch, len(lessons.pictures)), replace=False)
    named = lessons.pictures[some], lessons.variants[some]
    seen = views(pictures, *named, others=lessons.others[some], seed=config.seed, size=size)
    if drawings:
        drawn = rng.choice(len(drawings), size=min(config.batch, len(drawings)), replace=False)
        seen = torch.cat([seen, drawings.whole(drawn, size=size)])
    features, logits, shown = run.student(seen)
    losses = lesson_losses(features[: len(some)], logits[: len(some)], lessons, some)
    if drawings:
        losses = (*losses, telling_loss(shown[len(some) :], drawings, drawn))
    run.student.zero_grad()
    sum(losses).backward()
    nn.utils.clip_grad_norm_(run.student.parameters(), 5.0)
    for optimizer in run.optimizers:
        optimizer.step()
    run.step += 1
    return tuple(loss.item() for loss in losses)


def train(
    run: Run, config: DistillConfig, pictures: Pictures, lessons: Lessons, drawings: Drawings | None = None
) -> None:
    """Spend what is left of the budget."""
    run.student.train()
    saved_s = run.elapsed_s
    began_s = time.monotonic() - run.elapsed_s
    recent: list[tuple[float, ...]] = []
    while run.progress(config) < 1:
        recent.append(take_step(run, config, pictures, lessons, drawings))
        run.elapsed_s = time.monotonic() - began_s
        done = run.progress(config)
        if run.step % LOG_EVERY == 0 or done == 1:
            losses = np.mean(recent, axis=0).tolist()
            recent.clear()
            run.losses.append((run.step, *losses))
            told = ", ".join(
                f"{name} {loss:.4f}" for name, loss in zip(("features", "logits", "shown"), losses, strict=False)
            )
            logger.info("step %d (%.1f %%, %.0f s): %s", run.step, 100 * done, run.elapsed_s, told)
        if run.elapsed_s - saved_s > 60 * config.checkpoint_minutes or done == 1:
            run.save(config.out)
            saved_s = run.elapsed_s


def write_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write a Swin's weights in float16."""
    write(path, save({name: value.half().contiguous() for name, value in weights.items()}))


def mixed(new: dict[str, Tensor], old: dict[str, Tensor], *, keep: float) -> dict[str, Tensor]:
    """Go from ``new`` weights back towards ``old`` ones, by the share ``keep`` of the way."""
    return {name: value.lerp(old[name].to(value.dtype), keep) for name, value in new.items()}


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
        No photos where they were said to be, a folder of another run, or nothing to keep a share of.
    """
    if config.keep and (config.init is None or not 0 < config.keep < 1):
        raise LabelError(f"--keep {config.keep:g}: a share between 0 and 1 of the weights that --init names")
    torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(config.images, drawings=config.drawings, scenes=config.scenes)
    split = split_for_probe(pictures.names)
    chosen = np.concatenate([split.distil, np.arange(len(pictures.names), len(pictures.squares))])
    logger.info("%d photos and %d drawings to distil from", len(split.distil), config.drawings)
    teacher = Teacher()
    variants, blends = config.variants, config.blends
    lessons = teach(teacher, pictures, chosen, out=config.out, variants=variants, blends=blends, seed=config.seed)
    run, drawings = begin(config), None
    if config.told and run.progress(config) < 1:
        held = frozenset(pictures.names[i] for i in split.probe_test)
        asked = {"scenes": config.scenes, "without": held, "workers": config.threads}
        drawings = draw_rooms(config.told, side=config.side or SIZES[-1][1], **asked)
        logger.info("%d drawings that are told about", len(drawings))
    train(run, config, pictures, lessons, drawings)
    if config.keep:
        weights = mixed(run.student.swin.state_dict(), load_file(config.init), keep=config.keep)
        write_weights(weights, config.out / "visual.safetensors")
    # A probe needs two classes with photos to spare.
    compared = len(set(np.array(pictures.classes)[split.probe_test])) > 1
    report = {
        "command": shlex.join(["python", "-m", "train.distill", *map(_named, sys.argv[1:])]),
        "before": _before(config.init),
        "photos": len(split.distil),
        "drawings": config.drawings,
        "variants": config.variants,
        "blends": config.blends,
        "told": config.told,
        "keep": config.keep,
        "side": config.side,
        "steps": run.step,
        "batch": min(config.batch, len(lessons.pictures)),
        "student_s": round(run.elapsed_s, 1),
        "losses": run.losses,
        "probe": asdict(probe(config, teacher, pictures, split)) if compared else None,
    }
    write(config.out / "distill.json", (json.dumps(report, indent=1) + "\n").encode())
    logger.info("done: %s", report["probe"])


def _named(argument: str) -> str:
    """An argument without the folders of this machine, but for the one that tells whose weights a file holds."""
    path = Path(argument)
    if "/" not in argument:
        return argument
    return f"{path.parent.name}/{path.name}" if path.suffix == ".safetensors" else path.name


def _before(init: Path | None) -> dict[str, object] | None:
    """What is known of the distillation that made the weights this one started from: command, steps and seconds."""
    if init is None or not (log := init.with_name("distill.json")).exists():
        return None
    earlier = json.loads(log.read_text(encoding="utf-8"))
    return {name: earlier.get(name) for name in ("command", "before", "steps", "student_s")}


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = tyro.cli(DistillConfig, description=__doc__)
    with plain_errors():
        distill(config)


if __name__ == "__main__":
    main()
