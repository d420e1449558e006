"""What KuaiHL has to beat, on the very segments it is scored on: from the last value to gradient boosting and a GRU.

Run as `python -m train.experiments.leaderboard --dataset D [--checkpoint C ...] [--out F.json]`: prints a leaderboard.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tyro
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from train.baselines.gru import train_gru
from train.baselines.tabular import (
    PooledFeatures,
    activity_table,
    chat_lags,
    label_lags,
    labels_of,
    rooms_of_rows,
    scored_of,
    whole_activity_table,
)
from train.baselines.word_counts import Words
from train.command import plain_errors
from train.data.participation import TARGET
from train.dataset import Room
from train.experiments.standings import Entry, Task, enter_checkpoint, markdown, open_task, print_leaderboard, rank
from train.files import write_json
from train.metrics import taus

Table = Callable[[Sequence[Room]], np.ndarray]
"""Rooms -> inputs (rows, columns) for each of their scored segments; NaN is what is not known."""

_ALPHAS = (1.0, 100.0, 10_000.0)
_WORD_ALPHAS = (1e2, 1e4, 1e5, 1e6)


def last_value(task: Task) -> np.ndarray:
    """The label before, or the last there was; the mean of training labels where there was none in the last 20."""
    past = label_lags(task.segments, task.test)
    latest = past.shape[1] - 1 - np.isfinite(past[:, ::-1]).argmax(1)
    return _or_mean(past[np.arange(len(past)), latest], task)


def mean_of_last(task: Task) -> np.ndarray:
    """Mean of the labels of the last 20 segments, as far as there are."""
    return _or_mean(_mean(label_lags(task.segments, task.test)), task)


def mean_of_streamer(task: Task, rooms: Sequence[Room]) -> np.ndarray:
    """Mean label of the streamer in training, or that of all for one who was not there."""
    segments = task.segments
    names = {room.streamer for room in task.train}
    means = {name: labels_of(segments, [r for r in task.train if r.streamer == name]).mean() for name in names}
    rows = [np.full(scored_of(segments, r).sum(), means.get(r.streamer, np.nan)) for r in rooms]
    return _or_mean(np.concatenate(rows), task)


def chat_spike(task: Task) -> np.ndarray:
    """How many standard deviations log1p of the last segment's comments lies above the mean of the last 20."""
    past = chat_lags(task.segments, task.test, "log1p_comments")
    known = np.isfinite(past)
    mean = _mean(past)
    spread = np.sqrt(_mean(np.where(known, (past - mean[:, None]) ** 2, np.nan)))
    return np.nan_to_num((past[:, -1] - mean) / (spread + 1e-9))


def comment_rate(task: Task) -> np.ndarray:
    """How much was written in the last segment, log1p."""
    return np.nan_to_num(chat_lags(task.segments, task.test, "log1p_comments")[:, -1])


def ridge(task: Task, table: Table, *, words: Words | None = None) -> np.ndarray:
    """Ridge regression on scaled inputs, with the penalty of the best validation tau.

    With ``words``, a second one tells from the words of the last segments what the first leaves over.
    """
    train, validation, test = (table(rooms) for rooms in (task.train, task.validation, task.test))
    first = best_ridge(task, train, validation)
    predicted = first.predict(test)
    if words is None:
        return predicted
    left, written = labels_of(task.segments, task.train) - first.predict(train), words.table(task.train)
    rest = [_sparse(alpha).fit(written, left) for alpha in _WORD_ALPHAS]
    second = _best(task, rest, words.table(task.validation), onto=first.predict(validation))
    return predicted + second.predict(words.table(task.test))


def best_ridge(task: Task, train: np.ndarray, validation: np.ndarray) -> Pipeline:
    """Fit a ridge regression to the inputs of the training rooms, with the penalty of the best validation tau."""
    true = labels_of(task.segments, task.train)
    return _best(task, [_linear(alpha).fit(train, true) for alpha in _ALPHAS], validation)


def boosting(task: Task, table: Table, *, seed: int) -> np.ndarray:
    """Gradient-boosted trees, as many as the validation rooms want."""
    trees = HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=1000,
        min_samples_leaf=200,
        early_stopping=True,
        n_iter_no_change=20,
        random_state=seed,
    )
    train, validation, test = (table(rooms) for rooms in (task.train, task.validation, task.test))
    seen = np.isfinite(train).any(0)  # the trees cannot be told of a column that is always missing
    trees.fit(
        train[:, seen],
        labels_of(task.segments, task.train),
        X_val=validation[:, seen],
        y_val=labels_of(task.segments, task.validation),
    )
    return trees.predict(test[:, seen])


