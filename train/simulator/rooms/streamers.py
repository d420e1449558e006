"""Streamers with their talents, audience, voice and face; and the popularity of each talent by day."""

from dataclasses import dataclass

import numpy as np

from train.simulator.settings import CALENDAR_DAYS, TALENTS, SimulatorConfig

_STREAM_OF_STREAMERS = 1
_STREAM_OF_CALENDAR = 2

_FIRST = ("Luna", "Milo", "Nova", "Kai", "Ruby", "Theo", "Mika", "Jade", "Finn", "Cleo", "Remy", "Zara", "Otis", "Wren")
_LAST = ("Fox", "Sky", "Ray", "Bloom", "Stone", "Vale", "Moon", "Park", "Lake", "West", "Dawn", "Reed", "Star")

SKINS = ((255, 219, 190), (244, 194, 154), (224, 166, 120), (178, 118, 78), (128, 82, 54))
HAIRS = ((45, 34, 40), (92, 58, 38), (176, 104, 48), (232, 190, 96), (206, 70, 110), (76, 92, 190), (60, 150, 140))
SHIRTS = (
    (239, 83, 80),
    (255, 167, 38),
    (102, 187, 106),
    (66, 165, 245),
    (171, 71, 188),
    (38, 166, 154),
    (236, 64, 122),
)


@dataclass(frozen=True, slots=True)
class Voice:
    """Settings of espeak-ng: name of the voice, pitch (0-99) and words per minute."""

    name: str
    pitch: int
    words_per_minute: int


@dataclass(frozen=True, slots=True)
class Streamer:
    """A streamer. ``mix`` and ``taste`` have one value per talent; ``known`` is False for streamers in test only.

    ``lively`` is the share of exclamations in what is said.
    """

    index: int
    name: str
    known: bool
    mix: tuple[float, ...]
    taste: tuple[float, ...]
    base: float
    comment_rate: float
    talkative: float
    lively: float
    voice: Voice
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    shirt: tuple[int, int, int]
    hair_style: int
    seed: int


def make_streamers(config: SimulatorConfig) -> tuple[Streamer, ...]:
    """Make all streamers of a simulation; the last ``unseen_streamers`` of them appear in test only."""
    count = config.rooms.streamers
    unseen = max(1, round(config.unseen_streamers * count))
    rng = np.random.default_rng([config.seed, _STREAM_OF_STREAMERS])
    names = [f"{first} {last}" for first in _FIRST for last in _LAST]
    order = rng.permutation(len(names))
    return tuple(_make_streamer(config, rng, i, names[order[i]], known=i < count - unseen) for i in range(count))


def _make_streamer(
    config: SimulatorConfig, rng: np.random.Generator, index: int, name: str, *, known: bool
) -> Streamer:
    # A little of everything, so that no streamer has one talent only.
    mix = 0.95 * rng.dirichlet(np.full(len(TALENTS), config.talent_concentration)) + 0.05 / len(TALENTS)
    return Streamer(
        index=index,
        name=name,
        known=known,
        mix=tuple(mix.tolist()),
        taste=tuple(rng.normal(0.0, config.taste_sd, len(TALENTS)).tolist()),
        base=float(rng.normal(config.base_mean, config.base_sd)),
        comment_rate=float(config.comments_median * np.exp(rng.normal(0.0, config.comments_sd))),
        talkative=float(rng.uniform(0.45, 0.8)),
        lively=float(rng.uniform(0.1, 0.9)),
        voice=Voice(
            name=str(rng.choice(["en-us", "en-us+f2", "en-us+f3", "en-gb", "en-us+m3", "en-gb+f4"])),
            pitch=int(rng.integers(38, 60)),
            words_per_minute=int(rng.integers(140, 161)),
        ),
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=SHIRTS[rng.integers(len(SHIRTS))],
        hair_style=int(rng.integers(4)),
        seed=int(rng.integers(2**32)),
    )


def simulate_popularity(config: SimulatorConfig) -> np.ndarray:
    """Draw the popularity of each talent on each day (days, talents), in logits: random walks."""
    rng = np.random.default_rng([config.seed, _STREAM_OF_CALENDAR])
    steps = rng.normal(0.0, config.popularity_step_sd, (CALENDAR_DAYS, len(TALENTS)))
    steps[0] = rng.permutation(np.linspace(-config.popularity_range, config.popularity_range, len(TALENTS)))
    return np.cumsum(steps, axis=0)
