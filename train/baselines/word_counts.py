"""Words of the last comments as a sparse table. An emote is a word, and upper case is kept."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.feature_extraction.text import CountVectorizer

from train.baselines.task import Task
from train.dataset import Room

RECENT = 3
"""Segments of the mean beside the last one."""


class WordCounts:
    """Counts the comments with each of the ``max_words`` most common words of the training rooms."""

    def __init__(self, task: Task, *, max_words: int = 4000) -> None:
        self._task = task
        self._counter = CountVectorizer(analyzer=_split_words, max_features=max_words)
        self._any = any(_split_words(comments) for room in task.train for comments in self._comments(room))
        if self._any:
            self._counter.fit(comments for room in task.train for comments in self._comments(room))

    def __bool__(self) -> bool:
        """Whether there is any word."""
        return self._any

    def table(self, rooms: Sequence[Room]) -> csr_matrix:
        """Return log1p of counts (rows, 2 words): of the segment before, and the mean of the last three."""
        tables = []
        for room in rooms:
            scored = np.flatnonzero(self._task.mask(room))
            counts = self._counter.transform(self._comments(room)).astype(np.float64).log1p()
            before = [_shift(counts, lag)[scored] for lag in range(1, RECENT + 1)]
            tables.append(hstack([before[0], sum(before[1:], start=before[0]) / RECENT]))
        return vstack(tables, format="csr")

    def _comments(self, room: Room) -> Iterator[Sequence[str]]:
        for comments in self._task.segments.column("comments", room):
            yield () if comments is None else comments


def _shift(rows: csr_matrix, lag: int) -> csr_matrix:
    """Move row t - lag to t; the first ``lag`` rows are empty."""
    empty = csr_matrix((min(lag, rows.shape[0]), rows.shape[1]))
    return vstack([empty, rows[: max(rows.shape[0] - lag, 0)]], format="csr")


def _split_words(comments: Sequence[str]) -> list[str]:
    """Return the words of all comments, each once per comment."""
    return [word for comment in comments for word in dict.fromkeys(comment.split())]
