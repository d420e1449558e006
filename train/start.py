"""The model that a training run starts from: a new one for a dataset, or a checkpoint that learns more."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kuaihl.activity import CHAT_COLUMNS
from kuaihl.errors import LabelError
from kuaihl.model import KuaiHL, KuaiHLConfig, load
from train.dataset import Room, Segments
from train.evaluate import check_encoders


def new_model(segments: Segments, rooms: Sequence[Room], *, config: KuaiHLConfig) -> KuaiHL:
    """Build a model of the sizes of ``config`` for a dataset: its encoders and streamers, activity scaled by its rooms.

    Raises
    ------
    LabelError
        None of the rooms has a label.
    """
    info = segments.info
    labels = np.concatenate(
        [segments.scalar("label", r.start, r.stop)[segments.scalar("valid", r.start, r.stop)] for r in rooms]
    )
    if not len(labels):
        raise LabelError(f"No segment of the {len(rooms)} training rooms ({rooms[0].name}, ...) has a label.")
    model = KuaiHL(
        replace(
            config,
            visual_encoder=info.visual_encoder,
            picture_dim=info.picture_dim,
            text_encoder=info.text_encoder,
            text_dim=info.text_dim,
            streamers=_streamers(rooms, without=config.without),
            target=info.target,
            trained_on=info.source,
        )
    )
    mean = float(np.clip(labels.mean(), 1e-3, 1 - 1e-3))
    nn.init.constant_(model.head.bias, math.log(mean / (1 - mean)))
    if model.config.activity:
        activity = np.concatenate([segments.array("activity", r.start, r.stop) for r in rooms])
        chat, speech = np.split(activity, [len(CHAT_COLUMNS)], axis=1)
        for name, values in (("chat", chat), ("speech", speech)):
            getattr(model, f"{name}_mean").copy_(torch.from_numpy(values.mean(0)))
            getattr(model, f"{name}_std").copy_(torch.from_numpy(values.std(0).clip(min=1e-3)))
    return model


def model_from(
    checkpoint: Path, segments: Segments, rooms: Sequence[Room], *, without: Sequence[str], changes: dict[str, Any]
) -> KuaiHL:
    """Load a checkpoint and add the streamers it lacks; its scales of activity stay those its weights are used to.

    Parameters
    ----------
    without
        What it is to do without from now on, beside what it never saw.
    changes
        Of its `KuaiHLConfig`.

    Raises
    ------
    CheckpointError
        There is none, or the dataset's features are of other encoders than its own.
    LabelError
        ``changes`` has another ``activity`` or ``window``: the weights are made for theirs.
    """
    model, folder = load(checkpoint)
    old, info = model.config, segments.info
    check_encoders(folder, model, info)
    for name in ("activity", "window"):
        has = getattr(old, name)
        if changes.get(name, has) != has:
            raise LabelError(
                f"The model of {checkpoint} has {name} {has}, which cannot become {changes[name]}: leave out --{name}."
            )
    without = tuple(dict.fromkeys((*old.without, *without)))
    new = [name for name in _streamers(rooms, without=without) if name not in old.streamers]
    config = replace(
        old,
        **changes,
        without=without,
        streamers=() if "streamer" in without else (*old.streamers, *new),
        target=info.target,
        trained_on="; then ".join(dict.fromkeys((old.trained_on, info.source))),
    )
    return extended(model, config)


def extended(model: KuaiHL, config: KuaiHLConfig) -> KuaiHL:
    """Copy a model's weights into one of ``config``, whose streamers may differ.

    Streamers that both know keep their rows; new ones start at the unknown streamer's.
    """
    weights = model.state_dict()
    rows = [model.streamer_index(name) for name in (None, *config.streamers)]
    weights["streamer.weight"] = weights["streamer.weight"][rows]
    new = KuaiHL(config)
    new.load_state_dict(weights)
    return new


def _streamers(rooms: Sequence[Room], *, without: Sequence[str]) -> tuple[str, ...]:
    return () if "streamer" in without else tuple(sorted({room.streamer for room in rooms}))
