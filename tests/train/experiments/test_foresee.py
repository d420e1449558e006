"""The observer, and the labels and hints that it gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import write_dataset
from tests.train.experiments.conftest import CONFIG
from train.dataset import HINTS, Segments, read_info
from train.experiments.foresee import LABEL_KIND, ForeseeConfig, foresee
from train.experiments.observer import Observation, predict, split_to_predict, split_to_train, train_observer
from train.simulator.rooms.room import Room, room_ids
from train.simulator.settings import TALENTS


@pytest.fixture(scope="module")
def foreseen(oracle_dataset: Path) -> Path:
    """The dataset with the labels of an observer."""
    out = oracle_dataset.with_name("foreseen")
    tau = foresee(ForeseeConfig(oracle_dataset, out, rooms=60))
    assert tau.segments == 2 * 99
    return out


def training_labels(dataset: Path) -> np.ndarray:
    segments = Segments(dataset)
    rooms = [room for room in segments.rooms if room.split == "train"]
    return np.concatenate([segments.scalar("label", room.start + 1, room.stop) for room in rooms])


def test_only_the_labels_of_training_rooms_change(oracle_dataset: Path, foreseen: Path) -> None:
    assert (foreseen / "distill.json").read_text() == "{}"
    for name in room_ids(CONFIG):
        before, after = (pq.read_table(folder / "rooms" / f"{name}.parquet") for folder in (oracle_dataset, foreseen))
        after = after.drop(list(HINTS))
        if not name.startswith("train"):
            assert after.equals(before)
            continue
        assert after.schema == before.schema
        assert after.drop(["label", "label_kind"]).equals(before.drop(["label", "label_kind"]))
        assert set(after["label_kind"].to_pylist()) == {LABEL_KIND}
        assert after["label"][0] == before["label"][0]  # the first segment has no past
    info = read_info(foreseen)
    assert info.source.startswith("simulated rooms: tiny; labels of training rooms foreseen")
    assert info.made_by.splitlines() == [
        read_info(oracle_dataset).made_by,
        "python -m train.experiments.foresee --dataset rooms --out foreseen --rooms 60",
    ]


def test_labels_lose_their_random_part(oracle_dataset: Path, foreseen: Path) -> None:
    before, after = training_labels(oracle_dataset), training_labels(foreseen)
    assert ((after > 0) & (after < 1)).all()
    assert after.std() < before.std()
    assert kendalltau(after, before).statistic > 0.3


def test_hints_are_content_and_the_state_of_the_observer(foreseen: Path, oracle_rooms: dict[str, Room]) -> None:
    segments = Segments(foreseen)
    train = [room for room in segments.rooms if room.split == "train"]
    assert tuple(segments.info.hints) == HINTS
    for name in HINTS:
        hint = np.concatenate([segments.array(name, room.start, room.stop) for room in train]).astype(float)
        assert (np.abs(hint.mean(0)) < 0.02).all()
        assert (hint.std(0) < 1.02).all()
    for room in segments.rooms:
        content = segments.array("shown", room.start, room.stop)
        talents = np.array([TALENTS.index(truth.talent) for truth in oracle_rooms[room.name].truth])
        for talent in set(talents):  # the first columns are the talent
            assert content[talents == talent, talent].min() > content[talents != talent, talent].max(initial=-9)
        assert not segments.array("remembered", room.start, room.start + 1).any()
    # A linear layer on the state explains the labels of the training rooms, but not those of other segments.
    state = np.concatenate([segments.array("remembered", room.start + 1, room.stop) for room in train]).astype(float)
    label = training_labels(foreseen)
    logit = np.log(label / (1 - label))

    def unexplained(rows: np.ndarray) -> float:
        table = np.column_stack([rows, np.ones(len(rows))])
        return (logit - table @ np.linalg.lstsq(table, logit)[0]).var() / logit.var()

    assert unexplained(state) < 0.5 * unexplained(np.roll(state, 1, axis=0))


def test_wrong_use_is_refused(oracle_dataset: Path, foreseen: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="is not empty"):
        foresee(ForeseeConfig(oracle_dataset, foreseen, rooms=2))
    with pytest.raises(LabelError, match="from 0 rooms"):
        foresee(ForeseeConfig(oracle_dataset, tmp_path / "out", rooms=0))
    write_dataset(tmp_path / "random")
    with pytest.raises(LabelError, match="but of random numbers"):
        foresee(ForeseeConfig(tmp_path / "random", tmp_path / "out", rooms=2))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [1, 2, 7, 21, 50])
def test_parts_have_each_label_once_with_its_past(count: int) -> None:
    window = 6
    numbers = np.arange(count, dtype=np.float32)
    room = Observation(numbers[:, None], 3, numbers, numbers > 0)
    for parts in (split_to_train(room, window), split_to_predict(room, window)):
        assert np.concatenate([[0.0], *(part.label[part.mask] for part in parts)]).tolist() == numbers.tolist()
        for part in parts:
            assert part.streamer == 3
            assert len(part.label) <= window + 1
            assert part.inputs[:, 0].tolist() == part.label.tolist()
    for part in split_to_predict(room, window):
        assert part.mask.tolist() == [False] * (len(part.label) - 1) + [True]
        assert len(part.label) - 1 == min(window, part.label[-1])


def test_the_observer_learns_from_the_past_only() -> None:
    """The label is an input of two segments before."""
    rng = np.random.default_rng(0)

    def make_room() -> Observation:
        inputs = rng.normal(size=(60, 3)).astype(np.float32)
        label = 1 / (1 + np.exp(-np.r_[0.0, 0.0, inputs[:-2, 1]]))
        return Observation(inputs, int(rng.integers(3)), label, np.arange(60) > 1)

    train, validation, test = ([make_room() for _ in range(count)] for count in (40, 5, 5))
    observer = train_observer(train, validation, epochs=40)
    predicted, state = predict(observer, test)
    label = np.concatenate([room.label[room.mask] for room in test])
    assert kendalltau(predicted, label).statistic > 0.8
    future = [replace(room, inputs=np.r_[room.inputs[:-1], room.inputs[-1:] + 9.0]) for room in test]
    for before, after in zip((predicted, state), predict(observer, future), strict=True):
        np.testing.assert_array_equal(after, before)
