"""What a run keeps: whenever it is stopped, checkpoint and state are whole, and what they lack is done again."""

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import KuaiHL, load
from tests.fixtures.small_dataset import CHAT_INFO, write_chat_dataset, write_dataset
from train import fit
from train.calibrate import CALIBRATION_FILE
from train.fit import FitConfig
from train.hints import Learner
from train.run_state import CHECKPOINT_FOLDER, STATE_FILE, Progress, Run, command_of

CONFIG = replace(PRESETS["debug"], streamers=("ann", "bo"))


class Stopped(BaseException):
    """What a kill is to a process, to a test."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path)
    (path / "visual.safetensors").write_bytes(b"an encoder")
    return path


def run(out: Path, *, value: float, settings: dict[str, object] | None = None) -> Run:
    """A model whose weights are all ``value``."""
    model = KuaiHL(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, value)
    out.mkdir(exist_ok=True)
    return Run(out, settings or {"seed": 0}, Learner(model), torch.optim.AdamW(model.parameters()))


def save(given: Run, dataset: Path, *, epoch: int) -> None:
    progress = Progress(epoch=epoch, best_tau=0.1 * epoch)
    given.save_checkpoint(progress, datasets=[dataset], command="python -m train.fit", windows=7)
    given.save_state(progress)


def stop_at(move: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop before the ``move``-th file or folder from now on takes its place."""
    moves = 0

    def stopping(name: str) -> None:
        moved = getattr(Path, name)

        def moves_or_stops(self: Path, target: Path) -> Path:
            nonlocal moves
            moves += 1
            if moves == move:
                raise Stopped
            return moved(self, target)

        monkeypatch.setattr(Path, name, moves_or_stops)

    stopping("replace")
    stopping("rename")


def test_whenever_it_stops_there_is_a_whole_checkpoint(dataset: Path, tmp_path: Path) -> None:
    seen = []
    for move in range(1, 20):
        out = tmp_path / str(move)
        old, new = run(out, value=1.0), run(out, value=2.0)
        save(old, dataset, epoch=1)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(move, patch)
            try:
                save(new, dataset, epoch=2)
            except Stopped:
                pass
            else:
                break
        model, folder = load(out / CHECKPOINT_FOLDER)
        weight, progress = model.head.weight[0, 0].item(), run(out, value=0.0).resume()
        seen.append((weight, progress.epoch))
        assert (folder / "visual.safetensors").read_bytes() == b"an encoder"
        save(new, dataset, epoch=2)
        assert load(out / CHECKPOINT_FOLDER)[0].head.weight[0, 0] == 2.0
        assert not list(out.glob("*.part"))
    assert seen[0] == (1.0, 1)
    assert seen[-1] == (2.0, 1)  # the state is last: what comes after the one that is there is done again
    assert len(seen) == 6  # README, config, log, encoder, weights, state
    assert sorted(seen) == seen


def test_the_encoder_is_that_of_the_dataset_whose_pictures_it_saw(dataset: Path, tmp_path: Path) -> None:
    chats = tmp_path / "chats"
    write_chat_dataset(chats, info=replace(CHAT_INFO, encoders={}), text=False)
    (chats / "visual.safetensors").write_bytes(b"an encoder of nothing")
    given = run(tmp_path / "out", value=1.0)
    given.save_checkpoint(Progress(), datasets=[chats, dataset], command="python -m train.fit", windows=7)
    folder = tmp_path / "out" / CHECKPOINT_FOLDER
    assert (folder / "visual.safetensors").read_bytes() == b"an encoder"
    assert [d["target"] for d in json.loads((folder / "fit.json").read_text())["datasets"]] == ["participation", "lvtr"]


def test_new_weights_are_not_called_calibrated(dataset: Path, tmp_path: Path) -> None:
    save(run(tmp_path, value=1.0), dataset, epoch=1)
    (tmp_path / CHECKPOINT_FOLDER / CALIBRATION_FILE).write_text("{}")
    save(run(tmp_path, value=2.0), dataset, epoch=2)
    assert not (tmp_path / CHECKPOINT_FOLDER / CALIBRATION_FILE).exists()


