"""How well scores find the moments that viewers clipped.

Run as `python -m train.experiments.moments --logs CHAT.parquet --events CLIPS.csv [--dataset D --checkpoint C]`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import tyro
from tqdm import tqdm

from kuaihl.errors import LabelError
from kuaihl.lexicon import Lexicon
from kuaihl.reaction import BIN_S, COLUMNS, Reaction, measure, peaks
from kuaihl.records import SEGMENT_S, Comment
from train.console import plain_errors
from train.evaluate import write_report
from train.participation import ChatLog, find_logs, participation, split_by_date

Split = Literal["train", "validation", "test", "all"]

GREETINGS_S = 600.0
"""The start of a stream, which is not scored."""
CLIP_BEFORE_S, CLIP_AFTER_S = 20.0, 40.0
"""Where a clip of 60 s starts and ends around its peak."""
COMPARED_S = 600.0
"""An event's window is compared with those that start up to this long before and after it."""
TOP = (5, 10)
METRICS = ("window_auc", *(f"hit@{k}" for k in TOP))
RANDOM_DRAWS = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """A score every ``bin_s`` seconds from the start of the stream (bins,); NaN where there is none."""

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
        options = pa.csv.ConvertOptions(
            include_columns=["vod", "moment_from_s", "moment_to_s"],
            column_types={"vod": pa.string(), "moment_from_s": pa.float64(), "moment_to_s": pa.float64()},
        )
        table = pa.csv.read_csv(file, convert_options=options)
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise LabelError(f"{file}: not a CSV file with the columns vod, moment_from_s and moment_to_s: {error}") from error
    windows = np.stack([table["moment_from_s"].to_numpy(), table["moment_to_s"].to_numpy()], axis=1)
    if not (windows[:, 1] > windows[:, 0]).all():
        row = int(np.flatnonzero(~(windows[:, 1] > windows[:, 0]))[0])
        raise LabelError(f"{file}: moment_to_s must be greater than moment_from_s; row {row + 2} has {windows[row]}.")
    vods = np.array(table["vod"].to_pylist(), dtype=object)
    return {vod: windows[vods == vod] for vod in dict.fromkeys(vods)}


def window_auc(curve: Curve, window: np.ndarray) -> float:
    """Share of windows around an event's that its best bin exceeds; ties count half, NaN without another window.

    The other windows have the same length, start at every 10 s up to `COMPARED_S` before and after the event's, and
    overlap neither it nor the greetings.
    """
    score = np.repeat(np.where(np.isfinite(curve.score), curve.score, -np.inf), round(curve.bin_s / BIN_S))
    first, stop = np.ceil(window / BIN_S - 0.5).astype(int)  # bins whose middle lies in it
    length, reach = stop - first, round(COMPARED_S / BIN_S)
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