def gru(task: Task, *, seed: int) -> np.ndarray:
    """A GRU over what KuaiHL sees: `train.baselines.gru`."""
    model = train_gru(task.segments, task.train, task.validation, seed=seed)
    return np.concatenate([model.curve(task.segments, r)[scored_of(task.segments, r)] for r in task.test])


def entries(task: Task, *, seed: int = 0) -> Iterator[Entry]:
    """Fit each baseline on the training rooms, and predict the scored segments of the test rooms."""
    note = "" if task.segments.info.target == TARGET else "not available to a user"
    yield Entry("last value", last_value(task), note)
    yield Entry("mean of the last 20", mean_of_last(task), note)
    yield Entry("mean of the streamer", mean_of_streamer(task, task.test))
    yield Entry("chat-spike z-score", chat_spike(task))
    yield Entry("comment rate", comment_rate(task))

    def activity(rooms: Sequence[Room]) -> np.ndarray:
        return activity_table(task.segments, rooms)

    def activity_and_place(rooms: Sequence[Room]) -> np.ndarray:
        return activity_table(task.segments, rooms, place=True)

    yield Entry("ridge, activity", ridge(task, activity))
    yield Entry("boosting, activity", boosting(task, activity_and_place, seed=seed))

    def whole(rooms: Sequence[Room]) -> np.ndarray:
        return whole_activity_table(task.segments, rooms)

    yield Entry("ridge, all activity", ridge(task, whole))
    yield Entry("boosting, all activity", boosting(task, whole, seed=seed))
    words = Words(task.segments, task.train)
    if words:
        yield Entry("ridge, all activity, words", ridge(task, whole, words=words))
    pooled = PooledFeatures(task.segments, task.train, seed=seed)
    if pooled:
        yield Entry("ridge, features", ridge(task, pooled.table))
        yield Entry("boosting, features", boosting(task, pooled.table, seed=seed))

        def everything(rooms: Sequence[Room]) -> np.ndarray:
            streamer = mean_of_streamer(task, rooms)[:, None]
            return np.hstack([whole(rooms), pooled.table(rooms), streamer])

        yield Entry("ridge, all activity, features, streamer", ridge(task, everything))
        yield Entry("boosting, all activity, features, streamer", boosting(task, everything, seed=seed))
    yield Entry("GRU", gru(task, seed=seed))


def _linear(alpha: float) -> Pipeline:
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge(alpha))


def _sparse(alpha: float) -> Pipeline:
    return make_pipeline(StandardScaler(with_mean=False), Ridge(alpha, solver="sparse_cg", tol=1e-3))


def _best(
    task: Task, models: Sequence[Pipeline], validation: np.ndarray | csr_matrix, *, onto: np.ndarray | float = 0.0
) -> Pipeline:
    """Choose the model whose predictions, added ``onto`` others, have the best validation tau."""
    labels, rooms = labels_of(task.segments, task.validation), rooms_of_rows(task.segments, task.validation)
    reached = [taus(onto + m.predict(validation), labels, rooms, deltas=[None])[0].pooled or 0.0 for m in models]
    return models[int(np.argmax(reached))]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of what is known of each row; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(1) / np.maximum(count, 1), np.nan)


def _or_mean(predicted: np.ndarray, task: Task) -> np.ndarray:
    return np.where(np.isfinite(predicted), predicted, labels_of(task.segments, task.train).mean())


def main(
    dataset: Path,
    checkpoint: tuple[Path, ...] = (),
    left_out: tuple[str, ...] = (),
    out: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> None:
    """Fit the baselines and print a leaderboard.

    Parameters
    ----------
    dataset
        Folder that train.prepare or train.simulator wrote.
    checkpoint
        Checkpoints of KuaiHL to score beside them, each with intervals against all.
    left_out
        Streamers, or channels, to test on, with all others to learn from, instead of the dataset's own split.
    out
        JSON file for the numbers; the table goes beside it, as Markdown.
    draws
        Samples of rooms that an interval rests on.
    seed
        Of boosting, the GRU and the intervals.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    task = open_task(dataset, left_out=left_out)
    found = [enter_checkpoint(task, path) for path in checkpoint]  # first, so that a wrong one fails at once
    board = rank(task, [*entries(task, seed=seed), *found], draws=draws, seed=seed)
    print_leaderboard(board)
    if out:
        write_json(out, board)
        out.with_suffix(".md").write_text(markdown(board), encoding="utf-8")


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
