"""The CSVs of PHD: the GIFs that users cut out of videos, as labels of units of 5 s.

Garcia del Molino and Gygli, "PHD-GIFs: personalized highlight detection for automatic GIF creation" (ACM MM 2018).
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kuaihl.comments.diagnostics import Report
from kuaihl.errors import LabelError
from kuaihl.records import Segment, Skipped
from train.metrics import BLOCK_S, FRAMES_PER_S, frame_truth

UNIT_S = BLOCK_S
"""Segments of PHD are as long as the blocks that its scores are averaged in."""
_COLUMNS = ("youtubeId", "start", "duration", "user_id", "video_duration", "is_last")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Gif:
    """A row: what a user cut out of a video. It may exceed the video; its duration is None where it is unknown."""

    video: str
    user: str
    start_s: float
    end_s: float
    duration_s: float | None
    is_last: bool


def read_gifs(file: Path) -> tuple[list[Gif], tuple[Skipped, ...]]:
    """Read training.csv or testing.csv.

    Returns
    -------
    The GIFs, and which rows were skipped: those that are damaged or of no length.

    Raises
    ------
    LabelError
        The file cannot be read, or is not a CSV with these columns.
    """
    gifs, report = [], Report()
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise LabelError(f"{file} is not a CSV of PHD: it has no column {', '.join(missing)}.")
            for row in rows:
                gif = _parse(row)
                if gif is None:
                    report.damage("damaged rows", f"line {rows.line_num}")
                elif gif.end_s <= max(gif.start_s, 0):
                    report.damage("GIFs of no length", f"line {rows.line_num}")
                else:
                    gifs.append(gif)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{file} cannot be read as a CSV of PHD: {error}.") from error
    return gifs, report.skipped()


def _parse(row: dict[str, str | None]) -> Gif | None:
    """Return the GIF of a row; None if it is damaged."""
    try:
        start_s, length_s, duration_s = (float(row[name]) for name in ("start", "duration", "video_duration"))
        is_last = _BOOLEANS[row["is_last"].strip().lower()]
        video, user = row["youtubeId"].strip(), row["user_id"].strip()
    except (AttributeError, KeyError, TypeError, ValueError):  # a short row has None in place of the missing cells
        return None
    if not video or not user or not math.isfinite(start_s + length_s + duration_s):
        return None
    return Gif(video, user, start_s, start_s + length_s, duration_s if duration_s > 0 else None, is_last)


def last_videos(gifs: Iterable[Gif]) -> dict[str, str]:
    """Return the last video of each user who has exactly one: the video to be scored."""
    videos: dict[str, set[str]] = defaultdict(set)
    for gif in gifs:
        if gif.is_last:
            videos[gif.user].add(gif.video)
    return {user: next(iter(names)) for user, names in videos.items() if len(names) == 1}


def group_by_video(gifs: Iterable[Gif]) -> dict[str, list[Gif]]:
    """Return the GIFs of each video."""
    grouped: dict[str, list[Gif]] = defaultdict(list)
    for gif in gifs:
        grouped[gif.video].append(gif)
    return dict(grouped)


def spans(gifs: Sequence[Gif]) -> np.ndarray:
    """Return start and end of each GIF in seconds (gifs, 2)."""
    return np.array([(gif.start_s, gif.end_s) for gif in gifs]).reshape(-1, 2)


def cut_units(duration_s: float) -> tuple[Segment, ...]:
    """Cut a video into units of ``UNIT_S``. A rest of at least half a unit is one too, a shorter one is dropped."""
    count = max(math.floor(duration_s / UNIT_S + 0.5), 1)
    return tuple(Segment(i, i * UNIT_S, min((i + 1) * UNIT_S, duration_s)) for i in range(count))


def unit_labels(gifs: Sequence[Gif], *, units: int) -> np.ndarray:
    """Return 1 for each unit that GIFs fill by half, or that the middle of one is in, else 0 (units,)."""
    cut = np.clip(spans(gifs), 0, units * UNIT_S)
    cut = cut[cut[:, 0] < cut[:, 1]]
    frames = frame_truth(cut, frames=round(units * UNIT_S * FRAMES_PER_S))
    labels = frames.reshape(units, -1).mean(1) >= 0.5
    labels[(cut.mean(1) // UNIT_S).astype(int)] = True
    return labels.astype(np.float64)
