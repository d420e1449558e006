"""Recordings, chats or simulated rooms -> dataset on disk, through kuaihl's own encoders: one in, one shard out.

Run as `python -m train.prepare recordings|chat|rooms ... --out DIR`.
"""

import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from tqdm import tqdm

from kuaihl.comments import selection
from kuaihl.errors import LabelError
from kuaihl.features.chat import utterances_by_segment
from kuaihl.features.embeddings import SOURCES, SegmentFeatures, segment_features
from kuaihl.features.pretrained import COMPACT_SWIN, find_text_encoder, find_visual_encoder, sha256_file
from kuaihl.features.text import TextEncoder
from kuaihl.features.vision import VisualEncoder
from kuaihl.model.config import PRESETS
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import Comment, Segment, Utterance
from train.command import plain_errors
from train.data.labels import LabelOptions, SegmentLabels
from train.dataset import DATASET_FILE, ENCODER_FILES, DatasetInfo, read_info, write_info, write_shard
from train.simulator.__main__ import Rooms
from train.simulator.render.draw import draw
from train.simulator.render.photo_scenes import Scenes, read_scenes
from train.simulator.rooms.comment_bank import CommentBank, read_bank
from train.simulator.rooms.room import Room, room, room_ids
from train.simulator.settings import SimulatorConfig


def rooms(
    config: SimulatorConfig,
    out: Path,
    *,
    scenes: Path | None = None,
    comment_bank: Path | None = None,
    checkpoint: Path | None = None,
    workers: int = 1,
) -> None:
    """Simulate rooms, encode them and write them; a run that was interrupted goes on with the rooms that lack.

    Parameters
    ----------
    config
        Which rooms.
    out
        Folder of the dataset.
    scenes, comment_bank
        Photos for the pictures and real chat for the comments, as `train.simulator` takes them.
    checkpoint
        Folder whose visual.safetensors is the compact Swin; the one that comes with the project if not given.
    workers
        Processes that share the rooms and the processor's threads; the rooms do not depend on it.

    Raises
    ------
    LabelError
        Where ``out`` holds another dataset, or photos or chat cannot be read.
    CheckpointError
        Where an encoder is missing.
    """
    preset = PRESETS["compact"]
    visual_file = find_visual_encoder(COMPACT_SWIN, checkpoint=checkpoint or DEFAULT_CHECKPOINT)
    text_folder = find_text_encoder(preset.text_encoder)
    names = room_ids(config)
    pictures_of = "drawn scenes" if scenes is None else "scenes drawn and photographed"
    comments_of = "made-up chat" if comment_bank is None else "chat made up and real"
    info = DatasetInfo(
        visual_encoder=COMPACT_SWIN,
        picture_dim=preset.picture_dim,
        text_encoder=preset.text_encoder,
        text_dim=preset.text_dim,
        encoders={
            COMPACT_SWIN: sha256_file(visual_file),
            preset.text_encoder: sha256_file(text_folder / "model.safetensors"),
        },
        target="lvtr",
        source=(f"simulated rooms: KLive-Sim {config.size}, {len(names)} rooms, {pictures_of}, {comments_of}"),
        made_by=_command(config, out, scenes=scenes, comment_bank=comment_bank, checkpoint=checkpoint),
        parameters=asdict(config),
    )
    photos = None if scenes is None else read_scenes(scenes)
    bank = None if comment_bank is None else read_bank(comment_bank)
    open_dataset(out, info, visual_file)
    making = RoomMaker(config, out, info, visual_file, text_folder, photos, bank)
    if workers == 1:
        making.make(range(len(names)))
        return
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for part in [pool.submit(making.make, range(first, len(names), workers)) for first in range(workers)]:
            part.result()


@dataclass(frozen=True)
class RoomMaker:
    """What rooms are made from; it can be sent to another process."""

    config: SimulatorConfig
    out: Path
    info: DatasetInfo
    visual_file: Path
    text_folder: Path
    photos: Scenes | None
    bank: CommentBank | None

    def make(self, indices: Sequence[int]) -> None:
        """Make those of the rooms that lack."""
        visual = VisualEncoder(self.info.visual_encoder, weights=self.visual_file)
        text = TextEncoder(self.info.text_encoder, weights=self.text_folder)
        names = room_ids(self.config)
        for index in tqdm(indices, unit="room"):
            shard = self.out / "rooms" / f"{names[index]}.parquet"
            if not shard.exists():
                simulated = room(self.config, index, scenes=self.photos, bank=self.bank)
                write_shard(shard, self.info, _room_columns(simulated, visual, text))


def _room_columns(simulated: Room, visual: VisualEncoder, text: TextEncoder) -> dict[str, object]:
    segments = simulated.segments
    drawn = visual.encode(np.concatenate([draw(simulated, i) for i in range(len(segments))]))
    speech = utterances_by_segment(simulated.speech, segments)
    comments = selection.by_segment(selection.text_comments(simulated.comments), segments)
    return columns(
        name=simulated.id,
        streamer=simulated.streamer,
        day=simulated.day,
        split=simulated.split,
        segments=segments,
        features=segment_features(
            segments,
            pictures=drawn,
            speech=speech,
            comments=comments,
            text=text.encode(said(speech), lines(comments)),
        ),
        speech=speech,
        comments=comments,
        labels=_labels(simulated),
    )


