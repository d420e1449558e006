"""The CSVs of PHD: users, the videos that they used, and the GIFs that they cut out of them; truth by units of 5 s.

Garcia del Molino and Gygli, "PHD-GIFs: personalized highlight detection for automatic GIF creation" (ACM MM 2018).
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kuaihl.errors import LabelError
from kuaihl.records import Segment, Skipped
from train.metrics import BLOCK_S, FRAMES_PER_S, frame_truth

UNIT_S = BLOCK_S
"""PHD's segments are as long as the blocks in which it is scored."""
COLUMNS = ("youtubeId", "start", "duration", "user_id", "video_duration", "is_last")
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Gif:
    """What a user cut out of a video; it may run over the video's end."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Video:
    """A video as one user used it; ``duration_s`` is None where the CSV does not know it."""

    youtube_id: str
    duration_s: float | None
    is_last: bool
    gifs: tuple[Gif, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A user and the videos that the GIFs were cut out of."""

    name: str
    videos: tuple[Video, ...]

    @property
    def last(self) -> Video | None:
        """The video to be predicted; None where there is not exactly one."""
        found = [video for video in self.videos if video.is_last]
        return found[0] if len(found) == 1 else None

    @property
    def history(self) -> tuple[Video, ...]:
        """The videos before."""
        return tuple(video for video in self.videos if not video.is_last)


@dataclass(frozen=True, slots=True)
class PHD:
    """The content of one CSV; ``notes`` say what about it is odd and what is done about that, counted."""

    users: tuple[User, ...]
    notes: tuple[Skipped, ...]

    @property
    def last_videos(self) -> dict[str, list[Gif]]:
        """GIFs of each video that is somebody's last, of all for whom it is."""
        return _gifs(video for user in self.users if (video := user.last))

    @property
    def videos(self) -> dict[str, list[Gif]]:
        """GIFs of each video, of all users."""
        return _gifs(video for user in self.users for video in user.videos)

    def __str__(self) -> str:
        return (
            f"{len(self.users):,} users, {len(self.last_videos):,} distinct last videos of theirs,"
            f" {len(self.videos):,} videos in all"
        )


def read(file: Path) -> PHD:
    """Read training.csv or testing.csv: a row a GIF.

    A row without a readable id, user, time or flag, or of no length, is passed over. GIFs that run over the end of
    their video are kept, since the listed duration is a whole number of seconds: what truly lies outside the video
    counts nowhere. A duration that is not positive is not known.

    Raises
    ------
    LabelError
        The file cannot be read or is no CSV with these columns.
    """
    notes: dict[str, list[str]] = defaultdict(list)
    found: dict[str, dict[str, list[tuple[Gif, float | None, bool]]]] = defaultdict(lambda: defaultdict(list))
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise LabelError(f"{file} is no CSV of PHD: it has no column {', '.join(missing)}.")
            for row in rows:
                where = f"line {rows.line_num}"
                if (parsed := _parse(row)) is None:
                    notes["a row that cannot be read: passed over"].append(where)
                    continue
                gif, duration_s, is_last = parsed
                if gif.end_s <= max(gif.start_s, 0):
                    notes["a GIF of no length: passed over"].append(where)
                    continue
                if gif.start_s < 0:
                    notes["a GIF starts before its video: cut there"].append(where)
                if duration_s is None:
                    notes["the duration of a video is not known: its recording's is taken"].append(where)
                elif gif.end_s > duration_s:
                    notes["a GIF runs over the end of its video: cut there"].append(where)
                found[row["user_id"].strip()][row["youtubeId"].strip()].append((gif, duration_s, is_last))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{file} cannot be read as a CSV of PHD: {error}.") from error
    users = tuple(User(name, tuple(_video(*item) for item in videos.items())) for name, videos in found.items())
    for user in users:
        if user.last is None:
            notes["a user without exactly one last video: not tested"].append(f"user {user.name}")
    return PHD(users, tuple(Skipped(reason, len(where), where[0]) for reason, where in notes.items()))


def _parse(row: dict[str, str | None]) -> tuple[Gif, float | None, bool] | None:
    """A GIF, the duration of its video and whether that is the user's last; None where a row is damaged."""
    try:
        start_s, length_s, duration_s = (float(row[name]) for name in ("start", "duration", "video_duration"))
        is_last = _TRUTH[row["is_last"].strip().lower()]
        named = row["youtubeId"].strip() and row["user_id"].strip()
    except (AttributeError, KeyError, TypeError, ValueError):  # a short row has None for what it lacks
        return None
    if not named or not math.isfinite(start_s + length_s + duration_s):
        return None
    return Gif(start_s, start_s + length_s), duration_s if duration_s > 0 else None, is_last


def _video(youtube_id: str, rows: Sequence[tuple[Gif, float | None, bool]]) -> Video:
    gifs, durations_s, last = zip(*rows, strict=True)
    return Video(youtube_id, next((d for d in durations_s if d is not None), None), any(last), gifs)


def _gifs(videos: Iterable[Video]) -> dict[str, list[Gif]]:
    gifs: dict[str, list[Gif]] = defaultdict(list)
    for video in videos:
        gifs[video.youtube_id] += video.gifs
    return dict(gifs)


def spans(gifs: Sequence[Gif]) -> np.ndarray:
    """Start and end of each GIF in seconds, (gifs, 2)."""
    return np.array([(gif.start_s, gif.end_s) for gif in gifs]).reshape(-1, 2)


def units_of(duration_s: float) -> tuple[Segment, ...]:
    """Cut a video into units of ``UNIT_S``; a rest of half a unit or more is one too, a shorter one is dropped."""
    count = max(math.floor(duration_s / UNIT_S + 0.5), 1)
    return tuple(Segment(i, i * UNIT_S, min((i + 1) * UNIT_S, duration_s)) for i in range(count))


def unit_labels(gifs: Sequence[Gif], *, units: int) -> np.ndarray:
    """1 for each unit in a highlight, else 0, (units,): GIFs fill half of it, or the middle of one lies in it."""
    cut = np.clip(spans(gifs), 0, units * UNIT_S)
    cut = cut[cut[:, 0] < cut[:, 1]]
    frames = frame_truth(cut, frames=round(units * UNIT_S * FRAMES_PER_S))
    labels = frames.reshape(units, -1).mean(1) >= 0.5
    labels[(cut.mean(1) // UNIT_S).astype(int)] = True
    return labels.astype(np.float64)
