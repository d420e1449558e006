"""Simulated rooms to a dataset labelled by their LVTR."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from kuaihl.comments import selection
from kuaihl.features.chat import utterances_by_segment
from kuaihl.features.embeddings import segment_features
from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder
from kuaihl.features.text import TextEncoder
from kuaihl.features.vision import VisualEncoder
from kuaihl.model.config import PRESETS
from kuaihl.predictor import DEFAULT_CHECKPOINT
from train.command import command_line
from train.data.labels import SegmentLabels
from train.data.shards import build_columns, comment_texts, open_dataset, speech_texts, write_shards
from train.dataset import DatasetInfo
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.comment_bank import CommentBank, read_bank
from train.simulator.rooms.photo_scenes import Scenes, read_scenes
from train.simulator.rooms.room import Room, room_ids, simulate_room
from train.simulator.settings import VERSION, SimulatorConfig, SizeName


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomsConfig:
    """Make a dataset of all rooms of a simulation, labelled by their LVTR."""

    size: SizeName = "small"
    """Number of rooms and streamers; large is base with three times as many additional training rooms."""
    seed: int = 0
    """Seed of the simulation."""
    scenes: Path | None = None
    """Folder or tar of photos, one folder a class, shown in half of the shots."""
    comment_bank: Path | None = None
    """Parquet file of real chat (columns vod, time_s, text)."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Folder with the visual.safetensors of the compact Swin, or of other encoders."""
    preset: Literal["compact", "paper"] = "compact"
    """Encoders: of the shipped model, or of the paper."""
    workers: int = 1
    """Number of processes. Two of one thread each are faster than one of two; the rooms are the same."""
    out: Path
    """Folder for the dataset. An interrupted run continues."""

    def run(self) -> None:
        """Prepare; see `prepare_rooms`."""
        prepare_rooms(self)


def prepare_rooms(config: RoomsConfig, simulation: SimulatorConfig | None = None) -> None:
    """Simulate and encode rooms, a shard each.

    Parameters
    ----------
    simulation
        Used in place of the size and the seed of ``config``.

    Raises
    ------
    LabelError
        ``out`` has another dataset, or photos or chat cannot be read.
    CheckpointError
        An encoder is missing.
    """
    simulation = simulation or SimulatorConfig(size=config.size, seed=config.seed)
    count = len(room_ids(simulation))
    pictures = "drawn scenes" if config.scenes is None else "scenes drawn and photographed"
    comments = "made-up chat" if config.comment_bank is None else "chat made up and real"
    scenes = None if config.scenes is None else read_scenes(config.scenes)
    bank = None if config.comment_bank is None else read_bank(config.comment_bank)
    info = open_dataset(
        config.out,
        PRESETS[config.preset],
        config.checkpoint,
        target="lvtr",
        source=f"simulated rooms: KLive-Sim {VERSION}, {simulation.size}, {count} rooms, {pictures}, {comments}",
        made_by=command_line("python -m train.prepare rooms", config),
        # Base has the first rooms of large, and can be continued to it.
        changeable=("size", "source"),
        parameters={"version": VERSION, **asdict(simulation)},
    )
    make = partial(_make_rooms, config, info, simulation, scenes, bank)
    if config.workers == 1:
        make(range(count))
        return
    threads = max(1, torch.get_num_threads() // config.workers)
    with ProcessPoolExecutor(config.workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        list(pool.map(make, [range(k, count, config.workers) for k in range(config.workers)]))


def _make_rooms(
    config: RoomsConfig,
    info: DatasetInfo,
    simulation: SimulatorConfig,
    scenes: Scenes | None,
    bank: CommentBank | None,
    indices: Sequence[int],
) -> None:
    """Make those of the rooms that have no shard yet."""
    model = PRESETS[config.preset]
    visual_weights = find_visual_encoder(model.visual_encoder, checkpoint=config.checkpoint)
    text_weights = find_text_encoder(model.text_encoder, checkpoint=config.checkpoint)
    visual = VisualEncoder(model.visual_encoder, weights=visual_weights)
    text = TextEncoder(model.text_encoder, weights=text_weights)

    def encode(index: int) -> dict[str, object]:
        return _encode(simulate_room(simulation, index, scenes=scenes, bank=bank), visual, text)

    names = room_ids(simulation)
    write_shards(config.out, info, {names[index]: partial(encode, index) for index in indices})


def _encode(simulated: Room, visual: VisualEncoder, text: TextEncoder) -> dict[str, object]:
    """Return the columns of a room's shard."""
    segments, truth = simulated.segments, simulated.truth
    speech = utterances_by_segment(simulated.speech, segments)
    comments = selection.by_segment(selection.text_comments(simulated.comments), segments)
    return build_columns(
        name=simulated.id,
        streamer=simulated.streamer,
        day=simulated.day,
        split=simulated.split,
        segments=segments,
        features=segment_features(
            segments,
            pictures=visual.encode(np.concatenate([draw_segment(simulated, i) for i in range(len(segments))])),
            speech=speech,
            comments=comments,
            text=text.encode(speech_texts(speech), comment_texts(comments)),
        ),
        speech=speech,
        comments=comments,
        labels=SegmentLabels(
            label=simulated.lvtr,
            valid=np.ones(len(truth), dtype=bool),
            kind="simulated impressions",
            impressions=np.array([segment.impressions for segment in truth]),
            long_views=np.array([segment.long_views for segment in truth]),
            appeal=simulated.appeal,
        ),
    )
