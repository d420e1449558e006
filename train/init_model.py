"""The model that a training run starts from: a new one, or a checkpoint with the streamers and heads it lacks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kuaihl.errors import LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.features.embeddings import SOURCES
from kuaihl.model.config import KuaiHLConfig, Target
from kuaihl.model.kuaihl import KuaiHL, load
from train.mixture import TrainingSet
from train.scoring import check_encoders

EXCLUDABLE = (*SOURCES, "words")
"""Inputs that can be excluded for one target alone; the streamer can be excluded for all."""
_FIXED = ("activity", "words", "word_shares", "speech_text", "recurrent", "window")
"""Settings of a model that its weights depend on."""


def new_model(sets: Sequence[TrainingSet], *, config: KuaiHLConfig, without: Sequence[str] = ()) -> KuaiHL:
    """Create a model for datasets: their encoders and streamers, a head each, and activity scaled by their rooms.

    Parameters
    ----------
    config
        Sizes of the model.
    without
        Inputs to exclude, as in `train.fit`. A head also excludes what none of its training rooms has.

    Raises
    ------
    LabelError
        None of the training rooms of a dataset has a label.
    """
    info = sets[0].segments.info
    targets = []
    for data in sets:
        excluded = _excluded(data, sets, without)
        absent = tuple(dict.fromkeys((*excluded, *_absent_inputs(data))))
        targets.append(Target(data.target, data.segments.info.source, absent, _streamers([data], excluded)))
    model = KuaiHL(
        replace(
            config,
            visual_encoder=info.visual_encoder,
            picture_dim=info.picture_dim,
            picture_tokens=info.picture_tokens,
            text_encoder=info.text_encoder,
            text_dim=info.text_dim,
            streamers=_streamers(sets, without),
            targets=tuple(targets),
        )
    )
    for data in sets:
        _predict_mean(model, data)
    if model.config.activity:
        columns = {"chat": slice(len(CHAT_COLUMNS)), "speech": slice(len(CHAT_COLUMNS), None)}
        for name, modality in (("chat", "comments"), ("speech", "speech")):
            values = np.concatenate([_rows(data, "activity", f"has_{modality}")[:, columns[name]] for data in sets])
            if len(values):
                mean = getattr(model, f"{name}_mean")
                values = values[:, : len(mean)]
                mean.copy_(torch.from_numpy(values.mean(0)))
                getattr(model, f"{name}_std").copy_(torch.from_numpy(values.std(0).clip(min=1e-3)))
    return model


def model_from(
    checkpoint: Path, sets: Sequence[TrainingSet], *, without: Sequence[str], changes: dict[str, Any]
) -> KuaiHL:
    """Load a checkpoint and add the streamers and heads it lacks. Heads that no dataset trains are removed.

    Parameters
    ----------
    without
        Inputs to exclude, in addition to those that a head already excludes.
    changes
        Of its `KuaiHLConfig`.

    Raises
    ------
    CheckpointError
        There is none, or the features of a dataset are of other encoders.
    LabelError
        A change does not fit the weights, or none of the training rooms for a new head has a label.
    """
    model, folder = load(checkpoint)
    old = model.config
    for data in sets:
        check_encoders(folder, model, data.segments.info)
    for name in _FIXED:
        if changes.get(name, value := getattr(old, name)) != value:
            raise LabelError(f"The model of {checkpoint} has {name} {value}, which cannot change to {changes[name]}.")
    known = {target.name: target for target in old.targets}
    targets = []
    for data in sets:
        excluded = _excluded(data, sets, without)
        streamers = _streamers([data], excluded)
        before = known.get(data.target)
        sources = [target.trained_on for target in ([before] if before else old.targets)]
        inputs = (*before.excluded_inputs, *excluded) if before else (*excluded, *_absent_inputs(data))
        if before:
            streamers = None if before.streamers is None else tuple(dict.fromkeys((*before.streamers, *streamers)))
        trained_on = "; then ".join(dict.fromkeys((*sources, data.segments.info.source)))
        targets.append(Target(data.target, trained_on, tuple(dict.fromkeys(inputs)), streamers))
    streamers = tuple(dict.fromkeys((*old.streamers, *_streamers(sets, without))))
    if any("streamer" in target.excluded_inputs for target in targets):
        streamers = ()
    model = extend(model, replace(old, **changes, streamers=streamers, targets=tuple(targets)))
    for data in sets:
        if data.target not in known:
            _predict_mean(model, data)
    return model


def extend(model: KuaiHL, config: KuaiHLConfig) -> KuaiHL:
    """Copy the weights of a model into one whose streamers and targets differ.

    A new streamer starts as the unknown one. New heads, and a recurrent layer that only they need, start at random.
    """
    new = KuaiHL(config)
    fresh, old = new.state_dict(), model.state_dict()
    weights = {name: old.get(name, value) for name, value in fresh.items()}
    weights["streamer.weight"] = old["streamer.weight"][
        [model.streamer_index(name) for name in (None, *config.streamers)]
    ]
    rows = {target.name: row for row, target in enumerate(model.config.targets)}
    for name in ("head.weight", "head.bias"):
        weights[name] = fresh[name].clone()
        for row, target in enumerate(config.targets):
            if target.name in rows:
                weights[name][row] = old[name][rows[target.name]]
    new.load_state_dict(weights)
    return new


def _predict_mean(model: KuaiHL, data: TrainingSet) -> None:
    """Set the bias of a head so that it predicts the mean label."""
    labels = np.concatenate(
        [data.segments.scalar("label", *r)[data.segments.scalar("valid", *r)] for r in _bounds(data)]
    )
    if not len(labels):
        raise LabelError(f"No segment of the {len(data.train)} training rooms ({data.train[0].name}, ...) has a label.")
    mean = float(np.clip(labels.mean(), 1e-3, 1 - 1e-3))
    nn.init.constant_(model.head.bias[model.config.target_index(data.target)], math.log(mean / (1 - mean)))


def _bounds(data: TrainingSet) -> list[tuple[int, int]]:
    return [(room.start, room.stop) for room in data.train]


def _rows(data: TrainingSet, column: str, flag: str) -> np.ndarray:
    """Return the rows of a column of the training rooms where a flag is set."""
    return np.concatenate([data.segments.array(column, *r)[data.segments.scalar(flag, *r)] for r in _bounds(data)])


def _absent_inputs(data: TrainingSet) -> tuple[str, ...]:
    """Return the inputs that none of the training rooms has."""
    absent = [m for m in SOURCES if not any(data.segments.scalar(f"has_{m}", *r).any() for r in _bounds(data))]
    texts = ("text_both", "text_speech", "text_comments")
    has_text = any(data.segments.array(name, *r).any() for r in _bounds(data) for name in texts)
    return (*absent, *["text"] * (not has_text))


def _excluded(data: TrainingSet, sets: Sequence[TrainingSet], without: Sequence[str]) -> list[str]:
    """Return the inputs that ``without`` excludes for a dataset's target; LabelError for an unknown one."""
    targets = [other.target for other in sets]
    excluded = []
    for option in without:
        target, colon, name = option.rpartition(":")
        if (target not in targets or name not in EXCLUDABLE) if colon else name not in (*EXCLUDABLE, "streamer"):
            raise LabelError(
                f"--without {option}: choose from {', '.join(EXCLUDABLE)} and streamer; or for one target from"
                f" {', '.join(f'{other}:words' for other in targets)}, ..."
            )
        if not colon or target == data.target:
            excluded.append(name)
    return excluded


def _streamers(sets: Sequence[TrainingSet], without: Sequence[str]) -> tuple[str, ...]:
    """Return the streamers to know. Rooms without a name have the unknown streamer."""
    if "streamer" in without:
        return ()
    return tuple(sorted({room.streamer for data in sets for room in data.train} - {""}))
