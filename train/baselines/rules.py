"""Baselines without parameters: each returns its predictions for the test rooms (rows,)."""

from collections.abc import Sequence

import numpy as np

from train.baselines.tabular import activity_columns, lags, nanmean
from train.baselines.task import Task
from train.data.participation import TARGET
from train.dataset import Room


def predict_last_value(task: Task) -> np.ndarray:
    """Predict the latest label of the last 20 segments, or the mean of the training labels if there is none.

    Participation is taken from the activity, which is known before it is scored. LVTR is not known to a user.
    """

    def past(room: Room) -> np.ndarray:
        if task.segments.info.target == TARGET:
            return lags(activity_columns(task.segments, room)["participation"])
        return lags(task.segments.scalar("label", room.start, room.stop))

    labels = task.rows(task.test, past)
    latest = labels.shape[1] - 1 - np.isfinite(labels[:, ::-1]).argmax(1)
    return _fill_with_mean(labels[np.arange(len(labels)), latest], task)


def predict_comment_rate(task: Task) -> np.ndarray:
    """Predict log1p of the number of comments of the last segment."""
    return np.nan_to_num(_comment_lags(task)[:, -1])


def predict_chat_spike(task: Task) -> np.ndarray:
    """Predict the z-score of log1p of the number of comments of the last segment, among the last 20."""
    past = _comment_lags(task)
    mean = nanmean(past)
    spread = np.sqrt(nanmean((past - mean[:, None]) ** 2))
    return np.nan_to_num((past[:, -1] - mean) / (spread + 1e-9))


def predict_streamer_mean(task: Task, rooms: Sequence[Room]) -> np.ndarray:
    """Predict the mean training label of the streamer, or of all if the streamer is unknown."""
    names = {room.streamer for room in task.train}
    means = {name: task.labels([room for room in task.train if room.streamer == name]).mean() for name in names}
    predicted = task.rows(rooms, lambda room: np.full(room.stop - room.start, means.get(room.streamer, np.nan)))
    return _fill_with_mean(predicted, task)


def _comment_lags(task: Task) -> np.ndarray:
    return task.rows(task.test, lambda room: lags(activity_columns(task.segments, room)["log1p_comments"]))


def _fill_with_mean(predicted: np.ndarray, task: Task) -> np.ndarray:
    return np.where(np.isfinite(predicted), predicted, task.labels(task.train).mean())
