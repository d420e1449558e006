"""Several datasets that train one model: each step takes windows of one of them, and each has a head of its own."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from kuaihl.errors import LabelError
from train.dataset import BLANK, Batch, DatasetInfo, Room, Segments, Windows, first
from train.evaluate import rooms_of


@dataclass(frozen=True, slots=True)
class Part:
    """A dataset, with the rooms to learn from and those to choose the epoch by."""

    segments: Segments
    train: list[Room]
    validation: list[Room]

    @property
    def target(self) -> str:
        """What its labels measure."""
        return self.segments.info.target


def open_parts(folders: Sequence[Path], *, left_out: Sequence[str] = ()) -> list[Part]:
    """Open datasets that are to train one model.

    Parameters
    ----------
    folders
        One for each target, all made with the same encoders.
    left_out
        Streamers kept for testing: the rooms of a dataset that has some are split anew, see
        `train.data.participation.leave_out`.

    Raises
    ------
    LabelError
        None is given, one cannot be read or has no rooms to train or to validate with, two have one target or were
        made with different encoders, or a streamer is in none of them.
    """
    if not folders:
        raise LabelError("There is nothing to learn from: give a --dataset, or several.")
    opened = [Segments(folder) for folder in folders]
    for k, (folder, segments) in enumerate(zip(folders, opened, strict=True)):
        info = segments.info
        if info.target in (earlier := [other.info.target for other in opened[:k]]):
            same = folders[earlier.index(info.target)]
            raise LabelError(f"{same} and {folder} both have labels of {info.target}: give one dataset a target.")
        for other, before in zip(folders[:k], opened[:k], strict=True):
            if not _alike(before.info, info):
                raise LabelError(
                    f"{other} and {folder} were made with different encoders, {_named(before.info)} and "
                    f"{_named(info)}: prepare one of them anew with the encoders of the other."
                )
    streamers = [{room.streamer for room in segments.rooms} for segments in opened]
    if unknown := set(left_out).difference(*streamers):
        raise LabelError(f"No dataset has rooms of {', '.join(sorted(unknown))}, who should be left out.")
    parts = []
    for segments, there in zip(opened, streamers, strict=True):
        out = [name for name in left_out if name in there]
        train, validation = (rooms_of(segments, split, left_out=out) for split in ("train", "validation"))
        parts.append(Part(segments, train, validation))
    return parts


class Mixture(Dataset[Batch]):
    """Windows of several datasets; one is named by the number of its dataset and its own in that.

    Parameters
    ----------
    windows
        Of each dataset.
    shares
        Which share of them an epoch draws; another draw each epoch.
    """

    def __init__(self, windows: Sequence[Windows], *, shares: Sequence[float]) -> None:
        self._windows = windows
        self._drawn = [math.ceil(share * len(some)) for share, some in zip(shares, windows, strict=True)]

    def __len__(self) -> int:
        """Windows in an epoch."""
        return sum(self._drawn)

    def batches(self, size: int) -> int:
        """How many batches of ``size`` windows there are in an epoch."""
        return sum(-(-drawn // size) for drawn in self._drawn)

    def order(self, size: int, *, epoch: int, seed: int) -> list[list[tuple[int, int]]]:
        """Draw the batches of an epoch: each of windows of one dataset, and these in random turns."""
        batches = []
        for k, (windows, drawn) in enumerate(zip(self._windows, self._drawn, strict=True)):
            windows.epoch = epoch
            order = np.random.default_rng((seed, epoch, k)).permutation(len(windows))[:drawn].tolist()
            batches.append([[(k, i) for i in order[start : start + size]] for start in range(0, drawn, size)])
        turns = np.repeat(np.arange(len(batches)), [len(some) for some in batches])
        turns = np.random.default_rng((seed, epoch, len(batches))).permutation(turns)
        left = [iter(some) for some in batches]
        return [next(left[k]) for k in turns]

    def __getitems__(self, indices: Sequence[tuple[int, int]]) -> list[Batch]:
        """Read a batch, whose windows are all of one dataset; see `Windows`."""
        return self._windows[indices[0][0]].__getitems__([index for _, index in indices])


def read(
    dataset: Mixture, batches: Sequence[Sequence[tuple[int, int]]], *, process: int, processes: int, workers: int
) -> Iterator[Batch]:
    """Read a process's share of each batch; where a batch has too few windows for all, that is a blank one."""
    shares = []
    for batch in batches:
        count, more = divmod(len(batch), processes)
        start = process * count + min(process, more)
        shares.append(batch[start : start + count + (process < more)] or [(batch[0][0], BLANK)])
    yield from DataLoader(dataset, batch_sampler=shares, collate_fn=first, num_workers=workers)


def _alike(one: DatasetInfo, other: DatasetInfo) -> bool:
    """Whether one model can read features of both: of the same encoders, where both have any."""
    shapes = [(info.visual_encoder, info.picture_dim, info.text_encoder, info.text_dim) for info in (one, other)]
    both = one.encoders.keys() & other.encoders.keys()
    return shapes[0] == shapes[1] and all(one.encoders[name] == other.encoders[name] for name in both)


def _named(info: DatasetInfo) -> str:
    names = (info.visual_encoder, info.text_encoder)
    return " and ".join(f"{name} ({info.encoders.get(name, 'unused')[:12]})" for name in names)
