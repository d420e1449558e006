"""PHD, from its CSVs and a folder of its videos, to a dataset; mean average precision of predicted scores."""

import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from kuaihl.errors import LabelError
from kuaihl.media.recording import open_recording
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from train.command import command_line
from train.data.labels import SegmentLabels
from train.data.phd_csv import UNIT_S, Gif, cut_units, group_by_video, last_videos, read_gifs, spans, unit_labels
from train.data.shards import build_columns, open_dataset, write_shards
from train.metrics import LastVideo, MeanPrecision, mean_average_precision

GIFS_FILE = "testing.csv"
"""The copy of testing.csv in the folder of the dataset."""
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".flv", ".avi", ".3gp")
CAPTION_SUFFIXES = (".vtt", ".srt", ".ass")
VALIDATION_SHARE = 10
"""One in this many training videos validates."""
_NAME = re.compile(r"(?:^|\[)([\w-]{11})\]?\.")
"""ID.mp4 and ID.en.vtt, or "Title [ID].mp4", as yt-dlp names its files."""


@dataclass(frozen=True, slots=True)
class PhdConfig:
    """Make a dataset of PHD, with pictures and captions. Its test videos are scored by mean average precision."""

    training: Path
    """training.csv; a tenth of its videos validates."""
    testing: Path
    """testing.csv, of which only last videos are needed."""
    videos: Path
    """Folder with the videos, and captions if there are any, named by YouTube id."""
    out: Path
    """Folder for the dataset. An interrupted run continues."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Checkpoint whose encoders to use."""

    def run(self) -> None:
        """Prepare; see `prepare_phd`."""
        prepare_phd(self)


@dataclass(frozen=True, slots=True)
class PhdScore:
    """Mean average precision, that of a constant, and how many users have a last video without scores."""

    precision: MeanPrecision
    chance: float | None
    without_video: int


def prepare_phd(config: PhdConfig) -> None:
    """Encode and label the videos that are there. One that cannot be read is logged and skipped.

    Raises
    ------
    LabelError
        A CSV or the folder cannot be read, or ``out`` has another dataset.
    CheckpointError
        An encoder is missing.
    """
    gifs = {}
    for file in (config.training, config.testing):
        gifs[file], skipped = read_gifs(file)
        print(f"{file.name}: {len({gif.user for gif in gifs[file]})} users, {len(last_videos(gifs[file]))} last videos")
        for rows in skipped:
            print(f"  skipped {rows.count} × {rows.reason} (first: {rows.where})")
    videos, captions = (find_files(config.videos, suffixes) for suffixes in (VIDEO_SUFFIXES, CAPTION_SUFFIXES))
    last = last_videos(gifs[config.testing])
    tested = group_by_video(gif for gif in gifs[config.testing] if last.get(gif.user) == gif.video)
    labelled = {name: ("test", some) for name, some in tested.items()}
    for name, some in group_by_video(gifs[config.training]).items():
        validates = zlib.crc32(name.encode()) % VALIDATION_SHARE == 0
        labelled.setdefault(name, ("validation" if validates else "train", some))
    available = {name: labelled[name] for name in labelled if name in videos}
    print(f"{len(available)} of {len(labelled)} videos are in {config.videos}")
    predictor = Predictor.from_pretrained(config.checkpoint)
    info = open_dataset(
        config.out,
        predictor.config,
        config.checkpoint,
        target="highlight",
        source=f"PHD: GIFs that users cut out of YouTube videos, in units of {UNIT_S:g} s",
        made_by=command_line("python -m train.prepare phd", config),
        parameters={"unit_s": UNIT_S},
        ahead=0,
    )
    shutil.copyfile(config.testing, config.out / GIFS_FILE)
    encoders = {
        name: partial(_encode, predictor, name, split, videos[name], captions.get(name), some)
        for name, (split, some) in available.items()
    }
    failed = write_shards(config.out, info, encoders)
    print(f"{len(available) - failed} videos are in {config.out}; {failed} could not be read")


def find_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return files by YouTube id, the first by name if there are several; LabelError if there is no such folder."""
    if not folder.is_dir():
        raise LabelError(f"{folder} is not a folder. Give the one with the videos, named by their YouTube ids.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and (name := _NAME.search(path.name)):
            files.setdefault(name[1], path)
    return files


def _encode(
    predictor: Predictor, name: str, split: str, file: Path, captions: Path | None, gifs: Sequence[Gif]
) -> dict[str, object]:
    """Return the columns of a video's shard."""
    recording = open_recording(file)
    units = cut_units(recording.info.duration_s)
    sources = ["pictures"] if captions is None else ["pictures", "speech"]
    encoded = predictor.encode(replace(recording, segments=units), transcript=captions, sources=sources)
    return build_columns(
        name=name,
        streamer="",
        day=0,
        split=split,
        segments=units,
        features=encoded.features,
        speech=encoded.speech,
        comments=None,
        labels=SegmentLabels(unit_labels(gifs, units=len(units)), np.ones(len(units), dtype=bool), "highlight"),
    )


def score_users(gifs: Sequence[Gif], curves: Mapping[str, np.ndarray]) -> PhdScore:
    """Score each user's last video against the GIFs of that user.

    Parameters
    ----------
    gifs
        Of testing.csv.
    curves
        Scores (units,) of the last videos, by YouTube id.
    """
    by_user: dict[str, list[Gif]] = {}
    for gif in gifs:
        by_user.setdefault(gif.user, []).append(gif)
    last = last_videos(gifs)
    scored = []
    for user, video in last.items():
        if (curve := curves.get(video)) is None:
            continue
        cut = [gif for gif in by_user[user] if gif.video == video]
        listed_s = next((gif.duration_s for gif in cut if gif.duration_s), None)
        has_history = len(cut) < len(by_user[user])
        scored.append(LastVideo(curve, spans(cut), listed_s or UNIT_S * len(curve), has_history))
    constant = [replace(video, scores=np.zeros(len(video.scores))) for video in scored]
    return PhdScore(mean_average_precision(scored), mean_average_precision(constant).mean, len(last) - len(scored))
