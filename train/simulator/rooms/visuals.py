"""What the pictures of a room show: framing, colour, shots, gifts, and where the network failed."""

from dataclasses import dataclass

import numpy as np

from train.simulator.rooms.photo_scenes import Photo, Scenes
from train.simulator.rooms.plan import Plan
from train.simulator.settings import SLOTS_PER_SEGMENT, SimulatorConfig, Split

STEADY, STUCK, TRANSITION = range(3)
DRAWING, PHOTO, CAMERA = range(3)
"""Framings of a shot: a drawing, a photo, or a photo with the drawing in a corner."""


@dataclass(frozen=True, slots=True)
class Visuals:
    """Framing and colour of a room, and what each slot (a third of a segment) shows.

    ``zoom`` and ``shift`` (sixteenths of the width) frame the scene, ``tint`` multiplies red, green and blue, ``theme``
    selects the scenery, ``blur`` is how many times coarser photos are. ``shot`` changes with the camera, and with it
    ``framing``; ``lead`` is the host's share of the points in a PK. ``photos``, if given, has one per slot.
    """

    zoom: float
    shift: tuple[float, float]
    flip: bool
    tint: tuple[float, float, float]
    theme: int
    blur: int
    seed: int
    state: tuple[int, ...]
    shot: tuple[int, ...]
    framing: tuple[int, ...]
    gifts: tuple[int, ...]
    lead: tuple[float, ...]
    photos: tuple[Photo, ...] | None


def plan_visuals(
    config: SimulatorConfig,
    plan: Plan,
    split: Split,
    *,
    scenes: Scenes | None,
    rng: np.random.Generator,
) -> Visuals:
    """Draw the visuals of a room."""
    episodes = [plan.episode_at(i) for i in range(len(plan.intensity)) for _ in range(SLOTS_PER_SEGMENT)]
    count = len(episodes)
    # The overall rate is the configured one if all talents have the same share.
    stuck_rate = config.stuck_rate * 8.0 / (7.0 + config.stuck_pk_factor)
    chance = rng.random(count)
    limit = np.array([stuck_rate * config.stuck_pk_factor if e.talent == "pk" else stuck_rate for e in episodes])
    state = np.where(chance < limit, STUCK, np.where(chance > 1.0 - config.transition_rate, TRANSITION, STEADY))
    state[0] = STEADY
    cuts = rng.random(count) < 0.25
    starts = np.array([e.start for e in episodes])
    cuts |= np.r_[True, starts[1:] != starts[:-1]]
    shots = np.cumsum(cuts)
    framing = np.full(count, DRAWING)
    photos = None
    if scenes is not None:
        chance = rng.random(shots[-1] + 1)[shots]
        framing[chance < config.photo_rate + config.camera_rate] = CAMERA
        framing[chance < config.photo_rate] = PHOTO
        # The shots of an episode alternate between three photos.
        choices = {e.start: scenes.sample(e.talent, split, 3, rng=rng) for e in plan.episodes}
        photos = tuple(choices[e.start][shot % 3] for e, shot in zip(episodes, shots.tolist(), strict=True))
    lead_steps = rng.normal(0.0, 0.12, count)
    return Visuals(
        zoom=float(rng.uniform(0.94, 1.12)),
        shift=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.2, 0.25))),
        flip=bool(rng.random() < 0.5),
        tint=tuple(rng.uniform(0.86, 1.04, 3).tolist()),
        theme=int(rng.integers(6)),
        blur=int(rng.integers(1, 4)),
        seed=int(rng.integers(2**32)),
        state=tuple(state.tolist()),
        shot=tuple(shots.tolist()),
        framing=tuple(framing.tolist()),
        gifts=tuple(plan.gifts.sum(2).ravel().tolist()),
        lead=tuple(np.clip(0.5 + 0.5 * np.tanh(np.cumsum(lead_steps) * 0.6), 0.1, 0.9).tolist()),
        photos=photos,
    )
