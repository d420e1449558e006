"""Activity: how much was written and said in each segment, which pooled text does not tell."""

from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from kuaihl.features.bag_of_words import WORD
from kuaihl.records import SEGMENT_S, Comment, Segment, Utterance

PRESENCE_SEGMENTS = 20
"""A chatter is present who wrote in this many segments up to now."""
RECENT_SEGMENTS = 3
"""A chatter is recent who wrote in this many."""
SLICE_S = 5.0
"""Comments are also counted in slices of a segment, since its last seconds tell more of the next one than its first."""
_SLICES = round(SEGMENT_S / SLICE_S)
CHAT_COLUMNS = (
    "log1p_comments",
    "log1p_commenters",
    "log1p_present",
    "participation",
    "log_burst",
    "log1p_arrivals",
    "regularity",
    "recency",
    "leaving",
    *(f"log1p_comments_{SLICE_S * i:g}s" for i in range(_SLICES)),
)
SPEECH_COLUMNS = ("log1p_words", "speech_s")


def utterances_by_segment(utterances: Sequence[Utterance], segments: Sequence[Segment]) -> list[list[Utterance]]:
    """Sort utterances into the segments that hold their middle; what lies outside all of them is left out."""
    ends = np.array([segment.end_s for segment in segments])
    found: list[list[Utterance]] = [[] for _ in segments]
    for utterance in utterances:
        middle_s = (utterance.start_s + utterance.end_s) / 2
        index = int(np.searchsorted(ends, middle_s, side="right"))
        if middle_s >= 0 and index < len(segments):
            found[index].append(utterance)
    return found


def chat_activity(comments: Sequence[Sequence[Comment]], segments: Sequence[Segment]) -> np.ndarray:
    """Measure how lively each segment's chat is -> (segments, 15) float32, columns `CHAT_COLUMNS`.

    How many: log1p of comments, of distinct commenters, and of commenters present, who wrote in the last
    `PRESENCE_SEGMENTS`; participation, the share of those present who wrote now; and the log ratio of comments, plus
    one, to their mean up to now, plus one. Who: log1p of arrivals, commenters who were not present before; regularity,
    the mean share of the last segments that those present wrote in; recency, the share of them who wrote in the last
    `RECENT_SEGMENTS`; leaving, the share who will not be present in the next segment unless they write. When: log1p of
    comments in each slice of `SLICE_S` seconds. Shares of nobody are 0.

    A row depends on no later segment. Comments without a user count as comments but not as commenters, since nobody
    knows whether the same person wrote again. What should not count, such as bots, is left out before.
    """
    measure = ChatActivity()
    rows = [measure.add(some, segment) for some, segment in zip(comments, segments, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, len(CHAT_COLUMNS)), dtype=np.float32)


class ChatActivity:
    """Measures chat segment by segment, as it comes; see `chat_activity`."""

    def __init__(self) -> None:
        self._writers: deque[set[str]] = deque()
        self._present: Counter[str] = Counter()  # in how many of the last segments each wrote
        self._segments = self._comments = 0

    def add(self, some: Sequence[Comment], segment: Segment) -> np.ndarray:
        """Measure the next segment -> (15,) float32."""
        writers = {comment.user for comment in some if comment.user is not None}
        if len(self._writers) == PRESENCE_SEGMENTS:
            self._present -= Counter(self._writers.popleft())
        arrivals = len(writers - self._present.keys())
        self._writers.append(writers)
        self._present.update(writers)
        self._segments += 1
        self._comments += len(some)
        burst = np.log((len(some) + 1) / (self._comments / self._segments + 1))
        present, past = len(self._present), len(self._writers)
        recent = set().union(*list(self._writers)[-RECENT_SEGMENTS:])
        oldest = self._writers[0] if past == PRESENCE_SEGMENTS else set()
        leaving = sum(self._present[user] == 1 for user in oldest)
        participation, regularity, recency, leaving = (
            number / max(present, 1) for number in (len(writers), self._present.total() / past, len(recent), leaving)
        )
        into_s = np.array([comment.time_s - segment.start_s for comment in some])
        slices = np.clip(into_s // SLICE_S, 0, _SLICES - 1).astype(int)
        counts = np.log1p([len(some), len(writers), present])
        when = np.log1p(np.bincount(slices, minlength=_SLICES))
        who = (np.log1p(arrivals), regularity, recency, leaving)
        return np.array([*counts, participation, burst, *who, *when], dtype=np.float32)


def chat_spikes(comments: Sequence[int] | np.ndarray) -> np.ndarray:
    """Score segments by the usual rule on chat speed, for comparison: (segments,) float64.

    The number of a segment's comments against mean and standard deviation of those before it, 0 for the first two.
    """
    counts = np.array(comments, dtype=np.float64)
    scores = np.zeros(len(counts))
    for t in range(2, len(counts)):
        scores[t] = (counts[t] - counts[:t].mean()) / (counts[:t].std() or 1.0)
    return scores


def speech_activity(utterances: Sequence[Sequence[Utterance]]) -> np.ndarray:
    """Measure how much is said in each segment -> (segments, 2) float32, columns `SPEECH_COLUMNS`.

    log1p of words, and seconds of speech, those where utterances overlap counted once.
    """
    rows = np.zeros((len(utterances), len(SPEECH_COLUMNS)), dtype=np.float32)
    for t, some in enumerate(utterances):
        words = sum(len(WORD.findall(utterance.text)) for utterance in some)
        spoken_s, heard_until_s = 0.0, -np.inf
        for utterance in sorted(some, key=lambda utterance: utterance.start_s):
            spoken_s += max(0.0, utterance.end_s - max(utterance.start_s, heard_until_s))
            heard_until_s = max(heard_until_s, utterance.end_s)
        rows[t] = (np.log1p(words), spoken_s)
    return rows
