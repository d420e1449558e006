"""Frames of simulated training rooms and what each shows, for an encoder that learns to tell."""

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
from train.simulator.render.draw import draw
from train.simulator.render.look import SLOTS_PER_SEGMENT, STEADY
from train.simulator.render.photo_scenes import Scenes, read_scenes
from train.simulator.rooms.room import room
from train.simulator.settings import TALENTS, SimulatorConfig

IDLE = len(TALENTS)
"""The scene of a streamer who does nothing; those before are the talents."""
SCENES = IDLE + 1


@dataclass(frozen=True)
class Drawings:
    """Frames (frames, 3, side, side) uint8, whole, as an encoder scales those of a recording, and what they show.

    ``scene`` (frames,) int64 is an index into TALENTS, or IDLE; ``intensity`` (frames,) is NaN where a photo stands for
    the scene, which does not show it; ``gifts`` (frames,) is log(1 + gifts on screen). Frames that are stuck or in
    transition are not among them, nor is anything that viewers feel or do and that does not show.
    """

    frames: Tensor
    scene: Tensor
    intensity: Tensor
    gifts: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def variances(self) -> tuple[float, float]:
        """Of the intensity and of the gifts where they show; 1 for what shows nowhere."""
        intensity, gifts = (some[~some.isnan()] for some in (self.intensity, self.gifts))
        return intensity.var().item() if len(intensity) else 1.0, gifts.var().item()

    def whole(self, chosen: np.ndarray, *, size: int) -> Tensor:
        """Scale frames to what the student reads: (batch, 3, size, size) float32 in [0, 1]."""
        frames = self.frames[torch.from_numpy(chosen)].float() / 255
        return F.interpolate(frames, (size, size), mode="bilinear", antialias=True)


def draw_rooms(
    count: int, *, side: int, scenes: Path | None = None, without: frozenset[str] = frozenset(), workers: int = 1
) -> Drawings:
    """Draw about ``count`` frames, as many of each training room of size base; fewer where a room has no more.

    Half of the rooms show photos of ``scenes``, if given, but none named in ``without``.

    Raises
    ------
    LabelError
        Fewer frames than rooms were asked for.
    """
    config = SimulatorConfig(size="base")
    segments = count // (config.rooms.train * SLOTS_PER_SEGMENT)
    if segments == 0:
        raise LabelError(f"{count} frames are too few: {config.rooms.train} rooms show {SLOTS_PER_SEGMENT} a segment")
    photos = None if scenes is None else read_scenes(scenes, without=without)
    one = partial(_draw_room, config, segments=segments, side=side, scenes=photos)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        parts = list(pool.map(one, range(config.rooms.train), chunksize=8))
    return Drawings(*(torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True)))


def _draw_room(
    config: SimulatorConfig, index: int, *, segments: int, side: int, scenes: Scenes | None
) -> tuple[np.ndarray, ...]:
    made = room(config, index, scenes=scenes)
    shown = np.unique(np.linspace(0, len(made.segments) - 1, segments).astype(int))
    kept = np.reshape(made.look.state, (-1, SLOTS_PER_SEGMENT))[shown].ravel() == STEADY
    frames = torch.from_numpy(np.concatenate([draw(made, int(i)) for i in shown])[kept]).permute(0, 3, 1, 2)
    scaled = F.interpolate(frames.float(), (side, side), mode="bilinear", antialias=True).round().clamp(0, 255).byte()
    truth = [made.truth[i] for i in shown]
    scene = [IDLE if t.idle else TALENTS.index(t.talent) for t in truth]
    intensity = [t.intensity if made.look.photos is None else np.nan for t in truth]
    gifts = np.reshape(made.look.gifts, (-1, SLOTS_PER_SEGMENT))[shown].ravel()
    return (
        scaled.numpy(),
        np.repeat(np.array(scene), SLOTS_PER_SEGMENT)[kept],
        np.repeat(np.array(intensity, dtype=np.float32), SLOTS_PER_SEGMENT)[kept],
        np.log1p(gifts, dtype=np.float32)[kept],
    )
