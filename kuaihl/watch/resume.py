"""Save the state of a session, so that another process can continue it."""

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

_METADATA_KEY = "kuaihl-watch"
_FIRST_SEGMENT = Segment(0, 0.0, SEGMENT_S)  # chat activity does not depend on which segment it is


class ResumableSession(Session):
    """A session whose state can be saved: the window of model inputs, and the recent authors of comments.

    The language that a multilingual Whisper has detected is not saved; it is detected again.

    Parameters
    ----------
    predictor, streamer, target
        As for `Session`.
    """

    def __init__(self, predictor: Predictor, *, streamer: str | None = None, target: str | None = None) -> None:
        super().__init__(predictor, streamer=streamer, target=target)
        self._window: deque[ModelInputs] = deque(maxlen=predictor.config.window)
        self._recent_authors: deque[tuple[int, list[str]]] = deque(maxlen=PRESENCE_SEGMENTS)
        self._segment_count = self._comment_count = 0

    def feed(
        self,
        segment: Segment,
        *,
        pictures: np.ndarray | None = None,
        sound: np.ndarray | None = None,
        speech: Sequence[Utterance] | None = None,
        comments: Sequence[Comment] | None = None,
    ) -> Step:
        """Add the next segment; see `Session.feed`."""
        step = super().feed(segment, pictures=pictures, sound=sound, speech=speech, comments=comments)
        counted = text_comments(comments or ())
        self._recent_authors.append((len(counted), sorted({c.user for c in counted if c.user is not None})))
        self._segment_count += 1
        self._comment_count += len(counted)
        return step

    def advance(self, segment: Segment, inputs: ModelInputs, *, speech: str = "", comments: int = 0) -> Step:
        """Add the next segment as model inputs; see `Session.advance`."""
        self._window.append(inputs)
        return super().advance(segment, inputs, speech=speech, comments=comments)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return what `restore` needs: tensors, and values that are serialisable as JSON."""
        tensors = {
            field.name: torch.cat([getattr(inputs, field.name) for inputs in self._window], dim=1)
            for field in fields(ModelInputs)
            if field.name != "streamer"
        }
        values = {
            "authors": list(self._recent_authors),
            "segments": self._segment_count,
            "comments": self._comment_count,
        }
        return tensors, values

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Continue from the state of another session; this session must be new.

        Raises
        ------
        KuaiHLError
            The state was written by another version.
        """
        if {field.name for field in fields(ModelInputs)} - {"streamer"} != tensors.keys():
            raise KuaiHLError(
                "The state was written by another version of kuaihl: name a new file with --state, or delete it."
            )
        self._recent_authors.extend((count, list(users)) for count, users in values["authors"])
        self._segment_count, self._comment_count = values["segments"], values["comments"]
        # Of older segments, only their number and the number of their comments matter.
        older_segments = self._segment_count - len(self._recent_authors)
        older_comments = self._comment_count - sum(count for count, _ in self._recent_authors)
        for i in range(older_segments):
            self._chat.add([Comment(0.0, "")] * (older_comments if i == 0 else 0), _FIRST_SEGMENT)
        for count, users in self._recent_authors:
            authors = [*users, *[None] * (count - len(users))]
            self._chat.add([Comment(0.0, "", author) for author in authors], _FIRST_SEGMENT)
        inputs = ModelInputs(**tensors, streamer=torch.tensor([self._streamer]))
        for i in range(inputs.pictures.shape[1]):
            self.advance(Segment(i, 0.0, 0.0), inputs.cut(i, i + 1))


def write_state(path: Path, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Write a state file, or leave the previous one as it was.

    Raises
    ------
    KuaiHLError
        The file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(save(dict(tensors), metadata={_METADATA_KEY: json.dumps(values)}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise KuaiHLError(f"The state {path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and values that `write_state` wrote.

    Raises
    ------
    KuaiHLError
        The file is not a state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})[_METADATA_KEY])
        return load(path.read_bytes()), values  # from bytes: get_tensor turns Ctrl-C into a ValueError
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise KuaiHLError(
            f"{path} is not the state of a watch: name a new file with --state, or delete it to start again."
        ) from error
