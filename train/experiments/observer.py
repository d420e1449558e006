"""A recurrent observer of simulated rooms: a GRU over all that it is told, from a room's start or of a window."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from train.metrics import taus

_DIM = 96
_DROPOUT = 0.2
_PREDICTED_AT_ONCE = 4096
_RATE = 2e-3
_WARM_UP = 100
_STRANGER = 0.2
"""How often a streamer is unknown in training."""


@dataclass(frozen=True, slots=True)
class Course:
    """A room: what is told of each segment (segments, columns), its label and whether that counts (segments,).

    ``streamer`` is 0 for one who is not known.
    """

    told: np.ndarray
    streamer: int
    label: np.ndarray
    scored: np.ndarray


class Observer(nn.Module):
    """A linear layer over what is told of a segment, a GRU, and a head over both."""

    def __init__(self, columns: int, streamers: int) -> None:
        super().__init__()
        self.project = nn.Linear(columns, _DIM)
        self.streamer = nn.Embedding(streamers + 1, _DIM)
        nn.init.normal_(self.streamer.weight, std=0.02)
        self.gru = nn.GRU(_DIM, _DIM, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(2 * _DIM, 1)

    def forward(self, told: Tensor, streamer: Tensor) -> tuple[Tensor, Tensor]:
        """Told (rooms, segments, columns), streamer (rooms,) -> the label of the segment after, as a logit, and memory.

        The logits are (rooms, segments), what the GRU remembers (rooms, segments, dim).
        """
        hidden = self.dropout(F.gelu(self.project(told) + self.streamer(streamer).unsqueeze(1)))
        remembered, _ = self.gru(hidden)
        return self.head(self.dropout(torch.cat([remembered, hidden], dim=-1))).squeeze(-1), remembered


def pieces(course: Course, window: int) -> list[Course]:
    """Cut a room to train on: every scored segment is in one piece, after at most ``window`` that are told."""
    starts = range(0, max(1, len(course.label) - 1), window)
    return [_cut(course, start, start + window + 1) for start in starts]


def pasts(course: Course, window: int) -> list[Course]:
    """Take every scored segment apart, with at most ``window`` before it that are told."""
    ends = np.flatnonzero(course.scored) + 1
    apart = [_cut(course, max(0, end - 1 - window), end) for end in ends.tolist()]
    return [replace(one, scored=np.arange(len(one.label)) == len(one.label) - 1) for one in apart]


def _cut(course: Course, start: int, stop: int) -> Course:
    """Segments ``start`` to ``stop``; of the first nobody could know anything."""
    scored = course.scored[start:stop] & (np.arange(start, min(stop, len(course.label))) > start)
    return Course(course.told[start:stop], course.streamer, course.label[start:stop], scored)


def observe(
    train: Sequence[Course], validation: Sequence[Course], *, batch: int = 16, epochs: int = 60, seed: int = 0
) -> Observer:
    """Train by cross-entropy and keep the epoch that is best on validation."""
    torch.manual_seed(seed)
    model = Observer(train[0].told.shape[1], max(course.streamer for course in train))
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.01)
    told, streamer, label, scored = _padded(train)
    steps = epochs * -(-len(train) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, step / _WARM_UP) * (1 - step / steps))
    true = np.concatenate([course.label[course.scored] for course in validation])
    best, kept = -1.0, deepcopy(model.state_dict())
    for _ in tqdm(range(epochs), "observer", unit="epoch"):
        model.train()
        for some in torch.randperm(len(train)).split(batch):
            known = streamer[some] * (torch.rand(len(some)) >= _STRANGER)
            loss = F.binary_cross_entropy_with_logits(
                model(told[some], known)[0], label[some], weight=scored[some].float(), reduction="sum"
            )
            optimizer.zero_grad()
            (loss / scored[some].sum()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        (tau,) = taus(forecasts(model, validation)[0], true, np.zeros(len(true)), deltas=[None])
        if (tau.pooled or 0.0) > best:
            best, kept = tau.pooled or 0.0, deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model


@torch.inference_mode()
def forecasts(model: Observer, courses: Sequence[Course]) -> tuple[np.ndarray, np.ndarray]:
    """Foresee the scored segments of ``courses``: their labels (segments,), and what it remembered (segments, dim)."""
    model.eval()
    labels, memories = [], []
    for start in range(0, len(courses), _PREDICTED_AT_ONCE):
        told, streamer, _, scored = _padded(courses[start : start + _PREDICTED_AT_ONCE])
        logits, remembered = model(told, streamer)
        labels.append(logits[scored].sigmoid().numpy())
        memories.append(remembered[scored].numpy())
    return np.concatenate(labels), np.concatenate(memories)


def _padded(courses: Sequence[Course]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is told of the segment before each, streamers, labels, and where they count; padded at the end."""

    def padded(parts: Sequence[np.ndarray], kind: torch.dtype) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.as_tensor(part, dtype=kind) for part in parts], batch_first=True)

    before = [np.concatenate([np.zeros_like(course.told[:1]), course.told[:-1]]) for course in courses]
    return (
        padded(before, torch.float32),
        torch.tensor([course.streamer for course in courses]),
        padded([np.nan_to_num(course.label) for course in courses], torch.float32),
        padded([course.scored for course in courses], torch.bool),
    )
