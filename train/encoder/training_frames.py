"""Frames of simulated training rooms with their content, as training data for the picture encoder."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kuaihl.errors import LabelError
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.photo_scenes import Scenes, read_scenes
from train.simulator.rooms.room import simulate_room
from train.simulator.rooms.visuals import SLOTS_PER_SEGMENT, STEADY
from train.simulator.settings import TALENTS, SimulatorConfig

CONFIG = SimulatorConfig(size="base")
IDLE = len(TALENTS)
"""Class of an idle scene; the classes below are talents."""
SCENES = IDLE + 1
FRAMES_PER_ROOM = 24


@dataclass(frozen=True)
class LabelledFrames:
    """Whole frames with what they show. Stuck frames and transitions are left out.

    Attributes
    ----------
    frames
        (frames, 3, side, side) uint8.
    scene
        (frames,) int64: an index into TALENTS, or IDLE.
    intensity
        (frames,): NaN for photos, which do not show it.
    gifts
        (frames,): log(1 + gifts on screen).
    """

    frames: Tensor
    scene: Tensor
    intensity: Tensor
    gifts: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def variances(self) -> tuple[float, float]:
        """Variances of intensity and gifts; 1 for an intensity that is never visible."""
        visible = self.intensity[~self.intensity.isnan()]
        return visible.var().item() if len(visible) else 1.0, self.gifts.var().item()

    def resize(self, indices: np.ndarray, *, size: int) -> Tensor:
        """Return some frames as (batch, 3, size, size) float32 in [0, 1]."""
        frames = self.frames[torch.from_numpy(indices)].float() / 255
        return F.interpolate(frames, (size, size), mode="bilinear", antialias=True)


def draw_training_frames(
    count: int, *, side: int, scenes: Path | None = None, without: frozenset[str] = frozenset(), workers: int = 1
) -> LabelledFrames:
    """Draw at most ``count`` frames, the same number of each training room of size base.

    Half of the rooms show photos of ``scenes``, if given, except those named in ``without``.

    Raises
    ------
    LabelError
        ``count`` is less than one segment per room.
    """
    segments = count // (CONFIG.rooms.train * SLOTS_PER_SEGMENT)
    if segments == 0:
        minimum = CONFIG.rooms.train * SLOTS_PER_SEGMENT
        raise LabelError(f"{count} frames are too few for {CONFIG.rooms.train} rooms: ask for at least {minimum}.")
    photos = None if scenes is None else read_scenes(scenes, without=without)
    draw = partial(draw_room, segments=segments, side=side, scenes=photos)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        rooms = list(pool.map(draw, range(CONFIG.rooms.train), chunksize=8))
    return LabelledFrames(*(torch.from_numpy(np.concatenate(columns)) for columns in zip(*rooms, strict=True)))


def draw_room(index: int, *, segments: int, side: int, scenes: Scenes | None) -> tuple[np.ndarray, ...]:
    """Draw frames of one room; return the columns of `LabelledFrames`."""
    room = simulate_room(CONFIG, index, scenes=scenes)
    indices = np.unique(np.linspace(0, len(room.segments) - 1, segments).astype(int))
    slots = (indices[:, None] * SLOTS_PER_SEGMENT + np.arange(SLOTS_PER_SEGMENT)).ravel()
    steady = np.array(room.visuals.state)[slots] == STEADY
    frames = torch.from_numpy(np.concatenate([draw_segment(room, int(i)) for i in indices])[steady]).permute(0, 3, 1, 2)
    resized = F.interpolate(frames.float(), (side, side), mode="bilinear", antialias=True).round().clamp(0, 255).byte()
    truth = [room.truth[slot // SLOTS_PER_SEGMENT] for slot in slots[steady]]
    intensity = [t.intensity if room.visuals.photos is None else np.nan for t in truth]
    return (
        resized.numpy(),
        np.array([IDLE if t.idle else TALENTS.index(t.talent) for t in truth]),
        np.array(intensity, dtype=np.float32),
        np.log1p(np.array(room.visuals.gifts)[slots[steady]], dtype=np.float32),
    )


def draw_plain_frames(count: int, *, side: int, scenes: Path | None, without: frozenset[str]) -> Iterator[np.ndarray]:
    """Draw ``count`` frames (side, side, 3) uint8 without labels, `FRAMES_PER_ROOM` of each of the first rooms.

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
