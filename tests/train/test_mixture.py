"""Several datasets for one model: they have to go together, and an epoch takes its share of each."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS, Target
from tests.fixtures.small_dataset import CHAT_INFO, write_chat_dataset, write_dataset
from train.dataset import Windows
from train.mixture import Mixture, open_parts, read

CONFIG = replace(
    PRESETS["debug"], targets=(Target("lvtr"), Target("participation", excluded_inputs=("pictures", "speech")))
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Rooms with 93 training windows, and chats with 62."""
    path = tmp_path_factory.mktemp("datasets")
    write_dataset(path / "rooms")
    write_chat_dataset(path / "chats")
    return [path / "rooms", path / "chats"]


def mixture(folders: list[Path], *, shares: tuple[float, float] = (1.0, 1.0)) -> Mixture:
    return Mixture([Windows(part.segments, part.train, CONFIG) for part in open_parts(folders)], shares=shares)


def test_an_epoch_takes_each_window_once_and_a_batch_is_of_one_dataset(folders: list[Path]) -> None:
    given = mixture(folders)
    order = given.order(16, epoch=0, seed=0)
    assert sorted(index for batch in order for index in batch) == [(0, i) for i in range(93)] + [
        (1, i) for i in range(62)
    ]
    assert [len({k for k, _ in batch}) for batch in order] == [1] * given.batches(16) == [1] * 10
    assert len(given) == 93 + 62
    turns = [batch[0][0] for batch in order]
    assert len(list(groupby(turns))) > 3  # not one dataset after the other
    assert order == given.order(16, epoch=0, seed=0)
    assert order != given.order(16, epoch=1, seed=0) != given.order(16, epoch=1, seed=1)


def test_a_share_is_drawn_anew_each_epoch(folders: list[Path]) -> None:
    given = mixture(folders, shares=(1.0, 0.25))
    drawn = [{i for batch in given.order(16, epoch=e, seed=0) for k, i in batch if k == 1} for e in range(20)]
    assert {len(some) for some in drawn} == {16}  # a quarter of 62, rounded up
    assert set().union(*drawn) == set(range(62))
    assert len(given) == 93 + 16


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_read_is_of_the_target_that_it_trains(folders: list[Path], workers: int) -> None:
    order = [[(1, 3), (1, 0)], [(0, 5)], [(0, 90), (0, 91), (0, 92)]]
    got = list(read(mixture(folders), order, process=0, processes=1, workers=workers))
    assert [batch.target for batch in got] == [1, 0, 0]
    assert [len(batch.label) for batch in got] == [2, 1, 3]
    assert not got[0].features.has_pictures.any()
    assert got[2].features.has_pictures.any()


def test_processes_share_each_batch(folders: list[Path]) -> None:
    given, order = mixture(folders), [[(1, 3), (1, 0), (1, 7)], [(0, 5)]]
    (whole, alone), (ours, one), (theirs, blank) = (
        list(read(given, order, process=p, processes=n, workers=0)) for p, n in ((0, 1), (0, 2), (1, 2))
    )
    assert whole.seeds.tolist() == ours.seeds.tolist() + theirs.seeds.tolist()
    assert alone.seeds.tolist() == one.seeds.tolist()
    assert not blank.valid.any()
    assert [batch.target for batch in (ours, theirs, one, blank)] == [1, 1, 0, 0]


def test_datasets_have_to_go_together(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="give a --dataset"):
        open_parts([])
    with pytest.raises(LabelError, match="both have labels of lvtr"):
        open_parts([folders[0], folders[1], folders[0]])
    encoders = {**CHAT_INFO.encoders, "some-bert": "3" * 64}
    write_chat_dataset(tmp_path, info=replace(CHAT_INFO, encoders=encoders))
    with pytest.raises(LabelError, match=r"different encoders, .*some-bert \(2{12}\) and .*some-bert \(3{12}\)"):
        open_parts([folders[0], tmp_path])
    write_chat_dataset(tmp_path, info=replace(CHAT_INFO, encoders={}, text_dim=CHAT_INFO.text_dim + 1))
    with pytest.raises(LabelError, match=r"swin_compact_128 \(1{12}\) and .* and swin_compact_128 \(unused\)"):
        open_parts([folders[0], tmp_path])


def test_an_encoder_that_made_nothing_need_not_be_the_same(folders: list[Path], tmp_path: Path) -> None:
    write_chat_dataset(tmp_path, info=replace(CHAT_INFO, encoders={}), text=False)
    assert [part.target for part in open_parts([tmp_path, folders[0]])] == ["participation", "lvtr"]


def test_only_the_datasets_of_who_is_left_out_are_split_anew(folders: list[Path]) -> None:
    rooms, chats = open_parts(folders, left_out=["channel 1"])
    plain, _ = open_parts(folders)
    assert (rooms.train, rooms.validation) == (plain.train, plain.validation)
    assert [room.name for room in chats.train] == ["train-0"]
    assert [room.name for room in chats.validation] == ["validation-0"]
    with pytest.raises(LabelError, match="No dataset has rooms of somebody"):
        open_parts(folders, left_out=["channel 1", "somebody"])
