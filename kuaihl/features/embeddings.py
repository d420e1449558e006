"""What a recording becomes before the model reads it: encoded pictures and text, measured chat and speech."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from kuaihl.features.bag_of_words import hashed_words
from kuaihl.features.chat import ChatActivity, speech_activity
from kuaihl.features.text import TextFeatures
from kuaihl.progress import SILENT, Progress
from kuaihl.reaction import Reaction
from kuaihl.records import Comment, Modalities, RecordingInfo, Segment, Skipped, Utterance

Source = Literal["pictures", "speech", "comments"]
SOURCES: tuple[Source, ...] = ("pictures", "speech", "comments")


@dataclass(frozen=True, slots=True)
class SegmentFeatures:
    """Arrays that describe consecutive segments of one recording.

    Attributes
    ----------
    pictures
        (segments, 3, picture_dim) float16; None without pictures.
    text
        Vectors of speech, comments and both.
    chat_activity, speech_activity
        (segments, columns) float32, columns `CHAT_COLUMNS` and `SPEECH_COLUMNS`.
    words, word_counts
        (segments, 128) int16 and float16, as from `hashed_words`.
    pictures_mask, speech_mask, comments_mask
        (segments,) bool: whether the recording has this source. Silence is a source.
    """

    pictures: np.ndarray | None
    text: TextFeatures
    chat_activity: np.ndarray
    speech_activity: np.ndarray
    words: np.ndarray
    word_counts: np.ndarray
    pictures_mask: np.ndarray
    speech_mask: np.ndarray
    comments_mask: np.ndarray

    def __len__(self) -> int:
        return len(self.chat_activity)

    def mask(self, source: Source) -> np.ndarray:
        """Return the mask of a source: (segments,) bool."""
        return {"pictures": self.pictures_mask, "speech": self.speech_mask, "comments": self.comments_mask}[source]


def segment_features(
    segments: Sequence[Segment],
    *,
    pictures: np.ndarray | None,
    speech: Sequence[Sequence[Utterance]] | None,
    comments: Sequence[Sequence[Comment]] | None,
    text: TextFeatures,
    chat: ChatActivity | None = None,
    progress: Progress = SILENT,
) -> SegmentFeatures:
    """Measure chat and speech of consecutive segments, and combine them with encoded pictures and text.

    Parameters
    ----------
    segments
        The segments to describe, in order.
    pictures
        Encoded pictures (segments, 3, picture_dim) float16.
    speech, comments
        Utterances and comments of each segment.
    text
        Their encoded text.
    chat
        State after the segments before these ones; new if not given.
    """
    count = len(segments)
    chat = ChatActivity() if chat is None else chat
    activity, words = [], []
    for i, (segment, written) in enumerate(zip(segments, comments or [()] * count, strict=True)):
        progress(i / count)
        activity.append(chat.add(written, segment))
        words.append(hashed_words([written]))
    present = {"pictures": pictures, "speech": speech, "comments": comments}
    return SegmentFeatures(
        pictures=pictures,
        text=text,
        chat_activity=np.stack(activity),
        speech_activity=speech_activity(speech or [()] * count),
        words=np.concatenate([bucket for bucket, _ in words]),
        word_counts=np.concatenate([counts for _, counts in words]),
        **{f"{source}_mask": np.full(count, values is not None) for source, values in present.items()},
    )


@dataclass(frozen=True, slots=True)
class Footage:
    """Encoded pictures and recognised speech of a recording: what does not depend on its comment log.

    ``pictures`` (segments, 3, picture_dim) float16 and ``speech``, the utterances of each segment, are None where the
    recording has none.
    """

    recording: RecordingInfo
    segments: tuple[Segment, ...]
    speech: Sequence[Sequence[Utterance]] | None
    pictures: np.ndarray | None = field(repr=False)
    skipped: tuple[Skipped, ...]
    timings_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """All that is computed from one recording and its log before the model: enough to predict with other settings.

    ``speech`` and ``comments`` hold the utterances and comments of each segment; each is None where there is no such
    source. ``reaction`` is measured from the comments.
    """

    recording: RecordingInfo
    segments: tuple[Segment, ...]
    speech: Sequence[Sequence[Utterance]] | None
    comments: Sequence[Sequence[Comment]] | None
    features: SegmentFeatures = field(repr=False)
    skipped: tuple[Skipped, ...]
    timings_s: dict[str, float]
    reaction: Reaction | None = field(default=None, repr=False)

    @property
    def modalities(self) -> Modalities:
        """The sources that the recording has."""
        return Modalities(self.features.pictures is not None, self.speech is not None, self.comments is not None)
