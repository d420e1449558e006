"""What shows of a simulated room: what an observer is told who mistakes nothing."""

import re
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kuaihl.errors import LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from train.dataset import DatasetInfo, Room, Segments
from train.simulator.observer import Course
from train.simulator.render.look import SLOTS_PER_SEGMENT, STUCK
from train.simulator.render.photo_scenes import Scenes, read_scenes
from train.simulator.rooms import room as simulation
from train.simulator.rooms.comment_bank import CommentBank, read_bank
from train.simulator.rooms.sayings import SAID
from train.simulator.settings import TALENTS, SimulatorConfig


@dataclass(frozen=True, slots=True)
class Shown:
    """What shows of a room, all (segments,), and ``hype``, which does not.

    ``streamer`` is a number, NaN for one without training rooms; ``talent`` an index into TALENTS, ``place`` the
    segments since it began, ``announced`` one more than the talent that is announced in this segment, or 0; ``stuck``
    counts those of the segment's three pictures that the network kept back. ``intensity`` is NaN where a photo stands
    for the scene or all are stuck, and ``gifts`` are those on the others. ``answer`` to ``calm`` count what is said, as
    `SAID` names it, and ``excited`` is the share of comments that are written in excitement.

    The day is not there: trees would know training rooms by it, and it tells nothing of the fashion of later days. Nor
    is what else was said and written.
    """

    streamer: np.ndarray
    talent: np.ndarray
    place: np.ndarray
    idle: np.ndarray
    announced: np.ndarray
    intensity: np.ndarray
    answer: np.ndarray
    thanks: np.ndarray
    lyrics: np.ndarray
    peak: np.ndarray
    grow: np.ndarray
    calm: np.ndarray
    comments: np.ndarray
    commenters: np.ndarray
    burst: np.ndarray
    excited: np.ndarray
    stuck: np.ndarray
    gifts: np.ndarray
    hype: np.ndarray


@dataclass(frozen=True, slots=True)
class Simulation:
    """What rooms are made from: parameters, photos and real chat."""

    config: SimulatorConfig
    scenes: Scenes | None = None
    bank: CommentBank | None = None

    def room(self, index: int) -> simulation.Room:
        """Make the room ``index``; there is one for any."""
        return simulation.room(self.config, index, scenes=self.scenes, bank=self.bank)

    def named(self, name: str) -> simulation.Room:
        """Make the room called ``name``; LabelError where there is none."""
        return self.room(simulation.find_room(self.config, name))


def what_shows(made: simulation.Room, chat: np.ndarray) -> Shown:
    """Tell what shows of a room; ``chat`` (segments, columns) is how lively its comments are, as `CHAT_COLUMNS` say."""
    count = len(made.truth)
    place, announced = np.zeros(count), np.zeros(count)
    for episode in made.plan.episodes:
        place[episode.start : episode.end] = np.arange(episode.end - episode.start)
        if episode.announced is not None:
            announced[episode.announced] = 1 + TALENTS.index(episode.talent)
    counted = dict(zip(CHAT_COLUMNS, chat.T, strict=True))
    stuck = np.reshape(made.look.state, (count, SLOTS_PER_SEGMENT)) == STUCK
    seen = ~stuck.all(1) if made.look.photos is None else np.zeros(count, dtype=bool)
    return Shown(
        streamer=np.full(count, made.host.index if made.known else np.nan),
        talent=np.array([TALENTS.index(t.talent) for t in made.truth]),
        place=place,
        idle=np.array([t.idle for t in made.truth]),
        announced=announced,
        intensity=np.where(seen, made.plan.intensity, np.nan),
        **dict(zip(SAID, made.said.T, strict=True)),
        comments=counted["log1p_comments"],
        commenters=counted["log1p_commenters"],
        burst=counted["log_burst"],
        excited=(made.excited + 1) / (np.expm1(counted["log1p_comments"]) + 2),  # of few comments, rather a half
        stuck=stuck.sum(1),
        gifts=(np.reshape(made.look.gifts, (count, SLOTS_PER_SEGMENT)) * ~stuck).sum(1),
        hype=made.plan.hype,
    )


def shows_in(segments: Segments, room: Room, made: simulation.Room) -> Shown:
    """Tell what shows of a dataset's ``room``, which was ``made`` anew.

    Raises
    ------
    LabelError
        The dataset's is another room.
    """
    there = segments.column("appeal", room)
    chat = segments.array("activity", room.start, room.stop)[:, : len(CHAT_COLUMNS)]
    if len(there) != len(made.truth) or not np.allclose(there, made.appeal, atol=1e-6):
        raise LabelError(
            f"{room.name} does not come out as it is in the dataset, which another version of the simulator made: "
            "make the dataset again."
        )
    return what_shows(made, chat)


def course(shown: Shown, label: np.ndarray) -> Course:
    """Gather all that shows of a room, hype left out, for an observer who follows it; ``label`` is (segments,)."""
    columns = (
        np.eye(len(TALENTS))[shown.talent],
        np.eye(1 + len(TALENTS))[shown.announced.astype(int)],
        np.log1p(shown.place),
        shown.idle,
        np.isnan(shown.intensity),
        np.nan_to_num(shown.intensity),
        *(getattr(shown, kind) for kind in SAID),
        shown.comments,
        shown.commenters,
        shown.burst,
        shown.excited,
        shown.stuck,
        np.log1p(shown.gifts),
    )
    return Course(
        told=np.column_stack(columns).astype(np.float32),
        streamer=0 if np.isnan(shown.streamer[0]) else 1 + int(shown.streamer[0]),
        label=label,
        scored=np.arange(len(label)) > 0,
    )


def simulation_of(dataset: Path, info: DatasetInfo, *, scenes: Path | None, comment_bank: Path | None) -> Simulation:
    """What the rooms of a dataset were made from.

    Raises
    ------
    LabelError
        They are no simulated rooms of this version, or ``scenes`` are not their photos or ``comment_bank`` their chat.
    """
    if info.parameters.keys() != {f.name for f in fields(SimulatorConfig)}:
        raise LabelError(
            f"{dataset} is not of rooms of this version's simulator, but of {info.source}: what is hidden there cannot "
            "be told. Make one with `python -m train.prepare rooms`."
        )
    for option, what, given in (("--scenes", "photos", scenes), ("--comment-bank", "chat", comment_bank)):
        named = re.search(rf" {option} (.+?) --", info.made_by)
        if named is None and given is not None:
            raise LabelError(f"{dataset} was made without {what}, and its rooms are the same only so: no {option}.")
        if named is not None and (given is None or given.name != named[1]):
            raise LabelError(
                f"{dataset} was made with the {what} of {named[1]}, and its rooms come out the same only with it: give "
                f"it as {option}."
            )
    return Simulation(
        SimulatorConfig(**info.parameters),
        scenes=None if scenes is None else read_scenes(scenes),
        bank=None if comment_bank is None else read_bank(comment_bank),
    )
