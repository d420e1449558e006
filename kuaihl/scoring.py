"""What was encoded -> the model's input -> the curve: step by step, so that the work can be stopped between steps."""

from collections.abc import Callable

import numpy as np
import torch

from kuaihl.activity import ChatActivity, speech_activity
from kuaihl.config import KuaiHLConfig
from kuaihl.encoded import Encoded
from kuaihl.features import Features, gather_features
from kuaihl.model import KuaiHL
from kuaihl.words import hashed_words

SEGMENTS_PER_STEP = 64
"""Predicted at a time; a multiple of the model's own steps, so that no number changes by it."""

Progress = Callable[[float], None]
"""Told which share is done; what it raises stops the work."""


def gathered(
    config: KuaiHLConfig, encoded: Encoded, *, streamer_index: int, progress: Progress | None = None
) -> Features:
    """Gather what a model reads of a recording: a batch of one, what is missing marked as such."""
    segments = encoded.segments
    comments = encoded.comments if encoded.comments is not None else [()] * len(segments)
    speech = encoded.speech if encoded.speech is not None else [()] * len(segments)
    measure, chat, found = ChatActivity(), [], []
    for segment, some in zip(segments, comments, strict=True):
        if progress is not None:
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


@torch.inference_mode()
def swept(model: KuaiHL, features: Features, *, target: int = 0, progress: Progress | None = None) -> torch.Tensor:
    """Predict every segment as `KuaiHL.sweep` does, bit for bit, `SEGMENTS_PER_STEP` at a time."""
    tell = progress or (lambda _: None)
    count, step = features.pictures.shape[1], SEGMENTS_PER_STEP
    vectors, found = [], [torch.full((1,), torch.nan)]
    for start in range(0, count, step):
        tell(start / count / 2)
        vectors.append(model.gather_all(features.cut(start, start + step), target=target))
    whole = torch.cat(vectors)
    for first in range(1, count + 1, step):
        tell(0.5 + first / count / 2)
        found.append(model.predict_after(whole[: first + step - 1], first=first, target=target))
    return torch.cat(found)
