"""The nouns: what the parts hand to each other. Times are seconds from the start of the recording."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kuaihl.errors import CommentLogError

SEGMENT_S = 30.0
"""Length of a segment; the paper's."""
MIN_SEGMENT_S = 5.0
"""A last piece at least this long is a segment of its own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a recording: ``SEGMENT_S`` long, but for the last."""

    index: int
    start_s: float
    end_s: float


def segments_of(duration_s: float) -> list[Segment]:
    """Cut ``duration_s`` seconds into consecutive segments; a last piece under ``MIN_SEGMENT_S`` is dropped."""
    full = int(duration_s // SEGMENT_S)
    cut = [Segment(i, i * SEGMENT_S, (i + 1) * SEGMENT_S) for i in range(full)]
    if duration_s - full * SEGMENT_S >= MIN_SEGMENT_S:
        cut.append(Segment(full, full * SEGMENT_S, duration_s))
    return cut


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
    """Parts of an input that were passed over: why, how many, and where the first one was."""

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
        moved = (Comment(c.time_s + offset_s, c.text, c.user, c.kind) for c in self.comments)
        return replace(self, comments=tuple(moved))


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words spoken without a pause, inside one segment."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Highlight:
    """A stretch of the recording that should hold its viewers; ``score`` is the prediction at the peak, at ``peak_s``."""

    rank: int
    start_s: float
    end_s: float
    peak_s: float
    score: float


@dataclass(frozen=True, slots=True)
class SegmentPrediction:
    """What was found in a segment, and the LVTR that the segments before it predict (``None`` for the first)."""

    segment: Segment
    score: float | None
    speech: str
    comments: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """Text against pictures over the whole recording.

    ``path`` holds pairs (text segment, picture segment), ``distance`` the summed cost along it (Eq. 5). ``cost`` is
    (segments, 2 * band + 1): row i, column k is the cost of text i against picture i - band + k, NaN outside.
    """

    path: tuple[tuple[int, int], ...]
    distance: float
    band: int
    cost: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What was opened. A recording without pictures has no ``video_codec``, one without sound no ``audio_codec``."""

    name: str
    duration_s: float
    container: str
    video_codec: str | None
    audio_codec: str | None
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """Which weights predicted: the name they were asked for by, and the start of their SHA-256."""

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
class Prediction:
    """The result: a curve of LVTR, its highlights, the alignment, and what they rest on.

    ``target`` names what is predicted, which all that is called LVTR stands for, and ``trained_on`` what the checkpoint
    learned it from. ``next_score`` is the LVTR of the segment after the last. ``timings_s`` has one entry for each stage
    of the work.
    """

    recording: RecordingInfo
    checkpoint: CheckpointInfo
    target: str
    trained_on: str
    modalities: Modalities
    segments: tuple[SegmentPrediction, ...]
    next_score: float
    highlights: tuple[Highlight, ...]
    alignment: Alignment | None
    skipped: tuple[Skipped, ...]
    timings_s: dict[str, float]

    @property
    def curve(self) -> Sequence[float | None]:
        """Predicted LVTR of each segment (segments,); ``None`` for the first."""
        return [s.score for s in self.segments]
