"""The leaderboard: taus and paired intervals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap, kendalltau

from kuaihl.errors import CheckpointError
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL
from train.baselines.rules import predict_last_value
from train.baselines.task import Task, open_task
from train.dataset import copy_encoder
from train.experiments.leaderboard import Entry, format_markdown, main, predict_baselines, predict_checkpoint, rank


@pytest.fixture(scope="module")
def task(real_chats: Path) -> Task:
    return open_task(real_chats)


@pytest.fixture(scope="module")
def checkpoint(real_chats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    config = replace(
        PRESETS["debug"], targets=(Target("participation"),), streamers=("red",), picture_dim=256, text_dim=384
    )
    KuaiHL(config).save_pretrained(folder)
    copy_encoder(real_chats, folder)
    return folder


def test_the_command_writes_taus_and_differences(
    task: Task, real_chats: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(real_chats, (checkpoint,), draws=50, out=tmp_path / "board.json")
    board = json.loads((tmp_path / "board.json").read_text())
    true, room = task.labels(task.test), task.room_names(task.test)
    rows = {row["name"]: row for row in board["entries"]}
    last, predicted = rows["last value"], predict_last_value(task)
    assert board["segments"] == last["segments"] == len(true) == 75
    assert last["pooled"] == pytest.approx(kendalltau(predicted, true).statistic)
    per_room = [kendalltau(predicted[room == r], true[room == r]).statistic for r in np.unique(room)]
    assert last["per_room"] == pytest.approx(np.mean(per_room))
    ours = rows[f"KuaiHL, {checkpoint}"]
    assert len(ours["sha256"]) == 64
    assert not ours["checkpoint_minus_this"]
    difference = last["checkpoint_minus_this"][ours["name"]]
    for kind, interval in (("pooled", "interval"), ("per_room", "per_room_interval")):
        assert difference[kind] == pytest.approx(ours[kind] - last[kind])
        assert difference[interval][0] < difference[kind] < difference[interval][1]
    table = (tmp_path / "board.md").read_text()
    assert table.count("\n| ") == len(rows) + 2 == 9
    cells = f"| last value | {last['pooled']:.4f} | {last['per_room']:.4f} | {difference['pooled']:+.4f} ("
    assert cells in table
    assert table in capsys.readouterr().out


def test_intervals_per_room_by_scipys_bootstrap(task: Task) -> None:
    true, room = task.labels(task.test), task.room_names(task.test)
    rng = np.random.default_rng(3)
    ours, other = (true + rng.normal(scale=s, size=len(true)) for s in (0.05, 0.2))
    board = rank(task, [Entry("other", other), Entry("ours", ours, sha256="0" * 64)], draws=3000)
    difference = board["entries"][0]["checkpoint_minus_this"]["ours"]
    per_room = [
        kendalltau(ours[room == r], true[room == r]).statistic - kendalltau(other[room == r], true[room == r]).statistic
        for r in np.unique(room)
    ]
    assert difference["per_room"] == pytest.approx(np.mean(per_room))
    direct = bootstrap((per_room,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(1))
    np.testing.assert_allclose(difference["per_room_interval"], direct.confidence_interval, atol=0.01)


def test_a_constant_has_no_tau_and_no_interval(task: Task) -> None:
    count = len(task.labels(task.test))
    board = rank(task, [Entry("same", np.ones(count)), Entry("ours", np.arange(count), sha256="0" * 64)])
    assert board["entries"][0]["pooled"] is None
    assert not board["entries"][0]["checkpoint_minus_this"]
    assert "| same | - | - |  |  |" in format_markdown(board)


def test_baselines_of_lvtr(rooms: Path) -> None:
    task = open_task(rooms)
    entries = {entry.name: entry for entry in predict_baselines(task)}
    assert [name for name, entry in entries.items() if entry.note] == ["last value"]
    assert "ridge, activity, features and streamer" in entries
    for entry in entries.values():
        assert entry.predicted.shape == task.labels(task.test).shape
        assert np.isfinite(entry.predicted).all()


def test_checkpoints_that_do_not_fit_are_refused(
    task: Task, real_chats: Path, checkpoint: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(checkpoint, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    config["targets"][0]["name"] = "mood"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="'participation'"):
        predict_checkpoint(task, other)
    with pytest.raises(CheckpointError, match="was trained on red"):
        predict_checkpoint(open_task(real_chats, left_out=["red"]), checkpoint)
    assert predict_checkpoint(open_task(real_chats, left_out=["blue"]), checkpoint).predicted.shape == (150,)
