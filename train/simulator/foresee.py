"""Labels without the luck in them: what an observer foresees who is told all that shows in a room and has seen many.

Of what decides over a segment's LVTR much is not known beforehand, and a model of few rooms learns that by heart. Rooms
that nobody has to look at, since the observer is told what shows in them, cost next to nothing, so that it knows from
thousands what was to be expected. What the rooms for validation and test are measured by stays as it was.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from kuaihl import comments
from kuaihl.activity import chat_activity
from kuaihl.errors import LabelError
from train.dataset import ENCODER_FILES, Room, read_info, write_info
from train.leaderboard import Task, open_task
from train.metrics import Tau, taus
from train.past import labels_of, rooms_of_rows
from train.simulator.config import SimulatorConfig
from train.simulator.observer import Course, observe, pasts, pieces
from train.simulator.rooms import room, room_ids
from train.simulator.scenes import Scenes
from train.simulator.shown import course, made_anew, shows_in, simulation_of, what_shows

KIND = "foreseen by an observer"
"""``label_kind`` of such labels."""
WINDOW = 20
"""Segments that the observer looks back on, as KuaiHL does."""
_PIECES_PER_BATCH = 64
_EPOCHS = 30
_ROOMS_AT_ONCE = 20


def foresee(dataset: Path, out: Path, *, rooms: int, scenes: Path | None = None, workers: int = 1) -> Tau:
    """Write a dataset anew, the labels of its training rooms replaced by what the observer foresees.

    Parameters
    ----------
    dataset
        Folder that train.simulator wrote.
    out
        Folder for the new one.
    rooms
        How many rooms the observer learns from: none of the dataset's, but such as would come after them.
    scenes
        The photos that the dataset was made with, which decide over a room's random numbers.
    workers
        Processes that make these rooms; they do not depend on it.

    Returns
    -------
    How well the observer foresees the dataset's test rooms.

    Raises
    ------
    LabelError
        The dataset is not of simulated rooms, they do not come out as they were, there are no ``rooms`` to learn from,
        or ``out`` holds something.
    """
    info = read_info(dataset)
    config, photos = simulation_of(dataset, info, scenes=scenes)
    if out.exists() and any(out.iterdir()):
        raise LabelError(f"{out} is not empty: choose another folder.")
    if rooms < 1:
        raise LabelError(f"the observer cannot learn from {rooms} rooms: give --rooms of thousands.")
    task = open_task(dataset)
    seen = _unlooked(config, photos, rooms, workers)
    parts = (task.train, task.validation, task.test)
    train, validation, test = ([_told(config, photos, task, one) for one in part] for part in parts)
    foreseen = observe(
        [piece for one in seen for piece in pieces(one, WINDOW)],
        [past for one in validation for past in pasts(one, WINDOW)],
        [past for one in (*test, *train) for past in pasts(one, WINDOW)],
        batch=_PIECES_PER_BATCH,
        epochs=_EPOCHS,
    )
    of_test, of_train = np.split(foreseen, [sum(one.scored.sum() for one in test)])
    # last, so that a folder that is not whole is no dataset
    _write_rooms(dataset, out, task, np.split(of_train, np.cumsum([one.scored.sum() for one in train])[:-1]))
    told = f"; labels of training rooms foreseen from the truth of what shows, by an observer of {rooms:,} other rooms"
    photos_of = "" if scenes is None else f" --scenes {scenes.name}"
    command = f"python -m train.simulator foresee --dataset {dataset.name} --rooms {rooms}{photos_of} --out {out.name}"
    write_info(out, replace(info, source=info.source + told, made_by=f"{info.made_by}\n{command}"))
    return taus(of_test, labels_of(task.segments, task.test), rooms_of_rows(task.segments, task.test), deltas=[None])[0]


def _unlooked(config: SimulatorConfig, photos: Scenes | None, count: int, workers: int) -> list[Course]:
    """Rooms after the dataset's, which nobody looks at."""
    first = len(room_ids(config))
    make = partial(_told_anew, config, photos)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        made = pool.map(make, range(first, first + count), chunksize=_ROOMS_AT_ONCE)
        return list(tqdm(made, "rooms", count, unit="room"))


def _told_anew(config: SimulatorConfig, photos: Scenes | None, index: int) -> Course:
    made = room(config, index, scenes=photos)
    chat = chat_activity(comments.by_segment(comments.spoken(made.comments), made.segments), made.segments)
    return course(what_shows(made, chat), made.lvtr)


def _told(config: SimulatorConfig, photos: Scenes | None, task: Task, one: Room) -> Course:
    made = made_anew(config, one.name, scenes=photos)
    return course(shows_in(task.segments, one, made), made.lvtr)


def _write_rooms(dataset: Path, out: Path, task: Task, foreseen: Sequence[np.ndarray]) -> None:
    (out / "rooms").mkdir(parents=True, exist_ok=True)
    for name in ENCODER_FILES:
        if (file := dataset / name).exists():
            shutil.copyfile(file, out / name)
    labels = {one.name: label for one, label in zip(task.train, foreseen, strict=True)}
    for file in sorted((dataset / "rooms").glob("*.parquet")):
        if file.stem not in labels:
            shutil.copyfile(file, out / "rooms" / file.name)
            continue
        table = pq.read_table(file)
        label = table["label"].to_numpy().copy()
        label[1:] = labels[file.stem]
        for name, values in (("label", label), ("label_kind", [KIND] * len(label))):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
        pq.write_table(table, out / "rooms" / file.name, compression="zstd")
