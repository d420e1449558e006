"""Records that the parts hand to each other. Times are seconds from the start of the recording."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from kuaihl.errors import CommentLogError

SEGMENT_S = 30.0
"""Length of a segment, as in the paper."""
MIN_SEGMENT_S = 5.0
"""A shorter rest at the end of a recording is not a segment."""
PICTURES_PER_SEGMENT = 3
"""Pictures taken of a segment, at 1/6, 1/2 and 5/6 of it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a recording, ``SEGMENT_S`` long except for the last."""

    index: int
    start_s: float
    end_s: float


def segments_of(duration_s: float) -> list[Segment]:
    """Cut ``duration_s`` seconds into consecutive segments; a rest under ``MIN_SEGMENT_S`` is dropped."""
    full = int(duration_s // SEGMENT_S)
    segments = [Segment(i, i * SEGMENT_S, (i + 1) * SEGMENT_S) for i in range(full)]
    if duration_s - full * SEGMENT_S >= MIN_SEGMENT_S:
        segments.append(Segment(full, full * SEGMENT_S, duration_s))
    return segments


@dataclass(frozen=True, slots=True)
class Comment:
    """One entry of a comment log.

    ``kind`` is ``"message"``, ``"paid"`` (a message sent with money), ``"bot"``, ``"gift"`` or ``"notice"``.
    """

    time_s: float
    text: str
    user: str | None = None
    kind: str = "message"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Parts of an input that were skipped: why, how many, and where the first one was."""

    reason: str
    count: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class CommentLog:
    """A comment log: its format, its comments in order of time, and what was skipped."""

    format: str
    comments: tuple[Comment, ...]
    skipped: tuple[Skipped, ...] = ()

    def shifted(self, offset_s: float) -> "CommentLog":
        """Return the log with ``offset_s`` added to every time; CommentLogError if the offset is not finite."""
        if not math.isfinite(offset_s):
            raise CommentLogError(f"The comment offset must be a number of seconds, not {offset_s}.")
        if not offset_s:
            return self
        shifted = (Comment(c.time_s + offset_s, c.text, c.user, c.kind) for c in self.comments)
        return replace(self, comments=tuple(shifted))


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words said without a pause, inside one segment."""

    start_s: float
    end_s: float
    text: str


Strength = Literal["strong", "medium", "weak"]


@dataclass(frozen=True, slots=True)
class Highlight:
    """A moment of the recording that stands out.

    Attributes
    ----------
    rank
        1 is the best.
    start_s, end_s, peak_s
        Where it lies, and where its curve is highest.
    score
        Value of the curve at the peak.
    strength
        How much it stands out.
    why
        Evidence, in one line.
    source
        The curve that it comes from: ``"reaction"`` or ``"forecast"``.
    """

    rank: int
    start_s: float
    end_s: float
    peak_s: float
    score: float
    strength: Strength = "medium"
    why: str = ""
    source: Literal["reaction", "forecast"] = "forecast"


@dataclass(frozen=True, slots=True)
class SegmentPrediction:
    """A segment, its score predicted from the segments before it (None for the first), and what it contains.

    ``speech`` is the recognised text, ``comments`` the number of comments, ``reaction`` the highest reaction of the
    audience in the segment, None if there was no log.
    """

    segment: Segment
    score: float | None
    speech: str
    comments: int
    reaction: float | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two sources of a whole recording, aligned by dynamic time warping.

    Attributes
    ----------
    source, other
        What is aligned with what: comments with pictures, comments with speech, or speech with pictures.
    path
        Pairs (segment of the source, segment of the other).
    distance
        Summed cost along the path (Eq. 5).
    band, cost
        (segments, 2 * band + 1): row i, column k is the cost of source i against other i - band + k, NaN outside.
    """

    source: Literal["comments", "speech"]
    other: Literal["pictures", "speech"]
    path: tuple[tuple[int, int], ...]
    distance: float
    band: int
    cost: np.ndarray = field(repr=False, compare=False)

    @property
    def lag(self) -> float:
        """Median lag along the path, in segments: above 0 if the source comes after what it matches."""
        return float(np.median(np.subtract(*np.array(self.path).T)))


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What a recording is. One without pictures has no ``video_codec``, one without sound no ``audio_codec``."""

    name: str
    duration_s: float
    container: str
    video_codec: str | None
    audio_codec: str | None
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """Which weights predicted: the given name, the SHA-256 of the weights, and the encoders."""

    name: str
    sha256: str
    visual_encoder: str
    text_encoder: str
    speech_model: str


@dataclass(frozen=True, slots=True)
class Modalities:
    """Which sources a prediction rests on."""

    pictures: bool
    speech: bool
    comments: bool


@dataclass(frozen=True, slots=True)
class ReactionCurve:
    """How strongly the audience reacted, measured from the chat with hindsight.

    Attributes
    ----------
    bin_s, scores
        Length of a bin, and the score of each bin (bins,).
    reliability
        Correlation between the scores of two random halves of the chatters, None if it cannot be measured.
    too_little
        Why the log has too little chat for the curve to be used, None if it has enough.
    """

    bin_s: float
    scores: tuple[float, ...] = field(repr=False)
    reliability: float | None
    too_little: str | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Two curves, the highlights, the alignment, and what they rest on.

    The forecast is the score of each segment, predicted from the past only; the reaction is measured with hindsight.

    Attributes
    ----------
    target, trained_on
        What the scores predict, such as "lvtr", and one sentence on what the checkpoint learned it from.
    streamer
        The name that was given; it has no influence unless the checkpoint knows it.
    next_score
        The score of the segment after the last.
    highlights, highlights_by
        Empty if nothing stands out; the curve that they come from.
    reaction
        None without a comment log.
    alignments
        Of comments with pictures, comments with speech and speech with pictures, where the recording has both.
    timings_s
        Duration of each stage of the work.
    """

    recording: RecordingInfo
    checkpoint: CheckpointInfo
    target: str
    trained_on: str
    streamer: str | None
    modalities: Modalities
    segments: tuple[SegmentPrediction, ...]
    next_score: float
    highlights: tuple[Highlight, ...]
    alignments: tuple[Alignment, ...]
    skipped: tuple[Skipped, ...]
    timings_s: dict[str, float]
    reaction: ReactionCurve | None = None
    highlights_by: Literal["reaction", "forecast"] = "forecast"

    @property
    def curve(self) -> Sequence[float | None]:
        """Predicted score of each segment (segments,); None for the first."""
        return [s.score for s in self.segments]
