"""The model that a training run starts from: a new one for its datasets, or a checkpoint that learns more."""

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
from kuaihl.model.config import KuaiHLConfig, Target
from kuaihl.model.kuaihl import KuaiHL, load
from train.dataset import MODALITIES
from train.evaluate import check_encoders
from train.mixture import Part

HIDEABLE = (*MODALITIES, "words")
"""What can be hidden from one target alone; the streamer can be hidden from all."""


def new_model(parts: Sequence[Part], *, config: KuaiHLConfig, without: Sequence[str] = ()) -> KuaiHL:
    """Build a model of the sizes of ``config`` for datasets: their encoders and streamers, activity scaled by them.

    Parameters
    ----------
    parts
        The datasets, each of which gets a head.
    without
        What no head is to see. What no room that a head learns from has, that head will not see either.

    Raises
    ------
    LabelError
        None of the training rooms of a dataset has a label.
    """
    info = parts[0].segments.info
    model = KuaiHL(
        replace(
            config,
            visual_encoder=info.visual_encoder,
            picture_dim=info.picture_dim,
            text_encoder=info.text_encoder,
            text_dim=info.text_dim,
            streamers=_streamers(parts, without=without),
            targets=tuple(
                Target(
                    part.target,
                    part.segments.info.source,
                    _unseen(part, without=_hidden(parts, without)[part.target]),
                    _streamers([part], without=_hidden(parts, without)[part.target]),
                )
                for part in parts
            ),
        )
    )
    for part in parts:
        _expect_mean(model, part)
    if model.config.activity:
        columns = {"speech": slice(len(CHAT_COLUMNS), None), "chat": slice(len(CHAT_COLUMNS))}
        for name, source in (("chat", "comments"), ("speech", "speech")):
            values = np.concatenate([_activity(part, where=source)[:, columns[name]] for part in parts])
            if len(values):
                getattr(model, f"{name}_mean").copy_(torch.from_numpy(values.mean(0)))
                getattr(model, f"{name}_std").copy_(torch.from_numpy(values.std(0).clip(min=1e-3)))
    return model


def model_from(checkpoint: Path, parts: Sequence[Part], *, without: Sequence[str], changes: dict[str, Any]) -> KuaiHL:
    """Load a checkpoint and add the streamers and the heads it lacks; its scales of activity stay as they are.

    A head that no dataset trains is left out: what it reads would change under it.

    Parameters
    ----------
    without
        What it is to do without from now on, beside what a head never saw.
    changes
        Of its `KuaiHLConfig`.

    Raises
    ------
    CheckpointError
        There is none, or the datasets' features are of other encoders than its own.
    LabelError
        ``changes`` has another ``activity``, ``words``, ``word_shares``, ``speech_text``, ``recurrent`` or ``window``: the
        weights are made for theirs.
        None of the training rooms for a new head has a label.
    """
    model, folder = load(checkpoint)
    old = model.config
    for part in parts:
        check_encoders(folder, model, part.segments.info)
    for name in ("activity", "words", "word_shares", "speech_text", "recurrent", "window"):
        has = getattr(old, name)
        if changes.get(name, has) != has:
            raise LabelError(
                f"The model of {checkpoint} has {name} {has}, which cannot become {changes[name]}: leave out --{name}."
            )
    known = {target.name: target for target in old.targets}
    targets = []
    for part in parts:
        source, before = part.segments.info.source, known.get(part.target)
        taught = (before,) if before else old.targets  # a new head reads what learned from all of these
        trained_on = "; then ".join(dict.fromkeys((*(target.trained_on for target in taught), source)))
        hidden = _hidden(parts, without)[part.target]
        unseen = tuple(dict.fromkeys((*before.excluded_inputs, *hidden))) if before else _unseen(part, without=hidden)
        earlier = before.streamers if before else ()
        met = None if earlier is None else tuple(dict.fromkeys((*earlier, *_streamers([part], without=hidden))))
        targets.append(Target(part.target, trained_on, unseen, met))
    forgotten = any("streamer" in target.excluded_inputs for target in targets)
    new = [name for name in _streamers(parts, without=without) if name not in old.streamers]
    streamers = () if forgotten else (*old.streamers, *new)
    model = extended(model, replace(old, **changes, streamers=streamers, targets=tuple(targets)))
    for part in parts:
        if part.target not in known:
            _expect_mean(model, part)
    return model


