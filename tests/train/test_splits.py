"""The split of a dataset: by date, or with streamers left out."""

from pathlib import Path

import pytest

from kuaihl.errors import LabelError
from train.dataset import Segments
from train.splits import SPLITS, leave_out, select_rooms, split_by_date


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (6, (3, 1, 2)), (10, (7, 1, 2)), (350, (244, 36, 70))],
)
def test_the_split_by_date(count: int, sizes: tuple[int, int, int]) -> None:
    splits = split_by_date(count)
    assert tuple(splits.count(name) for name in SPLITS) == sizes
    assert splits == sorted(splits, key=SPLITS.index)


def test_rooms_of_a_split(rooms: Path) -> None:
    segments = Segments(rooms)
    names = {split: [room.name for room in select_rooms(segments, split)] for split in (*SPLITS, "all")}
    assert {split: len(some) for split, some in names.items()} == {"train": 3, "validation": 2, "test": 1, "all": 6}
    assert all(name.startswith(split) for split in SPLITS for name in names[split])
    with pytest.raises(LabelError, match="no 'dev' rooms"):
        select_rooms(segments, "dev")


def test_leaving_a_streamer_out(rooms: Path) -> None:
    segments = Segments(rooms)
    split = {room.name: room.split for room in leave_out(segments, ["streamer 0"])}
    # By date: train-0, -1, -2, validation-0, -1, test-0; every other one is of streamer 0.
    assert split == {
        "train-0": "test", "train-1": "train", "train-2": "test", "validation-0": "train", "validation-1": "test",
        "test-0": "validation",
    }  # fmt: skip
    with pytest.raises(LabelError, match="no rooms of green; its streamers are stranger, streamer 0, streamer 1"):
        leave_out(segments, ["green"])
    with pytest.raises(LabelError, match="nothing is left"):
        leave_out(segments, ["streamer 0", "streamer 1"])
