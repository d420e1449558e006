"""On ZeroGPU all encoding happens in a process with a GPU, for as long as the recording needs; with a stub of it."""

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

from kuaihl.demo.jobs import STAGES
from kuaihl.demo.model_cache import ModelCache
from kuaihl.demo.pipeline import Files
from kuaihl.demo.service import Service
from kuaihl.demo.zero_gpu import ZeroGpuEncoder, estimate_duration_s, is_zero_gpu
from kuaihl.errors import CheckpointError
from kuaihl.model.config import KuaiHLConfig
from kuaihl.request import Request
from tests.fixtures.serving import serve

STUB = Path(__file__).parents[1] / "fixtures" / "zero_gpu_stub"


@pytest.fixture
def spaces(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(STUB)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    import spaces

    yield spaces
    del sys.modules["spaces"]


def predictor(encode):
    encoder = SimpleNamespace(bert=torch.nn.Identity(), state_dict=dict)
    return SimpleNamespace(
        encode_footage=encode,
        encode_comments=lambda footage, *_, **__: footage,
        visual_encoder=encoder,
        text_encoder=encoder,
        config=KuaiHLConfig(),
    )


def service_of(encode):
    """Return a service whose own model must not encode, and a GPU whose model does."""
    own = ModelCache(load=lambda: predictor(lambda *_, **__: pytest.fail("encoded without the GPU")))
    on_gpu = ModelCache(load=lambda: predictor(encode))
    return Service(own, local_paths=False, encode=ZeroGpuEncoder(on_gpu, allow_any=False))


def begin(service, recording):
    files, request = Files(recording), Request()
    job = service.begin(gr.Progress(), files, request)
    return job, service.run(job, files, request, lambda _, __, encoded: encoded.footage)


def test_encodes_in_the_process_with_the_gpu_for_as_long_as_the_recording_needs(spaces, short_recording):
    service = service_of(lambda *_, **__: os.getpid())
    assert asyncio.run(begin(service, short_recording)[1]) not in {None, os.getpid()}
    assert spaces.ASKED[-1:] == [20 + 3], "140 seconds"


@pytest.mark.parametrize(("hours", "reuses", "seconds"), [(1, False, 80), (10, False, 620), (10, True, 120)])
def test_longer_recordings_need_the_gpu_longer(hours, reuses, seconds):
    opened = SimpleNamespace(recording=SimpleNamespace(info=SimpleNamespace(duration_s=3600 * hours)), key=("a",))
    previous = SimpleNamespace(key=("a",) if reuses else ("b",))
    assert estimate_duration_s(None, opened, Request(), previous, ["comments"]) == seconds
    assert estimate_duration_s(None, opened, Request(), None, ["comments"]) == 20 + 60 * hours


def test_errors_for_the_visitor_come_back_with_their_text(spaces, short_recording):
    def encode(*_, **__):
        raise CheckpointError("There is no speech model here.")

    with pytest.raises(gr.Error, match="no speech model here"):
        asyncio.run(begin(service_of(encode), short_recording)[1])


def test_errors_of_zero_gpu_are_shown(spaces, short_recording, monkeypatch):
    monkeypatch.setattr(spaces, "QUOTA_S", 1)
    with pytest.raises(gr.Error, match="exceeded your GPU quota"):
        asyncio.run(begin(service_of(None), short_recording)[1])


def test_progress_and_cancel_cross_the_processes(spaces, short_recording):
    def encode(*_, progress, **__):
        while True:
            progress.stage("looking")(0.5)
            time.sleep(0.01)

    async def scenario():
        job, work = begin(service, short_recording)
        task = asyncio.create_task(work)
        while not job.last_report()[1].startswith(STAGES["looking"]):
            await asyncio.sleep(0.02)
        assert 0.5 < job.last_report()[0] < 1.0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert not job.folder.exists()

    service = service_of(encode)
    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize(("value", "enabled"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_zero_gpu_needs_the_variable_and_the_package(value, enabled, monkeypatch):
    environment = {"SPACES_ZERO_GPU": value} if value else {}
    assert not is_zero_gpu(environment), "the package is not installed here"
    monkeypatch.syspath_prepend(STUB)
    assert is_zero_gpu(environment) == enabled


def test_a_served_app_gives_the_same_numbers_there(tmp_path, app_url, short_recording, short_log):
    """With real models: PyTorch has to work in a process that was forked from one where it has worked."""
    arguments = {"recording": handle_file(short_recording), "comments": handle_file(short_log)}
    options = {"verbose": False, "httpx_kwargs": {"timeout": 240}}
    expected = Client(app_url, **options).predict(**arguments, api_name="/predict")["segments"]
    with serve(tmp_path, SPACES_ZERO_GPU="true", PYTHONPATH=str(STUB)) as url:
        client = Client(url, **options)
        for _ in range(2):
            assert client.submit(**arguments, api_name="/predict").result(timeout=240)["segments"] == expected
