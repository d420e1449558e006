"""Activity: how much is written and said in each segment, which pooled text does not contain."""

from collections import Counter, deque
from collections.abc import Sequence
from functools import cache

import numpy as np

from kuaihl.features.bag_of_words import WORD
from kuaihl.lexicon import Lexicon, in_capitals
from kuaihl.records import SEGMENT_S, Comment, Segment, Utterance

PRESENCE_SEGMENTS = 20
"""A chatter who wrote in this many last segments is present."""
RECENT_SEGMENTS = 3
"""A chatter who wrote in this many is recent."""
SLICE_S = 5.0
"""Comments are also counted in slices of a segment: its last seconds say more about the next one than its first."""
_SLICES = round(SEGMENT_S / SLICE_S)
DECAYS_S = (5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0)
"""Time constants of the intensities: a comment weighs exp(-age / constant)."""
ARRIVAL_DECAYS_S = (60.0, 180.0, 600.0, 1800.0)
RECENCIES, FREQUENCIES = (0, 1, 2, 4, 9), (1, 2, 3, 6)
"""First segments since a chatter's last comment, and first numbers of segments written in, of each class."""
CONTENT = ("laugh", "hype", "question", "exclamation", "mention", "capitals", "one_word")
"""What a comment may be or have."""
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
    *(f"present_{recency}_{frequency}" for recency in RECENCIES for frequency in FREQUENCIES),
    *(f"intensity_{decay_s:g}s" for decay_s in DECAYS_S),
    *(f"commenters_{decay_s:g}s" for decay_s in DECAYS_S),
    *(f"arrivals_{decay_s:g}s" for decay_s in ARRIVAL_DECAYS_S),
    *(f"log1p_{name}" for name in CONTENT),
    *(f"share_{name}" for name in CONTENT),
    "length",
    "repeated",
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
    """Measure how lively the chat of each segment is -> (segments, columns) float32, columns `CHAT_COLUMNS`.

    - How many: log1p of comments, of distinct commenters, and of present commenters, who wrote in the last
      `PRESENCE_SEGMENTS`; participation, the share of those present who wrote now; log_burst, the log ratio of
      comments + 1 to their mean so far + 1.
    - Who: log1p of arrivals, commenters who were not present before; regularity, the mean share of the last segments
      that those present wrote in; recency, the share of them who wrote in the last `RECENT_SEGMENTS`; leaving, the
      share who will not be present in the next segment unless they write; then the share of them in each class of
      `RECENCIES` and `FREQUENCIES`.
    - When: log1p of comments in each slice of `SLICE_S` seconds; log1p of intensities at the end of the segment, of
      comments, of commenters (the first comment of each in its segment) and of arrivals, scaled to counts per segment.
    - What: log1p of the number of comments with each of `CONTENT`, and their share; the mean length in 50 characters,
      at most 4; the share of comments that repeat another of the segment.

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
        self._last: dict[str, int] = {}  # the segment in which each last wrote
        self._segments = self._comments = 0
        self._intensity, self._commenters = _Intensity(DECAYS_S), _Intensity(DECAYS_S)
        self._arrivals = _Intensity(ARRIVAL_DECAYS_S)

    def add(self, comments: Sequence[Comment], segment: Segment) -> np.ndarray:
        """Measure the next segment -> (columns,) float32."""
        first_s: dict[str, float] = {}
        for comment in comments:
            if comment.user is not None:
                first_s[comment.user] = min(comment.time_s, first_s.get(comment.user, comment.time_s))
        writers = set(first_s)
        if len(self._writers) == PRESENCE_SEGMENTS:
            gone = self._writers.popleft()
            self._present -= Counter(gone)
            for user in gone - self._present.keys():
                del self._last[user]
        arrivals = writers - self._present.keys()
        self._writers.append(writers)
        self._present.update(writers)
        self._last |= dict.fromkeys(writers, self._segments)
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
        who = (np.log1p(len(arrivals)), regularity, recency, leaving)
        when = np.log1p(np.bincount(slices, minlength=_SLICES))
        intensities = (
            self._intensity.add([comment.time_s for comment in comments], segment),
            self._commenters.add([*first_s.values()], segment),
            self._arrivals.add([first_s[user] for user in arrivals], segment),
        )
        return np.array(
            [
                *(*how_many, participation, burst, *who, *when),
                *self._classes(),
                *np.concatenate(intensities),
                *_content(comments),
            ],
            dtype=np.float32,
        )

    def _classes(self) -> np.ndarray:
        """Return the share of those present in each class of recency and frequency."""
        users = self._present.keys()
        recency = np.fromiter((self._segments - 1 - self._last[user] for user in users), int, len(users))
        frequency = np.fromiter(self._present.values(), int, len(users))
        row = np.searchsorted(RECENCIES, recency, side="right") - 1
        column = np.searchsorted(FREQUENCIES, frequency, side="right") - 1
        classes = len(RECENCIES) * len(FREQUENCIES)
        return np.bincount(len(FREQUENCIES) * row + column, minlength=classes) / max(len(users), 1)


class _Intensity:
    """Decaying counts of events, by time constant."""

    def __init__(self, decays_s: Sequence[float]) -> None:
        self._decays_s = np.array(decays_s)
        self._values = np.zeros(len(decays_s))

    def add(self, times_s: Sequence[float], segment: Segment) -> np.ndarray:
        """Add the events of a segment; return log1p of the intensities at its end, scaled to counts per segment."""
        age_s = np.clip(segment.end_s - np.array(times_s, dtype=np.float64), 0.0, SEGMENT_S)
        self._values *= np.exp(-(segment.end_s - segment.start_s) / self._decays_s)
        self._values += np.exp(-age_s[:, None] / self._decays_s).sum(0)
        return np.log1p(self._values * SEGMENT_S / self._decays_s)


@cache
def _lexicon() -> Lexicon:
    return Lexicon.read()


def _content(comments: Sequence[Comment]) -> list[float]:
    """Return the columns of content: numbers, shares, length and repeats."""
    counts, characters = np.zeros(len(CONTENT)), 0
    lexicon = _lexicon()
    for comment in comments:
        text = comment.text
        pattern = lexicon.find(text)
        kind = None if pattern is None else pattern.kind
        has = (
            kind == "laugh",
            kind == "hype",
            "?" in text,
            "!" in text,
            "@" in text,
            in_capitals(text),
            len(text.split(maxsplit=2)) <= 1,
        )
        counts += has
        characters += min(len(text), 200)
    count = max(len(comments), 1)
    repeated = len(comments) - len({comment.text for comment in comments})
    return [*np.log1p(counts), *(counts / count), characters / count / 50, repeated / count]


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
