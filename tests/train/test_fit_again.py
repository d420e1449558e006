"""Training is the same again: with one seed, in two processes, and after being killed as if nothing had happened."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fixtures.small_dataset import HINTED, write_chat_dataset, write_dataset
from tests.fixtures.training_runs import config, curves, same, weights
from train import fit
from train.fit import FitConfig
from train.run_state import STATE_FILE

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path, info=HINTED)
    return path


@pytest.fixture(scope="module")
def both(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rooms, whose target is LVTR, and chats, whose target is participation."""
    path = tmp_path_factory.mktemp("chats")
    write_chat_dataset(path)
    return dataset, path


def flags(given: FitConfig) -> list[str]:
    """The command line of a run."""
    named = {name: value for name, value in vars(given).items() if value != getattr(FitConfig, name, None)}
    values = [(name, one) for name, value in named.items() for one in (value if name == "dataset" else [value])]
    return [word for name, value in values for word in (f"--{name.replace('_', '-')}", str(value))]


def torchrun(given: FitConfig) -> None:
    """Train with two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "train.fit", *flags(given)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_same_seed_gives_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit.fit(config(dataset, tmp_path / name, epochs=1, seed=seed))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize(("count", "deaths", "hint"), [(1, (4, 9, 13), 0.5), (2, (4, 13, 20), 0.0)])
def test_resumed_runs_end_with_the_same_weights(
    both: tuple[Path, Path],
    tmp_path: Path,
    count: int,
    deaths: tuple[int, ...],
    hint: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = both[:count]
    fit.fit(config(dataset, tmp_path / "whole", hint=hint))
    steps = 0
    terms = fit.loss_terms

    def dies(*args: object) -> dict[str, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps in deaths:  # in the middle of the first epoch, in its validation, and in the second
            raise KeyboardInterrupt
        return terms(*args)

    monkeypatch.setattr(fit, "loss_terms", dies)
    for _ in deaths:
        with pytest.raises(KeyboardInterrupt):
            fit.fit(config(dataset, tmp_path / "cut", hint=hint, save_every=2))
    fit.fit(config(dataset, tmp_path / "cut", hint=hint, save_every=2))
    assert steps > 18  # steps after the last state were taken again
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_killed_and_started_again(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "whole", epochs=9))
    cut = config(dataset, tmp_path / "cut", epochs=9, save_every=2)
    command, environment = [sys.executable, "-m", "train.fit", *flags(cut)], {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut" / STATE_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    assert running.wait(timeout=30) == -signal.SIGKILL, "it was done before it was killed"
    fit.fit(cut)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


TWO = {"batch": 23, "dropout": 0.0, "log_every": 1}
"""93 windows in batches of 23, an odd number: the last has one window, and the second process none of it."""


def assert_close(one: Path, other: Path) -> None:
    """Two runs are the same but for the rounding of sums."""
    ours, theirs = curves(one), curves(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.keys() == theirs[name].keys()
        # One rank more or less: tau has no steps between.
        tolerance = 5e-3 if name.endswith("tau") else 1e-5
        np.testing.assert_allclose(
            [*theirs[name].values()], [*values.values()], atol=tolerance, rtol=1e-5, err_msg=name
        )
    ours, theirs = (felt(weights(out)) | weights(out, of="guesses") for out in (one, other))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-5, rtol=1e-4, msg=name)


def felt(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights but the biases of keys: softmax does not feel them, so that their gradient is rounding alone."""
    kept = dict(given)
    for name in (name for name in given if name.endswith("in_proj_bias")):
        query, _, value = given[name].chunk(3)
        kept[name] = torch.cat([query, value])
    return kept


def files(out: Path) -> set[str]:
    """What is there, but for the moment and the process in the name of a curve's file."""
    return {re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(out))) for path in out.rglob("*")}


def test_two_processes_take_the_same_steps_as_one(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "one", **TWO))
    torchrun(config(dataset, tmp_path / "two", **TWO))
    assert_close(tmp_path / "one", tmp_path / "two")
    assert len(curves(tmp_path / "two")["loss/point"]) == 15
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(list((tmp_path / "two" / "curves").iterdir())) == 1


def test_two_processes_go_on_where_one_stopped(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hints, which only one of the datasets has."""
    hinted = {**TWO, "hint": 0.5}
    fit.fit(config(both, tmp_path / "one", **hinted))
    step, steps = fit.take_step, itertools.count(1)

    def dies(*args: object) -> object:
        if next(steps) == 8:  # after the state of step 6, in the second epoch
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(fit, "take_step", dies)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(config(both, tmp_path / "two", save_every=3, **hinted))
    torchrun(config(both, tmp_path / "two", save_every=3, **hinted))
    assert_close(tmp_path / "one", tmp_path / "two")


def test_reading_ahead_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "between", epochs=1))
    fit.fit(config(dataset, tmp_path / "ahead", epochs=1, workers=1))
    assert same(weights(tmp_path / "between"), weights(tmp_path / "ahead"))
