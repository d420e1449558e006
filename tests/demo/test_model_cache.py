"""The cache of checkpoints."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from kuaihl.demo.model_cache import ModelCache
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
def cache(folder, loads):
    def load(*place):
        loads[place] += 1
        return place

    return ModelCache(folder, load=load)


def test_offers_complete_checkpoints(cache, folder):
    assert list(cache.folders) == ["a", "b", "c"]
    assert cache.get() == ()
    assert cache.get("b") == (folder / "b",)


def test_keeps_the_two_that_were_used_last(cache, folder, loads):
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name)
    assert loads == {(folder / "a",): 1, (folder / "b",): 2, (folder / "c",): 1}


def test_loads_others_only_if_allowed(cache):
    with pytest.raises(CheckpointError, match="a, b, c"):
        cache.get("owner/name")
    assert cache.get("owner/name", allow_any=True) == ("owner/name",)


def test_concurrent_callers_share_one_load(cache, loads):
    together = Barrier(4)

    def get(_):
        together.wait()
        return cache.get("a")

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(get, range(4)))) == 1
    assert loads.total() == 1


def test_a_failed_load_is_tried_again(folder):
    errors = iter([CheckpointError("damaged"), None])

    def load(*place):
        if error := next(errors):
            raise error
        return place

    cache = ModelCache(folder, load=load)
    with pytest.raises(CheckpointError, match="damaged"):
        cache.get("a")
    assert cache.get("a") == (folder / "a",)
