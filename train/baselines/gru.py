"""A GRU over the inputs of KuaiHL: features and activity of the past segments, and the streamer."""

import logging
import math
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import KuaiHLConfig, Target
from kuaihl.model.inputs import ModelInputs
from kuaihl.model.kuaihl import WORD_DIM, WordBag
from train.baselines.task import Task
from train.dataset import Room, Segments, Windows

logger = logging.getLogger(__name__)

_WINDOWS_PER_BATCH = 1024


class GRU(nn.Module):
    """A linear layer over the inputs of a segment, a GRU over the window, and a sigmoid head.

    Missing inputs are zero, with flags that say so. ``activity`` (segments, columns) of the training rooms gives the
    scale of the activity.
    """

    def __init__(self, config: KuaiHLConfig, activity: np.ndarray, *, dim: int) -> None:
        super().__init__()
        self.window = config.window
        self.streamers = config.streamers
        self.norm_pictures, self.norm_text = nn.LayerNorm(config.picture_dim), nn.LayerNorm(config.text_dim)
        self.norm_speech_text = nn.LayerNorm(config.text_dim)
        self.register_buffer("mean", torch.from_numpy(activity.mean(0)))
        self.register_buffer("std", torch.from_numpy(activity.std(0).clip(min=1e-3)))
        self.streamer = nn.Embedding(len(config.streamers) + 1, dim)
        nn.init.normal_(self.streamer.weight, std=0.02)
        self.words = WordBag()
        self.project = nn.Linear(2 * WORD_DIM + config.picture_dim + 2 * config.text_dim + activity.shape[1] + 3, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, 1)

    def embed(self, features: ModelInputs) -> Tensor:
        """Embed each segment alone: (batch, segments, dim)."""
        activity = (torch.cat([features.chat_activity, features.speech_activity], dim=-1) - self.mean) / self.std
        chat, speech = activity[..., : len(CHAT_COLUMNS)], activity[..., len(CHAT_COLUMNS) :]
        inputs = {
            "pictures": self.norm_pictures(features.pictures.float().mean(2)),
            "text": self.norm_text(features.text.float()),
            "speech_text": self.norm_speech_text(features.speech_text.float()),
            "chat_activity": chat,
            "words": self.words(features.words, features.word_counts),
            "word_shares": self.words(features.words, features.word_shares),
            "speech_activity": speech,
        }
        values = [torch.where(features.mask(name).unsqueeze(-1), value, 0.0) for name, value in inputs.items()]
        sources = ("pictures", "speech_activity", "chat_activity")
        flags = torch.stack([features.mask(name) for name in sources], dim=-1).float()
        return self.project(torch.cat([*values, flags], dim=-1)) + self.streamer(features.streamer).unsqueeze(1)

    def decode(self, embedded: Tensor) -> Tensor:
        """(batch, segments, dim) -> logits of the label of the segment after each (batch, segments)."""
        hidden, _ = self.gru(self.dropout(F.gelu(embedded)))
        return self.head(self.dropout(hidden)).squeeze(-1)

    @torch.inference_mode()
    def predict_room(self, segments: Segments, room: Room) -> np.ndarray:
        """Predict each segment of a room from the window before it (segments,); NaN for the first."""
        streamer = self.streamers.index(room.streamer) + 1 if room.streamer in self.streamers else 0
        embedded = self.embed(segments.features(room, streamer=streamer))[0]
        start = self.decode(embedded[None, : self.window])[0]
        full = embedded.unfold(0, self.window, 1).transpose(1, 2)[1:] if len(embedded) > self.window else embedded[:0]
        rest = [self.decode(windows)[:, -1] for windows in full.split(_WINDOWS_PER_BATCH)] if len(full) else []
        return torch.cat([torch.tensor([torch.nan]), start, *rest])[: len(embedded)].sigmoid().numpy()


def train_gru(
    task: Task,
    *,
    dim: int = 64,
    epochs: int = 40,
    patience: int = 6,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> GRU:
    """Train by cross-entropy; return the model of the epoch with the best validation tau.

    An epoch draws one window per ``window`` segments, so that each label is seen about once.
    """
    torch.manual_seed(seed)
    info = task.segments.info
    config = KuaiHLConfig(
        picture_dim=info.picture_dim,
        text_dim=info.text_dim,
        streamers=tuple(sorted({room.streamer for room in task.train})),
        targets=(Target(info.target),),
    )
    activity = np.concatenate([task.segments.array("activity", room.start, room.stop) for room in task.train])
    model = GRU(config, activity, dim=dim)
    windows = Windows(task.segments, task.train, config, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    best_tau, best_epoch, best_weights = -math.inf, 0, deepcopy(model.state_dict())
    for epoch in range(epochs):
        windows.epoch = epoch
        order = np.random.default_rng((seed, epoch)).permutation(len(windows))[: -(-len(windows) // config.window)]
        model.train()
        for start in range(0, len(order), batch_size):
            (batch,) = windows.__getitems__(order[start : start + batch_size].tolist())
            logits, mask = model.decode(model.embed(batch.features)), batch.label_mask
            loss = F.binary_cross_entropy_with_logits(logits, batch.label, weight=mask.float(), reduction="sum")
            optimizer.zero_grad()
            (loss / mask.sum().clamp(min=1)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        tau = task.validation_tau(predict_gru(model.eval(), task, task.validation))
        logger.info("GRU, epoch %d: validation tau %.4f", epoch + 1, tau)
        if tau > best_tau:
            best_tau, best_epoch, best_weights = tau, epoch, deepcopy(model.state_dict())
        if epoch - best_epoch >= patience:
            break
    model.load_state_dict(best_weights)
    return model


def predict_gru(model: GRU, task: Task, rooms: list[Room]) -> np.ndarray:
    """Predict the rows of some rooms (rows,)."""
    return task.rows(rooms, lambda room: model.predict_room(task.segments, room))
