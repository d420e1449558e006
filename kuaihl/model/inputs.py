"""Model inputs: what the model reads of each segment, built from the embeddings of a recording."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from kuaihl.features.bag_of_words import hashed_words
from kuaihl.features.chat import ChatActivity, speech_activity
from kuaihl.features.embeddings import Embeddings
from kuaihl.model.config import KuaiHLConfig
from kuaihl.progress import SILENT, Progress

PICTURES = 3
"""Of each segment."""


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """What the encoders say about segments, with which sources there were at all.

    Attributes
    ----------
    pictures
        (batch, segments, 3, picture_dim)
    text
        (batch, segments, text_dim): of speech and comments, or of the one that is there.
    spoken
        (batch, segments, text_dim): of speech alone.
    chat, speech
        (batch, segments, 15) and (batch, segments, 2): activity, unscaled.
    words, counts
        (batch, segments, 128): hashed words of the comments, 0 for none, and log1p of how many comments have them.
    has_pictures, has_speech, has_comments
        (batch, segments) bool: False where there is no such source; silence is a source.
    streamer
        (batch,) int64; 0 is the unknown streamer.
    """

    pictures: Tensor
    text: Tensor
    spoken: Tensor
    chat: Tensor
    speech: Tensor
    words: Tensor
    counts: Tensor
    has_pictures: Tensor
    has_speech: Tensor
    has_comments: Tensor
    streamer: Tensor

    @property
    def shares(self) -> Tensor:
        """What share of a segment's comments have each of its words: (batch, segments, 128) float32."""
        comments = self.chat[..., :1].expm1()  # the first column of `CHAT_COLUMNS`
        return self.counts.float().expm1() / comments.clamp(min=1)

    def to(self, device: torch.device | str) -> "ModelInputs":
        """Move every tensor."""
        return ModelInputs(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def cut(self, start: int, stop: int) -> "ModelInputs":
        """Keep segments ``start`` to ``stop`` (exclusive)."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ModelInputs(**{k: v if k == "streamer" else v[:, start:stop] for k, v in values.items()})

    def without(self, source: str, *, text: np.ndarray | None) -> "ModelInputs":
        """Leave out pictures, speech or comments, as if there had never been any.

        ``text`` (segments, text_dim) is of what is left; None where neither speech nor comments are.
        """
        empty = {"pictures": ["pictures"], "speech": ["speech", "spoken"], "comments": ["chat", "words", "counts"]}[
            source
        ]
        gone = {name: torch.zeros_like(getattr(self, name)) for name in (*empty, f"has_{source}")}
        left = torch.zeros_like(self.text) if text is None else torch.from_numpy(text)[None]
        return replace(self, **gone, text=left)

    def padded(self, segments: int) -> "ModelInputs":
        """Fill up with zeros, which count as absent, to ``segments`` segments."""

        def filled(value: Tensor) -> Tensor:
            return torch.cat([value, value.new_zeros(len(value), segments - value.shape[1], *value.shape[2:])], dim=1)

        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ModelInputs(**{k: v if k == "streamer" else filled(v) for k, v in values.items()})


def gather_features(
    *,
    pictures: np.ndarray | None,
    picture_dim: int,
    text: np.ndarray | None,
    spoken: np.ndarray | None,
    text_dim: int,
    chat: np.ndarray,
    speech: np.ndarray,
    words: np.ndarray,
    counts: np.ndarray,
    has_speech: bool,
    has_comments: bool,
    streamer: Tensor,
) -> ModelInputs:
    """Make a batch of one: arrays as in `ModelInputs` but without its first axis; what is None is missing, and zero."""
    segments = len(chat)

    def tensor(values: np.ndarray | None, *shape: int) -> Tensor:
        return torch.zeros(1, segments, *shape) if values is None else torch.from_numpy(values)[None]

    there = {"pictures": pictures is not None, "speech": has_speech, "comments": has_comments}
    return ModelInputs(
        pictures=tensor(pictures, PICTURES, picture_dim),
        text=tensor(text, text_dim),
        spoken=tensor(spoken, text_dim),
        chat=tensor(chat),
        speech=tensor(speech),
        words=tensor(words),
        counts=tensor(counts),
        **{f"has_{name}": torch.full((1, segments), flag) for name, flag in there.items()},
        streamer=streamer,
    )


def gathered(
    config: KuaiHLConfig, encoded: Embeddings, *, streamer_index: int, progress: Progress = SILENT
) -> ModelInputs:
    """Gather what a model reads of a recording: a batch of one, what is missing marked as such."""
    segments = encoded.segments
    comments = encoded.comments if encoded.comments is not None else [()] * len(segments)
    speech = encoded.speech if encoded.speech is not None else [()] * len(segments)
    measure, chat, found = ChatActivity(), [], []
    for segment, some in zip(segments, comments, strict=True):
        progress(segment.index / len(segments))
        chat.append(measure.add(some, segment))
        found.append(hashed_words([some]))
    words, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return gather_features(
        pictures=encoded.pictures,
        picture_dim=config.picture_dim,
        text=encoded.text.fitting(),
        spoken=encoded.text.speech,
        text_dim=config.text_dim,
        chat=np.stack(chat),
        speech=speech_activity(speech),
        words=words,
        counts=counts,
        has_speech=encoded.speech is not None,
        has_comments=encoded.comments is not None,
        streamer=torch.tensor([streamer_index]),
    )
