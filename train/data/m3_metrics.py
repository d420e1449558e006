"""The six metrics of the KuaiLive-M3 benchmark, each a mean over rooms."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import average_precision_score, f1_score

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import KuaiHL
from train.dataset import Segments

MAX_PREDICTIONS = 200
"""Later segments of a room are not scored."""
METRICS = ("mAP", "F1@50%", "Spearman_rho", "Kendall_tau_d0.0", "Kendall_tau_d0.2", "Kendall_tau_d0.4")


def benchmark_metrics(
    predicted: np.ndarray, score: np.ndarray, binary: np.ndarray, room: np.ndarray
) -> dict[str, float | None]:
    """Compute the metrics of all rooms; None where no room defines one. All arrays are (segments,)."""
    rows = [
        _room_metrics(predicted[room == name], score[room == name], binary[room == name]) for name in pd.unique(room)
    ]
    values = np.array(rows, dtype=float).reshape(-1, len(METRICS))
    defined = np.isfinite(values)
    return {
        name: float(values[defined[:, k], k].mean()) if defined[:, k].any() else None for k, name in enumerate(METRICS)
    }


def _room_metrics(predicted: np.ndarray, score: np.ndarray, binary: np.ndarray) -> list[float]:
    top = np.zeros(len(predicted), dtype=int)
    top[np.argsort(-predicted, kind="stable")[: max(1, len(predicted) // 2)]] = 1
    varied = len(score) > 1 and np.ptp(predicted) > 0 and np.ptp(score) > 0
    return [
        float(average_precision_score(binary, predicted)) if binary.any() else np.nan,
        float(f1_score(binary, top, zero_division=0)) if binary.any() else np.nan,
        float(spearmanr(predicted, score).statistic) if varied else np.nan,
        *(_pair_tau(predicted, score, delta) for delta in (0.0, 0.2, 0.4)),
    ]


def _pair_tau(predicted: np.ndarray, score: np.ndarray, delta: float) -> float:
    """Return tau-b; with ``delta`` > 0 of differences, over pairs whose scores differ by more."""
    predicted, score = predicted.astype(np.float32), score.astype(np.float32)  # as the benchmark stores them
    if delta > 0:
        i, j = np.triu_indices(len(score), 1)
        predicted, score = predicted[i] - predicted[j], score[i] - score[j]
        far = np.abs(score) > delta
        predicted, score = predicted[far], score[far]
    return float(kendalltau(predicted, score).statistic) if len(score) > 1 else np.nan


def score_model(model: KuaiHL, segments: Segments, labels: Path) -> dict[str, Any]:
    """Score a model on the test rooms of a dataset of KuaiLive-M3; a room's first segment is not scored.

    Raises
    ------
    LabelError
        The dataset has no labels of the benchmark.
    CheckpointError
        The model does not predict the dataset's target.
    """
    target = model.config.target_index(segments.info.target)
    excluded = model.config.targets[target].excluded_inputs
    true = _read(labels, ["live_stream_id", "hl_score", "hl_binary", "split"])
    by_room = dict(iter(true[true["split"] == "test"].groupby("live_stream_id")))
    rooms = {room.name: room for room in segments.rooms}
    predicted = []
    for name in by_room:
        room = rooms[str(name)]
        features = segments.features(room, streamer=model.streamer_index(room.streamer), excluded=excluded)
        predicted.append(model.sweep(features, target=target).numpy()[1:-1][:MAX_PREDICTIONS])
    scored = pd.concat(frame.iloc[1 : MAX_PREDICTIONS + 1] for frame in by_room.values())
    metrics = benchmark_metrics(
        np.concatenate(predicted),
        scored["hl_score"].to_numpy(),
        scored["hl_binary"].to_numpy(),
        scored["live_stream_id"].to_numpy(),
    )
    return {"metrics_of_kuaihl_on_test": metrics, "rooms": len(by_room)}


def score_predictions(labels: Path, predictions: Path, column: str) -> dict[str, Any]:
    """Score a column of predictions of the test rooms; a room's first segment is not scored.

    Parameters
    ----------
    labels
        File of ``train.prepare kuailive-m3 --labels-out``.
    predictions
        Parquet or CSV with live_stream_id, segment_id and ``column``, in its own row. Other rooms are ignored.

    Raises
    ------
    LabelError
        A file cannot be read, a column is missing, or a scored segment has no finite prediction or two.
    """
    keys = ["live_stream_id", "segment_id"]
    true = _read(labels, [*keys, "seg_end_ts", "hl_score", "hl_binary", "split"])
    given = _read(predictions, [*keys, column])[[*keys, column]]
    for frame in (true, given):
        frame[keys] = frame[keys].astype(str)
    if (repeated := given.duplicated(keys)).any():
        raise LabelError(f"{predictions} has {int(repeated.sum())} segments twice.")
    true = true[true["split"] == "test"].sort_values(["live_stream_id", "seg_end_ts"], kind="stable")
    if true.empty:
        raise LabelError(f"{labels} has no test rooms.")
    place = true.groupby("live_stream_id").cumcount()
    scored = true[(place > 0) & (place <= MAX_PREDICTIONS)].merge(
        given.rename(columns={column: "_predicted"}), on=keys, how="left"
    )
    predicted = pd.to_numeric(scored["_predicted"], errors="coerce").to_numpy(float)
    if not np.isfinite(predicted).all():
        raise LabelError(f"{predictions}: {int((~np.isfinite(predicted)).sum())} test segments have no {column}.")
    room = scored["live_stream_id"].to_numpy()
    metrics = benchmark_metrics(predicted, scored["hl_score"].to_numpy(float), scored["hl_binary"].to_numpy(), room)
    return {f"metrics_of_{column}_on_test": metrics, "rooms": len(set(room))}


def _read(file: Path, columns: list[str]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise LabelError(f"{file} cannot be read as a table: {error}") from error
    if missing := [name for name in columns if name not in frame]:
        raise LabelError(f"{file} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}.")
    return frame
