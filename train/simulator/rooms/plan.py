"""The course of a room: episodes of talents, their intensity, and the appeal to viewers."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit

from train.simulator.rooms.streamers import Streamer
from train.simulator.settings import SLOTS_PER_SEGMENT, TALENTS, SimulatorConfig


@dataclass(frozen=True, slots=True)
class Episode:
    """Segments ``start`` to ``end`` (exclusive) of one talent, or an ``idle`` stretch.

    ``announced`` is the segment in which the streamer announces it, ``explained`` whether the streamer explains it
    afterwards.
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
    """The course of a room. Arrays are (segments,), in [0, 1] except ``logit``, the appeal in logits.

    ``gifts`` (segments, slots, givers) counts the gifts that each of the giving viewers sends.
    """

    episodes: tuple[Episode, ...]
    intensity: np.ndarray
    interaction: np.ndarray
    fatigue: np.ndarray
    excitement: np.ndarray
    gifts: np.ndarray
    logit: np.ndarray

    def episode_at(self, index: int) -> Episode:
        """Return the episode of segment ``index``."""
        return next(e for e in self.episodes if index < e.end)


def plan_room(config: SimulatorConfig, streamer: Streamer, popularity: np.ndarray, *, rng: np.random.Generator) -> Plan:
    """Draw the course of a room of ``streamer`` on a day with the given ``popularity`` (talents,)."""
    segments = int(rng.integers(config.min_segments, config.max_segments + 1))
    episodes = _draw_episodes(config, streamer, segments, rng=rng)
    intensity = np.concatenate([_draw_arc(e, rng=rng) for e in episodes])
    busy = np.concatenate([np.full(e.end - e.start, 0.0 if e.idle else 1.0) for e in episodes])
    # Talk with the audience varies slowly and is lower in intense moments.
    talk = expit(1.3 * _draw_ar1(segments, memory=0.9, rng=rng) - 0.5 * intensity - 0.5)
    interaction = busy * talk
    fatigue = _fatigue(config, episodes)
    preference = np.asarray(streamer.taste) + popularity
    talent = np.concatenate([np.full(e.end - e.start, TALENTS.index(e.talent)) for e in episodes])
    feeling = (
        busy * preference[talent]
        + config.intensity_gain * intensity
        + config.interaction_gain * interaction
        - config.fatigue_cost * fatigue
        + config.mood_sd * _draw_ar1(segments, memory=config.mood_memory, rng=rng)
    )
    noise = config.calm_noise_sd * (1.0 - intensity) * _draw_ar1(segments, memory=config.noise_memory, rng=rng)
    # Those who write are few, and feel differently from those who watch.
    reaction = config.excitement_noise_sd * _draw_ar1(segments, memory=config.excitement_memory, rng=rng)
    excitement = expit(config.excitement_slope * (feeling + reaction - config.excitement_middle))
    gifts = _draw_gifts(config, intensity, talent, rng=rng)
    return Plan(episodes, intensity, interaction, fatigue, excitement, gifts, streamer.base + feeling + noise)


def _draw_gifts(
    config: SimulatorConfig, intensity: np.ndarray, talent: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """Draw the gifts of each giver (segments, slots, givers): each comes, stays for a while and has a favourite talent.

    Givers send gifts in combos, more in intense moments, which they notice with a lag of their own.
    """
    segments, count = len(intensity), int(rng.poisson(config.givers_mean))
    arrival = rng.uniform(-0.2, 1.0, count) * segments
    time = np.arange(segments)[:, None]
    present = (time >= arrival) & (time < arrival + rng.exponential(config.giver_stay, count))
    noticed = intensity[np.maximum(time - rng.integers(config.max_lag + 1, size=count), 0)]
    liked = np.where(talent[:, None] == rng.integers(len(TALENTS), size=count), 2.0, 1.0)
    rate = config.giver_rate * np.exp(rng.normal(0.0, 1.0, count)) * present * liked * (0.1 + 0.9 * noticed)
    combos = rng.poisson(np.repeat(rate[:, None], SLOTS_PER_SEGMENT, axis=1) / SLOTS_PER_SEGMENT)
    return combos * rng.geometric(0.4, combos.shape)


def _draw_episodes(
    config: SimulatorConfig, streamer: Streamer, segments: int, *, rng: np.random.Generator
) -> tuple[Episode, ...]:
    """Draw consecutive episodes; the next talent is always another one, from the mix of the streamer."""
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


def _draw_arc(episode: Episode, *, rng: np.random.Generator) -> np.ndarray:
    """Draw the intensity over an episode (segments,): a build-up to the climax, then a faster decay."""
    count = episode.end - episode.start
    if episode.idle:
        return np.zeros(count)
    steps = np.arange(count) - (episode.climax - episode.start)
    height = rng.beta(4.0, 2.0)
    rise = np.exp(-((np.minimum(steps, 0) / (0.45 * count + 1.0)) ** 2) * 2.0)
    fall = np.exp(-np.maximum(steps, 0) / (0.25 * count + 1.0))
    return np.clip(height * rise * fall + rng.normal(0.0, 0.04, count), 0.0, 1.0)


def _fatigue(config: SimulatorConfig, episodes: tuple[Episode, ...]) -> np.ndarray:
    """Return how tired viewers are of a talent: 0 for ``fatigue_after`` segments, then rising towards 1."""
    elapsed = np.concatenate([np.arange(e.end - e.start) for e in episodes])
    return 1.0 - np.exp(-np.maximum(0.0, elapsed - config.fatigue_after) / config.fatigue_scale)


def _draw_ar1(count: int, *, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Draw stationary AR(1) noise with unit variance (count,)."""
    shocks = rng.normal(0.0, np.sqrt(1.0 - memory**2), count)
    shocks[0] /= np.sqrt(1.0 - memory**2)
    return lfilter([1.0], [1.0, -memory], shocks)
