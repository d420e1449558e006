"""Training gives the same weights: with one seed, with several processes, and after interruptions."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fixtures.training_runs import config, equal, read_curves, read_weights
from train import fit
from train.command import command_line
from train.run_state import STATE_FILE, Run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_same_seed_gives_the_same_weights(rooms: Path, tmp_path: Path) -> None:
    for name, changes in (("first", {}), ("workers", {"workers": 1}), ("other", {"seed": 1})):
        fit.fit(config(rooms, tmp_path / name, epochs=1, **changes))
    weights = [read_weights(tmp_path / name) for name in ("first", "workers", "other")]
    assert equal(weights[0], weights[1])
    assert not equal(weights[0], weights[2])


def test_a_resumed_run_gives_the_same_weights(
    rooms: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config((rooms, chats), tmp_path / "whole")
    fit.fit(run)
    calls, interrupted = 0, set()

    def interrupt(owner: object, name: str) -> None:
        """Interrupt the run at some of the calls of a function."""
        called: Callable[..., object] = getattr(owner, name)

        def call_or_interrupt(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls in interruptions:
                interrupted.add(name)
                raise KeyboardInterrupt
            return called(*args, **options)

        monkeypatch.setattr(owner, name, call_or_interrupt)

    interrupt(fit, "loss_terms")  # in training and in validation
    interrupt(Run, "save_state")
    interrupt(Run, "save_checkpoint")
    interruptions = (4, 10, 19, 20, 26, 33, 47, 53, 60)
    for _ in interruptions:
        with pytest.raises(KeyboardInterrupt):
            fit.fit(config((rooms, chats), tmp_path / "cut", save_every=2))
    fit.fit(config((rooms, chats), tmp_path / "cut", save_every=2))
    assert interrupted == {"loss_terms", "save_state", "save_checkpoint"}
    assert equal(read_weights(tmp_path / "whole"), read_weights(tmp_path / "cut"))
    for name in ("model.safetensors", "config.json"):
        assert (run.out / "checkpoint" / name).read_bytes() == (tmp_path / "cut" / "checkpoint" / name).read_bytes()


def without_key_biases(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out the biases of keys: softmax cancels them, so that their gradient is rounding alone."""
    kept = dict(weights)
    for name in (name for name in weights if name.endswith("in_proj_bias")):
        query, _, value = weights[name].chunk(3)
        kept[name] = torch.cat([query, value])
    return kept


def list_files(out: Path) -> set[str]:
    """Return the files, without time and process in the name of the curves."""
    return {re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(out))) for path in out.rglob("*")}


def test_killed_and_resumed_by_two_processes(rooms: Path, tmp_path: Path) -> None:
    """They take the same steps as one process: 93 windows in batches of 23, the last of which has a single one."""
    changes = {"batch_size": 23, "dropout": 0.0, "log_every": 1, "epochs": 9}
    fit.fit(config(rooms, tmp_path / "one", **changes))
    run = config(rooms, tmp_path / "two", **changes, save_every=2)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = command_line("-m train.fit", run).split()
    for option, path in (("--dataset", rooms), ("--out", run.out)):
        command[command.index(option) + 1] = str(path)
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 120
    while not (run.out / STATE_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL, "it ended before it was killed"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, *command], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr

    ours, theirs = read_curves(tmp_path / "one"), read_curves(run.out)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.keys() == theirs[name].keys()
        tolerance = 5e-3 if name.endswith("tau") else 1e-5  # tau has steps
        np.testing.assert_allclose(
            [*theirs[name].values()], [*values.values()], atol=tolerance, rtol=1e-5, err_msg=name
        )
    one, two = (without_key_biases(read_weights(out)) for out in (tmp_path / "one", run.out))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4, msg=name)
    assert list_files(tmp_path / "one") == list_files(run.out)
