"""The shelf of checkpoints."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from kuaihl.demo.model_cache import OWN, Shelf
from kuaihl.errors import CheckpointError


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for file in ("config.json", "model.safetensors"):
            (tmp_path / name / file).touch()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.json").touch()
    return tmp_path


@pytest.fixture
def loads():
    return Counter()


@pytest.fixture
def shelf(folder, loads):
    def load(*place):
        loads[place] += 1
        return place

    return Shelf(folder, load=load)


def test_offers_whole_checkpoints_and_the_own_one(shelf, folder):
    assert [name for _, name in shelf.choices] == [OWN, "a", "b", "c"]
    assert shelf.get() == ()
    assert shelf.get("b") == (folder / "b",)


def test_two_stay_in_memory_those_asked_for_last(shelf, folder, loads):
    for name in ("a", "b", "a", "c", "a", "b"):
        shelf.get(name)
    assert loads == {(folder / "a",): 1, (folder / "b",): 2, (folder / "c",): 1}


def test_others_only_where_it_is_allowed(shelf):
    with pytest.raises(CheckpointError, match="There are: a, b, c"):
        shelf.get("owner/name")
    assert shelf.get("owner/name", anywhere=True) == ("owner/name",)


def test_who_asks_at_once_waits_for_one_load(folder, loads):
    together = Barrier(4)

    def load(*place):
        loads[place] += 1
        return place

    def ask(shelf):
        together.wait()
        return shelf.get("a")

    shelf = Shelf(folder, load=load)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, [shelf] * 4))) == 1
    assert loads.total() == 1


def test_what_fails_is_tried_again(folder):
    tries = iter([CheckpointError("damaged"), None])

    def load(*place):
        if error := next(tries):
            raise error
        return place

    shelf = Shelf(folder, load=load)
    with pytest.raises(CheckpointError, match="damaged"):
        shelf.get("a")
    assert shelf.get("a") == (folder / "a",)