def test_the_best_epoch_is_that_of_the_best_mean() -> None:
    progress = Progress()
    found = [progress.end_epoch((a + b) / 2, {"a": a, "b": b}) for a, b in ((0.1, 0.3), (0.5, 0.1), (0.2, 0.3))]
    assert found == [True, True, False]
    assert (progress.epoch, progress.best_epoch, progress.best_tau) == (3, 2, 0.3)
    assert progress.best_taus == {"a": 0.5, "b": 0.1}


def test_a_state_is_what_was_saved(tmp_path: Path) -> None:
    given = run(tmp_path, value=1.0)
    given.model.head.weight.sum().backward()
    given.optimizer.step()
    progress = Progress(
        epoch=2, step_in_epoch=3, step=40, seconds=1.5, best_tau=0.25, best_epoch=1, best_taus={"x": 0.25}
    )
    given.save_state(progress)
    other = run(tmp_path, value=0.0)
    assert other.resume() == progress
    assert all(torch.equal(x, y) for x, y in zip(given.model.parameters(), other.model.parameters(), strict=True))
    (moments,), (read,) = given.optimizer.state.values(), other.optimizer.state.values()
    assert all(torch.equal(moments[name], read[name]) for name in moments)


def test_a_folder_without_a_state_starts_anew(tmp_path: Path) -> None:
    assert run(tmp_path / "new", value=0.0).resume() == Progress(best_tau=-math.inf)


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path, value=1.0, settings={"sigma": 1.0, "seed": 0}).save_state(Progress())
    with pytest.raises(LabelError, match=r"other settings \(sigma, bf16\): choose another --out"):
        run(tmp_path, value=1.0, settings={"sigma": 2.0, "seed": 0, "bf16": None}).resume()
    with pytest.raises(LabelError, match=r"other settings \(sigma\)"):
        run(tmp_path, value=1.0, settings={"seed": 0}).resume()


@pytest.mark.parametrize("stage", ["save_checkpoint", "save_state"])
def test_stopped_at_the_end_of_an_epoch(
    dataset: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = FitConfig((dataset,), tmp_path / "whole", preset="debug", epochs=3, batch=16, rate=3e-3, warmup=5)
    fit.fit(base)
    cut = replace(base, out=tmp_path / "cut")
    keeps = getattr(Run, stage)

    def stops(self: Run, progress: Progress, **options: object) -> None:
        if progress.epoch == 2:
            raise Stopped
        keeps(self, progress, **options)

    monkeypatch.setattr(Run, stage, stops)
    with pytest.raises(Stopped):
        fit.fit(cut)
    monkeypatch.undo()
    fit.fit(cut)
    for file in ("checkpoint/model.safetensors", "checkpoint/config.json", "checkpoint/visual.safetensors"):
        assert (base.out / file).read_bytes() == (cut.out / file).read_bytes()
    whole, again = (torch.load(x.out / STATE_FILE, weights_only=True) for x in (base, cut))
    assert whole["model"].keys() == again["model"].keys()
    assert all(torch.equal(value, again["model"][name]) for name, value in whole["model"].items())


def test_the_command_is_the_one_that_was_run() -> None:
    config = FitConfig(
        (Path("some/rooms"), Path("other/chats of mine")),
        Path("some/run"),
        init=Path("some/checkpoint"),
        activity=False,
        without=("streamer", "speech"),
        share=(1.0, 0.125),
        left_out=("Ann Other", "bo"),
        window=7,
        rate=0.125,
        region="under",
        bf16=True,
    )
    words = shlex.split(command_of(config))
    assert words[:3] == ["python", "-m", "train.fit"]
    names = {name: Path(getattr(config, name).name) for name in ("out", "init")}
    expected = replace(config, dataset=(Path("rooms"), Path("chats of mine")), **names)
    assert tyro.cli(FitConfig, args=words[3:]) == expected
