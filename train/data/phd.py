"""PHD's CSVs (see `train.data.phd_csv`) and a folder of its videos -> dataset on disk; mean average precision of a checkpoint.

Run as `python -m train.data.phd prepare --training F --testing F --videos DIR --out DIR`, and after train.fit
`python -m train.data.phd score --checkpoint C --dataset DIR --testing F`.
"""

import json
import logging
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from kuaihl.errors import CommentLogError, KuaiHLError, LabelError, RecordingError
from kuaihl.features.chat import utterances_by_segment
from kuaihl.features.embeddings import segment_features
from kuaihl.features.pretrained import COMPACT_SWIN, find_text_encoder, find_visual_encoder, sha256_file
from kuaihl.features.text import TextEncoder
from kuaihl.features.vision import VisualEncoder
from kuaihl.media.recording import Recording, open_recording
from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import KuaiHL, load
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import PICTURES_PER_SEGMENT
from kuaihl.speech.transcripts import read_transcript
from train.command import plain_errors
from train.data.labels import SegmentLabels
from train.data.phd_csv import PHD, UNIT_S, Gif, read, spans, unit_labels, units_of
from train.dataset import DatasetInfo, Segments, write_shard
from train.evaluate import check_encoders, rooms_of, write_report
from train.metrics import LastVideo, MeanPrecision, mean_average_precision
from train.prepare import columns, open_dataset, said

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".flv", ".avi", ".3gp")
CAPTION_SUFFIXES = (".vtt", ".srt", ".ass")
VALIDATION_SHARE = 10
"""One of so many training videos validates."""
_NAME = re.compile(r"(?:^|\[)([\w-]{11})\]?\.")
"""ID.mp4 and ID.en.vtt, or the downloader's "Title [ID].mp4"."""
_UNITS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Score:
    """``chance`` is the mean average precision of a constant; users whose last video has no scores are counted."""

    precision: MeanPrecision
    chance: float | None
    without_video: int


def find_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Files by YouTube id, of ID.mp4 or "Title [ID].mp4"; the first by name where there are several, as of captions."""
    if not folder.is_dir():
        raise LabelError(f"{folder} is no folder: pass the one that holds the videos, named by their YouTube ids.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and (name := _NAME.search(path.name)):
            found.setdefault(name[1], path)
    return found


def evaluate(phd: PHD, curves: Mapping[str, np.ndarray]) -> Score:
    """Mean average precision over users, from the scores (units,) of each user's last video by its YouTube id.

    The listed duration holds; where it is not known, that of the units.
    """
    tested = [
        LastVideo(
            curves[last.youtube_id],
            spans(last.gifs),
            duration_s=last.duration_s or UNIT_S * len(curves[last.youtube_id]),
            has_history=bool(user.history),
        )
        for user in phd.users
        if (last := user.last) and last.youtube_id in curves
    ]
    constant = [replace(video, scores=np.zeros(len(video.scores))) for video in tested]
    lacking = sum(user.last is not None for user in phd.users) - len(tested)
    return Score(mean_average_precision(tested), mean_average_precision(constant).mean, lacking)


def curves_of(model: KuaiHL, segments: Segments) -> dict[str, np.ndarray]:
    """Scores (units,) of each test video. The first unit, of which nothing is known, has the mean of the others."""
    curves = {}
    for room in rooms_of(segments, "test"):
        curve = model.sweep(
            segments.features(
                room,
                streamer=model.streamer_index(room.streamer),
                excluded=model.config.targets[0].excluded_inputs,
            )
        ).numpy()[:-1]
        curves[room.name] = np.r_[curve[1:].mean() if len(curve) > 1 else 0.0, curve[1:]]
    return curves


@dataclass(frozen=True)
class Prepare:
    """Encode the videos that are there, pictures and captions; a run that was interrupted goes on."""

    training: Path
    """training.csv; a tenth of its videos validates."""
    testing: Path
    """testing.csv, of which only last videos are needed."""
    videos: Path
    """Folder with videos, and captions where there are any, named by YouTube id."""
    out: Path
    """Folder of the dataset."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Folder whose visual.safetensors is the visual encoder."""

    def run(self) -> None:
        """Prepare.

        Raises
        ------
        LabelError, CheckpointError
            A CSV or the folder cannot be read, ``out`` holds another dataset, or an encoder is missing.
        """
        training, testing = read(self.training), read(self.testing)
        videos, captions = find_files(self.videos, VIDEO_SUFFIXES), find_files(self.videos, CAPTION_SUFFIXES)
        tested = testing.last_videos
        wanted = {name: ("test", gifs) for name, gifs in tested.items()}
        for name, gifs in training.videos.items():
            validates = zlib.crc32(name.encode()) % VALIDATION_SHARE == 0
            wanted.setdefault(name, ("validation" if validates else "train", gifs))
        here = {name: wanted[name] for name in wanted if name in videos}
        for file, phd in ((self.training, training), (self.testing, testing)):
            print(f"{file.name}: {phd}")
            for note in phd.notes:
                print(f"  {note.count} x {note.reason} (first: {note.where})")
        print(f"{len(here)} of {len(wanted)} videos are in {self.videos}; the others are passed over")
        text_name = PRESETS["compact"].text_encoder
        visual_file = find_visual_encoder(COMPACT_SWIN, checkpoint=self.checkpoint)
        text_folder = find_text_encoder(text_name)
        visual, text = VisualEncoder(COMPACT_SWIN, weights=visual_file), TextEncoder(text_name, weights=text_folder)
        hashes = (sha256_file(visual_file), sha256_file(text_folder / "model.safetensors"))
        info = DatasetInfo(
            visual_encoder=COMPACT_SWIN,
            picture_dim=visual.dim,
            text_encoder=text_name,
            text_dim=text.dim,
            encoders=dict(zip((COMPACT_SWIN, text_name), hashes, strict=True)),
            target="highlight",
            source=f"PHD: GIFs that users cut out of YouTube videos, in units of {UNIT_S:g} s",
            made_by=f"python -m train.data.phd prepare --training {self.training.name} --testing {self.testing.name} "
            f"--videos {self.videos.name} --out {self.out.name}",
            parameters={"unit_s": UNIT_S},
        )
        open_dataset(self.out, info, visual_file)
        bad = 0
        for name, (split, gifs) in tqdm(here.items(), unit="video"):
            shard = self.out / "rooms" / f"{name}.parquet"
            if shard.exists():
                continue
            try:
                values = _columns(name, split, videos[name], captions.get(name), gifs, visual=visual, text=text)
            except KuaiHLError as error:
                logger.warning("passed over: %s", error)
                bad += 1
                continue
            write_shard(shard, info, values)
        print(f"{len(here) - bad} videos are in {self.out}{f'; {bad} could not be read' if bad else ''}")


