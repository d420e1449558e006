"""What the streamer says, and when: sentences by talent, announcements, answers, lyrics, silence."""

from collections.abc import Iterator

import numpy as np

from kuaihl.records import SEGMENT_S, Utterance
from train.simulator.grammar import say
from train.simulator.plan import Episode, Plan
from train.simulator.speech_phrases import SPEECH
from train.simulator.streamers import Streamer

CHARACTERS_A_SECOND = 12.5
"""A little slower than a voice of 150 words a minute reads (14), so that what is rendered ends in its segment too."""


def speak(plan: Plan, streamer: Streamer, *, rng: np.random.Generator) -> tuple[Utterance, ...]:
    """Fill the room's segments with utterances, none of which crosses the end of its segment."""
    said: list[Utterance] = []
    for index in range(len(plan.hype)):
        clock_s = index * SEGMENT_S + rng.uniform(0.2, 1.5)
        end_s = (index + 1) * SEGMENT_S
        for text in _sentences(plan, streamer, index, rng=rng):
            length_s = 0.3 + len(text) / CHARACTERS_A_SECOND
            if clock_s + length_s > end_s:
                break
            said.append(Utterance(start_s=clock_s, end_s=clock_s + length_s, text=text))
            quiet = 1.0 / streamer.talkative - 1.0
            clock_s += length_s + float(rng.exponential(0.3 + length_s * quiet))
    return tuple(said)


def _sentences(plan: Plan, streamer: Streamer, index: int, *, rng: np.random.Generator) -> Iterator[str]:
    """What comes to the streamer's mind in segment ``index``, without end; what must be said comes first."""
    episode = plan.episode_at(index)
    grammar = SPEECH[episode.talent]
    if index == 0:
        yield say(grammar, "hello", rng=rng)
    if index == len(plan.hype) - 1:
        yield say(grammar, "goodbye", rng=rng)
    for other in plan.episodes:
        if other.announced == index:
            yield say(SPEECH[other.talent], "announce", rng=rng)
        if other.explained and other.end == index:
            yield say(SPEECH[other.talent], "after", rng=rng)
    if episode.idle:
        if rng.random() < 0.3:
            yield say(grammar, "idle", rng=rng)
        return
    intensity = float(plan.intensity[index])
    while True:
        yield say(grammar, _kind(episode, plan, streamer, index, intensity, rng=rng), rng=rng)


def _kind(
    episode: Episode, plan: Plan, streamer: Streamer, index: int, intensity: float, *, rng: np.random.Generator
) -> str:
    chance = rng.random()
    if chance < 0.45 * plan.interaction[index]:
        return "answer"
    if chance > 1.0 - 0.2 * plan.hype[index]:
        return "thanks"
    if episode.talent == "singing" and intensity > 0.25 and rng.random() < 0.8:
        return "lyrics"
    if rng.random() < intensity * (0.7 + 0.3 * streamer.lively):
        return "peak" if index >= episode.climax - 1 or intensity > 0.6 else "grow"
    return "calm"
