"""Audience participation: the share of the chatters present who write in a segment."""

from dataclasses import dataclass

import numpy as np

from kuaihl.features.chat import PRESENCE_SEGMENTS

MIN_PRESENT = 20
"""With fewer chatters present, participation is undefined."""
HISTORY = 20
"""A segment is scored if participation is defined there and in this many segments before."""
TARGET = "participation"


@dataclass(frozen=True, slots=True)
class Participation:
    """Participation of a chat in each segment, all (segments,).

    ``writers`` counts the distinct chatters of the segment, ``present`` those of the last 20 segments including it.
    ``share`` is writers / present, NaN where fewer than 20 are present.
    """

    share: np.ndarray
    writers: np.ndarray
    present: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Which segments are scored (segments,) bool: the share is defined there and in the 20 segments before."""
        defined = np.cumsum(np.r_[0, np.isfinite(self.share)])
        scored = np.zeros(len(self.share), dtype=bool)
        scored[HISTORY:] = defined[HISTORY + 1 :] - defined[: -HISTORY - 1] == HISTORY + 1
        return scored


def participation(segment: np.ndarray, chatter: np.ndarray, *, segments: int) -> Participation:
    """Compute the participation of a chat.

    Parameters
    ----------
    segment, chatter
        (comments,) int64, in any order: the segment of each comment, and its author, numbered from 0.
    segments
        Number of segments.
    """
    pairs = np.unique(np.stack([chatter, segment], axis=1).reshape(-1, 2), axis=0)
    author, start = pairs[:, 0], pairs[:, 1]
    # Each pair makes its author present until the author's next pair, and at most for `PRESENCE_SEGMENTS`.
    following = np.full(len(pairs), segments)
    same_author = np.flatnonzero(author[1:] == author[:-1])
    following[same_author] = start[same_author + 1]
    stop = np.minimum(following, start + PRESENCE_SEGMENTS).clip(max=segments)
    change = np.bincount(start, minlength=segments + 1) - np.bincount(stop, minlength=segments + 1)
    present = np.cumsum(change)[:segments]
    writers = np.bincount(start, minlength=segments)
    share = np.where(present >= MIN_PRESENT, writers / np.maximum(present, 1), np.nan)
    return Participation(share, writers, present)