def _columns(
    name: str,
    split: str,
    file: Path,
    captions: Path | None,
    gifs: Sequence[Gif],
    *,
    visual: VisualEncoder,
    text: TextEncoder,
) -> dict[str, object]:
    """Columns of one shard; captions that cannot be read are as good as none."""
    opened = open_recording(file)
    units = units_of(opened.info.duration_s)
    speech = None
    if captions is not None:
        try:
            speech = utterances_by_segment(read_transcript(captions, segments=units), units)
        except CommentLogError as error:
            logger.warning("read without captions: %s", error)
    return columns(
        name=name,
        streamer="",
        day=0,
        split=split,
        segments=units,
        features=segment_features(
            units,
            pictures=_look(replace(opened, segments=units), visual),
            speech=speech,
            comments=None,
            text=text.encode(None if speech is None else said(speech), None),
        ),
        speech=speech,
        comments=None,
        labels=SegmentLabels(unit_labels(gifs, units=len(units)), np.ones(len(units), dtype=bool), "highlight"),
    )


def _look(recording: Recording, encoder: VisualEncoder) -> np.ndarray:
    """ModelInputs of the pictures (units, 3, picture_dim) float16."""
    if not recording.has_pictures:
        raise RecordingError(f"{recording.path} has no pictures.")

    def parts() -> Iterator[np.ndarray]:
        reading = iter(recording.pictures())
        while some := [pictures for _, pictures in islice(reading, _UNITS_AT_ONCE)]:
            yield encoder.encode(np.concatenate(some))

    return np.concatenate(list(parts())).reshape(len(recording.segments), PICTURES_PER_SEGMENT, -1)


@dataclass(frozen=True)
class ScoreCommand:
    """Score a checkpoint on the test users' last videos."""

    checkpoint: Path
    """Folder with config.json and model.safetensors."""
    dataset: Path
    """Folder that `prepare` wrote."""
    testing: Path
    """testing.csv."""
    out: Path | None = None
    """JSON file for the numbers."""

    def run(self) -> None:
        """Score; CheckpointError or LabelError where what is given cannot be read or does not belong together."""
        phd = read(self.testing)
        model, folder = load(self.checkpoint)
        segments = Segments(self.dataset)
        check_encoders(folder, model, segments.info)
        found = evaluate(phd, curves_of(model, segments))
        if self.out:
            write_report(asdict(found), self.out)
        print(json.dumps(asdict(found), indent=2))


def main() -> None:
    """Run the command; what the user can mend is one line on stderr and exit code 2."""
    command = tyro.cli(
        Annotated[Prepare, tyro.conf.subcommand("prepare")] | Annotated[ScoreCommand, tyro.conf.subcommand("score")],
        prog="python -m train.data.phd",
        description=__doc__,
    )
    with plain_errors():
        command.run()


if __name__ == "__main__":
    main()
