"""What a run keeps: checkpoint and state are complete whenever it stops."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import KuaiHL, load
from tests.fixtures.small_dataset import CHAT_INFO, INFO, write_chat_dataset, write_dataset
from train.run_state import CALIBRATION_FILE, CHECKPOINT_FOLDER, Progress, Run

CONFIG = replace(PRESETS["debug"], streamers=("ann", "bo"))


class Stopped(BaseException):
    """The end of a process."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path, info=replace(INFO, encoders={INFO.visual_encoder: "1" * 64}))
    (path / "visual.safetensors").write_bytes(b"an encoder")
    return path


def make_run(out: Path, *, value: float, settings: dict[str, object] | None = None) -> Run:
    """Create a run of a model whose weights are all ``value``."""
    model = KuaiHL(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, value)
    out.mkdir(exist_ok=True)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, total_iters=5)
    return Run(out, settings or {"seed": 0}, model, optimizer, schedule)


def save(run: Run, dataset: Path, *, epoch: int) -> None:
    progress = Progress(epoch=epoch, best_tau=0.1 * epoch)
    run.save_checkpoint(progress, datasets=[dataset], command="python -m train.fit", windows=7)
    run.save_state(progress)


def stop_at(move: int, patch: pytest.MonkeyPatch) -> None:
    """Stop before the ``move``-th file or folder is moved."""
    moves = 0

    def stop(name: str) -> None:
        moved = getattr(Path, name)

        def move_or_stop(self: Path, target: Path) -> Path:
            nonlocal moves
            moves += 1
            if moves == move:
                raise Stopped
            return moved(self, target)

        patch.setattr(Path, name, move_or_stop)

    stop("replace")
    stop("rename")


def test_the_checkpoint_is_complete_whenever_it_stops(dataset: Path, tmp_path: Path) -> None:
    states = []
    for move in range(1, 20):
        out = tmp_path / str(move)
        old, new = make_run(out, value=1.0), make_run(out, value=2.0)
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
        states.append((model.head.weight[0, 0].item(), make_run(out, value=0.0).resume().epoch))
        assert (folder / "visual.safetensors").read_bytes() == b"an encoder"
        save(new, dataset, epoch=2)
        assert load(out / CHECKPOINT_FOLDER)[0].head.weight[0, 0] == 2.0
        assert not list(out.glob("*.part"))
    assert states[0] == (1.0, 1)
    assert states[-1] == (2.0, 1)  # the state is written last, so that a resumed run repeats what is missing
    assert len(states) == 7  # log, README, config, log, encoder, weights, state
    assert sorted(states) == states


def test_the_encoder_is_that_of_the_dataset_that_used_it(dataset: Path, tmp_path: Path) -> None:
    chats = tmp_path / "chats"
    write_chat_dataset(chats, text=False)
    (chats / "visual.safetensors").write_bytes(b"an encoder of nothing")
    run = make_run(tmp_path / "out", value=1.0)
    run.save_checkpoint(Progress(best_tau=0.5), datasets=[dataset, chats], command="python -m train.fit", windows=7)
    folder = tmp_path / "out" / CHECKPOINT_FOLDER
    assert (folder / "visual.safetensors").read_bytes() == b"an encoder"
    infos = json.loads((folder / "fit.json").read_text())["datasets"]
    assert [info["target"] for info in infos] == [INFO.target, CHAT_INFO.target]


def test_new_weights_are_not_calibrated(dataset: Path, tmp_path: Path) -> None:
    save(make_run(tmp_path, value=1.0), dataset, epoch=1)
    (tmp_path / CHECKPOINT_FOLDER / CALIBRATION_FILE).write_text("{}")
    save(make_run(tmp_path, value=2.0), dataset, epoch=2)
    assert not (tmp_path / CHECKPOINT_FOLDER / CALIBRATION_FILE).exists()


def test_the_best_epoch_has_the_best_mean() -> None:
    progress = Progress()
    assert [progress.end_epoch({"a": a, "b": b}) for a, b in ((0.1, 0.3), (0.5, 0.1), (0.2, 0.3))] == [1, 1, 0]
    assert (progress.epoch, progress.best_epoch, progress.best_tau) == (3, 2, 0.3)
    assert progress.best_taus == {"a": 0.5, "b": 0.1}


def test_a_state_is_what_was_saved(tmp_path: Path) -> None:
    run = make_run(tmp_path, value=1.0)
    run.model.head.weight.sum().backward()
    run.optimizer.step()
    run.schedule.step()
    progress = Progress(2, step_in_epoch=3, step=40, seconds=1.5, best_tau=0.25, best_epoch=1, best_taus={"x": 0.25})
    run.save_state(progress)
    other = make_run(tmp_path, value=0.0)
    assert other.resume() == progress
    assert all(torch.equal(x, y) for x, y in zip(run.model.parameters(), other.model.parameters(), strict=True))
    (moments,), (loaded,) = run.optimizer.state.values(), other.optimizer.state.values()
    assert all(torch.equal(moments[name], loaded[name]) for name in moments)
    assert other.schedule.state_dict() == run.schedule.state_dict()
    assert make_run(tmp_path / "new", value=0.0).resume() == Progress(best_tau=-math.inf)


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    make_run(tmp_path, value=1.0, settings={"sigma": 1.0, "seed": 0}).save_state(Progress())
    for settings, changed in (
        ({"sigma": 2.0, "seed": 0, "bf16": None}, r"\(sigma, bf16\)"),
        ({"seed": 0}, r"\(sigma\)"),
    ):
        with pytest.raises(LabelError, match=changed):
            make_run(tmp_path, value=1.0, settings=settings).resume()
