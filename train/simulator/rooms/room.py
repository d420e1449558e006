"""Rooms: what was shown, said and written in each, and the truth behind it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import numpy as np
from scipy.special import expit

from kuaihl.errors import LabelError
from kuaihl.records import SEGMENT_S, Comment, Segment, Utterance, segments_of
from train.simulator.render.look import Look, look
from train.simulator.render.photo_scenes import Scenes, read_scenes
from train.simulator.rooms import viewers
from train.simulator.rooms.audience import chat
from train.simulator.rooms.comment_bank import CommentBank, read_bank
from train.simulator.rooms.plan import Plan, plan
from train.simulator.rooms.sayings import speak
from train.simulator.rooms.streamers import Streamer, popularity, streamers
from train.simulator.rooms.viewers import Impressions, watch
from train.simulator.settings import TEST_DAYS, TRAIN_DAYS, VALIDATION_DAYS, SimulatorConfig, Split

_STREAM_OF_ROOMS = 3
_STREAM_OF_CASTING = 4
_FIRST_DAY = date(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is behind a segment. ``appeal`` is the chance p_t that a viewer stays, ``lvtr`` the observed ratio y_t."""

    talent: str
    idle: bool
    intensity: float
    interaction: float
    fatigue: float
    hype: float
    appeal: float
    impressions: int
    long_views: int

    @property
    def lvtr(self) -> float:
        """Long views over impressions (Eq. 1)."""
        return self.long_views / self.impressions


@dataclass(frozen=True, slots=True)
class Room:
    """A live stream: its observation (segments, speech, comments; pictures are drawn from ``look``) and its truth.

    ``comments`` follow the hype ``lag`` segments earlier, and ``excited`` (segments,) of them are written in
    excitement; ``said`` (segments, 6) counts the kinds of `SAID` in ``speech``; ``day`` counts from 0, ``known`` says
    whether the streamer has training rooms.
    """

    id: str
    index: int
    streamer: str
    day: int
    split: Split
    known: bool
    segments: tuple[Segment, ...]
    speech: tuple[Utterance, ...]
    comments: tuple[Comment, ...]
    truth: tuple[Truth, ...]
    lag: int
    said: np.ndarray = field(repr=False, compare=False)
    excited: np.ndarray = field(repr=False, compare=False)
    host: Streamer = field(repr=False)
    plan: Plan = field(repr=False, compare=False)
    look: Look = field(repr=False)
    impressions: Impressions = field(repr=False, compare=False)

    @property
    def date(self) -> date:
        """The day in the calendar."""
        return _FIRST_DAY + timedelta(days=self.day)

    @property
    def lvtr(self) -> np.ndarray:
        """Observed LVTR (segments,)."""
        return np.array([t.lvtr for t in self.truth])

    @property
    def appeal(self) -> np.ndarray:
        """True chance p_t that a viewer stays (segments,)."""
        return np.array([t.appeal for t in self.truth])


def simulate(
    config: SimulatorConfig, *, scenes: Path | None = None, comment_bank: Path | None = None
) -> Iterator[Room]:
    """Make all rooms of a simulation: training, then validation, then test, then more for training.

    Raises
    ------
    LabelError
        If the photos or the comment bank cannot be used.
    """
    photos = None if scenes is None else read_scenes(scenes)
    bank = None if comment_bank is None else read_bank(comment_bank)
    for index in range(len(room_ids(config))):
        yield room(config, index, scenes=photos, bank=bank)


def room_ids(config: SimulatorConfig) -> tuple[str, ...]:
    """Names of all rooms, in the order of their index."""
    size = config.rooms
    splits = [("train", size.train), ("validation", size.validation), ("test", size.test), ("train", size.more)]
    names = [split for split, count in splits for _ in range(count)]
    return tuple(f"{split}-{index:04d}" for index, split in enumerate(names))


