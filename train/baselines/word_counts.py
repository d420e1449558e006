"""Which words the last comments hold, as a sparse table: an emote is a word like any other, and is kept whole."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.feature_extraction.text import CountVectorizer

from train.baselines.tabular import scored_of
from train.dataset import Room, Segments

RECENT = 3
"""Segments whose mean is told beside the last one."""


class Words:
    """Counts, for the segments before each scored one, in how many comments each of the commonest words stands.

    Parameters
    ----------
    rooms
        Those that the words are taken from.
    most
        How many words are kept.
    """

    def __init__(self, segments: Segments, rooms: Sequence[Room], *, most: int = 4000) -> None:
        self._segments = segments
        self._counter = CountVectorizer(analyzer=_words, max_features=most)
        self._known = any(_words(comments) for room in rooms for comments in self._comments(room))
        if self._known:
            self._counter.fit(comments for room in rooms for comments in self._comments(room))

    def __bool__(self) -> bool:
        """Whether there is any word."""
        return self._known

    def table(self, rooms: Sequence[Room]) -> csr_matrix:
        """log1p of counts (rows, 2 words): in the segment before each scored one, and the mean of the last three."""
        parts = []
        for room in rooms:
            scored = np.flatnonzero(scored_of(self._segments, room))
            counts = self._counter.transform(self._comments(room)).astype(np.float64).log1p()
            before = [_shifted(counts, lag)[scored] for lag in range(1, RECENT + 1)]
            parts.append(hstack([before[0], sum(before[1:], start=before[0]) / RECENT]))
        return vstack(parts, format="csr")

    def _comments(self, room: Room) -> Iterator[Sequence[str]]:
        for comments in self._segments.column("comments", room):
            yield () if comments is None else comments


def _shifted(rows: csr_matrix, lag: int) -> csr_matrix:
    """Row t - lag at t, and nothing where there is none."""
    empty = csr_matrix((min(lag, rows.shape[0]), rows.shape[1]))
    return vstack([empty, rows[: max(rows.shape[0] - lag, 0)]], format="csr")


def _words(comments: Sequence[str]) -> list[str]:
    """Words of each comment, once for each; upper case tells emotes from words."""
    return [word for comment in comments for word in dict.fromkeys(comment.split())]
