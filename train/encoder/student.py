"""The student of the distillation: the Swin with linear heads, and their losses."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kuaihl.devices import autocast
from kuaihl.features.vision import build_swin
from train.encoder.teacher import TEACHER_CLASSES, TEACHER_DIM, TeacherOutputs
from train.encoder.training_frames import SCENES, LabelledFrames

TEMPERATURE = 2.0


class Student(nn.Module):
    """The Swin and three linear heads: features and logits of the teacher, and content. Only the Swin is kept."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.swin = build_swin(name, strict_img_size=False)
        self.features = nn.Linear(self.swin.num_features, TEACHER_DIM)
        self.logits = nn.Linear(self.swin.num_features, TEACHER_CLASSES)
        self.content = nn.Linear(self.swin.num_features, SCENES + 2)
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict from pictures (batch, 3, size, size) in [0, 1].

        Returns
        -------
        The teacher's standardised features (batch, 1280) and logits (batch, 1000), and the content (batch, SCENES + 2):
        logits of the scene, intensity and gifts.
        """
        with autocast(pictures.device):
            pooled = self.swin((pictures - self.mean) / self.std)
            features, logits, content = self.features(pooled), self.logits(pooled), self.content(pooled)
        return features.float(), logits.float(), content.float()


def distillation_losses(
    features: Tensor, logits: Tensor, outputs: TeacherOutputs, views: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return the squared error of the features, and the KL divergence of the class probabilities."""
    teacher_features, teacher_logits = outputs.features[views].float(), outputs.logits[views].float()
    feature_loss = F.mse_loss(features, (teacher_features - outputs.mean) / outputs.std)
    logit_loss = TEMPERATURE**2 * F.kl_div(
        F.log_softmax(logits / TEMPERATURE, dim=1),
        F.log_softmax(teacher_logits / TEMPERATURE, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return feature_loss, logit_loss


def content_loss(content: Tensor, frames: LabelledFrames, indices: np.ndarray) -> Tensor:
    """Return the cross-entropy of the scene plus the unexplained shares of the variance of intensity and gifts."""
    loss = F.cross_entropy(content[:, :SCENES], frames.scene[indices])
    targets = frames.intensity[indices], frames.gifts[indices]
    for predicted, target, variance in zip(content[:, SCENES:].T, targets, frames.variances, strict=True):
        visible = ~target.isnan()
        if visible.any():
            loss = loss + F.mse_loss(predicted[visible], target[visible]) / variance
    return loss
