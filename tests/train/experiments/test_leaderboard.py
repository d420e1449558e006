"""Baselines against direct calculations, the GRU's learning and causality, and the leaderboard."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap, kendalltau, zscore
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL
from tests.fixtures.chats import write_chats
from tests.fixtures.small_dataset import write_dataset
from train.baselines.gru import train_gru
from train.baselines.tabular import (
    PooledFeatures,
    activity_table,
    labels_of,
    lags,
    rooms_of_rows,
    scored_of,
    whole_activity_table,
)
from train.data.chat_logs import ChatConfig, prepare_chat
from train.dataset import ENCODER_FILES, Room, Segments
from train.experiments import leaderboard
from train.experiments.standings import Entry, Task, enter_checkpoint, markdown, open_task, rank
from train.scoring import score


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chats")
    write_chats(folder / "chats.parquet")
    prepare_chat(ChatConfig(folder / "chats.parquet", folder / "dataset", text=False))
    return folder / "dataset"


@pytest.fixture(scope="module")
def task(chats: Path) -> Task:
    return open_task(chats)


@pytest.fixture(scope="module")
def rooms_task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """LVTR, with pictures, speech and comments, each missing in one room."""
    folder = tmp_path_factory.mktemp("rooms")
    write_dataset(folder)
    return open_task(folder)


def by_hand(task: Task, rooms: list[Room]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs as the benchmark defines them, from shares and counts, row by row; and labels."""
    inputs, labels = [], []
    for room in rooms:
        label = task.segments.scalar("label", room.start, room.stop)
        count, _, present, share, _ = task.segments.array("activity", room.start, room.stop)[:, :5].T
        for t in range(20, len(label)):
            inputs.append([*share[t - 20 : t], *count[t - 20 : t], present[t - 1]])
            labels.append(label[t])
    return np.array(inputs, dtype=np.float64), np.array(labels)


def test_rows_are_those_that_evaluation_scores(rooms_task: Task) -> None:
    segments, rooms = rooms_task.segments, rooms_task.test + rooms_task.train
    scores = score(KuaiHL(replace(PRESETS["debug"], text_dim=6)).eval(), segments, rooms)
    np.testing.assert_array_equal(labels_of(segments, rooms), scores.true)
    np.testing.assert_array_equal(rooms_of_rows(segments, rooms), scores.room)


def test_lags() -> None:
    found = lags(np.arange(1.0, 24.0))
    assert found.shape == (23, 20)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[2], [*[np.nan] * 18, 1, 2])
    np.testing.assert_array_equal(found[22], np.arange(3, 23))


def test_simple_baselines_of_participation(task: Task) -> None:
    inputs, _ = by_hand(task, task.test)
    np.testing.assert_allclose(leaderboard.last_value(task), inputs[:, 19])
    np.testing.assert_allclose(leaderboard.mean_of_last(task), inputs[:, :20].mean(1))
    np.testing.assert_allclose(leaderboard.comment_rate(task), inputs[:, 39])
    np.testing.assert_allclose(leaderboard.chat_spike(task), zscore(inputs[:, 20:40], axis=1)[:, -1], rtol=1e-6)
    found = dict(
        zip(rooms_of_rows(task.segments, task.test), leaderboard.mean_of_streamer(task, task.test), strict=True)
    )
    for room in task.test:
        same = [labels_of(task.segments, [r]) for r in task.train if r.streamer == room.streamer]
        assert found[room.name] == pytest.approx(np.concatenate(same).mean())


def test_ridge_and_boosting_by_direct_calls(task: Task) -> None:
    train, validation, test = (by_hand(task, rooms) for rooms in (task.train, task.validation, task.test))
    scale = train[0].mean(0), train[0].std(0)
    direct = []
    for alpha in (1.0, 100.0, 10_000.0):
        model = Ridge(alpha).fit((train[0] - scale[0]) / scale[1], train[1])
        reached = kendalltau(model.predict((validation[0] - scale[0]) / scale[1]), validation[1]).statistic
        direct.append((reached, model.predict((test[0] - scale[0]) / scale[1])))
    found = leaderboard.ridge(task, lambda rooms: activity_table(task.segments, rooms))
    np.testing.assert_allclose(found, max(direct, key=lambda pair: pair[0])[1], rtol=1e-6)

    trees = HistGradientBoostingRegressor(
        learning_rate=0.05, max_iter=1000, min_samples_leaf=200, early_stopping=True, n_iter_no_change=20
    )
    trees.fit(*train, X_val=validation[0], y_val=validation[1])
    found = leaderboard.boosting(task, lambda rooms: activity_table(task.segments, rooms), seed=0)
    np.testing.assert_allclose(found, trees.predict(test[0]))


