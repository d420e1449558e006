"""Labels without the luck in them: what an observer foresees who is told all that shows in a room and has seen many.

Of what decides over a segment's LVTR much is not known beforehand, and a model of few rooms learns that by heart. Rooms
that nobody has to look at, since the observer is told what shows in them, cost next to nothing, so that it knows from
thousands what was to be expected. What the rooms for validation and test are measured by stays as it was. Beside the
labels, what shows and what the observer remembers are written as hints, see `train.hints`.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from kuaihl.comments import selection
from kuaihl.errors import LabelError
from kuaihl.features.chat import chat_activity
from train.baselines.tabular import labels_of, rooms_of_rows
from train.dataset import ENCODER_FILES, HINTS, DatasetInfo, Room, read_info, write_info, write_shard
from train.experiments.standings import Task, open_task
from train.metrics import Tau, taus
from train.simulator.observations import Simulation, course, shows_in, simulation_of, what_shows
from train.simulator.observer import Course, forecasts, observe, pasts, pieces
from train.simulator.rooms.room import room_ids

KIND = "foreseen by an observer"
"""``label_kind`` of such labels."""
WINDOW = 20
"""Segments that the observer looks back on, as KuaiHL does."""
_PIECES_PER_BATCH = 64
_EPOCHS = 30
_ROOMS_AT_ONCE = 20
_LEAST_SD = 0.05
"""Of a column of hints, so that one that hardly varies does not weigh like others."""


def foresee(
    dataset: Path,
    out: Path,
    *,
    rooms: int,
    scenes: Path | None = None,
    comment_bank: Path | None = None,
    workers: int = 1,
) -> Tau:
    """Write a dataset anew, with hints, the labels of its training rooms replaced by what the observer foresees.

    Parameters
    ----------
    dataset
        Folder that train.simulator wrote.
    out
        Folder for the new one.
    rooms
        How many rooms the observer learns from: none of the dataset's, but such as would come after them.
    scenes, comment_bank
        The photos and the chat that the dataset was made with.
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
    simulation = simulation_of(dataset, info, scenes=scenes, comment_bank=comment_bank)
    if out.exists() and any(out.iterdir()):
        raise LabelError(f"{out} is not empty: choose another folder.")
    if rooms < 1:
        raise LabelError(f"the observer cannot learn from {rooms} rooms: give --rooms of thousands.")
    task = open_task(dataset)
    seen = _unlooked(simulation, rooms, workers)
    told = {one.name: _told(simulation, task, one) for one in (*task.train, *task.validation, *task.test)}
    observer = observe(
        [piece for one in seen for piece in pieces(one, WINDOW)],
        [past for one in task.validation for past in pasts(told[one.name], WINDOW)],
        batch=_PIECES_PER_BATCH,
        epochs=_EPOCHS,
    )
    foreseen = {name: forecasts(observer, pasts(one, WINDOW)) for name, one in told.items()}
    known = [one.name for one in task.train]
    remembered = {name: _first_missing(memory) for name, (_, memory) in foreseen.items()}
    shown = {name: one.told for name, one in told.items()}
    hints = {name: _scaled(some, by=known) for name, some in zip(HINTS, (shown, remembered), strict=True)}
    source = f"; labels of training rooms foreseen by an observer of {rooms:,} other rooms"
    given = (("--scenes", scenes), ("--comment-bank", comment_bank))
    made_from = "".join(f" {option} {path.name}" for option, path in given if path is not None)
    command = f"python -m train.simulator foresee --dataset {dataset.name} --rooms {rooms}{made_from} --out {out.name}"
    new = replace(
        info,
        source=info.source + source,
        made_by=f"{info.made_by}\n{command}",
        hints={name: values[known[0]].shape[1] for name, values in hints.items()},
    )
    # last, so that a folder that is not whole is no dataset
    _write_rooms(dataset, out, new, {name: foreseen[name][0] for name in known}, hints)
    write_info(out, new)
    of_test = np.concatenate([foreseen[one.name][0] for one in task.test])
    return taus(of_test, labels_of(task.segments, task.test), rooms_of_rows(task.segments, task.test), deltas=[None])[0]


def _unlooked(simulation: Simulation, count: int, workers: int) -> list[Course]:
    """Rooms after the dataset's, which nobody looks at."""
    first = len(room_ids(simulation.config))
    make = partial(_told_anew, simulation)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        made = pool.map(make, range(first, first + count), chunksize=_ROOMS_AT_ONCE)
        return list(tqdm(made, "rooms", count, unit="room"))


def _told_anew(simulation: Simulation, index: int) -> Course:
    made = simulation.room(index)
    chat = chat_activity(selection.by_segment(selection.text_comments(made.comments), made.segments), made.segments)
    return course(what_shows(made, chat), made.lvtr)


def _told(simulation: Simulation, task: Task, one: Room) -> Course:
    made = simulation.named(one.name)
    return course(shows_in(task.segments, one, made), made.lvtr)


def _first_missing(rows: np.ndarray) -> np.ndarray:
    """Put a row before ``rows`` (segments - 1, columns): of the first segment nobody could foresee anything."""
    return np.concatenate([np.full_like(rows[:1], np.nan), rows])


def _scaled(values: dict[str, np.ndarray], *, by: Sequence[str]) -> dict[str, np.ndarray]:
    """Standardize the columns of rooms' (segments, columns) by the rooms named; what is missing becomes the mean."""
    of_all = np.concatenate([values[name] for name in by])
    mean, sd = np.nanmean(of_all, 0), np.nanstd(of_all, 0).clip(min=_LEAST_SD)
    return {name: np.nan_to_num((some - mean) / sd) for name, some in values.items()}


def _write_rooms(
    dataset: Path, out: Path, info: DatasetInfo, labels: dict[str, np.ndarray], hints: dict[str, dict[str, np.ndarray]]
) -> None:
    (out / "rooms").mkdir(parents=True, exist_ok=True)
    for name in ENCODER_FILES:
        if (file := dataset / name).exists():
            shutil.copyfile(file, out / name)
    for file in sorted((dataset / "rooms").glob("*.parquet")):
        table = pq.read_table(file)
        values = {name: of_rooms[file.stem] for name, of_rooms in hints.items()}
        if file.stem in labels:
            first = table["label"][:1].to_numpy()
            values |= {"label": np.r_[first, labels[file.stem]], "label_kind": [KIND] * len(table)}
        write_shard(out / "rooms" / file.name, info, {name: table[name] for name in table.column_names} | values)