def open_dataset(out: Path, info: DatasetInfo, visual_file: Path) -> None:
    """Make the folder of a dataset, or go on with the same one; LabelError where ``out`` holds another."""
    (out / "rooms").mkdir(parents=True, exist_ok=True)
    if (out / DATASET_FILE).exists():
        if read_info(out) != info:
            raise LabelError(f"{out} holds another dataset, or one of other encoders: choose another folder.")
        return
    for name in ENCODER_FILES:
        if (file := visual_file.with_name(name)).exists():
            shutil.copyfile(file, out / name)
    write_info(out, info)


def columns(
    *,
    name: str,
    streamer: str,
    day: int,
    split: str,
    segments: Sequence[Segment],
    features: SegmentFeatures,
    speech: Sequence[Sequence[Utterance]] | None,
    comments: Sequence[Sequence[Comment]] | None,
    labels: SegmentLabels,
) -> dict[str, object]:
    """Return the columns of one shard, by the names of `train.dataset.schema`."""
    count = len(segments)
    return {
        **label_columns(count, streamer=streamer, day=day, split=split, labels=labels),
        "room": [name] * count,
        "index": np.arange(count),
        "start_s": np.array([s.start_s for s in segments]),
        "pictures": None if features.pictures is None else features.pictures.reshape(count, -1),
        "text_speech": features.text.speech,
        "text_comments": features.text.comments,
        "text_both": features.text.both,
        "activity": np.concatenate([features.chat_activity, features.speech_activity], axis=1),
        "words": features.words,
        "counts": features.word_counts,
        **{f"has_{source}": features.mask(source) for source in SOURCES},
        "speech": None if speech is None else said(speech),
        "comments": None if comments is None else lines(comments),
    }


def label_columns(count: int, *, streamer: str, day: int, split: str, labels: SegmentLabels) -> dict[str, object]:
    """The columns of a shard of ``count`` segments that do not depend on its recording."""
    return {
        "streamer": [streamer] * count,
        "day": np.full(count, day),
        "split": [split] * count,
        "impressions": labels.impressions,
        "long_views": labels.long_views,
        "label": labels.label,
        "label_kind": [labels.kind] * count,
        "valid": labels.valid,
        "appeal": labels.appeal,
    }


def said(speech: Sequence[Sequence[Utterance]]) -> list[str]:
    """What was said in each segment, as the text encoder takes it."""
    return [" ".join(u.text for u in part) for part in speech]


def lines(comments: Sequence[Sequence[Comment]]) -> list[list[str]]:
    """What was written in each segment, as the text encoder takes it."""
    return [[c.text for c in part] for part in comments]


def _command(config: SimulatorConfig, out: Path, **inputs: Path | None) -> str:
    """The command that makes the same rooms, for the model card."""
    given = [f"--{name.replace('_', '-')} {path.name}" for name, path in inputs.items() if path is not None]
    return " ".join(
        [f"python -m train.simulator rooms --size {config.size} --seed {config.seed}", *given, f"--out {out.name}"]
    )


def _labels(simulated: Room) -> SegmentLabels:
    truth = simulated.truth
    return SegmentLabels(
        label=simulated.lvtr,
        valid=np.ones(len(truth), dtype=bool),
        kind="simulated impressions",
        impressions=np.array([t.impressions for t in truth]),
        long_views=np.array([t.long_views for t in truth]),
        appeal=simulated.appeal,
    )


@dataclass(frozen=True, slots=True)
class Recordings:
    """Make a dataset of recordings of your own, with what you know of their audience."""

    manifest: tyro.conf.Positional[Path]
    """Table with a row for each: recording, streamer, date, and log, labels or both; see the README."""
    out: Path
    """Folder to write into. An interrupted run goes on, and only what has changed is made again."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Whose encoders to use: the checkpoint that training will start from."""
    labels: Annotated[LabelOptions, tyro.conf.arg(name="")] = field(default_factory=LabelOptions)

    def run(self) -> None:
        """Prepare; exit code 1 where a recording was passed over."""
        from train.data.recordings import prepare_recordings

        if prepare_recordings(self.manifest, self.out, options=self.labels, checkpoint=self.checkpoint).failed:
            sys.exit(1)


@dataclass(frozen=True, slots=True)
class Chat:
    """Make a dataset of chat logs alone, labelled by audience participation."""

    logs: Path
    """Parquet file (columns vod, channel, time_s, chatter, text), or a folder with one of logs for each channel."""
    out: Path
    """Folder to write into."""
    text: bool = True
    """Whether to encode what was written, which takes most of the time."""

    def run(self) -> None:
        """Prepare."""
        from train.data.chat_logs import prepare_chat

        prepare_chat(self.logs, self.out, text=self.text)


def main() -> None:
    """Run the command; what the user can mend is one line on stderr and exit code 2."""
    command = tyro.cli(
        Annotated[Recordings, tyro.conf.subcommand("recordings")]
        | Annotated[Chat, tyro.conf.subcommand("chat")]
        | Annotated[Rooms, tyro.conf.subcommand("rooms")],
        prog="python -m train.prepare",
        description=__doc__,
    )
    with plain_errors():
        command.run()


if __name__ == "__main__":
    main()
