"""On ZeroGPU all encoding is done where the GPU is lent, for as long as the recording needs; with a stand-in for it."""

import asyncio
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from gradio_client import Client, handle_file

import app
from kuaihl.demo import pipeline
from kuaihl.demo.model_cache import Shelf
from kuaihl.demo.zero_gpu import Borrower, is_lent, needed_s
from kuaihl.errors import CheckpointError
from kuaihl.model.config import KuaiHLConfig
from tests.fixtures.serving import serve

LENT = Path(__file__).parents[1] / "fixtures" / "zero_gpu_stub"


@pytest.fixture
def spaces(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(LENT)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    import spaces

    yield spaces
    del sys.modules["spaces"]


def predictor(encode):
    nothing = SimpleNamespace(bert=torch.nn.Identity(), state_dict=dict)
    return SimpleNamespace(encode=encode, visual_encoder=nothing, text_encoder=nothing, config=KuaiHLConfig())


def demo_of(encode):
    """A demo whose own model must not encode, and a GPU whose model does."""
    own = Shelf(load=lambda: predictor(lambda *_, **__: pytest.fail("it was encoded without the GPU")))
    there = Shelf(load=lambda: predictor(encode))
    return app.Demo(own, own_machine=False, borrower=Borrower(there, anywhere=False))


def begun(demo, recording):
    inputs = pipeline.Inputs(recording)
    job = demo.begin(gr.Progress(), inputs)
    return job, demo.run(job, inputs, pipeline.Settings(), lambda _, __, material, ___: material.footage)


def test_encodes_in_the_process_with_the_gpu_and_asks_for_what_the_length_needs(spaces, short_recording):
    demo = demo_of(lambda *_, **__: os.getpid())
    assert asyncio.run(begun(demo, short_recording)[1]) not in {None, os.getpid()}
    assert spaces.ASKED[-1:] == [20 + 3], "140 seconds"


@pytest.mark.parametrize(("hours", "known", "seconds"), [(1, False, 80), (10, False, 620), (10, True, 120)])
def test_longer_recordings_need_the_gpu_longer(hours, known, seconds):
    given = SimpleNamespace(recording=SimpleNamespace(info=SimpleNamespace(duration_s=3600 * hours)), key=("a", None))
    before = SimpleNamespace(key=("a", None) if known else ("b", None))
    assert needed_s(None, given, pipeline.Settings(), before) == seconds
    assert needed_s(None, given, pipeline.Settings(), None, sources=["comments"]) == 20 + 60 * hours


def test_what_visitors_can_mend_comes_back_in_words(spaces, short_recording):
    def encode(*_, **__):
        raise CheckpointError("There is no speech model here.")

    with pytest.raises(gr.Error, match="no speech model here"):
        asyncio.run(begun(demo_of(encode), short_recording)[1])


def test_who_lends_the_gpu_is_heard(spaces, short_recording, monkeypatch):
    monkeypatch.setattr(spaces, "QUOTA_S", 1)
    with pytest.raises(gr.Error, match="exceeded your GPU quota"):
        asyncio.run(begun(demo_of(None), short_recording)[1])


def test_progress_comes_from_there_and_cancel_reaches_there(spaces, short_recording):
    def encode(*_, progress, **__):
        while True:
            progress("looking", 0.5)
            time.sleep(0.01)

    async def scenario():
        job, work = begun(demo, short_recording)
        task = asyncio.create_task(work)
        while not job.said()[1].startswith("Looking"):
            await asyncio.sleep(0.02)
        assert job.said() == (0.5, "Looking at the pictures (3 of 6)")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 2.0)
        assert not job.folder.exists()

    demo = demo_of(encode)
    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(("told", "lent"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_a_gpu_is_lent_on_zerogpu_with_the_package_alone(told, lent, monkeypatch):
    environment = {"SPACES_ZERO_GPU": told} if told else {}
    assert not is_lent(environment), "the package is not installed here"
    monkeypatch.syspath_prepend(LENT)
    assert is_lent(environment) == lent


def test_the_app_gives_the_same_numbers_there(tmp_path, app_url, short_recording, short_log):
    """With real models: PyTorch has to work in a process that was forked from one where it has worked."""
    given = {"recording": handle_file(short_recording), "comments": handle_file(short_log), "api_name": "/highlights"}
    patient = {"verbose": False, "httpx_kwargs": {"timeout": 240}}
    expected = Client(app_url, **patient).predict(**given)
    with serve(tmp_path, SPACES_ZERO_GPU="true", PYTHONPATH=str(LENT)) as url:
        client = Client(url, **patient)
        for _ in range(2):
            assert client.submit(**given).result(timeout=240) == expected