def test_the_place_in_the_room_is_the_last_column(task: Task) -> None:
    table = activity_table(task.segments, task.test[:1], place=True)
    np.testing.assert_allclose(np.expm1(table[:, -1]), np.arange(20, 45))


def test_the_whole_table_holds_the_twenty_segments_before(task: Task) -> None:
    (room,) = rooms = task.test[:1]
    table = whole_activity_table(task.segments, rooms)
    activity = task.segments.array("activity", room.start, room.stop)
    chat = len(CHAT_COLUMNS)
    for row, t in zip(table, range(20, 45), strict=True):
        np.testing.assert_array_equal(row[: 20 * chat], activity[t - 20 : t, :chat].T.ravel())
        assert np.isnan(row[20 * chat : -1]).all()  # no speech
        assert row[-1] == pytest.approx(np.log1p(t))


def test_missing_sources_are_no_numbers(rooms_task: Task) -> None:
    segments = rooms_task.segments
    rooms = {room.name: room for room in segments.rooms}
    table = activity_table(segments, [rooms["train-1"]])  # without speech
    assert np.isnan(table[:, 41:]).all()
    assert np.isfinite(table[-1, :41]).all()
    table = activity_table(segments, [rooms["train-2"]])  # without comments
    assert np.isnan(table[:, :41]).all()
    pooled = PooledFeatures(segments, rooms_task.train, components=4)
    table = pooled.table([rooms["train-0"]])  # without pictures
    assert np.isnan(table[:, :8]).all()
    assert np.isfinite(table[:, 8:]).all()


def test_features_come_before_what_they_predict(rooms_task: Task) -> None:
    segments, (room,) = rooms_task.segments, rooms_task.test
    pooled = PooledFeatures(segments, rooms_task.train, components=4)
    whole = pooled.table([room])
    short = pooled.table([replace(room, stop=room.start + 10)])
    np.testing.assert_allclose(whole[: len(short)], short)
    last = (segments.window(room.start, room.stop).pictures.astype(np.float32).mean(1))[:-1, 0]
    rows = scored_of(segments, room)[1:]
    assert max(abs(np.corrcoef(column, last[rows])[0, 1]) for column in whole[:, :4].T) > 0.9


def test_chats_without_text_have_no_features(task: Task) -> None:
    assert not PooledFeatures(task.segments, task.train)


def test_the_gru_learns_and_does_not_look_ahead(rooms_task: Task) -> None:
    segments, (room,) = rooms_task.segments, rooms_task.test
    model = train_gru(segments, rooms_task.train, rooms_task.validation, dim=32, epochs=40, patience=40, batch=2)
    curve = model.curve(segments, room)
    scored = scored_of(segments, room)
    true = segments.scalar("label", room.start, room.stop)
    assert kendalltau(curve[scored], true[scored]).statistic > 0.4  # the label is written in the last picture
    assert np.isnan(curve[0])
    assert np.isfinite(curve[1:]).all()
    for length in (1, 5, 20, 21, 30):
        short = model.curve(segments, replace(room, stop=room.start + length))
        np.testing.assert_allclose(short, curve[:length], rtol=1e-5)


def test_labels_of_lvtr_are_marked_as_unknown_to_users(rooms_task: Task) -> None:
    found = {entry.name: entry for entry in leaderboard.entries(rooms_task)}
    assert {name for name, entry in found.items() if entry.note} == {"last value", "mean of the last 20"}
    true = labels_of(rooms_task.segments, rooms_task.test)
    for entry in found.values():
        assert np.isfinite(entry.predicted).all()
        assert len(entry.predicted) == len(true)
    (room,) = rooms_task.test
    label = rooms_task.segments.scalar("label", room.start, room.stop)
    scored = np.flatnonzero(scored_of(rooms_task.segments, room))
    known = [next((label[k] for k in range(t - 1, -1, -1) if np.isfinite(label[k])), np.nan) for t in scored]
    np.testing.assert_allclose(found["last value"].predicted[1:], known[1:])


