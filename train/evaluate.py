"""Scores a checkpoint on a dataset. Run as `python -m train.evaluate --checkpoint C --dataset D [--split test]`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.model import KuaiHL, load, sha256_of
from train.console import plain_errors
from train.dataset import DatasetInfo, Room, Segments
from train.metrics import Tau, paired_interval, taus


@dataclass(frozen=True, slots=True)
class Scores:
    """Every scored segment: predicted and true LVTR, room, whether its streamer is known, and the simulator's truth.

    All (segments,). ``appeal`` and ``appeal_before`` are p_t and p_{t-1}, NaN where the truth is not known; ``last``
    is the true LVTR of the segment before, NaN where that has none.
    """

    predicted: np.ndarray
    true: np.ndarray
    room: np.ndarray
    known: np.ndarray
    appeal: np.ndarray
    appeal_before: np.ndarray
    last: np.ndarray


def rooms_of(segments: Segments, split: str) -> list[Room]:
    """Rooms of a split; LabelError where there are none."""
    rooms = [room for room in segments.rooms if room.split == split]
    if not rooms:
        raise LabelError(f"The dataset has no {split!r} rooms; it has {sorted({r.split for r in segments.rooms})}.")
    return rooms


def score(model: KuaiHL, segments: Segments, rooms: Sequence[Room]) -> Scores:
    """Score each labelled segment but the first of each room once, from the window before it."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Scores.__slots__}
    for room in rooms:
        index = model.streamer_index(room.streamer)
        curve = model.sweep(segments.features(room, streamer=index)).numpy()[:-1]
        true = segments.scalar("label", room.start, room.stop)
        valid = segments.scalar("valid", room.start, room.stop)
        appeal = segments.column("appeal", room).astype(np.float64)
        scored = valid & (np.arange(len(true)) > 0)
        before = np.r_[np.nan, np.where(valid, true, np.nan)[:-1]]
        columns["predicted"].append(curve[scored])
        columns["true"].append(true[scored])
        columns["room"].append(np.full(scored.sum(), room.name))
        columns["known"].append(np.full(scored.sum(), index > 0))
        columns["appeal"].append(appeal[scored])
        columns["appeal_before"].append(np.r_[np.nan, appeal[:-1]][scored])
        columns["last"].append(before[scored])
    return Scores(**{name: np.concatenate(parts) for name, parts in columns.items()})


def check_encoders(folder: Path, model: KuaiHL, info: DatasetInfo) -> None:
    """Refuse features of another encoder than the checkpoint's: CheckpointError."""
    from kuaihl.weights import find_text_encoder, find_visual_encoder, sha256_file

    config = model.config
    found = {
        config.visual_encoder: sha256_file(find_visual_encoder(config.visual_encoder, checkpoint=folder)),
        config.text_encoder: sha256_file(
            find_text_encoder(config.text_encoder, checkpoint=folder) / "model.safetensors"
        ),
    }
    for name, digest in found.items():
        if info.encoders.get(name) != digest:
            raise CheckpointError(
                f"The dataset's features are not those of the checkpoint's {name} ({digest[:12]}): it was made with "
                f"{', '.join(f'{k} ({v[:12]})' for k, v in info.encoders.items())}. Prepare it with this checkpoint."
            )


def evaluate(checkpoint: Path, dataset: Path, *, split: str = "test", seed: int = 0) -> dict[str, Any]:
    """Score a checkpoint on one split: tau at every Delta beside what knows the truth and what knows nothing.

    Raises
    ------
    CheckpointError, LabelError
        The checkpoint or the dataset cannot be read, or they do not belong together.
    """
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    check_encoders(folder, model, segments.info)
    rooms = rooms_of(segments, split)
    scores = score(model, segments, rooms)
    generator = np.random.default_rng(seed)
    report: dict[str, Any] = {
        "checkpoint_sha256": sha256_of(folder),
        "dataset": segments.info.source,
        "target": segments.info.target,
        "split": split,
        "rooms": len(rooms),
        "kuaihl": _table(scores, scores.predicted),
        "known_streamers": _table(scores, scores.predicted, kept=scores.known),
        "new_streamers": _table(scores, scores.predicted, kept=~scores.known),
    }
    rivals = {"last_value": scores.last, "true_persistence": scores.appeal_before, "ceiling": scores.appeal}
    for name, rival in rivals.items():
        shared = np.isfinite(rival)
        if not shared.any():
            continue
        report[name] = _table(scores, rival, kept=shared)
        low, high = paired_interval(
            scores.predicted[shared], rival[shared], scores.true[shared], scores.room[shared], generator=generator
        )
        same = taus(scores.predicted[shared], scores.true[shared], scores.room[shared], deltas=[None])[0]
        report[f"kuaihl_minus_{name}"] = {"pooled": _gap(same, report[name][0]), "interval": [low, high]}
    return report


def _table(scores: Scores, predicted: np.ndarray, *, kept: np.ndarray | None = None) -> list[dict[str, Any]]:
    kept = np.ones(len(predicted), dtype=bool) if kept is None else kept
    return [asdict(tau) for tau in taus(predicted[kept], scores.true[kept], scores.room[kept])]


def _gap(tau: Tau, rival: dict[str, Any]) -> float | None:
    defined = tau.pooled is not None and rival["pooled"] is not None
    return tau.pooled - rival["pooled"] if defined else None


def print_report(report: dict[str, Any]) -> None:
    """Print the report as a table for people."""
    print(f"{report['target']} on {report['split']}: {report['rooms']} rooms of {report['dataset']}")
    print(f"checkpoint {report['checkpoint_sha256'][:12]}\n")
    print(f"{'':<18}{'Delta':>7}{'tau pooled':>12}{'tau per room':>14}{'segments':>10}{'rooms':>7}")
    for name, rows in report.items():
        if not isinstance(rows, list):
            continue
        for k, row in enumerate(rows):
            delta = "all" if row["delta"] is None else f"{row['delta']:.1f}"
            cells = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
            shown = name.replace("_", " ") if k == 0 else ""
            print(f"{shown:<18}{delta:>7}{next(cells):>12}{next(cells):>14}{row['segments']:>10}{row['rooms']:>7}")
    for name, row in report.items():
        if isinstance(row, dict) and row["pooled"] is not None:
            low, high = row["interval"]
            print(f"{name.replace('_', ' ')}: {row['pooled']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")


def main(checkpoint: Path, dataset: Path, split: str = "test", out: Path | None = None) -> None:
    """Score a checkpoint.

    Parameters
    ----------
    checkpoint
        Folder with config.json and model.safetensors.
    dataset
        Folder that train.prepare or train.simulator wrote.
    split
        train, validation or test.
    out
        JSON file for the numbers.
    """
    report = evaluate(checkpoint, dataset, split=split)
    print_report(report)
    if out:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
