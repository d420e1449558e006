"""Labels that an observer foresees, in place of those that luck has a part in."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from tests.small_dataset import simulated, write_dataset, write_simulated
from train.dataset import Segments, read_info
from train.simulator import __main__ as command
from train.simulator.config import SimulatorConfig
from train.simulator.foresee import KIND, foresee
from train.simulator.observer import Course, pasts, pieces
from train.simulator.rooms import room, room_ids

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
    given = f"train.simulator foresee --dataset {dataset} --rooms 60 --out {out}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", shlex.split(given))
        command.main()
    return out


def test_only_the_labels_of_training_rooms_change(dataset: Path, foreseen: Path) -> None:
    assert (foreseen / "distill.json").read_text() == "{}"
    for name in room_ids(CONFIG):
        before, after = (pq.read_table(folder / "rooms" / f"{name}.parquet") for folder in (dataset, foreseen))
        if not name.startswith("train"):
            assert after.equals(before)
            continue
        assert after.schema == before.schema
        assert after.drop(["label", "label_kind"]).equals(before.drop(["label", "label_kind"]))
        assert set(after["label_kind"].to_pylist()) == {KIND}
        assert after["label"][0] == before["label"][0]  # the first segment has no past


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
    assert "60 other rooms" in info.source
    assert info.made_by.splitlines() == [
        simulated(CONFIG).made_by,
        "python -m train.simulator foresee --dataset rooms --rooms 60 --out foreseen",
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
