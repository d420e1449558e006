"""Replace the labels of simulated training rooms by the predictions of an observer, and add hints (see train/hints.py).

The observer knows the content of many other rooms, which need no pictures and so cost little. Its predictions lack the
random part of the labels. Validation and test rooms keep their labels.

Run as `python -m train.experiments.foresee --dataset D --out D2`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tyro
from tqdm import tqdm

from kuaihl.comments import selection
from kuaihl.errors import LabelError
from kuaihl.features.chat import chat_activity
from train.baselines.task import open_task
from train.command import command_line, plain_errors
from train.dataset import HINTS, DatasetInfo, copy_encoder, read_info, write_info, write_shard
from train.experiments.observations import Simulation, observe_dataset_room, observe_room, open_simulation
from train.experiments.observer import (
    Observation,
    make_observation,
    predict,
    split_to_predict,
    split_to_train,
    train_observer,
)
from train.metrics import Tau, taus
from train.simulator.rooms.room import room_ids

LABEL_KIND = "foreseen by an observer"
WINDOW = 20
"""Segments that the observer looks back on, as KuaiHL does."""
_BATCH_SIZE = 64
_EPOCHS = 30
_CHUNK = 20
_MIN_STD = 0.05
"""Lower bound of the standard deviation of a column of hints, so that nearly constant ones have little weight."""


@dataclass(frozen=True)
class ForeseeConfig:
    """Write a copy of a dataset of simulated rooms with labels and hints of an observer."""

    dataset: Path
    """Folder that train.prepare rooms wrote."""
    out: Path
    """Output folder."""
    rooms: int = 9000
    """Rooms that the observer learns from; none of the dataset's."""
    scenes: Path | None = None
    """Photos that the dataset was made with."""
    comment_bank: Path | None = None
    """Chat that the dataset was made with."""
    workers: int = 1
    """Processes that simulate rooms."""


def foresee(config: ForeseeConfig) -> Tau:
    """Write the dataset; return tau of the observer on the test rooms.

    Raises
    ------
    LabelError
        The dataset is not of simulated rooms or of another version, there are no rooms to learn from, or ``out`` is not
        empty.
    """
    info = read_info(config.dataset)
    simulation = open_simulation(config.dataset, info, scenes=config.scenes, comment_bank=config.comment_bank)
    if config.out.exists() and any(config.out.iterdir()):
        raise LabelError(f"{config.out} is not empty: choose another folder.")
    if config.rooms < 1:
        raise LabelError(f"The observer cannot learn from {config.rooms} rooms: give --rooms of thousands.")
    task = open_task(config.dataset)
    rooms = {}
    for room in (*task.train, *task.validation, *task.test):
        simulated = simulation.simulate(room.name)
        content = observe_dataset_room(task.segments, room, simulated)
        rooms[room.name] = make_observation(content, simulated.lvtr)
    observer = train_observer(
        [part for room in _simulate_others(simulation, config) for part in split_to_train(room, WINDOW)],
        [part for room in task.validation for part in split_to_predict(rooms[room.name], WINDOW)],
        batch_size=_BATCH_SIZE,
        epochs=_EPOCHS,
    )
    labels, states = {}, {}
    for name, room in rooms.items():
        labels[name], state = predict(observer, split_to_predict(room, WINDOW))
        states[name] = np.concatenate([np.full_like(state[:1], np.nan), state])  # nothing predicts the first segment
    train = [room.name for room in task.train]
    inputs = {name: room.inputs for name, room in rooms.items()}
    hints = {hint: _standardize(values, train) for hint, values in zip(HINTS, (inputs, states), strict=True)}
    new_info = replace(
        info,
        source=f"{info.source}; labels of training rooms foreseen by an observer of {config.rooms:,} other rooms",
        made_by=f"{info.made_by}\n{command_line('python -m train.experiments.foresee', config)}",
        hints={hint: values[train[0]].shape[1] for hint, values in hints.items()},
    )
    _write_rooms(config, new_info, {name: labels[name] for name in train}, hints)
    write_info(config.out, new_info)  # last, so that an incomplete folder is not a dataset
    predicted = np.concatenate([labels[room.name] for room in task.test])
    return taus(predicted, task.labels(task.test), task.room_names(task.test), deltas=[None])[0]


def _simulate_others(simulation: Simulation, config: ForeseeConfig) -> list[Observation]:
    """Simulate rooms that follow those of the dataset."""
    first = len(room_ids(simulation.config))
    indices = range(first, first + config.rooms)
    if config.workers == 1:
        return [_simulate(simulation, index) for index in tqdm(indices, "rooms", unit="room")]
    with ProcessPoolExecutor(config.workers, get_context("spawn")) as pool:
        rooms = pool.map(partial(_simulate, simulation), indices, chunksize=_CHUNK)
        return list(tqdm(rooms, "rooms", config.rooms, unit="room"))


def _simulate(simulation: Simulation, index: int) -> Observation:
    room = simulation.simulate(index)
    chat = chat_activity(selection.by_segment(selection.text_comments(room.comments), room.segments), room.segments)
    return make_observation(observe_room(room, chat), room.lvtr)


def _standardize(values: Mapping[str, np.ndarray], train: Sequence[str]) -> dict[str, np.ndarray]:
    """Standardize the columns (segments, columns) of all rooms by the training rooms; NaN becomes the mean."""
    rows = np.concatenate([values[name] for name in train])
    mean, std = np.nanmean(rows, 0), np.nanstd(rows, 0).clip(min=_MIN_STD)
    return {name: np.nan_to_num((room - mean) / std) for name, room in values.items()}


def _write_rooms(
    config: ForeseeConfig,
    info: DatasetInfo,
    labels: Mapping[str, np.ndarray],
    hints: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    (config.out / "rooms").mkdir(parents=True, exist_ok=True)
    copy_encoder(config.dataset, config.out)
    for file in sorted((config.dataset / "rooms").glob("*.parquet")):
        table = pq.read_table(file)
        values = {name: table[name] for name in table.column_names}
        values |= {hint: rooms[file.stem] for hint, rooms in hints.items()}
        if file.stem in labels:
            values["label"] = np.r_[table["label"][:1].to_numpy(), labels[file.stem]]
            values["label_kind"] = [LABEL_KIND] * len(table)
        write_shard(config.out / "rooms" / file.name, info, values)


if __name__ == "__main__":
    with plain_errors():
        result = foresee(tyro.cli(ForeseeConfig, prog="python -m train.experiments.foresee"))
        print(f"tau of the observer on the test rooms: {result.pooled:.4f} pooled, {result.per_room:.4f} per room")
