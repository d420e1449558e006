"""Frames of simulated training rooms, as training data for the picture encoder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kuaihl.errors import LabelError
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.photo_scenes import read_scenes
from train.simulator.rooms.room import simulate_room
from train.simulator.settings import SLOTS_PER_SEGMENT, SimulatorConfig

CONFIG = SimulatorConfig(size="base")
FRAMES_PER_ROOM = 24


def draw_frames(count: int, *, side: int, scenes: Path | None, without: frozenset[str]) -> Iterator[np.ndarray]:
    """Draw ``count`` frames (side, side, 3) uint8, `FRAMES_PER_ROOM` of each of the first rooms.

    Raises
    ------
    LabelError
        The training rooms have fewer frames.
    """
    if count > (limit := CONFIG.rooms.train * FRAMES_PER_ROOM):
        raise LabelError(f"{count} drawings are more than the training rooms have: ask for at most {limit}.")
    photos = None if scenes is None else read_scenes(scenes, without=without)
    for first in range(0, count, FRAMES_PER_ROOM):
        room = simulate_room(CONFIG, first // FRAMES_PER_ROOM, scenes=photos)
        frames = min(FRAMES_PER_ROOM, count - first)
        segments = np.linspace(0, len(room.segments) - 1, -(-frames // SLOTS_PER_SEGMENT)).astype(int)
        yield from np.concatenate([draw_segment(room, int(i), size=(side, side)) for i in segments])[:frames]
