"""Simulated rooms: what was shown, said and written in a live stream, and the hidden truth."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby

import numpy as np
from scipy.special import expit

from kuaihl.errors import LabelError
from kuaihl.records import SEGMENT_S, Comment, Segment, Utterance, segments_of
from train.simulator.rooms.audience import simulate_comments
from train.simulator.rooms.comment_bank import CommentBank
from train.simulator.rooms.photo_scenes import Scenes
from train.simulator.rooms.plan import Plan, plan_room
from train.simulator.rooms.streamer_speech import simulate_speech
from train.simulator.rooms.streamers import Streamer, make_streamers, simulate_popularity
from train.simulator.rooms.viewers import Impressions, simulate_impressions
from train.simulator.rooms.visuals import Visuals, plan_visuals
from train.simulator.settings import TEST_DAYS, TRAIN_DAYS, VALIDATION_DAYS, VERSION, SimulatorConfig, Split

_STREAM_OF_ROOMS = 3
_STREAM_OF_CASTING = 4
_FIRST_DAY = date(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class SegmentTruth:
    """Hidden truth of a segment. ``appeal`` is the probability p_t of a long view, ``lvtr`` the observed ratio y_t."""

    talent: str
    idle: bool
    intensity: float
    interaction: float
    fatigue: float
    excitement: float
    appeal: float
    impressions: int
    long_views: int

    @property
    def lvtr(self) -> float:
        """Long views over impressions (Eq. 1)."""
        return self.long_views / self.impressions


@dataclass(frozen=True, slots=True)
class Room:
    """A live stream: what can be observed (segments, speech, comments, visuals) and its truth.

    ``comments`` follow the excitement, most of them ``comment_lag`` segments later; ``excited_comments`` (segments,)
    counts the excited ones, ``sentence_counts`` (segments, 6) the `SENTENCE_KINDS` of ``speech``. ``day`` counts from
    0; ``known`` says whether the streamer has training rooms.
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
    truth: tuple[SegmentTruth, ...]
    comment_lag: int
    sentence_counts: np.ndarray = field(repr=False, compare=False)
    excited_comments: np.ndarray = field(repr=False, compare=False)
    host: Streamer = field(repr=False)
    plan: Plan = field(repr=False, compare=False)
    visuals: Visuals = field(repr=False)
    impressions: Impressions = field(repr=False, compare=False)

    @property
    def date(self) -> date:
        """Day of the stream in the calendar."""
        return _FIRST_DAY + timedelta(days=self.day)

    @property
    def lvtr(self) -> np.ndarray:
        """Observed LVTR (segments,)."""
        return np.array([t.lvtr for t in self.truth])

    @property
    def appeal(self) -> np.ndarray:
        """True probability p_t of a long view (segments,)."""
        return np.array([t.appeal for t in self.truth])


def room_ids(config: SimulatorConfig) -> tuple[str, ...]:
    """Return the ids of all rooms by index."""
    size = config.rooms
    splits = [("train", size.train), ("validation", size.validation), ("test", size.test), ("train", size.more)]
    names = [split for split, count in splits for _ in range(count)]
    return tuple(f"{split}-{index:04d}" for index, split in enumerate(names))


def find_room(config: SimulatorConfig, name: str) -> int:
    """Return the index of a room from its id or number.

    Raises
    ------
    LabelError
        There is no such room.
    """
    names = room_ids(config)
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    runs = [tuple(run) for _, run in groupby(names, key=lambda name: name.rpartition("-")[0])]
    ranges = ", ".join(f"{run[0]} to {run[-1]}" for run in runs)
    raise LabelError(f"There is no room {name!r} in size {config.size}: choose from {ranges}, or give a number.")


def simulate_room(
    config: SimulatorConfig, index: int, *, scenes: Scenes | None = None, bank: CommentBank | None = None
) -> Room:
    """Simulate the room ``index``, which does not depend on others. Indices beyond `room_ids` are training rooms."""
    # The size is part of the seed, so that a test room of one size is no training room of another. Size large has the
    # rooms of base.
    seeds = np.random.SeedSequence([VERSION, config.seed, _STREAM_OF_ROOMS, config.rooms.train, index]).spawn(6)
    rng, plan_rng, viewers_rng, speech_rng, chat_rng, visuals_rng = (np.random.default_rng(s) for s in seeds)
    names = room_ids(config)
    name = names[index] if index < len(names) else f"train-{index:04d}"
    split: Split = name.rpartition("-")[0]
    days = {"train": TRAIN_DAYS, "validation": VALIDATION_DAYS, "test": TEST_DAYS}[split]
    day = int(rng.integers(days.start, days.stop))
    lag = int(rng.integers(config.max_lag + 1))
    host = make_streamers(config)[_cast(config, index)]
    plan = plan_room(config, host, simulate_popularity(config)[day], rng=plan_rng)
    segments = tuple(segments_of(len(plan.intensity) * SEGMENT_S))
    appeal = expit(plan.logit)
    impressions = simulate_impressions(config, appeal, rng=viewers_rng)
    count, long_views = impressions.count(len(segments), long_view_s=config.long_view_s)
    audience = float(count.mean())
    speech, sentence_counts = simulate_speech(plan, host, rng=speech_rng)
    comments, excited = simulate_comments(config, plan, host, lag=lag, audience=audience, bank=bank, rng=chat_rng)
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
        truth=_collect_truth(plan, appeal, count, long_views),
        comment_lag=lag,
        sentence_counts=sentence_counts,
        excited_comments=excited,
        host=host,
        plan=plan,
        visuals=plan_visuals(config, plan, split, scenes=scenes, rng=visuals_rng),
        impressions=impressions,
    )


def _collect_truth(
    plan: Plan, appeal: np.ndarray, impressions: np.ndarray, long_views: np.ndarray
) -> tuple[SegmentTruth, ...]:
    episodes = [plan.episode_at(i) for i in range(len(appeal))]
    columns = (plan.intensity, plan.interaction, plan.fatigue, plan.excitement, appeal, impressions, long_views)
    rows = zip(episodes, *(column.tolist() for column in columns), strict=True)
    return tuple(SegmentTruth(episode.talent, episode.idle, *values) for episode, *values in rows)


def _cast(config: SimulatorConfig, index: int) -> int:
    """Return the streamer of a room: known ones all have training rooms, the last test rooms are of unseen ones."""
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
