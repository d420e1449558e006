"""Several datasets that train one model with a head each: every step takes windows of one of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from kuaihl.errors import LabelError
from train.dataset import BLANK, Batch, DatasetInfo, Room, Segments, Windows
from train.splits import select_rooms


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A dataset, with its rooms for training and for validation."""

    segments: Segments
    train: list[Room]
    validation: list[Room]

    @property
    def target(self) -> str:
        """What its labels measure."""
        return self.segments.info.target


def open_training_sets(folders: Sequence[Path], *, left_out: Sequence[str] = ()) -> list[TrainingSet]:
    """Open the datasets that train one model.

    Parameters
    ----------
    folders
        One for each target.
    left_out
        Streamers to hold out, see `train.splits.leave_out`. Datasets without them keep their split.

    Raises
    ------
    LabelError
        There is no dataset, one cannot be read or has no rooms for training or validation, two have the same target or
        different encoders, or a streamer is in none of them.
    """
    if not folders:
        raise LabelError("There is nothing to train on: give --dataset.")
    opened = [Segments(folder) for folder in folders]
    for k, (folder, segments) in enumerate(zip(folders, opened, strict=True)):
        info = segments.info
        for other, before in zip(folders[:k], (earlier.info for earlier in opened[:k]), strict=True):
            if info.target == before.target:
                raise LabelError(f"{other} and {folder} both have labels of {info.target}: give one for each target.")
            if not _same_encoders(before, info):
                raise LabelError(
                    f"{other} and {folder} have features of different encoders, {_name_encoders(before)} and"
                    f" {_name_encoders(info)}. Prepare both with the same checkpoint."
                )
    streamers = [{room.streamer for room in segments.rooms} for segments in opened]
    if unknown := set(left_out).difference(*streamers):
        raise LabelError(f"No dataset has rooms of {', '.join(sorted(unknown))}, named by --left-out.")
    sets = []
    for segments, own in zip(opened, streamers, strict=True):
        held_out = [name for name in left_out if name in own]
        train, validation = (select_rooms(segments, split, left_out=held_out) for split in ("train", "validation"))
        sets.append(TrainingSet(segments, train, validation))
    return sets


class Mixture(Dataset[Batch]):
    """Windows of several datasets. The index of a window is the number of its dataset and its index there.

    Parameters
    ----------
    windows
        Of each dataset.
    shares
        Share of them that an epoch draws, anew in each epoch.
    """

    def __init__(self, windows: Sequence[Windows], *, shares: Sequence[float]) -> None:
        self._windows = windows
        self._drawn = [math.ceil(share * len(some)) for share, some in zip(shares, windows, strict=True)]

    def __len__(self) -> int:
        """Return the number of windows in an epoch."""
        return sum(self._drawn)

    def count_batches(self, size: int) -> int:
        """Return the number of batches of ``size`` windows in an epoch."""
        return sum(-(-drawn // size) for drawn in self._drawn)

    def draw_batches(self, size: int, *, epoch: int, seed: int) -> list[list[tuple[int, int]]]:
        """Draw the batches of an epoch. Each has windows of one dataset, and datasets alternate at random."""
        batches = []
        for k, (windows, drawn) in enumerate(zip(self._windows, self._drawn, strict=True)):
            windows.epoch = epoch
            order = np.random.default_rng((seed, epoch, k)).permutation(len(windows))[:drawn].tolist()
            batches.append(iter([[(k, i) for i in order[start : start + size]] for start in range(0, drawn, size)]))
        turns = np.repeat(np.arange(len(batches)), [-(-drawn // size) for drawn in self._drawn])
        turns = np.random.default_rng((seed, epoch, len(batches))).permutation(turns)
        return [next(batches[k]) for k in turns]

    def __getitems__(self, indices: Sequence[tuple[int, int]]) -> list[Batch]:
        """Read a batch, whose windows are of one dataset; see `Windows`."""
        return self._windows[indices[0][0]].__getitems__([index for _, index in indices])


def read_batches(
    dataset: Mixture, batches: Sequence[Sequence[tuple[int, int]]], *, process: int, processes: int, workers: int
) -> Iterator[Batch]:
    """Read the share of a process of each batch: a blank window where there are fewer windows than processes."""
    shares = []
    for batch in batches:
        count, more = divmod(len(batch), processes)
        start = process * count + min(process, more)
        shares.append(batch[start : start + count + (process < more)] or [(batch[0][0], BLANK)])
    yield from DataLoader(dataset, batch_sampler=shares, collate_fn=itemgetter(0), num_workers=workers)


def _same_encoders(first: DatasetInfo, second: DatasetInfo) -> bool:
    """Return whether one model can read both: names and sizes agree, and the weights that both used."""
    sizes = [(x.visual_encoder, x.picture_dim, x.picture_tokens, x.text_encoder, x.text_dim) for x in (first, second)]
    common = first.encoders.keys() & second.encoders.keys()
    return sizes[0] == sizes[1] and all(first.encoders[name] == second.encoders[name] for name in common)


def _name_encoders(info: DatasetInfo) -> str:
    names = (info.visual_encoder, info.text_encoder)
    return " and ".join(f"{name} ({info.encoders.get(name, 'unused')[:12]})" for name in names)
