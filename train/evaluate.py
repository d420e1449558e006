"""Score a checkpoint on a dataset: `python -m train.evaluate --checkpoint DIR --dataset DIR [--split test]`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load, sha256_of
from train.command import plain_errors
from train.data.kuailive_m3 import LABELS_FILE
from train.data.m3_metrics import score_model, score_predictions
from train.data.phd import GIFS_FILE, score_users
from train.data.phd_csv import read_gifs
from train.dataset import Segments
from train.files import write_json
from train.metrics import calibration, paired_interval, taus
from train.scoring import RIVALS, TABLES, Scores, Source, check_encoders, check_left_out, score
from train.splits import select_rooms


def evaluate(
    checkpoint: Path,
    dataset: Path,
    *,
    split: str = "test",
    left_out: Sequence[str] = (),
    without: Sequence[Source] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Score the head of the dataset's target: tau at every Delta, with baselines, and calibration.

    Parameters
    ----------
    split, left_out
        As for `train.splits.select_rooms`.
    without
        As for `train.scoring.score`.
    seed
        Of the bootstrap.

    Returns
    -------
    Plain values, for JSON. For a dataset of PHD, ``phd`` is the mean average precision.

    Raises
    ------
    CheckpointError, LabelError
        The checkpoint or the dataset cannot be read, they do not belong together, no segment can be scored, or the
        checkpoint learned from streamers that are left out.
    """
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    check_encoders(folder, model, segments.info)
    rooms = select_rooms(segments, split, left_out=left_out)
    check_left_out(checkpoint, model, left_out)
    scores = score(model, segments, rooms, without=without)
    if not len(scores.true):
        raise LabelError(f"No segment of the {split!r} rooms of {dataset} has a label and a segment before it.")
    generator = np.random.default_rng(seed)
    report: dict[str, Any] = {
        "checkpoint_sha256": sha256_of(folder),
        "dataset": segments.info.source,
        "target": segments.info.target,
        "split": split,
        "left_out": list(left_out),
        "without": ", ".join(sorted(set(without))),
        "rooms": len(rooms),
        "kuaihl": _table(scores, scores.predicted),
        "known_streamers": _table(scores, scores.predicted, mask=scores.known),
        "new_streamers": _table(scores, scores.predicted, mask=~scores.known),
    }
    for name, column in RIVALS.items():
        rival = getattr(scores, column)
        defined = np.isfinite(rival)
        if defined.any():
            report[name] = _table(scores, rival, mask=defined)
            report[f"kuaihl_minus_{name}"] = _difference(scores, rival, mask=defined, generator=generator)
    if (dataset / GIFS_FILE).exists():
        gifs, _ = read_gifs(dataset / GIFS_FILE)
        curves = {name: scores.predicted[scores.room == name] for name in np.unique(scores.room)}
        report["phd"] = asdict(score_users(gifs, curves))
    return report | {"calibration": asdict(calibration(scores.predicted, scores.true))}


def _table(scores: Scores, predicted: np.ndarray, *, mask: np.ndarray | slice = slice(None)) -> list[dict[str, Any]]:
    return [asdict(tau) for tau in taus(predicted[mask], scores.true[mask], scores.room[mask])]


def _difference(
    scores: Scores, rival: np.ndarray, *, mask: np.ndarray, generator: np.random.Generator
) -> dict[str, float | list[float] | None]:
    """Return pooled tau minus that of a baseline, with its interval; None if a tau is undefined."""
    predicted, rival, true, room = scores.predicted[mask], rival[mask], scores.true[mask], scores.room[mask]
    ours, theirs = (taus(values, true, room, deltas=[None])[0].pooled for values in (predicted, rival))
    if ours is None or theirs is None:
        return {"pooled": None, "interval": None}
    interval = paired_interval(predicted, rival, true, room, generator=generator)
    return {"pooled": ours - theirs, "interval": list(interval)}


