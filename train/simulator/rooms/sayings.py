"""What the streamer says, and when: sentences by talent, announcements, answers, lyrics, silence."""

from collections.abc import Iterator

import numpy as np

from kuaihl.records import SEGMENT_S, Utterance
from train.simulator.rooms.grammar import say
from train.simulator.rooms.plan import Episode, Plan
from train.simulator.rooms.speech_phrases import SPEECH
from train.simulator.rooms.streamers import Streamer

CHARACTERS_A_SECOND = 12.5
"""A little slower than a voice of 150 words a minute reads (14), so that what is rendered ends in its segment too."""

SAID = ("answer", "thanks", "lyrics", "peak", "grow", "calm")
"""What is said of a segment itself, as the grammars name it; the more of `peak` and `grow`, the more intense it is."""


def speak(plan: Plan, streamer: Streamer, *, rng: np.random.Generator) -> tuple[tuple[Utterance, ...], np.ndarray]:
    """Fill the room's segments with utterances, none of which crosses the end of its segment.

    Returns
    -------
    The utterances, and how many of each segment's are of each kind of `SAID` (segments, 6).
    """
    said: list[Utterance] = []
    kinds = np.zeros((len(plan.hype), len(SAID)), dtype=int)
    for index in range(len(plan.hype)):
        clock_s = index * SEGMENT_S + rng.uniform(0.2, 1.5)
        end_s = (index + 1) * SEGMENT_S
        for kind, text in _sentences(plan, streamer, index, rng=rng):
            length_s = 0.3 + len(text) / CHARACTERS_A_SECOND
            if clock_s + length_s > end_s:
                break
            said.append(Utterance(start_s=clock_s, end_s=clock_s + length_s, text=text))
            if kind in SAID:
                kinds[index, SAID.index(kind)] += 1
            quiet = 1.0 / streamer.talkative - 1.0
            clock_s += length_s + float(rng.exponential(0.3 + length_s * quiet))
    return tuple(said), kinds


def _sentences(plan: Plan, streamer: Streamer, index: int, *, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """What comes to the streamer's mind in segment ``index``, without end: kinds and texts, what must be said first."""
    episode = plan.episode_at(index)

    def sentence(kind: str, talent: str = episode.talent) -> tuple[str, str]:
        return kind, say(SPEECH[talent], kind, rng=rng)

    if index == 0:
        yield sentence("hello")
    if index == len(plan.hype) - 1:
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
    intensity = float(plan.intensity[index])
    while True:
        yield sentence(_kind(episode, plan, streamer, index, intensity, rng=rng))


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
