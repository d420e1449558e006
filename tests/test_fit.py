"""Training: it learns, it is the same again, and it goes on after being killed as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kuaihl.errors import LabelError
from kuaihl.model import load
from tests.small_dataset import write_dataset
from train import fit
from train.dataset import Segments
from train.evaluate import rooms_of, score
from train.fit import FitConfig
from train.metrics import taus


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A tiny model gains nothing from threads, and the order of a sum must not depend on them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path)
    return path


def config(dataset: Path, out: Path, **changes: object) -> FitConfig:
    base = FitConfig(dataset, out, preset="debug", epochs=3, batch=16, rate=3e-3, warmup=5, patience=50)
    return replace(base, **changes)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / fit.STATE_FILE, weights_only=True)["model"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_what_can_be_learned(dataset: Path, tmp_path: Path) -> None:
    folder = fit.fit(config(dataset, tmp_path, epochs=20))
    model, _ = load(folder)
    segments = Segments(dataset)
    scores = score(model, segments, rooms_of(segments, "test"))
    (tau,) = taus(scores.predicted, scores.true, scores.room, deltas=[None])
    assert tau.pooled > 0.4  # three times what chance would give; the label is written in the pictures
    log = json.loads((folder / fit.LOG_FILE).read_text())
    assert log["best_tau"] > 0.5
    assert model.config.trained_on == "random numbers"
    assert model.config.streamers == ("streamer 0", "streamer 1")
    assert all(t.dtype == torch.float16 for t in load_file(folder / "model.safetensors").values())
    assert not scores.known.any()  # the test room's streamer is a stranger


def test_the_same_seed_gives_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit.fit(config(dataset, tmp_path / name, epochs=1, seed=seed))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_resumed_runs_end_with_the_same_weights(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit.fit(config(dataset, tmp_path / "whole"))
    monkeypatch.setattr(fit, "_SAVE_EVERY_STEPS", 2)
    steps = 0
    terms = fit.loss_terms

    def dies(*args: object) -> dict[str, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps in (4, 11):  # in the middle of the first epoch and of the second
            raise KeyboardInterrupt
        return terms(*args)

    monkeypatch.setattr(fit, "loss_terms", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit.fit(config(dataset, tmp_path / "cut"))
    fit.fit(config(dataset, tmp_path / "cut"))
    assert steps > 18  # steps after the last state were taken again
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_killed_and_started_again(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "whole", epochs=12))
    flags = ["--preset", "debug", "--epochs", "12", "--batch", "16", "--rate", "3e-3", "--warmup", "5"]
    flags += ["--patience", "50"]
    command = [sys.executable, "-m", "train.fit", "--dataset", str(dataset), "--out", str(tmp_path / "cut"), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut" / fit.STATE_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait(timeout=30)
    running.stdout.close()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_another_run_is_not_overwritten(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path, epochs=1))
    with pytest.raises(LabelError, match=r"other settings \(sigma\)"):
        fit.fit(config(dataset, tmp_path, epochs=1, sigma=2.0))


def test_activity_is_scaled_by_the_training_rooms(dataset: Path, tmp_path: Path) -> None:
    segments = Segments(dataset)
    rooms = rooms_of(segments, "train")
    model = fit.build(config(dataset, tmp_path), segments, rooms)
    activity = np.concatenate([segments.array("activity", r.start, r.stop) for r in rooms])
    np.testing.assert_allclose(model.chat_mean, activity[:, :5].mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.speech_std, activity[:, 5:].std(0), rtol=1e-5)


def test_each_term_is_used(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "all", epochs=1))
    for name in ("point", "align", "pair"):
        fit.fit(config(dataset, tmp_path / name, epochs=1, **{name: 0.0}))
        assert not same(weights(tmp_path / "all"), weights(tmp_path / name))
