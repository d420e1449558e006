"""Ctrl-C during reading is KeyboardInterrupt, not a damaged file."""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from kuaihl.speech import whisper_weights
from kuaihl.watch.resume import read_state, write_state

TRIALS = 60


@pytest.fixture
def alarmed() -> Iterator[None]:
    """Let a timer act like Ctrl-C. An interrupt within torch's `no_grad` may leave gradients off for later tests."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGALRM, before)
    torch.set_grad_enabled(True)


def interrupt(work: Callable[[], object]) -> int:
    """Do some work repeatedly, interrupted at random moments; return how many interrupts were raised."""
    work()
    began = time.perf_counter()
    work()
    duration_s, moments, raised = time.perf_counter() - began, random.Random(0), 0
    for _ in range(TRIALS):
        raised += is_interrupted(work, after_s=moments.uniform(1e-5, duration_s))
    return raised


def is_interrupted(work: Callable[[], object], *, after_s: float) -> bool:
    try:
        signal.setitimer(signal.ITIMER_REAL, after_s)
        try:
            work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.usefixtures("alarmed")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_while_whisper_is_read(tmp_path: Path, suffix: str) -> None:
    model = Whisper(ModelDimensions(80, 30, 64, 2, 4, 400, 24, 64, 4, 4))
    path = tmp_path / f"model{suffix}"
    held = {"dims": asdict(model.dims), "model_state_dict": model.state_dict()}
    if suffix == ".pt":
        torch.save(held, path)
    else:
        whisper_weights.save(whisper_weights.WhisperWeights(held["dims"], held["model_state_dict"]), path)
    assert interrupt(lambda: whisper_weights.load(path)) > 0


@pytest.mark.usefixtures("alarmed")
def test_while_the_state_of_a_watch_is_read(tmp_path: Path) -> None:
    tensors = {f"part {i}": torch.zeros(20, 100) for i in range(40)}
    write_state(tmp_path / "state", tensors, json.loads('{"next": 1}'))
    assert interrupt(lambda: read_state(tmp_path / "state")) > 0