def find_room(config: SimulatorConfig, name: str) -> int:
    """Find the index of the room called ``name``, or numbered so.

    Raises
    ------
    LabelError
        If there is no such room.
    """
    names = room_ids(config)
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    runs = [tuple(run) for _, run in groupby(names, key=lambda name: name.rpartition("-")[0])]
    known = ", ".join(f"{run[0]} to {run[-1]}" for run in runs)
    raise LabelError(f"no room {name!r} in size {config.size}; there are {known}. Its number alone is enough.")


def room(config: SimulatorConfig, index: int, *, scenes: Scenes | None = None, bank: CommentBank | None = None) -> Room:
    """Make the room ``index`` alone: the same, byte for byte, as ``simulate`` makes it.

    After the last that ``simulate`` makes, there are as many more for training as one likes.
    """
    # with the size, so that a test room of one size is no training room of another; large has the rooms of base
    seeds = np.random.SeedSequence([config.seed, _STREAM_OF_ROOMS, config.rooms.train, index]).spawn(6)
    rng, of_plan, of_viewers, of_speech, of_chat, of_look = (np.random.default_rng(s) for s in seeds)
    names = room_ids(config)
    name = names[index] if index < len(names) else f"train-{index:04d}"
    split: Split = name.rpartition("-")[0]
    days = {"train": TRAIN_DAYS, "validation": VALIDATION_DAYS, "test": TEST_DAYS}[split]
    day = int(rng.integers(days.start, days.stop))
    lag = int(rng.integers(config.max_lag + 1))
    host = streamers(config)[_cast(config, index)]
    course = plan(config, host, popularity(config)[day], rng=of_plan)
    segments = tuple(segments_of(len(course.hype) * SEGMENT_S))
    appeal = expit(course.logit)
    impressions = watch(config, appeal, rng=of_viewers)
    count, long_views = impressions.per_segment(len(segments), long_view_s=config.long_view_s)
    audience = float(count.mean())
    speech, said = speak(course, host, rng=of_speech)
    comments, excited = chat(config, course, host, lag=lag, audience=audience, bank=bank, rng=of_chat)
    return Room(
        id=name,
        index=index,
        streamer=host.name,
        day=day,
        split=split,
        known=host.known,
        segments=segments,
        speech=speech,
        comments=comments,
        truth=_truth(course, appeal, count, long_views),
        lag=lag,
        said=said,
        excited=excited,
        host=host,
        plan=course,
        look=look(config, course, split, audience=audience, scenes=scenes, rng=of_look),
        impressions=impressions,
    )


def ceiling(rooms: Iterable[Room]) -> float:
    """Kendall's tau-b between p_t and y_t, pooled over the segments of ``rooms``: the score of a perfect model."""
    return viewers.ceiling((room.appeal, room.lvtr) for room in rooms)


def _truth(course: Plan, appeal: np.ndarray, impressions: np.ndarray, long_views: np.ndarray) -> tuple[Truth, ...]:
    episodes = [course.episode_at(i) for i in range(len(appeal))]
    return tuple(
        Truth(
            talent=episode.talent,
            idle=episode.idle,
            intensity=float(course.intensity[i]),
            interaction=float(course.interaction[i]),
            fatigue=float(course.fatigue[i]),
            hype=float(course.hype[i]),
            appeal=float(appeal[i]),
            impressions=int(impressions[i]),
            long_views=int(long_views[i]),
        )
        for i, episode in enumerate(episodes)
    )


def _cast(config: SimulatorConfig, index: int) -> int:
    """Which streamer has the room: everyone known has training rooms, and the last test rooms are of the unseen."""
    size = config.rooms
    unseen = max(1, round(config.unseen_streamers * size.streamers))
    known = size.streamers - unseen
    rng = np.random.default_rng([config.seed, _STREAM_OF_CASTING, index])
    from_end = size.train + size.validation + size.test - 1 - index
    if index < size.train or from_end < 0:
        return index % known
    if from_end < max(1, round(config.unseen_rooms * size.test)):
        return known + from_end % unseen
    return int(rng.integers(known))
