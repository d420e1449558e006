"""Simulated comments: they follow the excitement with the lag of the room, or of the viewer."""

from operator import attrgetter

import numpy as np

from kuaihl.records import SEGMENT_S, Comment
from train.simulator.rooms.comment_bank import CommentBank
from train.simulator.rooms.phrases import load_grammars, make_sentence
from train.simulator.rooms.plan import Plan
from train.simulator.rooms.streamers import Streamer
from train.simulator.settings import PICTURE_SLOT_S, SimulatorConfig

_FIRST = "mango pixel otter cosmo sleepy tofu river ghost maple turbo lemon echo panda".split()  # noqa: SIM905
_LAST = "fan cat king girl wolf tea bean star boy duck rider moon".split()  # noqa: SIM905
_BOT = "Nightbot"
_EXCITED = ("hot", "burst")
"""Phrases of excitement. Gifts are excited too, but are not read as text."""


def simulate_comments(
    config: SimulatorConfig,
    plan: Plan,
    streamer: Streamer,
    *,
    lag: int,
    audience: float,
    bank: CommentBank | None,
    rng: np.random.Generator,
) -> tuple[tuple[Comment, ...], np.ndarray]:
    """Simulate the comments of a room; ``audience`` is its mean number of impressions per segment.

    Returns
    -------
    The comments by time, and the number of excited ones in each segment (segments,).
    """
    lags = np.arange(config.max_lag + 1)
    lag_weights = np.where(lags == lag, config.lag_share, 0.0) + (1.0 - config.lag_share) / len(lags)
    topics = np.maximum(np.arange(len(plan.excitement))[:, None] - lags, 0)
    excitement = plan.excitement[topics] @ lag_weights
    # Chat grows more slowly than the audience, because most viewers only watch.
    rate = streamer.comment_rate * np.sqrt(audience / config.audience_median)
    noise = rng.normal(0.0, config.comments_noise_sd, len(excitement))
    counts = np.minimum(rng.poisson(rate * np.exp(config.comments_gain * excitement + noise)), config.max_comments)
    names = _chatters(streamer, 30 + 4 * int(np.median(counts)), rng=rng)
    grammars = load_grammars("comments")
    comments: list[Comment] = []
    excited = np.zeros(len(counts), dtype=int)
    for index, count in enumerate(counts.tolist()):
        topic = topics[index, rng.choice(len(lags), size=count, p=lag_weights)]
        felt = plan.excitement[topic]
        # Rounded down, since rounding up could leave the segment.
        times_s = np.floor(100.0 * SEGMENT_S * np.sort(rng.random(count))) / 100.0 + index * SEGMENT_S
        # A few write most of it; excitement makes others write too.
        chatter = len(names) * rng.random(count) ** (3.0 - 1.5 * felt)
        lines, from_burst = [None] * count, np.zeros(count, dtype=bool)
        if bank is not None:
            lines, from_burst = bank.sample(count, excitement=felt, share=config.bank_share, rng=rng)
        for i in range(count):
            kind = "bot" if rng.random() > 0.995 else "message"
            user = _BOT if kind == "bot" else names[int(chatter[i])]
            text, is_excited = lines[i], bool(from_burst[i])
            if text is None or kind != "message":
                phrase = kind if kind == "bot" else _choose_phrase(plan, int(topic[i]), index, rng=rng)
                text = make_sentence(grammars[plan.episode_at(int(topic[i])).talent], phrase, rng=rng)
                is_excited = phrase in _EXCITED
            excited[index] += is_excited
            comments.append(Comment(time_s=float(times_s[i]), text=text, user=user, kind=kind))
    for segment, slot, giver in np.argwhere(plan.gifts):
        kind = "gift" if rng.random() < 0.8 else "paid"
        text = make_sentence(grammars[plan.episode_at(int(segment)).talent], kind, rng=rng)
        time_s = segment * SEGMENT_S + np.floor(100.0 * PICTURE_SLOT_S * (slot + rng.random())) / 100.0
        comments.append(Comment(time_s=float(time_s), text=text, user=names[giver % len(names)], kind=kind))
    return tuple(sorted(comments, key=attrgetter("time_s"))), excited


def _chatters(streamer: Streamer, count: int, *, rng: np.random.Generator) -> list[str]:
    """Names of those who may write, most active first: two in three are fans who come to every room."""
    fan_rng = np.random.default_rng([streamer.seed, 1])
    fans = dict.fromkeys(_make_name(fan_rng) for _ in range(count))
    visitors = dict.fromkeys(_make_name(rng) for _ in range(count // 2))
    names = list(fans | visitors)
    return [names[i] for i in np.argsort(np.arange(len(names)) * rng.uniform(0.5, 1.5, len(names)))]


def _make_name(rng: np.random.Generator) -> str:
    number = int(rng.integers(1000))
    return f"{_FIRST[number % len(_FIRST)]}_{_LAST[int(rng.integers(len(_LAST)))]}{number if number % 3 else ''}"


def _choose_phrase(plan: Plan, topic: int, index: int, *, rng: np.random.Generator) -> str:
    """Choose a phrase of phrases.yaml for a comment in segment ``index`` about segment ``topic``."""
    chance = rng.random()
    if chance < (0.35 if index < 3 else 0.06):
        return "greeting"
    if chance > 0.82 - 0.1 * plan.interaction[topic]:
        return ("question", "offtopic", "spam", "emote")[int(4 * rng.random() ** 1.3)]
    if plan.episode_at(topic).idle:
        return "idle"
    if rng.random() < plan.excitement[topic]:
        return "hot" if rng.random() < 0.5 else "burst"
    return "calm" if rng.random() < 0.65 else "about"
