"""Labels that an observer foresees, in place of those that luck has a part in."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import simulated, write_dataset, write_simulated
from train.dataset import HINTS, Segments, read_info
from train.simulator import __main__ as command
from train.simulator.foresee import KIND, foresee
from train.simulator.observer import Course, pasts, pieces
from train.simulator.rooms.room import find_room, room, room_ids
from train.simulator.settings import TALENTS, SimulatorConfig

SEGMENTS = 50
CONFIG = SimulatorConfig(size="tiny", min_segments=SEGMENTS, max_segments=SEGMENTS, max_comments=30)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "rooms"
    write_simulated(folder, CONFIG, {name: room(CONFIG, index) for index, name in enumerate(room_ids(CONFIG))})
    (folder / "distill.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def foreseen(dataset: Path) -> Path:
    """The folder that the command writes."""
    out = dataset.with_name("foreseen")
    given = f"train.simulator foresee --dataset {dataset} --rooms 150 --out {out}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", shlex.split(given))
        command.main()
    return out


def test_only_the_labels_of_training_rooms_change(dataset: Path, foreseen: Path) -> None:
    assert (foreseen / "distill.json").read_text() == "{}"
    for name in room_ids(CONFIG):
        before, after = (pq.read_table(folder / "rooms" / f"{name}.parquet") for folder in (dataset, foreseen))
        after = after.drop(list(HINTS))
        if not name.startswith("train"):
            assert after.equals(before)
            continue
        assert after.schema == before.schema
        assert after.drop(["label", "label_kind"]).equals(before.drop(["label", "label_kind"]))
        assert set(after["label_kind"].to_pylist()) == {KIND}
        assert after["label"][0] == before["label"][0]  # the first segment has no past


def test_hints_are_what_shows_and_what_the_observer_remembers(dataset: Path, foreseen: Path) -> None:
    segments = Segments(foreseen)
    assert tuple(segments.info.hints) == HINTS
    of_train = {
        name: np.concatenate([segments.array(name, r.start, r.stop) for r in segments.rooms if r.split == "train"])
        for name in HINTS
    }
    for hint in of_train.values():
        assert (np.abs(hint.mean(0, dtype=float)) < 0.02).all()
        assert (hint.std(0, dtype=float) < 1.02).all()
    assert (of_train["remembered"].std(0, dtype=float) > 0.9).mean() > 0.5
    for one in segments.rooms:
        made = room(CONFIG, find_room(CONFIG, one.name))
        shown = segments.array("shown", one.start, one.stop)
        talents = np.array([TALENTS.index(truth.talent) for truth in made.truth])
        for talent in range(len(TALENTS)):  # the first columns say which is on
            on = talents == talent
            if on.any() and not on.all():
                assert shown[on, talent].min() > shown[~on, talent].max()
        assert not segments.array("remembered", one.start, one.start + 1).any()


def test_what_is_remembered_tells_the_forecast(foreseen: Path) -> None:
    """A linear layer on it, fitted to the training rooms' labels, is all but right about them, and about no others."""
    segments = Segments(foreseen)
    train = [r for r in segments.rooms if r.split == "train"]
    memory = np.concatenate([segments.array("remembered", r.start + 1, r.stop) for r in train]).astype(float)
    label = np.concatenate([segments.scalar("label", r.start + 1, r.stop) for r in train])
    logit = np.log(label / (1 - label))

    def unexplained(rows: np.ndarray) -> float:
        table = np.column_stack([rows, np.ones(len(rows))])
        left = logit - table @ np.linalg.lstsq(table, logit)[0]
        return left.var() / logit.var()

    assert unexplained(memory) < 0.5 * unexplained(np.roll(memory, 1, axis=0))


def test_what_is_foreseen_has_less_of_luck(dataset: Path, foreseen: Path) -> None:
    was, now = (
        np.concatenate([s.scalar("label", r.start + 1, r.stop) for r in s.rooms if r.split == "train"])
        for s in (Segments(dataset), Segments(foreseen))
    )
    assert ((now > 0) & (now < 1)).all()
    assert now.std() < was.std()
    assert kendalltau(now, was).statistic > 0.4


def test_the_dataset_tells_where_its_labels_come_from(foreseen: Path) -> None:
    info = read_info(foreseen)
    assert info.source.startswith("simulated rooms: tiny; labels of training rooms foreseen")
    assert "150 other rooms" in info.source
    assert info.made_by.splitlines() == [
        simulated(CONFIG).made_by,
        "python -m train.simulator foresee --dataset rooms --rooms 150 --out foreseen",
    ]


def test_what_cannot_be_is_refused(dataset: Path, foreseen: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="is not empty"):
        foresee(dataset, foreseen, rooms=2)
    with pytest.raises(LabelError, match="learn from 0 rooms"):
        foresee(dataset, tmp_path / "out", rooms=0)
    write_dataset(tmp_path / "random")
    with pytest.raises(LabelError, match="but of random numbers"):
        foresee(tmp_path / "random", tmp_path / "out", rooms=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [1, 2, 7, 21, 50])
def test_windows_hold_each_label_once_and_what_was_before_it(count: int) -> None:
    window = 6
    numbers = np.arange(count, dtype=np.float32)
    course = Course(numbers[:, None], 3, numbers, numbers > 0)
    for cut in (pieces(course, window), pasts(course, window)):
        assert np.concatenate([[0.0], *(one.label[one.scored] for one in cut)]).tolist() == numbers.tolist()
        for one in cut:
            assert one.streamer == 3
            assert len(one.label) <= window + 1
            assert one.told[:, 0].tolist() == one.label.tolist()
    for past in pasts(course, window):
        assert past.scored.tolist() == [False] * (len(past.label) - 1) + [True]
        assert len(past.label) - 1 == min(window, past.label[-1])