def print_report(report: dict[str, Any]) -> None:
    """Print the report as a table."""
    print(f"{report['target']} on {report['split']}: {report['rooms']} rooms of {report['dataset']}")
    print(f"checkpoint {report['checkpoint_sha256'][:12]}")
    if report["left_out"]:
        print(f"streamers left out of training: {', '.join(report['left_out'])}")
    if report["without"]:
        print(f"without {report['without']}")
    print(f"\n{'':<18}{'Delta':>7}{'tau pooled':>12}{'tau per room':>14}{'segments':>10}{'rooms':>7}{'skipped':>9}")
    for name in (name for name in TABLES if name in report and report[name][0]["segments"]):
        for k, row in enumerate(report[name]):
            delta = "all" if row["delta"] is None else f"{row['delta']:.1f}"
            pooled, per_room = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
            counts = f"{row['segments']:>10}{row['rooms']:>7}{row['rooms_skipped']:>9}"
            print(f"{name.replace('_', ' ') if k == 0 else '':<18}{delta:>7}{pooled:>12}{per_room:>14}{counts}")
    for name in (f"kuaihl_minus_{rival}" for rival in RIVALS):
        if name in report and report[name]["pooled"] is not None:
            low, high = report[name]["interval"]
            interval = f", 95 % interval {low:+.4f} to {high:+.4f}" if report["rooms"] > 1 else ""
            print(f"{name.replace('_', ' ')}: {report[name]['pooled']:+.4f}{interval}")
    errors = report["calibration"]
    print(f"calibration: Brier score {errors['brier']:.4f}, expected error {errors['expected_error']:.4f}")
    if phd := report.get("phd"):
        mean, chance = ("-" if x is None else f"{x:.4f}" for x in (phd["precision"]["mean"], phd["chance"]))
        print(f"PHD: mean average precision {mean} (constant: {chance}) of {phd['precision']['users']} users")


def evaluate_m3(
    checkpoint: Path | None = None,
    dataset: Path | None = None,
    *,
    labels: Path | None = None,
    predictions: Path | None = None,
    column: str = "prediction",
) -> dict[str, Any]:
    """Compute the metrics of the KuaiLive-M3 benchmark for a checkpoint or for a column of predictions.

    Raises
    ------
    CheckpointError, LabelError
        A file cannot be read, or is missing or does not fit the others.
    """
    if labels is not None and predictions is not None:
        return score_predictions(labels, predictions, column)
    if checkpoint is None or dataset is None:
        raise LabelError("Give --labels and --predictions, or --checkpoint and --dataset.")
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    check_encoders(folder, model, segments.info)
    return score_model(model, segments, dataset / LABELS_FILE) | {"dataset": segments.info.source}


def main(
    checkpoint: Path | None = None,
    dataset: Path | None = None,
    split: Literal["train", "validation", "test", "all"] = "test",
    left_out: tuple[str, ...] = (),
    without: tyro.conf.UseAppendAction[tuple[Source, ...]] = (),
    out: Path | None = None,
    protocol: Literal["kuaihl", "kuailive-m3"] = "kuaihl",
    labels: Path | None = None,
    predictions: Path | None = None,
    column: str = "prediction",
) -> None:
    """Score a checkpoint on a dataset.

    Parameters
    ----------
    checkpoint
        Folder with config.json and model.safetensors.
    dataset
        Folder that train.prepare wrote.
    split
        Rooms to score. Use "all" for a dataset that no room of was used in training.
    left_out
        Streamers to score, as given to train.fit; replaces the split of the dataset.
    without
        Input to hide from the model; repeatable.
    out
        JSON file for the report.
    protocol
        Tau at every Delta, or the six metrics of the KuaiLive-M3 benchmark, on its test rooms.
    labels
        For kuailive-m3 without a checkpoint: file of train.prepare kuailive-m3 --labels-out.
    predictions
        Parquet or CSV with live_stream_id, segment_id and predictions.
    column
        Column of the predictions.
    """
    if protocol == "kuailive-m3":
        report = evaluate_m3(checkpoint, dataset, labels=labels, predictions=predictions, column=column)
        if out:
            write_json(out, report)
        print(f"KuaiLive-M3 protocol: {report['rooms']} test rooms of {report.get('dataset', labels)}")
        for name, value in next(iter(report.values())).items():
            print(f"{name:<18}{'-' if value is None else f'{value:.4f}':>8}")
        return
    if checkpoint is None or dataset is None:
        raise LabelError("Give --checkpoint and --dataset.")
    report = evaluate(checkpoint, dataset, split=split, left_out=left_out, without=without)
    if out:
        write_json(out, report)
    print_report(report)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
