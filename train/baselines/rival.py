"""What the neural rivals share: the tokens of a window, the history of its streamer, and the interface of a model."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kuaihl.model.inputs import ModelInputs
from train.baselines.task import Task
from train.dataset import Room

HISTORY = 20
"""Most segments of a streamer's history."""
STREAMER_DIM = 16


@dataclass(frozen=True, slots=True)
class TokenSizes:
    """Widths of the parts of a token, and how many streamers are known; 0 for what is not used."""

    pictures: int
    text: int
    activity: int = 0
    streamers: int = 0

    @property
    def raw(self) -> int:
        """Width without the streamer."""
        return self.pictures + self.text + self.activity

    @property
    def token(self) -> int:
        """Width of a token."""
        return self.raw + STREAMER_DIM * bool(self.streamers)


@dataclass(frozen=True, slots=True)
class Window:
    """What a rival reads to predict the next segment.

    Attributes
    ----------
    tokens
        (batch, segments, raw): as from `Tokenizer`. Padding is at the end, and is zero.
    mask
        (batch, segments) bool: False for padding.
    history
        (batch, 20, raw): segments of earlier rooms of the streamer, in order of time.
    history_mask
        (batch, 20) bool.
    streamer
        (batch,) int64; 0 is the unknown streamer.
    """

    tokens: Tensor
    mask: Tensor
    history: Tensor
    history_mask: Tensor
    streamer: Tensor

    def last(self, values: Tensor) -> Tensor:
        """Return the values (batch, segments, ...) of the last segment of each window."""
        return values[torch.arange(len(values), device=values.device), self.mask.sum(1).clamp(min=1) - 1]


class Tokenizer:
    """One token a segment: its mean picture and its text, each normalised, and optionally its scaled activity.

    What is missing is zero. ``activity`` (segments, columns) of the training rooms gives the scale.
    """

    def __init__(self, activity: np.ndarray | None = None) -> None:
        if activity is not None:
            self._mean = torch.from_numpy(activity.mean(0)).float()
            self._std = torch.from_numpy(activity.std(0).clip(min=1e-3)).float()
        self._activity = activity is not None

    def __call__(self, inputs: ModelInputs) -> Tensor:
        """Return the tokens (batch, segments, raw) of model inputs."""
        pictures, text = inputs.pictures.float().mean(2), inputs.text.float()
        parts = [(pictures, "pictures"), (text, "text")]
        tokens = [F.layer_norm(x, x.shape[-1:]) * inputs.mask(name).unsqueeze(-1) for x, name in parts]
        if self._activity:
            names = ("chat_activity", "speech_activity")
            known = [inputs.mask(name).unsqueeze(-1).expand_as(getattr(inputs, name)) for name in names]
            activity = torch.cat([getattr(inputs, name) for name in names], dim=-1)
            tokens.append((activity - self._mean) / self._std * torch.cat(known, dim=-1))
        return torch.cat(tokens, dim=-1)


class Histories:
    """The segments with the highest labels in the streamer's earlier training rooms, for each room."""

    def __init__(self, task: Task, tokenize: Tokenizer) -> None:
        segments, self._known = task.segments, {}
        days = {room.name: int(segments.column("day", room)[0]) for room in segments.rooms}
        best: dict[str, list[tuple[float, int, int, Tensor]]] = {}
        for room in sorted(task.train, key=lambda room: days[room.name]):
            label = np.where(
                segments.scalar("valid", room.start, room.stop), segments.scalar("label", room.start, room.stop), -1
            )
            tokens = tokenize(segments.features(room, streamer=0))[0]
            top = [k for k in np.argsort(-label, kind="stable")[:HISTORY] if label[k] >= 0]
            best.setdefault(room.streamer, []).extend(
                (float(label[k]), days[room.name], room.start + k, tokens[k]) for k in top
            )
        best.pop("", None)  # rooms without a name are of any streamer
        for room in segments.rooms:
            earlier = [entry for entry in best.get(room.streamer, ()) if entry[1] < days[room.name]]
            chosen = sorted(earlier, key=lambda entry: -entry[0])[:HISTORY]
            self._known[room.name] = [entry[3] for entry in sorted(chosen, key=lambda entry: entry[1:3])]

    def count(self, rooms: Sequence[Room]) -> int:
        """Return how many of the rooms have a history."""
        return sum(bool(self._known[room.name]) for room in rooms)

    def stack(self, rooms: Sequence[Room], *, raw: int) -> tuple[Tensor, Tensor]:
        """Return the histories (rooms, 20, raw) and their mask (rooms, 20)."""
        history, mask = torch.zeros(len(rooms), HISTORY, raw), torch.zeros(len(rooms), HISTORY, dtype=torch.bool)
        for row, room in enumerate(rooms):
            if known := self._known[room.name]:
                history[row, : len(known)], mask[row, : len(known)] = torch.stack(known), True
        return history, mask


class Rival(nn.Module):
    """A model of a window.

    Attributes
    ----------
    every_position
        Whether position i predicts the segment after it from positions 0 to i alone, so that all train. Otherwise a
        window has one prediction, at its last position, and all of the window is read.
    """

    every_position = True

    def __init__(self, sizes: TokenSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.streamer = nn.Embedding(sizes.streamers + 1, STREAMER_DIM) if sizes.streamers else None
        self.no_history = nn.Parameter(torch.zeros(sizes.raw))

    def read(self, window: Window) -> Tensor:
        """Return the tokens with the embedding of the streamer: (batch, segments, token)."""
        return self._name(window.tokens, window.streamer)

    def read_history(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return the history (batch, 20, token) and its mask. Without one, its only segment is a learned vector."""
        none = ~window.history_mask.any(1)
        first = torch.where(none.unsqueeze(1), self.no_history, window.history[:, 0])
        history = torch.cat([first.unsqueeze(1), window.history[:, 1:]], dim=1)
        mask = torch.cat([window.history_mask[:, :1] | none.unsqueeze(1), window.history_mask[:, 1:]], dim=1)
        return self._name(history, window.streamer), mask

    def _name(self, tokens: Tensor, streamer: Tensor) -> Tensor:
        if self.streamer is None:
            return tokens
        name = self.streamer(streamer).unsqueeze(1).expand(-1, tokens.shape[1], -1)
        return torch.cat([tokens, name], dim=-1)

    def forward(self, window: Window) -> Tensor:
        """Return scores (batch, segments), or (batch, 1) of the last position; higher for better segments."""
        raise NotImplementedError

    def loss(self, window: Window, label: Tensor, label_mask: Tensor) -> Tensor:
        """Return the loss: by default the cross-entropy of scores, which are logits, against the labels.

        Parameters
        ----------
        label, label_mask
            (batch, segments).
        """
        return masked_bce(self(window), *self.targets(window, label, label_mask))

    def targets(self, window: Window, *values: Tensor) -> tuple[Tensor, ...]:
        """Return those of the values (batch, segments) that there are scores for, in the shape of the scores."""
        return values if self.every_position else tuple(window.last(x).unsqueeze(1) for x in values)


def masked_bce(logits: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Average the cross-entropy of logits against soft labels over the mask; all of one shape."""
    loss = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return masked_mean(loss, mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average values where the mask, of the same shape, is True; 0 without any."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def pooled(values: Tensor, weights: Tensor) -> Tensor:
    """Average values (batch, items, dim) with weights (batch, items): (batch, dim)."""
    return (weights.unsqueeze(1) @ values).squeeze(1)


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Build linear layers of these widths with an activation, and dropout, between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])