def extended(model: KuaiHL, config: KuaiHLConfig) -> KuaiHL:
    """Copy a model's weights into one of ``config``, whose streamers and targets may differ.

    Rows of the streamers and of the heads that both know are kept. A new streamer starts as the unknown one, a new head
    at random, and so does a recurrent layer that only a new head needs.
    """
    new = KuaiHL(config)
    weights = {name: model.state_dict().get(name, fresh) for name, fresh in new.state_dict().items()}
    rows = [model.streamer_index(name) for name in (None, *config.streamers)]
    weights["streamer.weight"] = weights["streamer.weight"][rows]
    names = [target.name for target in model.config.targets]
    for part in ("head.weight", "head.bias"):
        fresh = new.state_dict()[part]
        found = [
            weights[part][names.index(target.name)] if target.name in names else fresh[k]
            for k, target in enumerate(config.targets)
        ]
        weights[part] = torch.stack(found)
    new.load_state_dict(weights)
    return new


def _expect_mean(model: KuaiHL, part: Part) -> None:
    """Let a head that knows nothing predict the mean label."""
    rows = ((room.start, room.stop) for room in part.train)
    labels = np.concatenate([part.segments.scalar("label", *r)[part.segments.scalar("valid", *r)] for r in rows])
    if not len(labels):
        raise LabelError(f"No segment of the {len(part.train)} training rooms ({part.train[0].name}, ...) has a label.")
    mean = float(np.clip(labels.mean(), 1e-3, 1 - 1e-3))
    nn.init.constant_(model.head.bias[model.config.target_index(part.target)], math.log(mean / (1 - mean)))


def _activity(part: Part, *, where: str) -> np.ndarray:
    """Activity of the training rooms (segments, columns) in the segments that have a source."""
    rows = ((room.start, room.stop) for room in part.train)
    return np.concatenate([part.segments.array("activity", *r)[part.segments.scalar(f"has_{where}", *r)] for r in rows])


def _unseen(part: Part, *, without: Sequence[str]) -> tuple[str, ...]:
    """What a head never sees: what it is to do without, and what none of the rooms has that it learns from."""
    rows = [(room.start, room.stop) for room in part.train]
    absent = [m for m in MODALITIES if not any(part.segments.scalar(f"has_{m}", *r).any() for r in rows)]
    texts = ("text_both", "text_speech", "text_comments")
    if not any(part.segments.array(name, *r).any() for r in rows for name in texts):
        absent.append("text")
    return tuple(dict.fromkeys((*without, *absent)))


def _hidden(parts: Sequence[Part], without: Sequence[str]) -> dict[str, list[str]]:
    """What each target is to do without, of ``without`` as `train.fit` takes it; LabelError where that is nothing."""
    hidden: dict[str, list[str]] = {part.target: [] for part in parts}
    for one in without:
        target, colon, name = one.rpartition(":")
        if (target not in hidden or name not in HIDEABLE) if colon else name not in (*HIDEABLE, "streamer"):
            raise LabelError(
                f"--without {one}: there is no such thing. It takes {', '.join(HIDEABLE)}, each also for one target "
                f"alone, as {', '.join(f'{each}:words' for each in hidden)}; and streamer."
            )
        for each in [target] if colon else hidden:
            hidden[each].append(name)
    return hidden


def _streamers(parts: Sequence[Part], *, without: Sequence[str]) -> tuple[str, ...]:
    """Names of those who are to be known; rooms without a name, as of PHD, have the unknown streamer."""
    if "streamer" in without:
        return ()
    return tuple(sorted({room.streamer for part in parts for room in part.train} - {""}))
