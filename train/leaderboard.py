"""A leaderboard: predictions of the same segments side by side, with intervals paired by room against checkpoints."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.model import load, sha256_of
from train.dataset import Room, Segments
from train.evaluate import check_encoders, rooms_of, score
from train.metrics import paired_interval, taus
from train.participation import leave_out
from train.past import labels_of, rooms_of_rows


@dataclass(frozen=True, slots=True)
class Task:
    """A dataset, with the rooms that are learned from, chosen by, and predicted."""

    segments: Segments
    train: list[Room]
    validation: list[Room]
    test: list[Room]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Predictions (rows,) of the scored segments of the test rooms; ``note`` says why an entry is no fair rival.

    ``sha256`` names the weights of a checkpoint.
    """

    name: str
    predicted: np.ndarray
    note: str = ""
    sha256: str | None = None


def open_task(dataset: Path, *, left_out: Sequence[str] = ()) -> Task:
    """Open a dataset, split as it says, or with the streamers ``left_out`` for testing and all others for training.

    Raises
    ------
    LabelError
        It is no dataset, or a split has no segment to score.
    """
    segments = Segments(dataset)
    if left_out:
        rooms = leave_out(segments, left_out)
        parts = [[r for r in rooms if r.split == split] for split in ("train", "validation", "test")]
    else:
        parts = [rooms_of(segments, split) for split in ("train", "validation", "test")]
    if not all(len(labels_of(segments, part)) for part in parts):
        raise LabelError(f"{dataset}: the rooms for training, validation or testing have no segment to score.")
    return Task(segments, *parts, left_out=tuple(left_out))


def enter_checkpoint(task: Task, checkpoint: Path) -> Entry:
    """Predict with a checkpoint.

    Raises
    ------
    CheckpointError
        It cannot be read, reads features of other encoders or predicts something else, or has learned from streamers
        that are left out.
    """
    model, folder = load(checkpoint)
    check_encoders(folder, model, task.segments.info)
    if model.config.target != task.segments.info.target:
        raise CheckpointError(
            f"{checkpoint} predicts {model.config.target}, the dataset's labels are {task.segments.info.target}."
        )
    if seen := set(task.left_out) & set(model.config.streamers):
        raise CheckpointError(f"{checkpoint} was trained on {', '.join(sorted(seen))}, which should be left out.")
    scores = score(model, task.segments, task.test)
    return Entry(f"KuaiHL, {checkpoint}", scores.predicted, sha256=sha256_of(folder))


def rank(task: Task, entries: Sequence[Entry], *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Tau of each entry, and how much better each checkpoint is, with a 95 % interval: plain values, for JSON.

    Where a tau is not defined, as for a constant, it is None, and so is what would follow from it.
    """
    true, room = labels_of(task.segments, task.test), rooms_of_rows(task.segments, task.test)
    found = [taus(entry.predicted, true, room, deltas=[None])[0] for entry in entries]
    rows = []
    for entry, tau in zip(entries, found, strict=True):
        gaps = {}
        for ours, our_tau in zip(entries, found, strict=True):
            if ours.sha256 is None or ours is entry or our_tau.pooled is None or tau.pooled is None:
                continue
            generator = np.random.default_rng(seed)  # the same rooms for every pair
            low, high = paired_interval(ours.predicted, entry.predicted, true, room, generator=generator, draws=draws)
            gaps[ours.name] = {"pooled": our_tau.pooled - tau.pooled, "interval": [low, high]}
        rows.append(
            {
                "name": entry.name,
                "note": entry.note,
                "sha256": entry.sha256,
                **asdict(tau),
                "checkpoint_minus_this": gaps,
            }
        )
    info = task.segments.info
    return {
        "dataset": info.source,
        "target": info.target,
        "left_out": list(task.left_out),
        "train_rooms": len(task.train),
        "validation_rooms": len(task.validation),
        "test_rooms": len(task.test),
        "segments": len(true),
        "entries": rows,
    }


def print_leaderboard(board: dict[str, Any]) -> None:
    """Print the leaderboard for people, a line an entry and, below, one for each interval."""
    split = f"leaving out {', '.join(board['left_out'])}" if board["left_out"] else "as the dataset is split"
    print(f"{board['target']}, {board['segments']:,} segments of {board['test_rooms']} test rooms, {split}")
    print(f"{board['dataset']}; {board['train_rooms']} rooms to learn from\n")
    width = max(len(row["name"]) for row in board["entries"])
    print(f"{'':<{width}}{'tau pooled':>12}{'tau per room':>14}")
    for row in board["entries"]:
        pooled, each = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
        print(f"{row['name']:<{width}}{pooled:>12}{each:>14}  {row['note']}".rstrip())
    for row in board["entries"]:
        for ours, gap in row["checkpoint_minus_this"].items():
            low, high = gap["interval"]
            print(f"{ours} minus {row['name']}: {gap['pooled']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
