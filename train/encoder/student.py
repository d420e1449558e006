"""The student of the distillation: the Swin, heads that speak of what it sees, and the losses of what they say."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kuaihl.devices import autocast
from kuaihl.features.vision import build_swin
from train.encoder.teacher import TEACHER_CLASSES, TEACHER_DIM, Lessons
from train.encoder.training_frames import SCENES, Drawings

TEMPERATURE = 2.0


class Student(nn.Module):
    """The Swin and linear heads: two that speak the teacher's language, one that tells what a drawing shows.

    Only the Swin is kept.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.swin = build_swin(name, strict_img_size=False)
        self.features = nn.Linear(self.swin.num_features, TEACHER_DIM)
        self.logits = nn.Linear(self.swin.num_features, TEACHER_CLASSES)
        self.shown = nn.Linear(self.swin.num_features, SCENES + 2)
        cfg = self.swin.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at pictures (batch, 3, size, size) in [0, 1].

        Returns
        -------
        Guesses of the teacher's standardised features (batch, 1280) and logits (batch, 1000), and of what is shown
        (batch, SCENES + 2): the scene's logits, then intensity and gifts as `Drawings` has them.
        """
        with autocast(pictures.device):
            pooled = self.swin((pictures - self.mean) / self.std)
            guesses = self.features(pooled), self.logits(pooled), self.shown(pooled)
        features, logits, shown = (guess.float() for guess in guesses)
        return features, logits, shown


def lesson_losses(features: Tensor, logits: Tensor, lessons: Lessons, views: np.ndarray) -> tuple[Tensor, Tensor]:
    """Squared error of the features, and divergence of the class probabilities, from what the teacher saw in views."""
    truth, wanted = lessons.features[views].float(), lessons.logits[views].float()
    feature_loss = F.mse_loss(features, (truth - lessons.mean) / lessons.std)
    logit_loss = TEMPERATURE**2 * F.kl_div(
        F.log_softmax(logits / TEMPERATURE, dim=1),
        F.log_softmax(wanted / TEMPERATURE, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return feature_loss, logit_loss


def telling_loss(shown: Tensor, drawings: Drawings, drawn: np.ndarray) -> Tensor:
    """Cross-entropy of the scene, and the shares of the variance of intensity and of gifts that are not explained."""
    loss = F.cross_entropy(shown[:, :SCENES], drawings.scene[drawn])
    truths = drawings.intensity[drawn], drawings.gifts[drawn]
    for guess, truth, variance in zip(shown[:, SCENES:].T, truths, drawings.variances, strict=True):
        there = ~truth.isnan()
        if there.any():
            loss = loss + F.mse_loss(guess[there], truth[there]) / variance
    return loss
