"""What the audience writes, who writes, and when: it follows hype with the room's own lag."""

import numpy as np

from kuaihl.records import SEGMENT_S, Comment
from train.simulator.rooms.comment_bank import CommentBank
from train.simulator.rooms.comment_phrases import COMMENTS
from train.simulator.rooms.grammar import say
from train.simulator.rooms.plan import Plan
from train.simulator.rooms.streamers import Streamer
from train.simulator.settings import SimulatorConfig

_NAMES = (
    "mango",
    "pixel",
    "otter",
    "cosmo",
    "sleepy",
    "tofu",
    "river",
    "ghost",
    "maple",
    "turbo",
    "lemon",
    "echo",
    "panda",
)
_MORE = ("fan", "cat", "king", "girl", "wolf", "tea", "bean", "star", "boy", "duck", "rider", "moon")
_BOT = "Nightbot"
_EXCITED = ("hot", "burst")
"""What is written in excitement; gifts come with it too, but are not read as text."""


def rates(config: SimulatorConfig, plan: Plan, streamer: Streamer, *, lag: int, audience: float) -> np.ndarray:
    """Expected comments of each segment (segments,), before noise: they follow the hype ``lag`` segments earlier."""
    hype = plan.hype[np.maximum(np.arange(len(plan.hype)) - lag, 0)]
    # chat grows more slowly than the audience, as the many mostly watch
    return streamer.comment_rate * np.sqrt(audience / config.audience_median) * np.exp(config.comments_gain * hype)


def chat(
    config: SimulatorConfig,
    plan: Plan,
    streamer: Streamer,
    *,
    lag: int,
    audience: float,
    bank: CommentBank | None,
    rng: np.random.Generator,
) -> tuple[tuple[Comment, ...], np.ndarray]:
    """Write a room's comments; ``audience`` is its mean number of impressions a segment.

    Returns
    -------
    The comments, in order of time, and how many of each segment's are written in excitement (segments,).
    """
    expected = rates(config, plan, streamer, lag=lag, audience=audience)
    noise = np.exp(rng.normal(0.0, config.comments_noise_sd, len(expected)))
    counts = np.minimum(rng.poisson(expected * noise), config.max_comments)
    names = _chatters(streamer, 30 + 4 * int(np.median(counts)), rng=rng)
    written: list[Comment] = []
    excited = np.zeros(len(counts), dtype=int)
    for index, count in enumerate(counts.tolist()):
        about = max(0, index - lag)
        hype = float(plan.hype[about])
        # floored, since rounding up could leave the segment
        times_s = np.floor(100.0 * SEGMENT_S * np.sort(rng.random(count))) / 100.0 + index * SEGMENT_S
        # a few write most of it, and excitement makes the silent ones write
        who = len(names) * rng.random(count) ** (3.0 - 1.5 * hype)
        real, hot = [None] * count, np.zeros(count, dtype=bool)
        if bank is not None:
            real, hot = bank.draw(count, hype=hype, share=config.bank_share, rng=rng)
        for i in range(count):
            kind = _kind(hype, rng=rng)
            user = _BOT if kind == "bot" else names[int(who[i])]
            text, burst = real[i], bool(hot[i])
            if text is None or kind != "message":
                what = _what(plan, about, index, kind, hype, rng=rng)
                text, burst = say(COMMENTS[plan.episode_at(about).talent], what, rng=rng), what in _EXCITED
            excited[index] += burst
            written.append(Comment(time_s=float(times_s[i]), text=text, user=user, kind=kind))
    return tuple(written), excited


def _chatters(streamer: Streamer, count: int, *, rng: np.random.Generator) -> list[str]:
    """Names of those who may write, the most active first: two in three are fans who come to every room."""
    fans = np.random.default_rng([streamer.seed, 1])
    regulars = {_name(fans): None for _ in range(count)}
    passers = {_name(rng): None for _ in range(count // 2)}
    names = list(regulars | passers)
    return [names[i] for i in np.argsort(np.arange(len(names)) * rng.uniform(0.5, 1.5, len(names)))]


def _name(rng: np.random.Generator) -> str:
    number = int(rng.integers(1000))
    return f"{_NAMES[number % len(_NAMES)]}_{_MORE[int(rng.integers(len(_MORE)))]}{number if number % 3 else ''}"


def _kind(hype: float, *, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.05 * hype:
        return "gift"
    if chance < 0.065 * hype:
        return "paid"
    return "bot" if chance > 0.995 else "message"


def _what(plan: Plan, about: int, index: int, kind: str, hype: float, *, rng: np.random.Generator) -> str:
    """Choose what a comment says, as the grammars name it."""
    if kind != "message":
        return kind
    chance = rng.random()
    if chance < (0.35 if index < 3 else 0.06):
        return "greeting"
    if chance > 0.82 - 0.1 * plan.interaction[about]:
        return ("question", "offtopic", "spam", "emote")[int(4 * rng.random() ** 1.3)]
    if plan.episode_at(about).idle:
        return "idle"
    if rng.random() < hype:
        return "hot" if rng.random() < 0.5 else "burst"
    return "calm" if rng.random() < 0.65 else "about"
