"""Activity: how much is written and said in each segment, which pooled text does not contain."""

from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from kuaihl.features.bag_of_words import WORD
from kuaihl.records import SEGMENT_S, Comment, Segment, Utterance

PRESENCE_SEGMENTS = 20
"""A chatter who wrote in this many last segments is present."""
RECENT_SEGMENTS = 3
"""A chatter who wrote in this many is recent."""
SLICE_S = 5.0
"""Comments are also counted in slices of a segment: its last seconds say more about the next one than its first."""
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
    """Group utterances by the segment that holds their middle; drop those outside all segments."""
    ends = np.array([segment.end_s for segment in segments])
    groups: list[list[Utterance]] = [[] for _ in segments]
    for utterance in utterances:
        middle_s = (utterance.start_s + utterance.end_s) / 2
        index = int(np.searchsorted(ends, middle_s, side="right"))
        if middle_s >= 0 and index < len(segments):
            groups[index].append(utterance)
    return groups


def chat_activity(comments: Sequence[Sequence[Comment]], segments: Sequence[Segment]) -> np.ndarray:
    """Measure how lively the chat of each segment is -> (segments, 15) float32, columns `CHAT_COLUMNS`.

    - How many: log1p of comments, of distinct commenters, and of present commenters, who wrote in the last
      `PRESENCE_SEGMENTS`; participation, the share of those present who wrote now; log_burst, the log ratio of
      comments + 1 to their mean so far + 1.
    - Who: log1p of arrivals, commenters who were not present before; regularity, the mean share of the last segments
      that those present wrote in; recency, the share of them who wrote in the last `RECENT_SEGMENTS`; leaving, the
      share who will not be present in the next segment unless they write.
    - When: log1p of comments in each slice of `SLICE_S` seconds.

    Shares of nobody are 0. A row depends on no later segment. Comments without a user count as comments but not as
    commenters. What should not count, such as bots, must be removed before.
    """
    activity = ChatActivity()
    rows = [activity.add(written, segment) for written, segment in zip(comments, segments, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, len(CHAT_COLUMNS)), dtype=np.float32)


class ChatActivity:
    """Measures chat segment by segment, as it arrives; see `chat_activity`."""

    def __init__(self) -> None:
        self._writers: deque[set[str]] = deque()
        self._present: Counter[str] = Counter()  # in how many of the last segments each wrote
        self._segments = self._comments = 0

    def add(self, comments: Sequence[Comment], segment: Segment) -> np.ndarray:
        """Measure the next segment -> (15,) float32."""
        writers = {comment.user for comment in comments if comment.user is not None}
        if len(self._writers) == PRESENCE_SEGMENTS:
            self._present -= Counter(self._writers.popleft())
        arrivals = len(writers - self._present.keys())
        self._writers.append(writers)
        self._present.update(writers)
        self._segments += 1
        self._comments += len(comments)
        burst = np.log((len(comments) + 1) / (self._comments / self._segments + 1))
        present, past = len(self._present), len(self._writers)
        recent = set().union(*list(self._writers)[-RECENT_SEGMENTS:])
        oldest = self._writers[0] if past == PRESENCE_SEGMENTS else set()
        leaving = sum(self._present[user] == 1 for user in oldest)
        shares = (len(writers), self._present.total() / past, len(recent), leaving)
        participation, regularity, recency, leaving = (number / max(present, 1) for number in shares)
        into_s = np.array([comment.time_s - segment.start_s for comment in comments])
        slices = np.clip(into_s // SLICE_S, 0, _SLICES - 1).astype(int)
        how_many = np.log1p([len(comments), len(writers), present])
        who = (np.log1p(arrivals), regularity, recency, leaving)
        when = np.log1p(np.bincount(slices, minlength=_SLICES))
        return np.array([*how_many, participation, burst, *who, *when], dtype=np.float32)


def chat_spikes(comments: Sequence[int] | np.ndarray) -> np.ndarray:
    """Score segments by chat speed alone, for comparison: (segments,) float64.

    The z-score of a segment's number of comments among those before it; 0 for the first two.
    """
    counts = np.array(comments, dtype=np.float64)
    scores = np.zeros(len(counts))
    for t in range(2, len(counts)):
        scores[t] = (counts[t] - counts[:t].mean()) / (counts[:t].std() or 1.0)
    return scores


def speech_activity(utterances: Sequence[Sequence[Utterance]]) -> np.ndarray:
    """Measure how much is said in each segment -> (segments, 2) float32, columns `SPEECH_COLUMNS`.

    log1p of words, and seconds of speech; where utterances overlap, seconds count once.
    """
    rows = np.zeros((len(utterances), len(SPEECH_COLUMNS)), dtype=np.float32)
    for t, segment in enumerate(utterances):
        words = sum(len(WORD.findall(utterance.text)) for utterance in segment)
        speech_s, until_s = 0.0, -np.inf
        for utterance in sorted(segment, key=lambda utterance: utterance.start_s):
            speech_s += max(0.0, utterance.end_s - max(utterance.start_s, until_s))
            until_s = max(until_s, utterance.end_s)
        rows[t] = (np.log1p(words), speech_s)
    return rows
