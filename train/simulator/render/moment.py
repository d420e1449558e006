"""A moment of a room: the input of a scene."""

from dataclasses import dataclass

import numpy as np

from train.simulator.render.canvas import Color
from train.simulator.render.people import Person
from train.simulator.rooms.streamers import HAIRS, SHIRTS, SKINS

WALLS: tuple[Color, ...] = (
    (255, 224, 204), (204, 226, 244), (222, 212, 244), (208, 236, 218), (250, 214, 226), (246, 236, 196),
)  # fmt: skip
ACCENTS: tuple[Color, ...] = (
    (238, 108, 77), (61, 120, 200), (124, 88, 196), (46, 150, 110), (214, 72, 120), (222, 150, 40),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """The input of a scene. ``shot`` varies the set, ``lead`` is the host's share of the points in a PK.

    ``intensity_s`` is the integral of the intensity over time.
    """

    host: Person
    guest: Person
    theme: int
    time_s: float
    intensity_s: float
    intensity: float
    mouth: float
    shot: int
    lead: float

    def phase(self, base: float, gain: float) -> float:
        """Return the phase of a movement of ``base + gain * intensity`` per second; it never jumps."""
        return base * self.time_s + gain * self.intensity_s

    @property
    def wall(self) -> Color:
        """Colour of the walls."""
        return WALLS[self.theme]

    @property
    def accent(self) -> Color:
        """Colour of the objects."""
        return ACCENTS[self.theme]


def make_guest(rng: np.random.Generator) -> Person:
    """Make a random person: the opponent in a PK, or a dancer."""
    return Person(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=SHIRTS[rng.integers(len(SHIRTS))],
        hair_style=int(rng.integers(4)),
    )
