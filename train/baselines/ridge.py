"""Ridge regression on a table of inputs, and on words."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from train.baselines.task import Task
from train.baselines.word_counts import WordCounts
from train.dataset import Room

Table = Callable[[Sequence[Room]], np.ndarray]
"""Rooms -> inputs (rows, columns), NaN if unknown."""

_ALPHAS = (1.0, 100.0, 10_000.0)
_WORD_ALPHAS = (1e2, 1e4, 1e5, 1e6)


def predict_ridge(task: Task, table: Table, *, words: WordCounts | None = None) -> np.ndarray:
    """Fit ridge regression, with the penalty of the best validation tau, and predict the test rooms (rows,).

    With ``words``, a second ridge regression fits the residual on the words of the last segments.
    """
    labels = task.labels(task.train)
    train, validation, test = (table(rooms) for rooms in (task.train, task.validation, task.test))
    models = [
        make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge(alpha)).fit(train, labels)
        for alpha in _ALPHAS
    ]
    model = _select(task, models, validation)
    if words is None:
        return model.predict(test)
    counts, residual = words.table(task.train), labels - model.predict(train)
    models = [
        make_pipeline(StandardScaler(with_mean=False), Ridge(alpha, solver="sparse_cg", tol=1e-3)).fit(counts, residual)
        for alpha in _WORD_ALPHAS
    ]
    correction = _select(task, models, words.table(task.validation), offset=model.predict(validation))
    return model.predict(test) + correction.predict(words.table(task.test))


def _select(
    task: Task, models: Sequence[Pipeline], validation: np.ndarray | csr_matrix, *, offset: np.ndarray | float = 0.0
) -> Pipeline:
    """Return the model with the best validation tau when ``offset`` is added to its predictions."""
    return max(models, key=lambda model: task.validation_tau(offset + model.predict(validation)))
