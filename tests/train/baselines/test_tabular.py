"""Baselines against direct calculations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, zscore
from sklearn.linear_model import Ridge

from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import KuaiHL
from train.baselines.gru import train_gru
from train.baselines.ridge import predict_ridge
from train.baselines.rules import predict_chat_spike, predict_comment_rate, predict_last_value, predict_streamer_mean
from train.baselines.tabular import PooledFeatures, activity_table, lags
from train.baselines.task import Task, open_task
from train.dataset import Room
from train.scoring import score

CHAT = len(CHAT_COLUMNS)


@pytest.fixture(scope="module")
def rooms_task(rooms: Path) -> Task:
    """LVTR; pictures, speech and comments are each missing in one room."""
    return open_task(rooms)


@pytest.fixture(scope="module")
def chats_task(real_chats: Path) -> Task:
    """Participation."""
    return open_task(real_chats)


def table_by_hand(task: Task, rooms: list[Room]) -> np.ndarray:
    """The chat activity of the 20 segments before each from the 21st on, column by column."""
    rows = []
    for room in rooms:
        activity = task.segments.array("activity", room.start, room.stop)[:, :CHAT]
        rows += [activity[t - 20 : t].T for t in range(20, len(activity))]
    return np.array(rows, dtype=np.float64)


def test_rows_are_the_segments_that_evaluation_scores(rooms_task: Task) -> None:
    task, rooms = rooms_task, rooms_task.test + rooms_task.train
    scores = score(KuaiHL(replace(PRESETS["debug"], text_dim=6)).eval(), task.segments, rooms)
    np.testing.assert_array_equal(task.labels(rooms), scores.true)
    np.testing.assert_array_equal(task.room_names(rooms), scores.room)


def test_lags_are_the_values_before() -> None:
    table = lags(np.arange(1.0, 24.0))
    assert table.shape == (23, 20)
    assert np.isnan(table[0]).all()
    np.testing.assert_array_equal(table[2], [*[np.nan] * 18, 1, 2])
    np.testing.assert_array_equal(table[22], np.arange(3, 23))


def test_rules_on_participation(chats_task: Task) -> None:
    columns = dict(zip(CHAT_COLUMNS, table_by_hand(chats_task, chats_task.test).transpose(1, 0, 2), strict=True))
    comments = columns["log1p_comments"]
    np.testing.assert_allclose(predict_last_value(chats_task), columns["participation"][:, -1])
    np.testing.assert_allclose(predict_comment_rate(chats_task), comments[:, -1])
    np.testing.assert_allclose(predict_chat_spike(chats_task), zscore(comments, axis=1)[:, -1], rtol=1e-6)
    names, means = chats_task.room_names(chats_task.test), predict_streamer_mean(chats_task, chats_task.test)
    for room in chats_task.test:
        same = [chats_task.labels([other]) for other in chats_task.train if other.streamer == room.streamer]
        np.testing.assert_allclose(means[names == room.name], np.concatenate(same).mean(), rtol=1e-6)


def test_the_last_value_of_lvtr_is_the_latest_label(rooms_task: Task) -> None:
    (room,) = rooms_task.test
    label = rooms_task.segments.scalar("label", room.start, room.stop)
    rows = np.flatnonzero(rooms_task.mask(room))
    latest = [next((label[k] for k in range(t - 1, -1, -1) if np.isfinite(label[k])), np.nan) for t in rows]
    np.testing.assert_allclose(predict_last_value(rooms_task)[1:], latest[1:])


def test_ridge_by_direct_calls(chats_task: Task) -> None:
    splits = [chats_task.train, chats_task.validation, chats_task.test]
    tables = [table_by_hand(chats_task, rooms).reshape(-1, 20 * CHAT) for rooms in splits]
    index = [np.concatenate([np.log1p(np.arange(20, room.stop - room.start)) for room in rooms]) for rooms in splits]
    train, validation, test = (np.column_stack(pair) for pair in zip(tables, index, strict=True))
    labels = [chats_task.labels(rooms) for rooms in splits]
    mean, std = train.mean(0), np.where(train.std(0) > 0, train.std(0), 1)
    results = []
    for alpha in (1.0, 100.0, 10_000.0):
        model = Ridge(alpha).fit((train - mean) / std, labels[0])
        tau = kendalltau(model.predict((validation - mean) / std), labels[1]).statistic
        results.append((tau, model.predict((test - mean) / std)))
    predicted = predict_ridge(chats_task, lambda rooms: activity_table(chats_task, rooms))
    np.testing.assert_allclose(predicted, max(results, key=lambda pair: pair[0])[1], rtol=1e-6)


def test_missing_sources_are_nan(rooms_task: Task) -> None:
    rooms = {room.name: room for room in rooms_task.segments.rooms}
    without_speech = activity_table(rooms_task, [rooms["train-1"]])
    assert np.isfinite(without_speech[-1, : 20 * CHAT]).all()
    assert np.isnan(without_speech[:, 20 * CHAT : -1]).all()
    assert np.isnan(activity_table(rooms_task, [rooms["train-2"]])[:, : 20 * CHAT]).all()  # without comments
    features = PooledFeatures(rooms_task, components=4).table([rooms["train-0"]])  # without pictures
    assert np.isnan(features[:, :8]).all()
    assert np.isfinite(features[:, 8:]).all()


def test_features_are_those_of_the_segments_before(rooms_task: Task, chats_task: Task) -> None:
    segments, (room,) = rooms_task.segments, rooms_task.test
    features = PooledFeatures(rooms_task, components=4)
    table = features.table([room])
    short = features.table([replace(room, stop=room.start + 10)])
    np.testing.assert_allclose(table[: len(short)], short)
    last = segments.features(room, streamer=0).pictures[0, :-1].float().mean(1)[:, 0].numpy()
    rows = rooms_task.mask(room)[1:]
    assert max(abs(np.corrcoef(column, last[rows])[0, 1]) for column in table[:, :4].T) > 0.9
    assert not PooledFeatures(chats_task)


def test_the_gru_learns_and_does_not_look_ahead(rooms_task: Task) -> None:
    (room,) = rooms_task.test
    model = train_gru(rooms_task, dim=32, epochs=30, patience=30, batch_size=2, learning_rate=3e-3)
    curve, mask = model.predict_room(rooms_task.segments, room), rooms_task.mask(room)
    true = rooms_task.segments.scalar("label", room.start, room.stop)
    assert kendalltau(curve[mask], true[mask]).statistic > 0.4  # the label follows from the last picture
    assert np.flatnonzero(np.isnan(curve)).tolist() == [0]
    for length in (1, 5, 20, 21, 30):
        short = model.predict_room(rooms_task.segments, replace(room, stop=room.start + length))
        torch.testing.assert_close(short, curve[:length], rtol=1e-5, atol=1e-8, equal_nan=True)
