"""The student of the distillation: the Swin with linear heads, and their losses."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kuaihl.devices import autocast
from kuaihl.features.vision import build_swin
from train.encoder.teacher import TEACHER_CLASSES, TEACHER_DIM, TeacherOutputs

TEMPERATURE = 2.0


class Student(nn.Module):
    """The Swin and two linear heads: features and logits of the teacher. Only the Swin is kept."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.swin = build_swin(name, strict_img_size=False)
        self.features = nn.Linear(self.swin.num_features, TEACHER_DIM)
        self.logits = nn.Linear(self.swin.num_features, TEACHER_CLASSES)
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from pictures (batch, 3, size, size) in [0, 1].

        Returns
        -------
        The teacher's standardised features (batch, 1280) and logits (batch, 1000).
        """
        with autocast(pictures.device):
            pooled = self.swin((pictures - self.mean) / self.std)
            features, logits = self.features(pooled), self.logits(pooled)
        return features.float(), logits.float()


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
