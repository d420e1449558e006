"""Activity: how much was written and said in each segment, which pooled text does not tell."""

import re
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from kuaihl.records import Comment, Segment, Utterance

PRESENCE_SEGMENTS = 20
"""A chatter is present who wrote in this many segments up to now."""
CHAT_COLUMNS = ("log1p_comments", "log1p_commenters", "log1p_present", "participation", "log_burst")
SPEECH_COLUMNS = ("log1p_words", "speech_s")

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
"""A run without spaces, or one sign of a script that writes none."""


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


def chat_activity(comments: Sequence[Sequence[Comment]]) -> np.ndarray:
    """Measure how lively each segment's chat is -> (segments, 5) float32, columns `CHAT_COLUMNS`.

    log1p of comments, of distinct commenters, and of commenters present, who wrote in the last `PRESENCE_SEGMENTS`;
    participation, the share of those present who wrote now, 0 where nobody is; and the log ratio of comments, plus one,
    to their mean up to now, plus one. A row depends on no later segment. Comments without a user count as comments but
    not as commenters, since nobody knows whether the same person wrote again. What should not count, such as bots, is
    left out before.
    """
    measure = ChatActivity()
    rows = [measure.add(some) for some in comments]
    return np.stack(rows) if rows else np.zeros((0, len(CHAT_COLUMNS)), dtype=np.float32)


class ChatActivity:
    """Measures chat segment by segment, as it comes; see `chat_activity`."""

    def __init__(self) -> None:
        self._writers: deque[set[str]] = deque()
        self._present: Counter[str] = Counter()
        self._segments = self._comments = 0

    def add(self, some: Sequence[Comment]) -> np.ndarray:
        """Measure the next segment -> (5,) float32."""
        writers = {comment.user for comment in some if comment.user is not None}
        self._writers.append(writers)
        self._present.update(writers)
        if len(self._writers) > PRESENCE_SEGMENTS:
            self._present -= Counter(self._writers.popleft())
        self._segments += 1
        self._comments += len(some)
        participation = len(writers) / len(self._present) if self._present else 0.0
        burst = np.log((len(some) + 1) / (self._comments / self._segments + 1))
        counts = np.log1p([len(some), len(writers), len(self._present)])
        return np.array([*counts, participation, burst], dtype=np.float32)


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
        words = sum(len(_WORD.findall(utterance.text)) for utterance in some)
        spoken_s, heard_until_s = 0.0, -np.inf
        for utterance in sorted(some, key=lambda utterance: utterance.start_s):
            spoken_s += max(0.0, utterance.end_s - max(utterance.start_s, heard_until_s))
            heard_until_s = max(heard_until_s, utterance.end_s)
        rows[t] = (np.log1p(words), spoken_s)
    return rows
