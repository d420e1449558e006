"""How the weights move: AdamW, whose rate warms up and follows a cosine."""

import math

import torch
from torch import nn

from train.hints import Learner


def adamw(learner: Learner, *, rate: float, decay: float, word_decay: float) -> torch.optim.AdamW:
    """Weight decay for matrices only, as is usual: not for biases, norms and embeddings but that of words.

    Nor for what guesses hints.
    """
    decays: dict[float, list[nn.Parameter]] = {decay: [], word_decay: [], 0.0: [*learner.guesses.parameters()]}
    for name, parameter in learner.model.named_parameters():
        matrix = parameter.ndim > 1 and not name.startswith(("streamer", "token_kind"))
        decays[word_decay if name == "words.weight" else decay * matrix].append(parameter)
    groups = [{"params": some, "weight_decay": decay} for decay, some in decays.items() if some]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def set_rate(optimizer: torch.optim.Optimizer, *, peak: float, warmup: int, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to 0 after ``steps``: the rate of ``step``."""
    rate = peak * min((step + 1) / warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
