"""What the streamer says, and when: sentences by talent, announcements, answers, lyrics, silence."""

from collections.abc import Iterator

import numpy as np

from kuaihl.records import SEGMENT_S, Utterance
from train.simulator.rooms.phrases import load_grammars, make_sentence
from train.simulator.rooms.plan import Episode, Plan
from train.simulator.rooms.streamers import Streamer

CHARACTERS_PER_S = 12.5
"""A little slower than a voice of 150 words a minute (14), so that rendered speech also ends in its segment."""

SENTENCE_KINDS = ("answer", "thanks", "lyrics", "peak", "grow", "calm")
"""Kinds of sentences about the current segment, as named in phrases.yaml; `peak` and `grow` follow the intensity."""


def simulate_speech(
    plan: Plan, streamer: Streamer, *, rng: np.random.Generator
) -> tuple[tuple[Utterance, ...], np.ndarray]:
    """Fill the segments of a room with utterances, none of which crosses the end of its segment.

    Returns
    -------
    The utterances, and the number of each of `SENTENCE_KINDS` in each segment (segments, kinds).
    """
    utterances: list[Utterance] = []
    counts = np.zeros((len(plan.intensity), len(SENTENCE_KINDS)), dtype=int)
    for index in range(len(plan.intensity)):
        clock_s = index * SEGMENT_S + rng.uniform(0.2, 1.5)
        end_s = (index + 1) * SEGMENT_S
        for kind, text in _sentences(plan, streamer, index, rng=rng):
            length_s = 0.3 + len(text) / CHARACTERS_PER_S
            if clock_s + length_s > end_s:
                break
            utterances.append(Utterance(start_s=clock_s, end_s=clock_s + length_s, text=text))
            if kind in SENTENCE_KINDS:
                counts[index, SENTENCE_KINDS.index(kind)] += 1
            pause_share = 1.0 / streamer.talkative - 1.0
            clock_s += length_s + float(rng.exponential(0.3 + length_s * pause_share))
    return tuple(utterances), counts


def _sentences(plan: Plan, streamer: Streamer, index: int, *, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of sentences for segment ``index``, required ones first; endless unless the room is idle."""
    episode = plan.episode_at(index)
    grammars = load_grammars("speech")

    def sentence(kind: str, talent: str = episode.talent) -> tuple[str, str]:
        return kind, make_sentence(grammars[talent], kind, rng=rng)

    if index == 0:
        yield sentence("hello")
    if index == len(plan.intensity) - 1:
        yield sentence("goodbye")
    for other in plan.episodes:
        if other.announced == index:
            yield sentence("announce", other.talent)
        if other.explained and other.end == index:
            yield sentence("after", other.talent)
    if episode.idle:
        if rng.random() < 0.3:
            yield sentence("idle")
        return
    while True:
        yield sentence(_choose_kind(episode, plan, streamer, index, rng=rng))


def _choose_kind(episode: Episode, plan: Plan, streamer: Streamer, index: int, *, rng: np.random.Generator) -> str:
    intensity = float(plan.intensity[index])
    chance = rng.random()
    if chance < 0.6 * plan.interaction[index]:
        return "answer"
    if chance > 0.7 and plan.gifts[index].any():
        return "thanks"
    if episode.talent == "singing" and intensity > 0.25 and rng.random() < 0.8:
        return "lyrics"
    if rng.random() < intensity * (0.3 + 0.3 * streamer.lively):
        return "peak" if index >= episode.climax - 1 or intensity > 0.6 else "grow"
    return "calm"
