"""Several datasets for one model: they must belong together, and an epoch draws its share of each."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS, Target
from tests.fixtures.small_dataset import CHAT_INFO, INFO, write_chat_dataset, write_dataset
from train.dataset import Windows
from train.mixture import Mixture, open_training_sets, read_batches

EXCLUDED = ("pictures", "speech")
CONFIG = replace(PRESETS["debug"], targets=(Target("lvtr"), Target("participation", excluded_inputs=EXCLUDED)))


@pytest.fixture
def folders(rooms: Path, chats: Path) -> list[Path]:
    return [rooms, chats]


def mix(folders: list[Path], *, shares: tuple[float, float] = (1.0, 1.0)) -> Mixture:
    windows = [Windows(data.segments, data.train, CONFIG) for data in open_training_sets(folders)]
    return Mixture(windows, shares=shares)


def test_an_epoch_has_each_window_once_and_batches_of_one_dataset(folders: list[Path]) -> None:
    mixture = mix(folders)
    batches = mixture.draw_batches(16, epoch=0, seed=0)
    windows = [(k, i) for k, count in ((0, 93), (1, 62)) for i in range(count)]
    assert sorted(index for batch in batches for index in batch) == windows
    assert [len({k for k, _ in batch}) for batch in batches] == [1] * mixture.count_batches(16) == [1] * 10
    assert len(mixture) == 93 + 62
    turns = [batch[0][0] for batch in batches]
    assert len(list(groupby(turns))) > 3  # not one dataset after the other
    assert batches == mixture.draw_batches(16, epoch=0, seed=0)
    assert batches != mixture.draw_batches(16, epoch=1, seed=0) != mixture.draw_batches(16, epoch=1, seed=1)


def test_a_share_is_drawn_anew_each_epoch(folders: list[Path]) -> None:
    mixture = mix(folders, shares=(1.0, 0.25))
    drawn = [{i for batch in mixture.draw_batches(16, epoch=e, seed=0) for k, i in batch if k == 1} for e in range(20)]
    assert {len(indices) for indices in drawn} == {16}  # a quarter of 62, rounded up
    assert set().union(*drawn) == set(range(62))
    assert len(mixture) == 93 + 16


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_is_of_the_target_that_it_trains(folders: list[Path], workers: int) -> None:
    indices = [[(1, 3), (1, 0)], [(0, 5)], [(0, 90), (0, 91), (0, 92)]]
    batches = list(read_batches(mix(folders), indices, process=0, processes=1, workers=workers))
    assert [batch.target for batch in batches] == [1, 0, 0]
    assert [len(batch.label) for batch in batches] == [2, 1, 3]
    assert not batches[0].features.mask("pictures").any()
    assert batches[2].features.mask("pictures").any()


def test_processes_share_each_batch(folders: list[Path]) -> None:
    mixture, indices = mix(folders), [[(1, 3), (1, 0), (1, 7)], [(0, 5)]]
    (whole, single), (first, only), (second, blank) = (
        list(read_batches(mixture, indices, process=p, processes=n, workers=0)) for p, n in ((0, 1), (0, 2), (1, 2))
    )
    assert whole.seeds.tolist() == first.seeds.tolist() + second.seeds.tolist()
    assert single.seeds.tolist() == only.seeds.tolist()
    assert not blank.segment_mask.any()
    assert [batch.target for batch in (first, second, only, blank)] == [1, 1, 0, 0]


def test_datasets_must_belong_together(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="give --dataset"):
        open_training_sets([])
    with pytest.raises(LabelError, match="both have labels of lvtr"):
        open_training_sets([*folders, folders[0]])
    hashes = {INFO.visual_encoder: "1" * 64, INFO.text_encoder: "2" * 64}
    write_dataset(tmp_path / "rooms", info=replace(INFO, encoders=hashes))
    hashes = {INFO.text_encoder: "3" * 64}
    write_chat_dataset(tmp_path / "chats", info=replace(CHAT_INFO, encoders=hashes))
    with pytest.raises(LabelError, match=r"different encoders, .*some-bert \(2{12}\) and .*some-bert \(3{12}\)"):
        open_training_sets([tmp_path / "rooms", tmp_path / "chats"])
    write_chat_dataset(tmp_path / "wide", info=replace(CHAT_INFO, text_dim=CHAT_INFO.text_dim + 1))
    with pytest.raises(LabelError, match=r"swin_compact_128 \(1{12}\) and .* and swin_compact_128 \(unused\)"):
        open_training_sets([tmp_path / "rooms", tmp_path / "wide"])
    # An encoder that one of them does not use may differ.
    assert [data.target for data in open_training_sets([folders[1], tmp_path / "rooms"])] == ["participation", "lvtr"]


def test_only_datasets_with_the_streamers_left_out_are_split_anew(folders: list[Path]) -> None:
    rooms, chats = open_training_sets(folders, left_out=["channel 1"])
    unchanged, _ = open_training_sets(folders)
    assert (rooms.train, rooms.validation) == (unchanged.train, unchanged.validation)
    assert [room.name for room in chats.train] == ["train-0"]
    assert [room.name for room in chats.validation] == ["validation-0"]
    with pytest.raises(LabelError, match="No dataset has rooms of somebody"):
        open_training_sets(folders, left_out=["channel 1", "somebody"])
