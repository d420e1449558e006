"""What a session under way leaves behind, so that another process can go on with it: whole or not at all."""

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from kuaihl.comments.selection import text_comments
from kuaihl.errors import KuaiHLError
from kuaihl.features.chat import PRESENCE_SEGMENTS
from kuaihl.model.inputs import ModelInputs
from kuaihl.predictor import Predictor
from kuaihl.records import SEGMENT_S, Comment, Segment, Utterance
from kuaihl.session import Session, Step

_KEY = "kuaihl-watch"
_ANY = Segment(0, 0.0, SEGMENT_S)  # when somebody wrote inside a segment does not count later


class ResumableSession(Session):
    """A session whose past can be written down: the window of features, and who wrote of late.

    What is not kept is the language that a multilingual Whisper has settled on; it settles anew.

    Parameters
    ----------
    predictor, streamer, target
        As for `Session`.
    """

    def __init__(self, predictor: Predictor, *, streamer: str | None = None, target: str | None = None) -> None:
        super().__init__(predictor, streamer=streamer, target=target)
        self._window: deque[ModelInputs] = deque(maxlen=predictor.config.window)
        self._writers: deque[tuple[int, list[str]]] = deque(maxlen=PRESENCE_SEGMENTS)
        self._segments = self._comments = 0

    def feed(
        self,
        segment: Segment,
        *,
        pictures: np.ndarray | None = None,
        sound: np.ndarray | None = None,
        speech: Sequence[Utterance] | None = None,
        comments: Sequence[Comment] | None = None,
    ) -> Step:
        """Take the next segment; see `Session.feed`."""
        step = super().feed(segment, pictures=pictures, sound=sound, speech=speech, comments=comments)
        written = text_comments(comments or ())
        self._writers.append((len(written), sorted({c.user for c in written if c.user is not None})))
        self._segments += 1
        self._comments += len(written)
        return step

    def advance(self, segment: Segment, features: ModelInputs, *, speech: str = "", comments: int = 0) -> Step:
        """Take the next segment as features; see `Session.advance`."""
        self._window.append(features)
        return super().advance(segment, features, speech=speech, comments=comments)

    def past(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return what `recall` needs: tensors, and what can be JSON."""
        tensors = {
            field.name: torch.cat([getattr(one, field.name) for one in self._window], dim=1)
            for field in fields(ModelInputs)
            if field.name != "streamer"
        }
        return tensors, {"writers": list(self._writers), "segments": self._segments, "comments": self._comments}

    def recall(self, tensors: Mapping[str, torch.Tensor], told: Mapping[str, Any]) -> None:
        """Go on from the past of another session; this one must be new. KuaiHLError if another version wrote it."""
        if {field.name for field in fields(ModelInputs)} - {"streamer"} != tensors.keys():
            raise KuaiHLError("The state is of another version of kuaihl: name a new file with --state, or delete it.")
        self._writers.extend((count, list(users)) for count, users in told["writers"])
        self._segments, self._comments = told["segments"], told["comments"]
        # Who wrote before those remembered does not matter any more, only how much was written in how many segments.
        older = self._segments - len(self._writers)
        written = self._comments - sum(count for count, _ in self._writers)
        for i in range(older):
            self._chat.add([Comment(0.0, "")] * (written if i == 0 else 0), _ANY)
        for count, users in self._writers:
            names = [*users, *[None] * (count - len(users))]
            self._chat.add([Comment(0.0, "", name) for name in names], _ANY)
        features = ModelInputs(**tensors, streamer=torch.tensor([self._streamer]))
        for i in range(features.pictures.shape[1]):
            self.advance(Segment(i, 0.0, 0.0), features.cut(i, i + 1))


def write_state(path: Path, tensors: Mapping[str, torch.Tensor], told: Mapping[str, Any]) -> None:
    """Write a state file in place of the one before it.

    Raises
    ------
    KuaiHLError
        It cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(save(dict(tensors), metadata={_KEY: json.dumps(told)}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise KuaiHLError(f"The state {path} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return what `write_state` wrote.

    Raises
    ------
    KuaiHLError
        The file is something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {})[_KEY])
        return load(path.read_bytes()), told  # from bytes, since get_tensor turns Ctrl-C into a ValueError
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise KuaiHLError(
            f"{path} is not the state of a watch: name a new file with --state, or delete it to begin anew."
        ) from error
