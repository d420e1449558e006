"""Content of simulated rooms: what can be perceived in pictures, speech and chat."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kuaihl.errors import LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from train.dataset import DatasetInfo, Room, Segments
from train.simulator.rooms import room as simulation
from train.simulator.rooms.comment_bank import CommentBank, read_bank
from train.simulator.rooms.photo_scenes import Scenes, read_scenes
from train.simulator.rooms.streamer_speech import SENTENCE_KINDS
from train.simulator.rooms.visuals import SLOTS_PER_SEGMENT, STUCK
from train.simulator.settings import TALENTS, SimulatorConfig


@dataclass(frozen=True, slots=True)
class Content:
    """Content of a room, all (segments,). Everything can be perceived, except ``hype``.

    The day is left out: trees would recognise training rooms by it.

    Attributes
    ----------
    streamer
        Index of the streamer, NaN for one without training rooms.
    talent, elapsed, idle
        Index of the talent, segments since its episode began, and whether the segment is idle.
    announced
        Index of the talent announced in the segment plus one, or 0.
    intensity, stuck, gifts
        Intensity, NaN in rooms with photos or if all three pictures are stuck; number of stuck pictures; gifts on the
        others.
    answer, thanks, lyrics, peak, grow, calm
        Number of sentences of each of `SENTENCE_KINDS`.
    comments, commenters, burst, excited
        Activity of the chat as in `CHAT_COLUMNS`, and the (smoothed) share of excited comments.
    """

    streamer: np.ndarray
    talent: np.ndarray
    elapsed: np.ndarray
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
    """The inputs of a simulation: parameters, photos and real chat."""

    config: SimulatorConfig
    scenes: Scenes | None = None
    bank: CommentBank | None = None

    def simulate(self, room: int | str) -> simulation.Room:
        """Simulate a room by its index or id; LabelError if there is no such id."""
        index = simulation.find_room(self.config, room) if isinstance(room, str) else room
        return simulation.simulate_room(self.config, index, scenes=self.scenes, bank=self.bank)


def open_simulation(dataset: Path, info: DatasetInfo, *, scenes: Path | None, comment_bank: Path | None) -> Simulation:
    """Return the simulation that a dataset was made from.

    Raises
    ------
    LabelError
        The dataset is not of rooms of this version, or was made with other photos or another chat.
    """
    if info.parameters.keys() != {field.name for field in fields(SimulatorConfig)}:
        raise LabelError(
            f"{dataset} is not of simulated rooms of this version but of {info.source}. Make one with `python -m "
            "train.prepare rooms`."
        )
    command = shlex.split(info.made_by)
    for option, name, path in (("--scenes", "photos", scenes), ("--comment-bank", "chat", comment_bank)):
        used = command[command.index(option) + 1] if option in command else None
        if used is None and path is not None:
            raise LabelError(f"{dataset} was made without {name}: leave out {option}.")
        if used is not None and (path is None or path.name != used):
            raise LabelError(f"{dataset} was made with the {name} of {used}: give that file as {option}.")
    return Simulation(
        SimulatorConfig(**info.parameters),
        scenes=None if scenes is None else read_scenes(scenes),
        bank=None if comment_bank is None else read_bank(comment_bank),
    )


def observe_room(room: simulation.Room, chat: np.ndarray) -> Content:
    """Return the content of a room; ``chat`` (segments, columns) is its activity by `CHAT_COLUMNS`."""
    count = len(room.truth)
    elapsed, announced = np.zeros(count), np.zeros(count)
    for episode in room.plan.episodes:
        elapsed[episode.start : episode.end] = np.arange(episode.end - episode.start)
        if episode.announced is not None:
            announced[episode.announced] = 1 + TALENTS.index(episode.talent)
    activity = dict(zip(CHAT_COLUMNS, chat.T, strict=True))
    stuck = np.reshape(room.visuals.state, (count, SLOTS_PER_SEGMENT)) == STUCK
    visible = ~stuck.all(1) if room.visuals.photos is None else np.zeros(count, dtype=bool)
    return Content(
        streamer=np.full(count, room.host.index if room.known else np.nan),
        talent=np.array([TALENTS.index(t.talent) for t in room.truth]),
        elapsed=elapsed,
        idle=np.array([t.idle for t in room.truth]),
        announced=announced,
        intensity=np.where(visible, room.plan.intensity, np.nan),
        **dict(zip(SENTENCE_KINDS, room.sentence_counts.T, strict=True)),
        comments=activity["log1p_comments"],
        commenters=activity["log1p_commenters"],
        burst=activity["log_burst"],
        excited=(room.excited_comments + 1) / (np.expm1(activity["log1p_comments"]) + 2),
        stuck=stuck.sum(1),
        gifts=(np.reshape(room.visuals.gifts, (count, SLOTS_PER_SEGMENT)) * ~stuck).sum(1),
        hype=room.plan.hype,
    )


def observe_dataset_room(segments: Segments, room: Room, simulated: simulation.Room) -> Content:
    """Return the content of a room of a dataset, which was simulated again.

    Raises
    ------
    LabelError
        The dataset has another room.
    """
    appeal = segments.column("appeal", room)
    chat = segments.array("activity", room.start, room.stop)[:, : len(CHAT_COLUMNS)]
    if len(appeal) != len(simulated.truth) or not np.allclose(appeal, simulated.appeal, atol=1e-6):
        raise LabelError(f"{room.name} in the dataset is of another version of the simulator: make the dataset again.")
    return observe_room(simulated, chat)
