"""Compare checkpoints with baselines on the same segments, with intervals paired by room.

Run as `python -m train.experiments.leaderboard --dataset D [--checkpoint C ...] [--out F.json]`.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from kuaihl.model.kuaihl import load, sha256_of
from train.baselines.gru import predict_gru, train_gru
from train.baselines.ridge import predict_ridge
from train.baselines.rules import predict_chat_spike, predict_comment_rate, predict_last_value, predict_streamer_mean
from train.baselines.tabular import PooledFeatures, activity_table
from train.baselines.task import Task, open_task
from train.baselines.word_counts import WordCounts
from train.command import plain_errors
from train.data.participation import TARGET
from train.dataset import Room
from train.files import write_json
from train.metrics import drawn_taus, room_taus, taus
from train.scoring import check_encoders, check_left_out, score

KINDS = {"pooled": "interval", "per_room": "per_room_interval"}
"""Taus that are compared, and the keys of their intervals."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Predictions (rows,) for the test rooms. ``sha256`` identifies the weights of a checkpoint."""

    name: str
    predicted: np.ndarray
    note: str = ""
    sha256: str | None = None


def predict_baselines(task: Task, *, seed: int = 0) -> Iterator[Entry]:
    """Fit each baseline on the training rooms and predict the test rooms."""
    note = "" if task.segments.info.target == TARGET else "not available to a user"
    yield Entry("last value", predict_last_value(task), note)
    yield Entry("chat-spike z-score", predict_chat_spike(task))
    yield Entry("comment rate", predict_comment_rate(task))

    def activity(rooms: Sequence[Room]) -> np.ndarray:
        return activity_table(task, rooms)

    def all_features(rooms: Sequence[Room]) -> np.ndarray:
        return np.hstack([activity(rooms), pooled.table(rooms), predict_streamer_mean(task, rooms)[:, None]])

    yield Entry("ridge, activity", predict_ridge(task, activity))
    if words := WordCounts(task):
        yield Entry("ridge, activity and words", predict_ridge(task, activity, words=words))
    if pooled := PooledFeatures(task, seed=seed):
        yield Entry("ridge, activity, features and streamer", predict_ridge(task, all_features))
    yield Entry("GRU", predict_gru(train_gru(task, seed=seed), task, task.test))


def predict_checkpoint(task: Task, checkpoint: Path) -> Entry:
    """Predict with a checkpoint.

    Raises
    ------
    CheckpointError
        It cannot be read, has other encoders or another target than the dataset, or was trained on a streamer that is
        left out.
    """
    model, folder = load(checkpoint)
    check_encoders(folder, model, task.segments.info)
    check_left_out(checkpoint, model, task.left_out)
    scores = score(model, task.segments, task.test)
    return Entry(f"KuaiHL, {checkpoint}", scores.predicted, sha256=sha256_of(folder))


def rank(task: Task, entries: Sequence[Entry], *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return tau of each entry and the differences to each checkpoint, with 95 % intervals, as JSON values.

    Intervals are percentiles over ``draws`` bootstrap samples of rooms. An undefined tau is None and has no difference.
    """
    true, room = task.labels(task.test), task.room_names(task.test)
    results = [taus(entry.predicted, true, room, deltas=[None])[0] for entry in entries]
    defined = [k for k, tau in enumerate(results) if tau.pooled is not None]
    checkpoints = [k for k in defined if entries[k].sha256 is not None]
    compared = defined if checkpoints else []
    predicted = [entries[k].predicted for k in compared]
    samples = drawn_taus(predicted, true, room, generator=np.random.default_rng(seed), draws=draws)
    pooled_samples = dict(zip(compared, samples, strict=True))
    per_room = {k: room_taus(entries[k].predicted, true, room) for k in compared}
    rows = []
    for k, (entry, tau) in enumerate(zip(entries, results, strict=True)):
        differences = {
            entries[c].name: {
                "pooled": results[c].pooled - tau.pooled,
                "interval": _interval(pooled_samples[c] - pooled_samples[k]),
                **_compare_rooms(per_room[c] - per_room[k], draws=draws, seed=seed),
            }
            for c in checkpoints
            if k in compared and c != k
        }
        row = {"name": entry.name, "note": entry.note, "sha256": entry.sha256, **asdict(tau)}
        rows.append({**row, "checkpoint_minus_this": differences})
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


def _interval(samples: np.ndarray) -> list[float]:
    return np.nanquantile(samples, [0.025, 0.975]).tolist()


def _compare_rooms(differences: np.ndarray, *, draws: int, seed: int) -> dict[str, Any]:
    """Return the mean difference over rooms (rooms,) where both taus are defined, with its interval."""
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return {"per_room": None, "per_room_interval": None}
    indices = np.random.default_rng(seed).integers(len(differences), size=(draws, len(differences)))
    return {"per_room": float(differences.mean()), "per_room_interval": _interval(differences[indices].mean(1))}


def format_markdown(board: dict[str, Any]) -> str:
    """Format a leaderboard as a Markdown table, with two columns of differences per checkpoint."""
    checkpoints = [row["name"] for row in board["entries"] if row["sha256"]]
    columns = [f"{name} minus this, {kind.replace('_', ' ')}" for name in checkpoints for kind in KINDS]
    lines = [["", "tau pooled", "tau per room", *columns], ["---", *["---:"] * (len(columns) + 2)]]
    for row in board["entries"]:
        values = ["-" if row[kind] is None else f"{row[kind]:.4f}" for kind in KINDS]
        differences = [_format_difference(row, name, kind) for name in checkpoints for kind in KINDS]
        lines.append([", ".join(filter(None, (row["name"], row["note"]))), *values, *differences])
    split = f"left out of training: {', '.join(board['left_out'])}" if board["left_out"] else "split of the dataset"
    heading = (
        f"{board['target']}: {board['segments']:,} segments of {board['test_rooms']} test rooms ({split}); "
        f"{board['train_rooms']} training rooms; {board['dataset']}. Intervals are 95 %, paired by room."
    )
    return "\n".join([heading, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def _format_difference(row: dict[str, Any], checkpoint: str, kind: str) -> str:
    difference = row["checkpoint_minus_this"].get(checkpoint)
    if difference is None:
        return ""
    if difference[kind] is None:
        return "-"
    low, high = difference[KINDS[kind]]
    return f"{difference[kind]:+.4f} ({low:+.4f} to {high:+.4f})"


def main(
    dataset: Path,
    checkpoint: tuple[Path, ...] = (),
    left_out: tuple[str, ...] = (),
    out: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> None:
    """Fit the baselines and print a leaderboard.

    Parameters
    ----------
    dataset
        Folder that train.prepare wrote.
    checkpoint
        Checkpoints to compare with the baselines.
    left_out
        Streamers to test on, instead of the dataset's split; all others train.
    out
        JSON file for the results. The table is written beside it as Markdown.
    draws
        Bootstrap samples of an interval.
    seed
        Seed of the GRU and the intervals.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = open_task(dataset, left_out=left_out)
    checkpoints = [predict_checkpoint(task, path) for path in checkpoint]  # first, so that errors appear at once
    board = rank(task, [*predict_baselines(task, seed=seed), *checkpoints], draws=draws, seed=seed)
    table = format_markdown(board)
    print(table)
    if out:
        write_json(out, board)
        out.with_suffix(".md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
