"""Recordings or simulated rooms -> dataset on disk, through kuaihl's own encoders: one room in, one shard out."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kuaihl import comments as comment_logs
from kuaihl.activity import chat_activity, speech_activity, utterances_by_segment
from kuaihl.encoders import (
    COMPACT_SWIN,
    TextEncoder,
    VisualEncoder,
)
from kuaihl.errors import LabelError
from kuaihl.model import PRESETS
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import Comment, Segment, Utterance
from kuaihl.weights import find_text_encoder, find_visual_encoder, sha256_file
from train.dataset import DATASET_FILE, ENCODER_FILES, DatasetInfo, read_info, write_info, write_shard
from train.simulator.bank import read_bank
from train.simulator.config import SimulatorConfig
from train.simulator.pictures import draw
from train.simulator.rooms import Room, room, room_ids
from train.simulator.scenes import read_scenes


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of a room's audience, a value a segment: ``label`` in [0, 1] is trained on where ``valid``."""

    label: np.ndarray
    valid: np.ndarray
    kind: str
    impressions: np.ndarray | None = None
    long_views: np.ndarray | None = None
    appeal: np.ndarray | None = None


def rooms(
    config: SimulatorConfig,
    out: Path,
    *,
    scenes: Path | None = None,
    comment_bank: Path | None = None,
    checkpoint: Path | None = None,
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

    Raises
    ------
    LabelError
        Where ``out`` holds another dataset, or photos or chat cannot be read.
    CheckpointError
        Where an encoder is missing.
    """
    photos = None if scenes is None else read_scenes(scenes)
    bank = None if comment_bank is None else read_bank(comment_bank)
    text_name = PRESETS["compact"].text_encoder
    visual_file, text_folder = (
        find_visual_encoder(COMPACT_SWIN, checkpoint=checkpoint or DEFAULT_CHECKPOINT),
        find_text_encoder(text_name),
    )
    visual = VisualEncoder(COMPACT_SWIN, weights=visual_file)
    text = TextEncoder(text_name, weights=text_folder)
    names = room_ids(config)
    pictures_of = "drawn scenes" if photos is None else "scenes drawn and photographed"
    comments_of = "made-up chat" if bank is None else "chat made up and real"
    info = DatasetInfo(
        visual_encoder=COMPACT_SWIN,
        picture_dim=visual.dim,
        text_encoder=text_name,
        text_dim=text.dim,
        encoders={
            COMPACT_SWIN: sha256_file(visual_file),
            text_name: sha256_file(text_folder / "model.safetensors"),
        },
        target="lvtr",
        source=(f"simulated rooms only: KLive-Sim {config.size}, {len(names)} rooms, {pictures_of}, {comments_of}"),
        made_by=_command(config, out, scenes=scenes, comment_bank=comment_bank, checkpoint=checkpoint),
        parameters=asdict(config),
    )
    open_dataset(out, info, visual_file)
    for index, name in enumerate(tqdm(names, unit="room")):
        shard = out / "rooms" / f"{name}.parquet"
        if shard.exists():
            continue
        simulated = room(config, index, scenes=photos, bank=bank)
        drawn = visual.encode(np.concatenate([draw(simulated, i) for i in range(len(simulated.segments))]))
        write_shard(
            shard,
            info,
            columns(
                name=name,
                streamer=simulated.streamer,
                day=simulated.day,
                split=simulated.split,
                segments=simulated.segments,
                pictures=drawn,
                speech=simulated.speech,
                comments=simulated.comments,
                labels=_labels(simulated),
                text_encoder=text,
            ),
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
    pictures: np.ndarray | None,
    speech: Sequence[Utterance] | None,
    comments: Sequence[Comment] | None,
    labels: Labels,
    text_encoder: TextEncoder,
) -> dict[str, object]:
    """Columns of one shard, by the names of `train.dataset.schema`; a source that is None is marked as missing.

    ``pictures`` are features (3 * segments, picture_dim) float16.
    """
    count = len(segments)
    spoken = None if speech is None else utterances_by_segment(speech, segments)
    written = None if comments is None else comment_logs.by_segment(comment_logs.spoken(comments), segments)
    said = None if spoken is None else [" ".join(u.text for u in part) for part in spoken]
    lines = None if written is None else [[c.text for c in part] for part in written]
    text = text_encoder.encode_segments(said, lines)
    nothing = np.zeros((count, text_encoder.dim), dtype=np.float16)
    activity = [chat_activity(written or [[]] * count), speech_activity(spoken or [[]] * count)]
    return {
        "room": [name] * count,
        "streamer": [streamer] * count,
        "day": np.full(count, day),
        "split": [split] * count,
        "index": np.arange(count),
        "start_s": np.array([s.start_s for s in segments]),
        "pictures": None if pictures is None else pictures.reshape(count, -1),
        "text_speech": nothing if text.speech is None else text.speech,
        "text_comments": nothing if text.comments is None else text.comments,
        "text_both": nothing if text.both is None else text.both,
        "activity": np.concatenate(activity, axis=1),
        "has_pictures": np.full(count, pictures is not None),
        "has_speech": np.full(count, speech is not None),
        "has_comments": np.full(count, comments is not None),
        "impressions": labels.impressions,
        "long_views": labels.long_views,
        "label": labels.label,
        "label_kind": [labels.kind] * count,
        "valid": labels.valid,
        "appeal": labels.appeal,
        "speech": said,
        "comments": lines,
    }


def _command(config: SimulatorConfig, out: Path, **inputs: Path | None) -> str:
    """The command that makes the same rooms, for the model card."""
    given = [f"--{name.replace('_', '-')} {path.name}" for name, path in inputs.items() if path is not None]
    return " ".join(
        [f"python -m train.simulator rooms --size {config.size} --seed {config.seed}", *given, f"--out {out.name}"]
    )


def _labels(simulated: Room) -> Labels:
    truth = simulated.truth
    return Labels(
        label=simulated.lvtr,
        valid=np.ones(len(truth), dtype=bool),
        kind="simulated impressions",
        impressions=np.array([t.impressions for t in truth]),
        long_views=np.array([t.long_views for t in truth]),
        appeal=simulated.appeal,
    )
