"""How well scores of a stream find the moments that its viewers clipped.

Run as `python -m train.experiments.moments --logs CHAT.parquet --events CLIPS.csv [--dataset D --checkpoint C]`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import tyro
from pyarrow import csv
from tqdm import tqdm

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from kuaihl.reaction import measure, peaks, score
from kuaihl.reaction_counts import BIN_S, COLUMNS
from kuaihl.records import SEGMENT_S, Comment
from train.command import plain_errors
from train.data.chat_logs import ChatLog, find_logs
from train.data.participation import participation
from train.dataset import Segments
from train.files import write_json
from train.scoring import check_encoders
from train.splits import split_by_date

Split = Literal["train", "validation", "test", "all"]

GREETINGS_S = 600.0
"""The start of a stream, which is not scored."""
CLIP_BEFORE_S, CLIP_AFTER_S = 20.0, 40.0
"""Where a clip of 60 s starts and ends around its peak."""
NEARBY_S = 600.0
"""The window of an event is compared with those that start up to this long before and after it."""
TOP = (5, 10)
METRICS = ("window_auc", *(f"hit@{k}" for k in TOP))
RANDOM_DRAWS = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """A score every ``bin_s`` seconds from the start of a stream (bins,); NaN where there is none."""

    score: np.ndarray
    bin_s: float = BIN_S


def read_events(file: Path) -> dict[str, np.ndarray]:
    """Read the windows of events by stream: each (events, 2), start and end in seconds.

    Parameters
    ----------
    file
        CSV with the columns vod, moment_from_s and moment_to_s; others are ignored.

    Raises
    ------
    LabelError
        The file cannot be read, lacks a column, or has a window that does not end after its start.
    """
    try:
        options = csv.ConvertOptions(
            include_columns=["vod", "moment_from_s", "moment_to_s"],
            column_types={"vod": pa.string(), "moment_from_s": pa.float64(), "moment_to_s": pa.float64()},
        )
        table = csv.read_csv(file, convert_options=options)
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise LabelError(
            f"{file}: not a CSV file with the columns vod, moment_from_s and moment_to_s: {error}"
        ) from error
    windows = np.stack([table["moment_from_s"].to_numpy(), table["moment_to_s"].to_numpy()], axis=1)
    if not (windows[:, 1] > windows[:, 0]).all():
        row = int(np.flatnonzero(~(windows[:, 1] > windows[:, 0]))[0])
        raise LabelError(f"{file}: moment_to_s must be greater than moment_from_s; row {row + 2} has {windows[row]}.")
    vods = np.array(table["vod"].to_pylist(), dtype=object)
    return {vod: windows[vods == vod] for vod in dict.fromkeys(vods)}


def keep_for_scoring(comments: Sequence[Comment]) -> list[Comment]:
    """Leave out commands, and messages about clips, from which the events were read."""
    return [c for c in comments if not c.text.startswith("!") and "clip" not in c.text.casefold()]


def chat_curves(comments: Sequence[Comment]) -> dict[str, Curve]:
    """Score a stream by the reaction and by what else a chat can be scored by; the comments are in order of time."""
    reaction = measure(comments)
    column = dict(zip(COLUMNS, reaction.counts.T, strict=True))
    padded = np.pad(column["messages"], 1)
    rate = padded[:-2] + padded[1:-1] + padded[2:]
    return {
        "message_rate": Curve(rate),
        "rate_z": Curve(rate_z(rate)),
        "participation_measured": Curve(_participation(comments), SEGMENT_S),
        "distinct_chatters": Curve(column["chatters_30s"]),
        "reaction": Curve(reaction.score),
        "reaction_live": Curve(score(reaction.counts, lexical=reaction.lexical, live=True)),
    }


def rate_z(rate: np.ndarray) -> np.ndarray:
    """Compare rates (bins,) with mean and standard deviation of the 10 min before each (bins,)."""
    reach = round(NEARBY_S / BIN_S)
    past = np.lib.stride_tricks.sliding_window_view(np.r_[np.full(reach, np.nan), rate], reach)[: len(rate)]
    known = np.isfinite(past)
    count = np.maximum(known.sum(1), 1)
    mean = np.where(known, past, 0.0).sum(1) / count
    deviation = np.sqrt(np.where(known, (past - mean[:, None]) ** 2, 0.0).sum(1) / count)
    return (rate - mean) / np.where(deviation > 0, deviation, 1.0)


def _participation(comments: Sequence[Comment]) -> np.ndarray:
    chatters: dict[str, int] = {}
    written = [
        (int(c.time_s // SEGMENT_S), chatters.setdefault(c.user, len(chatters)))
        for c in comments
        if c.user is not None and c.time_s >= 0
    ]
    segment, chatter = np.array(written, dtype=np.int64).reshape(-1, 2).T
    return participation(segment, chatter, segments=int(segment.max(initial=-1)) + 1).share


def read_heads(checkpoint: Path, dataset: Path) -> Callable[[str], dict[str, Curve] | None]:
    """Open a checkpoint to score streams of a dataset by each of its heads, as it is and one segment earlier.

    Returns
    -------
    A function from the name of a stream to its curves, None where the dataset lacks it.

    Raises
    ------
    CheckpointError, LabelError
        The checkpoint or the dataset cannot be read, or they do not belong together.
    """
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    check_encoders(folder, model, segments.info)
    rooms = {room.name: room for room in segments.rooms}

    def curves(stream: str) -> dict[str, Curve] | None:
        if (room := rooms.get(stream)) is None:
            return None
        heads = {}
        for k, target in enumerate(model.config.targets):
            streamer = model.streamer_index(room.streamer)
            features = segments.features(room, streamer=streamer, excluded=frozenset(target.excluded_inputs))
            forecast = model.sweep(features, target=k).numpy().astype(np.float64)
            heads[f"head_{target.name}"] = Curve(forecast[:-1], SEGMENT_S)
            heads[f"head_{target.name}_earlier"] = Curve(forecast[1:], SEGMENT_S)
        return heads

    return curves


def window_auc(curve: Curve, window: np.ndarray) -> float:
    """Return the share of windows near an event's whose best bin is below its best bin.

    Ties count half. The others have the same length, start every 10 s up to `NEARBY_S` before and after the event's,
    and overlap neither it nor the greetings. NaN where there is none, or the event lies beyond the curve.
    """
    score = np.repeat(np.where(np.isfinite(curve.score), curve.score, -np.inf), round(curve.bin_s / BIN_S))
    first, stop = np.ceil(window / BIN_S - 0.5).astype(int)  # bins whose middle lies in it
    length, reach = stop - first, round(NEARBY_S / BIN_S)
    if first < 0 or stop > len(score):
        return np.nan
    best = np.lib.stride_tricks.sliding_window_view(score, length).max(1)
    starts = np.arange(max(first - reach, round(GREETINGS_S / BIN_S)), min(first + reach + 1, len(best)))
    others = best[starts[np.abs(starts - first) >= length]]
    if not len(others):
        return np.nan
    return float((others < best[first]).mean() + (others == best[first]).mean() / 2)


def hits(curve: Curve, windows: np.ndarray) -> np.ndarray:
    """Which events (events, 2) are overlapped by the K best clips of 60 s, for each K in `TOP` (events, len(TOP))."""
    score = curve.score.copy()
    score[: round(GREETINGS_S / curve.bin_s)] = np.nan
    middle_s = (np.array(peaks(score, bin_s=curve.bin_s)[: max(TOP)], dtype=np.float64) + 0.5) * curve.bin_s
    start_s, end_s = middle_s - CLIP_BEFORE_S, middle_s + CLIP_AFTER_S
    overlaps = (start_s < windows[:, 1:]) & (end_s > windows[:, :1])  # (events, clips)
    return np.stack([overlaps[:, :k].any(1) for k in TOP], axis=1)


def judge(curve: Curve, windows: np.ndarray) -> np.ndarray:
    """Judge a curve by the events of its stream (events, 2) -> (events, metrics), columns `METRICS`."""
    return np.c_[[window_auc(curve, window) for window in windows], hits(curve, windows)]


def judge_random(bins: int, windows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Judge random scores, as `judge` does; the mean of `RANDOM_DRAWS`."""
    draws = [judge(Curve(generator.random(bins)), windows) for _ in range(RANDOM_DRAWS)]
    return np.mean(draws, axis=0)


