"""A prediction task: a dataset, with the rooms to train, to validate and to test on, and the segments to score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kuaihl.errors import LabelError
from train.dataset import Room, Segments
from train.metrics import taus
from train.splits import select_rooms


@dataclass(frozen=True, slots=True)
class Task:
    """A dataset and its rooms by split. A row is a scored segment; rows are in the order of rooms."""

    segments: Segments
    train: list[Room]
    validation: list[Room]
    test: list[Room]
    left_out: tuple[str, ...] = ()

    def mask(self, room: Room) -> np.ndarray:
        """Return which segments of a room are scored (segments,): those with a label and a segment to predict it."""
        mask = self.segments.scalar("valid", room.start, room.stop).copy()
        mask[: self.segments.info.ahead] = False
        return mask

    def rows(self, rooms: Sequence[Room], values_of: Callable[[Room], np.ndarray]) -> np.ndarray:
        """Apply ``values_of`` to each room, (segments, ...), and return the rows of all rooms (rows, ...)."""
        return np.concatenate([values_of(room)[self.mask(room)] for room in rooms])

    def labels(self, rooms: Sequence[Room]) -> np.ndarray:
        """Return the labels (rows,)."""
        return self.rows(rooms, lambda room: self.segments.scalar("label", room.start, room.stop))

    def room_names(self, rooms: Sequence[Room]) -> np.ndarray:
        """Return the name of the room of each row (rows,)."""
        return self.rows(rooms, lambda room: np.full(room.stop - room.start, room.name))

    def validation_tau(self, predicted: np.ndarray) -> float:
        """Return the pooled tau of predictions (rows,) for the validation rooms; 0 if it is undefined."""
        true = self.labels(self.validation)
        return taus(predicted, true, np.zeros(len(true)), deltas=[None])[0].pooled or 0.0


def open_task(dataset: Path, *, left_out: Sequence[str] = ()) -> Task:
    """Open a dataset with its own split, or test on the streamers ``left_out`` and learn from all others.

    Raises
    ------
    LabelError
        It is not a dataset, or a split has no segment to score.
    """
    segments = Segments(dataset)
    splits = [select_rooms(segments, split, left_out=left_out) for split in ("train", "validation", "test")]
    task = Task(segments, *splits, left_out=tuple(left_out))
    if not all(len(task.labels(rooms)) for rooms in splits):
        raise LabelError(f"{dataset} has no segment to score in the training, validation or test rooms.")
    return task
