"""A leaderboard: predictions of the same segments side by side, with intervals paired by room against checkpoints."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load, sha256_of
from train.baselines.tabular import labels_of, rooms_of_rows
from train.dataset import Room, Segments
from train.metrics import drawn_taus, room_taus, taus
from train.scoring import check_encoders, check_left_out, score
from train.splits import select_rooms

_KINDS = {"pooled": ("pooled", "interval"), "per room": ("per_room", "per_room_interval")}


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
    parts = [select_rooms(segments, split, left_out=left_out) for split in ("train", "validation", "test")]
    if not all(len(labels_of(segments, part)) for part in parts):
        raise LabelError(f"{dataset}: the rooms for training, validation or testing have no segment to score.")
    return Task(segments, *parts, left_out=tuple(left_out))


def enter_checkpoint(task: Task, checkpoint: Path) -> Entry:
    """Predict with a checkpoint.

    Raises
    ------
    CheckpointError
        It cannot be read, reads features of other encoders or does not predict what the dataset's labels are, or has
        learned from streamers that are left out.
    """
    model, folder = load(checkpoint)
    check_encoders(folder, model, task.segments.info)
    check_left_out(checkpoint, model, task.left_out)
    scores = score(model, task.segments, task.test)
    return Entry(f"KuaiHL, {checkpoint}", scores.predicted, sha256=sha256_of(folder))


def rank(task: Task, entries: Sequence[Entry], *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Tau of each entry, and how much better each checkpoint is, with a 95 % interval: plain values, for JSON.

    Intervals are percentiles over ``draws`` samples of rooms, the same for all. Where a tau is not defined, as for a
    constant, it is None, and there is no difference to it.
    """
    true, room = labels_of(task.segments, task.test), rooms_of_rows(task.segments, task.test)
    found = [taus(entry.predicted, true, room, deltas=[None])[0] for entry in entries]
    defined = [k for k, tau in enumerate(found) if tau.pooled is not None]
    checkpoints = [k for k in defined if entries[k].sha256 is not None]
    compared = defined if checkpoints else []
    predicted = [entries[k].predicted for k in compared]
    drawn = drawn_taus(predicted, true, room, generator=np.random.default_rng(seed), draws=draws)
    pooled = dict(zip(compared, drawn, strict=True))
    each = {k: room_taus(entries[k].predicted, true, room) for k in compared}
    rows = []
    for k, (entry, tau) in enumerate(zip(entries, found, strict=True)):
        gaps = {
            entries[ours].name: {
                "pooled": found[ours].pooled - tau.pooled,
                "interval": _bounds(pooled[ours] - pooled[k]),
                **_gap_of_rooms(each[ours] - each[k], draws=draws, seed=seed),
            }
            for ours in checkpoints
            if k in pooled and ours != k
        }
        row = {"name": entry.name, "note": entry.note, "sha256": entry.sha256, **asdict(tau)}
        rows.append({**row, "checkpoint_minus_this": gaps})
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


def _bounds(gaps: np.ndarray) -> list[float]:
    """95 % interval from what was found in each draw (draws,)."""
    return np.nanquantile(gaps, [0.025, 0.975]).tolist()


def _gap_of_rooms(gaps: np.ndarray, *, draws: int, seed: int) -> dict[str, Any]:
    """Mean difference of the taus of single rooms (rooms,), with its interval, over rooms where both are defined."""
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        return {"per_room": None, "per_room_interval": None}
    drawn = np.random.default_rng(seed).integers(len(gaps), size=(draws, len(gaps)))
    return {"per_room": float(gaps.mean()), "per_room_interval": _bounds(gaps[drawn].mean(1))}


def markdown(board: dict[str, Any]) -> str:
    """Write the leaderboard as a Markdown table, with two columns for the differences of each checkpoint."""
    ours = [row["name"] for row in board["entries"] if row["sha256"]]
    columns = [f"{name} minus this, {kind} (95 % interval)" for name in ours for kind in _KINDS]
    lines = [["", "tau pooled", "tau per room", *columns], ["---", *["---:"] * (len(columns) + 2)]]
    for row in board["entries"]:
        gaps = row["checkpoint_minus_this"]
        shown = [_gap(gaps[name], kind) if name in gaps else "" for name in ours for kind in _KINDS]
        taus_of = ["-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room")]
        lines.append([f"{row['name']}, {row['note']}" if row["note"] else row["name"], *taus_of, *shown])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_heading(board)}\n\n{table}\n"


def _gap(gap: dict[str, Any], kind: str) -> str:
    value, interval = (gap[key] for key in _KINDS[kind])
    return "-" if value is None else f"{value:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"


def _heading(board: dict[str, Any]) -> str:
    split = f"leaving out {', '.join(board['left_out'])}" if board["left_out"] else "as the dataset is split"
    return (
        f"{board['target']}, {board['segments']:,} segments of {board['test_rooms']} test rooms, {split}\n"
        f"{board['dataset']}; {board['train_rooms']} rooms to learn from"
    )


def print_leaderboard(board: dict[str, Any]) -> None:
    """Print the leaderboard for people, a line an entry and, below, one for each interval."""
    print(f"{_heading(board)}\n")
    width = max(len(row["name"]) for row in board["entries"])
    print(f"{'':<{width}}{'tau pooled':>12}{'tau per room':>14}")
    for row in board["entries"]:
        pooled, each = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
        print(f"{row['name']:<{width}}{pooled:>12}{each:>14}  {row['note']}".rstrip())
    for row in board["entries"]:
        for ours, gap in row["checkpoint_minus_this"].items():
            told = ", ".join(f"{kind} {_gap(gap, kind)}" for kind in _KINDS)
            print(f"{ours} minus {row['name']}: {told}")
