"""Predictions of a checkpoint for the rooms of a dataset."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import KuaiHL
from train.dataset import DatasetInfo, Room, Segments, encoder_hashes

Source = Literal["pictures", "speech", "comments", "streamer", "activity", "words"]
"""Inputs that can be hidden from a model."""
RIVALS = {"last_value": "last", "true_persistence": "appeal_before", "ceiling": "appeal"}
"""Baselines in the report of train.evaluate, and the columns of `Scores` that they are."""
TABLES = ("kuaihl", "known_streamers", "new_streamers", *RIVALS)
"""Keys of the report with tau at every Delta; ``kuaihl_minus_...`` are differences."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Every scored segment of some rooms, all (segments,).

    Attributes
    ----------
    predicted, true
        The model's score, and the label.
    room
        Names of the rooms.
    known
        Whether the checkpoint knows the streamer.
    appeal, appeal_before
        The simulator's probability of the label and that of the segment before; NaN elsewhere.
    last
        The label of the segment before, NaN if it has none.
    """

    predicted: np.ndarray
    true: np.ndarray
    room: np.ndarray
    known: np.ndarray
    appeal: np.ndarray
    appeal_before: np.ndarray
    last: np.ndarray


def score(model: KuaiHL, segments: Segments, rooms: Sequence[Room], *, without: Collection[Source] = ()) -> Scores:
    """Predict each labelled segment from its window, which ends before it; see `DatasetInfo.ahead` for the exception.

    Parameters
    ----------
    model
        The head of the dataset's target is used.
    without
        Inputs to mask: "streamer" makes all streamers unknown, "speech" and "comments" include their activity,
        "activity" is that alone, "words" the tokens of words.

    Raises
    ------
    CheckpointError
        The model does not predict the dataset's target.
    """
    target, ahead = model.config.target_index(segments.info.target), segments.info.ahead
    excluded = {*without, *model.config.targets[target].excluded_inputs}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Scores.__slots__}
    for room in rooms:
        index = model.streamer_index(room.streamer)
        features = segments.features(room, streamer=index, excluded=excluded)
        true = segments.scalar("label", room.start, room.stop)
        valid = segments.scalar("valid", room.start, room.stop)
        appeal = segments.column("appeal", room).astype(np.float64)
        values = {
            "predicted": model.sweep(features, target=target).numpy()[1 - ahead :][: len(true)],
            "true": true,
            "room": np.full(len(true), room.name),
            "known": np.full(len(true), index > 0),
            "appeal": appeal,
            "appeal_before": np.r_[np.nan, appeal[:-1]],
            "last": np.r_[np.nan, np.where(valid, true, np.nan)[:-1]],
        }
        for name, value in values.items():
            columns[name].append(value[ahead:][valid[ahead:]])
    return Scores(**{name: np.concatenate(parts) for name, parts in columns.items()})


def check_encoders(folder: Path, model: KuaiHL, info: DatasetInfo) -> None:
    """Raise CheckpointError if features of the dataset are of other encoders than those of the checkpoint."""
    config = model.config
    hashes = encoder_hashes(config, folder) if info.encoders else {}
    names_differ = (config.visual_encoder, config.text_encoder) != (info.visual_encoder, info.text_encoder)
    if names_differ or any(hashes.get(name) != digest for name, digest in info.encoders.items()):
        raise CheckpointError(
            f"The features of the dataset are of {_name_encoders(info.encoders) or info.visual_encoder}, those of the"
            f" checkpoint {folder} of {_name_encoders(hashes) or config.visual_encoder}. Run train.prepare with this"
            " checkpoint."
        )


def _name_encoders(hashes: dict[str, str]) -> str:
    return ", ".join(f"{name} ({digest[:12]})" for name, digest in hashes.items())


def check_left_out(checkpoint: Path, model: KuaiHL, left_out: Collection[str]) -> None:
    """Raise CheckpointError if the checkpoint learned from streamers that are left out for testing."""
    if seen := set(left_out) & set(model.config.streamers):
        raise CheckpointError(f"{checkpoint} was trained on {', '.join(sorted(seen))}, which should be left out.")
