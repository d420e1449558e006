"""A GRU over the same inputs as KuaiHL, to compare with: features and activity of the past segments, who streams."""

import logging
import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import KuaiHLConfig, Target
from kuaihl.model.inputs import ModelInputs
from kuaihl.model.kuaihl import WORD_DIM, WordBag
from train.baselines.tabular import scored_of
from train.dataset import Room, Segments, Windows
from train.metrics import taus

logger = logging.getLogger(__name__)

_WINDOWS_PER_BATCH = 1024


class GRU(nn.Module):
    """A linear layer over all that is known of a segment, a GRU over the window, a sigmoid head.

    Words are told by how often they are written and by the share of the comments that hold them, text as it is and of
    the speech alone. What is missing is zero, and flags say so. ``activity`` (segments, 17) is that of training, whose
    scale is kept.
    """

    def __init__(self, config: KuaiHLConfig, activity: np.ndarray, *, dim: int) -> None:
        super().__init__()
        self.window = config.window
        self.streamers = config.streamers
        self.norm_pictures, self.norm_text = nn.LayerNorm(config.picture_dim), nn.LayerNorm(config.text_dim)
        self.norm_spoken = nn.LayerNorm(config.text_dim)
        self.register_buffer("mean", torch.from_numpy(activity.mean(0)))
        self.register_buffer("std", torch.from_numpy(activity.std(0).clip(min=1e-3)))
        self.streamer = nn.Embedding(len(config.streamers) + 1, dim)
        nn.init.normal_(self.streamer.weight, std=0.02)
        self.words = WordBag()
        told = 2 * WORD_DIM + config.picture_dim + 2 * config.text_dim + activity.shape[1]
        self.project = nn.Linear(told + 3, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, 1)

    def embed(self, features: ModelInputs) -> Tensor:
        """Each segment on its own: (batch, segments, dim)."""
        scaled = (torch.cat([features.chat_activity, features.speech_activity], dim=-1) - self.mean) / self.std
        chat, speech = scaled[..., : len(CHAT_COLUMNS)], scaled[..., len(CHAT_COLUMNS) :]
        parts = (
            (self.norm_pictures(features.pictures.float().mean(2)), features.mask("pictures")),
            (self.norm_text(features.text.float()), features.mask("text")),
            (self.norm_spoken(features.speech_text.float()), features.mask("speech_text")),
            (chat, features.mask("chat_activity")),
            (self.words(features.words, features.word_counts), features.mask("words")),
            (self.words(features.words, features.word_shares), features.mask("word_shares")),
            (speech, features.mask("speech_activity")),
        )
        known = [torch.where(there.unsqueeze(-1), values, 0.0) for values, there in parts]
        sources = ("pictures", "speech_activity", "chat_activity")
        flags = torch.stack([features.mask(token) for token in sources], dim=-1).float()
        return self.project(torch.cat([*known, flags], dim=-1)) + self.streamer(features.streamer).unsqueeze(1)

    def decode(self, embedded: Tensor) -> Tensor:
        """(batch, segments, dim) -> the label of the segment after each, as a logit (batch, segments)."""
        hidden, _ = self.gru(self.dropout(F.gelu(embedded)))
        return self.head(self.dropout(hidden)).squeeze(-1)

    @torch.inference_mode()
    def curve(self, segments: Segments, room: Room) -> np.ndarray:
        """Predict each segment of a room from the window before it (segments,); NaN for the first."""
        known = self.streamers.index(room.streamer) + 1 if room.streamer in self.streamers else 0
        embedded = self.embed(segments.features(room, streamer=known))[0]
        beginning = self.decode(embedded[None, : self.window])[0]
        full = embedded.unfold(0, self.window, 1).transpose(1, 2)[1:] if len(embedded) > self.window else embedded[:0]
        rest = [self.decode(part)[:, -1] for part in full.split(_WINDOWS_PER_BATCH)] if len(full) else []
        return torch.cat([torch.tensor([torch.nan]), beginning, *rest])[: len(embedded)].sigmoid().numpy()


def train_gru(
    segments: Segments,
    train: Sequence[Room],
    validation: Sequence[Room],
    *,
    dim: int = 64,
    epochs: int = 40,
    patience: int = 6,
    batch: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
) -> GRU:
    """Train by cross-entropy, and keep what is best on the validation rooms by pooled tau.

    An epoch draws a window for each ``window`` segments, so that each segment's label is seen about once.
    """
    torch.manual_seed(seed)
    info = segments.info
    config = KuaiHLConfig(
        picture_dim=info.picture_dim,
        text_dim=info.text_dim,
        streamers=tuple(sorted({r.streamer for r in train})),
        targets=(Target(info.target),),
    )
    activity = np.concatenate([segments.array("activity", r.start, r.stop) for r in train])
    model = GRU(config, activity, dim=dim)
    windows = Windows(segments, train, config, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    best, best_epoch, kept = -math.inf, 0, deepcopy(model.state_dict())
    for epoch in range(epochs):
        windows.epoch = epoch
        order = np.random.default_rng((seed, epoch)).permutation(len(windows))[: -(-len(windows) // config.window)]
        model.train()
        for start in range(0, len(order), batch):
            (drawn,) = windows.__getitems__(order[start : start + batch].tolist())
            loss = F.binary_cross_entropy_with_logits(
                model.decode(model.embed(drawn.features)), drawn.label, weight=drawn.label_mask.float(), reduction="sum"
            )
            optimizer.zero_grad()
            (loss / drawn.label_mask.sum().clamp(min=1)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        tau = _validate(model.eval(), segments, validation)
        logger.info("GRU, epoch %d: validation tau %.4f", epoch + 1, tau)
        if tau > best:
            best, best_epoch, kept = tau, epoch, deepcopy(model.state_dict())
        if epoch - best_epoch >= patience:
            break
    model.load_state_dict(kept)
    return model


def _validate(model: GRU, segments: Segments, rooms: Sequence[Room]) -> float:
    predicted, true = [], []
    for room in rooms:
        scored = scored_of(segments, room)
        predicted.append(model.curve(segments, room)[scored])
        true.append(segments.scalar("label", room.start, room.stop)[scored])
    true = np.concatenate(true)
    (found,) = taus(np.concatenate(predicted), true, np.zeros(len(true)), deltas=[None])
    return found.pooled or 0.0