@pytest.fixture(scope="module")
def checkpoint(chats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    config = replace(
        PRESETS["debug"], targets=(Target("participation"),), streamers=("red",), picture_dim=256, text_dim=384
    )
    KuaiHL(config).save_pretrained(folder)
    for name in ENCODER_FILES:
        shutil.copyfile(chats / name, folder / name)
    return folder


def test_the_leaderboard(task: Task, chats: Path, checkpoint: Path, tmp_path: Path) -> None:
    leaderboard.main(chats, (checkpoint,), draws=50, out=tmp_path / "board.json")
    board = json.loads((tmp_path / "board.json").read_text())
    true, room = labels_of(task.segments, task.test), rooms_of_rows(task.segments, task.test)
    rows = {row["name"]: row for row in board["entries"]}
    last = rows["last value"]
    assert board["segments"] == last["segments"] == len(true) == 75
    assert last["pooled"] == pytest.approx(kendalltau(leaderboard.last_value(task), true).statistic)
    each = [kendalltau(leaderboard.last_value(task)[room == r], true[room == r]).statistic for r in np.unique(room)]
    assert last["per_room"] == pytest.approx(np.mean(each))
    ours = rows[f"KuaiHL, {checkpoint}"]
    assert len(ours["sha256"]) == 64
    assert not ours["checkpoint_minus_this"]
    gap = last["checkpoint_minus_this"][ours["name"]]
    assert gap["pooled"] == pytest.approx(ours["pooled"] - last["pooled"])
    assert gap["interval"][0] < gap["pooled"] < gap["interval"][1]
    assert gap["per_room"] == pytest.approx(ours["per_room"] - last["per_room"])
    table = (tmp_path / "board.md").read_text()
    shown = f"| last value | {last['pooled']:.4f} | {last['per_room']:.4f} | {gap['pooled']:+.4f} ("
    assert table.count("\n| ") == len(rows) + 2
    assert shown in table
    assert f"| {gap['per_room']:+.4f} ({gap['per_room_interval'][0]:+.4f} to " in table


def test_differences_of_rooms_by_scipys_bootstrap(task: Task) -> None:
    true, room = labels_of(task.segments, task.test), rooms_of_rows(task.segments, task.test)
    rng = np.random.default_rng(3)
    ours, other = (true + rng.normal(scale=s, size=len(true)) for s in (0.05, 0.2))
    board = rank(task, [Entry("other", other), Entry("ours", ours, sha256="0" * 64)], draws=3000)
    gap = board["entries"][0]["checkpoint_minus_this"]["ours"]
    each = [
        kendalltau(ours[room == r], true[room == r]).statistic - kendalltau(other[room == r], true[room == r]).statistic
        for r in np.unique(room)
    ]
    assert gap["per_room"] == pytest.approx(np.mean(each))
    direct = bootstrap((each,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(1))
    np.testing.assert_allclose(gap["per_room_interval"], direct.confidence_interval, atol=0.01)


def test_a_constant_has_no_tau_and_no_interval(task: Task) -> None:
    count = len(labels_of(task.segments, task.test))
    board = rank(task, [Entry("same", np.ones(count)), Entry("ours", np.arange(count), sha256="0" * 64)])
    assert board["entries"][0]["pooled"] is None
    assert not board["entries"][0]["checkpoint_minus_this"]
    assert "| same | - | - |  |  |" in markdown(board)


def test_checkpoints_that_cannot_be_compared_are_refused(
    task: Task, chats: Path, checkpoint: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(checkpoint, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    config["targets"][0]["name"] = "mood"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not predict 'participation': it predicts mood"):
        enter_checkpoint(task, other)
    with pytest.raises(CheckpointError, match="was trained on red"):
        enter_checkpoint(open_task(chats, left_out=["red"]), checkpoint)
    assert enter_checkpoint(open_task(chats, left_out=["blue"]), checkpoint).predicted.shape == (150,)


def test_a_dataset_without_labels_is_refused(tmp_path: Path) -> None:
    write_chats(tmp_path / "chats.parquet", streams=2)
    prepare_chat(ChatConfig(tmp_path / "chats.parquet", tmp_path / "out", text=False))
    assert len(Segments(tmp_path / "out").rooms) == 2
    with pytest.raises(LabelError, match="has no 'test' rooms"):
        open_task(tmp_path / "out")
