"""The course of a room: which talent when, how it builds up and decays, and what viewers feel about it."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit

from train.simulator.rooms.streamers import Streamer
from train.simulator.settings import TALENTS, SimulatorConfig


@dataclass(frozen=True, slots=True)
class Episode:
    """Segments ``start`` to ``end`` (exclusive) of one talent, or of nothing (``idle``).

    ``announced`` is the segment in which the streamer says that it comes, ``explained`` whether it is looked back on.
    """

    talent: str
    start: int
    end: int
    climax: int
    idle: bool = False
    announced: int | None = None
    explained: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in each segment. All arrays are (segments,), in [0, 1] but for ``logit``."""

    episodes: tuple[Episode, ...]
    intensity: np.ndarray
    interaction: np.ndarray
    fatigue: np.ndarray
    hype: np.ndarray
    logit: np.ndarray

    def episode_at(self, index: int) -> Episode:
        """Which episode the segment ``index`` belongs to."""
        return next(e for e in self.episodes if index < e.end)


def plan(config: SimulatorConfig, streamer: Streamer, popularity: np.ndarray, *, rng: np.random.Generator) -> Plan:
    """Draw a room of ``streamer`` on a day of the given ``popularity`` (talents,)."""
    segments = int(rng.integers(config.min_segments, config.max_segments + 1))
    episodes = _episodes(config, streamer, segments, rng=rng)
    intensity = np.concatenate([_arc(e, rng=rng) for e in episodes])
    busy = np.concatenate([np.full(e.end - e.start, 0.0 if e.idle else 1.0) for e in episodes])
    # a slow wave of talk with the audience, lower while something exciting goes on
    talk = expit(1.3 * _ar1(segments, memory=0.8, rng=rng) - 0.5 * intensity - 0.5)
    interaction = busy * talk
    fatigue = _fatigue(config, episodes)
    wanted = np.asarray(streamer.taste) + popularity
    talent = np.concatenate([np.full(e.end - e.start, TALENTS.index(e.talent)) for e in episodes])
    logit = (
        streamer.base
        + busy * wanted[talent]
        + config.intensity_gain * intensity
        + config.interaction_gain * interaction
        - config.fatigue_cost * fatigue
        + config.noise_sd * _ar1(segments, memory=config.noise_memory, rng=rng)
    )
    # what the audience shows of what it feels: viewers who stay are also those who write and give
    hype = expit(config.hype_slope * (logit - config.hype_middle))
    return Plan(episodes, intensity, interaction, fatigue, hype, logit)


def _episodes(
    config: SimulatorConfig, streamer: Streamer, segments: int, *, rng: np.random.Generator
) -> tuple[Episode, ...]:
    """Episodes one after the other: the next talent is another one, drawn from the streamer's mix."""
    mix = np.asarray(streamer.mix)
    episodes: list[Episode] = []
    talent = int(rng.choice(len(mix), p=mix))
    start = 0
    while start < segments:
        if start and rng.random() < config.idle_rate:
            end = min(segments, start + int(rng.integers(1, 4)))
            episodes.append(Episode(episodes[-1].talent, start, end, climax=start, idle=True))
            start = end
            if start == segments:
                break
        length = int(np.clip(2 + rng.negative_binomial(2, 2 / (2 + config.mean_episode - 2)), 2, 20))
        end = min(segments, start + length)
        climax = start + min(end - start - 1, int((end - start) * rng.uniform(0.4, 0.85)))
        announced = max(0, start - int(rng.integers(0, 3))) if start and rng.random() < config.announce_rate else None
        explained = rng.random() < config.explain_rate
        episodes.append(Episode(TALENTS[talent], start, end, climax=climax, announced=announced, explained=explained))
        start = end
        others = np.where(np.arange(len(mix)) == talent, 0.0, mix)
        talent = int(rng.choice(len(mix), p=others / others.sum()))
    return tuple(episodes)


def _arc(episode: Episode, *, rng: np.random.Generator) -> np.ndarray:
    """Intensity over an episode (its segments,): build-up to the climax, then a quicker decay."""
    count = episode.end - episode.start
    if episode.idle:
        return np.zeros(count)
    steps = np.arange(count) - (episode.climax - episode.start)
    height = rng.beta(4.0, 2.0)
    rise = np.exp(-((np.minimum(steps, 0) / (0.45 * count + 1.0)) ** 2) * 2.0)
    fall = np.exp(-np.maximum(steps, 0) / 2.5)
    return np.clip(height * rise * fall + rng.normal(0.0, 0.04, count), 0.0, 1.0)


def _fatigue(config: SimulatorConfig, episodes: tuple[Episode, ...]) -> np.ndarray:
    """How tired viewers are of the same talent: 0 up to ``fatigue_after`` segments of it, then rising towards 1."""
    same = np.concatenate([np.arange(e.end - e.start) for e in episodes])
    return 1.0 - np.exp(-np.maximum(0.0, same - config.fatigue_after) / config.fatigue_scale)


def _ar1(count: int, *, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) noise with unit variance (count,)."""
    shocks = rng.normal(0.0, np.sqrt(1.0 - memory**2), count)
    shocks[0] /= np.sqrt(1.0 - memory**2)
    return lfilter([1.0], [1.0, -memory], shocks)
