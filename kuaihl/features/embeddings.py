"""What the encoders found in a recording: predictions, explanations and replays start from here."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from kuaihl.features.text import TextFeatures
from kuaihl.records import Comment, Modalities, RecordingInfo, Segment, Skipped, Utterance

SOURCES = ("pictures", "speech", "comments")
Source = Literal["pictures", "speech", "comments"]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What the encoders found in one recording: enough to predict again with other settings, without encoding again.

    ``speech`` and ``comments`` hold what was said and written in each segment, ``pictures`` (segments, 3, picture_dim)
    float16; each is None where there is no such source. ``text`` has features of speech alone, comments alone and both.
    """

    recording: RecordingInfo
    segments: tuple[Segment, ...]
    speech: Sequence[Sequence[Utterance]] | None
    comments: Sequence[Sequence[Comment]] | None
    pictures: np.ndarray | None = field(repr=False)
    text: TextFeatures = field(repr=False)
    skipped: tuple[Skipped, ...]
    timings_s: dict[str, float]

    @property
    def modalities(self) -> Modalities:
        """Which sources there are."""
        return Modalities(self.pictures is not None, self.speech is not None, self.comments is not None)

    def without(self, *sources: Source) -> "Embeddings":
        """Leave out sources, as if the recording had never had them."""
        left = dict.fromkeys(sources)
        pictures, speech, comments = (left.get(name, getattr(self, name)) for name in SOURCES)
        text = TextFeatures(
            speech=None if speech is None else self.text.speech,
            comments=None if comments is None else self.text.comments,
            both=None if speech is None or comments is None else self.text.both,
        )
        return replace(self, pictures=pictures, speech=speech, comments=comments, text=text)