def compare(judged: Mapping[str, Sequence[np.ndarray]], *, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Average over events, and compare each method with the reaction -> plain values, for JSON.

    Parameters
    ----------
    judged
        Of each method a matrix (events, metrics) for each stream; NaN where a metric is not defined.
    draws
        Samples of streams with replacement, the same for all methods, for intervals of 95 %.
    """
    streams = len(judged["reaction"])
    weights = np.random.default_rng(seed).multinomial(streams, np.full(streams, 1 / streams), size=draws)
    values, drawn = {}, {}
    for name, matrices in judged.items():
        sums = np.stack([np.nansum(matrix, axis=0) for matrix in matrices])
        counts = np.stack([np.isfinite(matrix).sum(axis=0) for matrix in matrices])
        with np.errstate(invalid="ignore"):
            values[name], drawn[name] = sums.sum(0) / counts.sum(0), weights @ sums / (weights @ counts)
    methods = {}
    for name in judged:
        gap, gaps = values["reaction"] - values[name], drawn["reaction"] - drawn[name]
        methods[name] = {
            **dict(zip(METRICS, values[name].tolist(), strict=True)),
            "interval": dict(zip(METRICS, _intervals(drawn[name]), strict=True)),
            "reaction_minus_this": dict(zip(METRICS, gap.tolist(), strict=True)),
            "reaction_minus_this_interval": dict(zip(METRICS, _intervals(gaps), strict=True)),
        }
    return methods


def _intervals(drawn: np.ndarray) -> list[list[float]]:
    """95 % intervals from draws (draws, metrics)."""
    return np.nanquantile(drawn, [0.025, 0.975], axis=0).T.tolist()


def moments(
    logs: Path,
    events: Path,
    *,
    split: Split = "test",
    dataset: Path | None = None,
    checkpoint: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge all methods by the events of the streams of a split.

    Raises
    ------
    LabelError
        The logs or the events cannot be read, no stream of the split has an event, or only one of ``dataset`` and
        ``checkpoint`` is there.
    CheckpointError
        The checkpoint cannot be read, or does not belong to the dataset.
    """
    if (dataset is None) != (checkpoint is None):
        raise LabelError("A checkpoint is judged on a dataset made of the same logs: give --dataset and --checkpoint.")
    heads = read_heads(checkpoint, dataset) if checkpoint and dataset else lambda _: {}
    windows_of = read_events(events)
    generator = np.random.default_rng(seed)
    judged: dict[str, list[np.ndarray]] = {}
    lacking = 0
    for log in tqdm(_logs_of(find_logs(logs), split), unit="stream"):
        windows = windows_of.get(log.name, np.zeros((0, 2)))
        windows = windows[windows[:, 0] >= GREETINGS_S]
        if not len(windows):
            continue
        head_curves = heads(log.name)
        if head_curves is None:
            lacking += 1
            continue
        curves = {**head_curves, **chat_curves(keep_for_scoring(log.read()))}
        judged.setdefault("random", []).append(judge_random(len(curves["reaction"].score), windows, generator))
        for name, curve in curves.items():
            judged.setdefault(name, []).append(judge(curve, windows))
    if not any(np.isfinite(matrix).all(1).any() for matrix in judged.get("reaction", [])):
        raise LabelError(
            f"{events}: no stream of the {split!r} split has an event after {GREETINGS_S / 60:g} min and other windows "
            "to compare it with. The vod of an event must be the name of a log."
        )
    return {
        "logs": logs.name,
        "split": split,
        "streams": len(judged["reaction"]),
        "events": sum(map(len, judged["reaction"])),
        "streams_not_in_dataset": lacking,
        "methods": compare(judged, seed=seed),
    }


def _logs_of(logs: Sequence[ChatLog], split: Split) -> list[ChatLog]:
    if split == "all":
        return list(logs)
    return [log for log, where in zip(logs, split_by_date(len(logs)), strict=True) if where == split]


def print_report(report: dict[str, Any]) -> None:
    """Print the report as a table."""
    print(f"{report['logs']}, {report['split']}: {report['events']} events in {report['streams']} streams")
    if report["streams_not_in_dataset"]:
        print(f"left out, not in the dataset: {report['streams_not_in_dataset']} streams")
    for title, value, interval, form in (
        ("", None, "interval", "{:.3f} [{:.3f}, {:.3f}]"),
        ("reaction minus", "reaction_minus_this", "reaction_minus_this_interval", "{:+.3f} [{:+.3f}, {:+.3f}]"),
    ):
        print(f"\n{title:<30}" + "".join(f"{metric:>26}" for metric in METRICS))
        for name, row in report["methods"].items():
            if value is None or name != "reaction":
                cells = [form.format((row if value is None else row[value])[m], *row[interval][m]) for m in METRICS]
                print(f"{name.replace('_', ' '):<30}" + "".join(f"{cell:>26}" for cell in cells))


def main(
    logs: Path,
    events: Path,
    dataset: Path | None = None,
    checkpoint: Path | None = None,
    split: Split = "test",
    out: Path | None = None,
) -> None:
    """Judge scores of streams by the moments that viewers clipped.

    Parameters
    ----------
    logs
        Parquet file (columns vod, channel, time_s, chatter, text), or a folder with one of logs for each channel.
    events
        CSV file (columns vod, moment_from_s, moment_to_s): the name of a log, and when the clipped moment was, in
        seconds.
    dataset
        Folder that train.prepare made of the same logs, for the checkpoint.
    checkpoint
        Folder of a checkpoint whose heads are judged as well.
    split
        The streams to judge by; all for streams that nothing was trained on.
    out
        JSON file for the numbers.
    """
    report = moments(logs, events, split=split, dataset=dataset, checkpoint=checkpoint)
    if out:
        write_json(out, report)
    print_report(report)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
