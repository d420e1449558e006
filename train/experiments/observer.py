"""A GRU that observes the content of simulated rooms and predicts their LVTR."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from train.experiments.observations import Content
from train.metrics import taus
from train.simulator.rooms.streamer_speech import SENTENCE_KINDS
from train.simulator.settings import TALENTS

_DIM = 96
_DROPOUT = 0.2
_STREAMER_DROPOUT = 0.2
_LEARNING_RATE = 2e-3
_WARM_UP_STEPS = 100
_PREDICTION_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Observation:
    """A room, or part of one: inputs (segments, columns), label (segments,), and which labels count (segments,).

    ``streamer`` is 0 if unknown.
    """

    inputs: np.ndarray
    streamer: int
    label: np.ndarray
    mask: np.ndarray

    def cut(self, start: int, stop: int) -> "Observation":
        """Return segments ``start`` to ``stop``. The first is not scored, since nothing is known before it."""
        mask = self.mask[start:stop].copy()
        mask[:1] = False
        return Observation(self.inputs[start:stop], self.streamer, self.label[start:stop], mask)


class Observer(nn.Module):
    """A linear layer over the inputs of a segment, a GRU, and a head over both."""

    def __init__(self, columns: int, streamers: int) -> None:
        super().__init__()
        self.project = nn.Linear(columns, _DIM)
        self.streamer = nn.Embedding(streamers + 1, _DIM)
        nn.init.normal_(self.streamer.weight, std=0.02)
        self.gru = nn.GRU(_DIM, _DIM, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(2 * _DIM, 1)

    def forward(self, inputs: Tensor, streamer: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (rooms, segments, columns) and streamer (rooms,) -> logits of the label of the segment after each.

        Returns
        -------
        Logits (rooms, segments) and the state of the GRU (rooms, segments, dim).
        """
        hidden = self.dropout(F.gelu(self.project(inputs) + self.streamer(streamer).unsqueeze(1)))
        state, _ = self.gru(hidden)
        return self.head(self.dropout(torch.cat([state, hidden], dim=-1))).squeeze(-1), state


def make_observation(content: Content, label: np.ndarray) -> Observation:
    """Encode all content of a room, except hype; ``label`` is (segments,)."""
    columns = (
        np.eye(len(TALENTS))[content.talent],
        np.eye(1 + len(TALENTS))[content.announced.astype(int)],
        np.log1p(content.elapsed),
        content.idle,
        np.isnan(content.intensity),
        np.nan_to_num(content.intensity),
        *(getattr(content, kind) for kind in SENTENCE_KINDS),
        content.comments,
        content.commenters,
        content.burst,
        content.excited,
        content.stuck,
        np.log1p(content.gifts),
    )
    streamer = 0 if np.isnan(content.streamer[0]) else 1 + int(content.streamer[0])
    return Observation(np.column_stack(columns).astype(np.float32), streamer, label, np.arange(len(label)) > 0)


def split_to_train(room: Observation, window: int) -> list[Observation]:
    """Cut a room so that every scored segment is in one part, with at most ``window`` segments before it."""
    return [room.cut(start, start + window + 1) for start in range(0, max(1, len(room.label) - 1), window)]


def split_to_predict(room: Observation, window: int) -> list[Observation]:
    """Return a part for each scored segment, with at most ``window`` segments before it."""
    ends = (np.flatnonzero(room.mask) + 1).tolist()
    parts = [room.cut(max(0, end - 1 - window), end) for end in ends]
    return [replace(part, mask=np.arange(len(part.label)) == len(part.label) - 1) for part in parts]


def train_observer(
    train: Sequence[Observation],
    validation: Sequence[Observation],
    *,
    batch_size: int = 16,
    epochs: int = 60,
    seed: int = 0,
) -> Observer:
    """Train by cross-entropy; return the model of the epoch with the best validation tau."""
    torch.manual_seed(seed)
    model = Observer(train[0].inputs.shape[1], max(room.streamer for room in train))
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    inputs, streamer, label, mask = _pad(train)
    steps = epochs * -(-len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, step / _WARM_UP_STEPS) * (1 - step / steps)
    )
    true = np.concatenate([room.label[room.mask] for room in validation])
    best_tau, best_weights = -1.0, deepcopy(model.state_dict())
    for _ in tqdm(range(epochs), "observer", unit="epoch"):
        model.train()
        for rows in torch.randperm(len(train)).split(batch_size):
            known = streamer[rows] * (torch.rand(len(rows)) >= _STREAMER_DROPOUT)
            logits, _ = model(inputs[rows], known)
            weight = mask[rows].float()
            loss = F.binary_cross_entropy_with_logits(logits, label[rows], weight=weight, reduction="sum")
            optimizer.zero_grad()
            (loss / weight.sum()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        (tau,) = taus(predict(model, validation)[0], true, np.zeros(len(true)), deltas=[None])
        if (tau.pooled or 0.0) > best_tau:
            best_tau, best_weights = tau.pooled or 0.0, deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return model


@torch.inference_mode()
def predict(model: Observer, rooms: Sequence[Observation]) -> tuple[np.ndarray, np.ndarray]:
    """Predict the scored segments: their labels (segments,), and the states of the GRU (segments, dim)."""
    model.eval()
    labels, states = [], []
    for start in range(0, len(rooms), _PREDICTION_BATCH):
        inputs, streamer, _, mask = _pad(rooms[start : start + _PREDICTION_BATCH])
        logits, state = model(inputs, streamer)
        labels.append(logits[mask].sigmoid().numpy())
        states.append(state[mask].numpy())
    return np.concatenate(labels), np.concatenate(states)


def _pad(rooms: Sequence[Observation]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Stack rooms, padded at the end: inputs of the segment before each, streamers, labels and masks."""

    def stack(arrays: Sequence[np.ndarray], dtype: torch.dtype) -> Tensor:
        return pad_sequence([torch.as_tensor(array, dtype=dtype) for array in arrays], batch_first=True)

    before = [np.concatenate([np.zeros_like(room.inputs[:1]), room.inputs[:-1]]) for room in rooms]
    return (
        stack(before, torch.float32),
        torch.tensor([room.streamer for room in rooms]),
        stack([np.nan_to_num(room.label) for room in rooms], torch.float32),
        stack([room.mask for room in rooms], torch.bool),
    )
