"""Reaction: how strongly the audience of a stream reacted, measured from its chat with hindsight.

The score needs no model and no recording. In bins of 10 s it adds up, as log1p, four counts of distinct chatters: those
who laugh or cheer, those who write in capitals, those who return from silence, and all who write. Half of the mean of
the surrounding 20 minutes is subtracted, so that a moment stands out from its part of the stream.
"""

import re
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from kuaihl.comments.selection import is_text
from kuaihl.lexicon import Lexicon, words_of
from kuaihl.records import Comment, Segment

BIN_S = 10.0
"""Length of a bin; all counts but the chatters of one bin span the bins before and after it as well."""
SILENCE_S = 300.0
"""A chatter returns who writes after this long a silence."""
SURROUNDINGS_S = 600.0
"""The mean of the score so far to either side is compared with."""
LIVE_DELAY_S = 1.5 * BIN_S
"""The live score of a bin is known this long after its middle."""
COLUMNS = ("reacting", "capitals", "returning", "chatters", "chatters_30s", "messages")
"""Columns of counts."""

MIN_GAP_S = 60.0
"""Peaks are at least this far apart."""
STRENGTHS = {"strong": 4.5, "medium": 3.5, "weak": 2.5}
"""Least outstandingness of a moment; below the last, nothing stands out."""
MIN_SHARE = 0.03
"""Share of messages in the lexicon, or in capitals, from which on reactions and capitals are counted."""
MIN_CHATTERS = 20
MIN_COVERAGE = 0.5
"""With fewer chatters, or comments in fewer of the minutes, a log has too little chat for a score."""
CLIP_LENGTHS_S = (15.0, 60.0)

Strength = Literal["strong", "medium", "weak"]
_COMMAND = re.compile(r"!\w")
_CACHED_TEXTS, _CACHED_LENGTH = 2**15, 40


@dataclass(frozen=True, slots=True)
class Moment:
    """A peak of the reaction: the middle of its bin, its score, how outstanding it is, and the burst around it."""

    time_s: float
    score: float
    outstanding: float
    start_s: float
    end_s: float

    @property
    def strength(self) -> Strength | None:
        """In words; None where it does not stand out."""
        return strength(self.outstanding)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was written from ``start_s`` to ``end_s``.

    ``laughing``, ``cheering`` and ``capitals`` count messages; ``words`` and ``emotes`` are those written by more
    chatters than in the minutes around, each with the number of its messages.
    """

    start_s: float
    end_s: float
    messages: int
    chatters: int
    laughing: int
    cheering: int
    capitals: int
    words: tuple[tuple[str, int], ...]
    emotes: tuple[tuple[str, int], ...]
    quotes: tuple[str, ...]


class ReactionMeter:
    """Counts reactions bin by bin as comments come, in order of time.

    It holds one number per chatter and six per bin, and no text beyond a bounded cache. Bots, gifts, notices and
    commands (``!...``) do not count. A comment without a user counts as a chatter of its own who does not return. A
    comment that comes late counts at the time of the one before it; those before 0 s do not count.
    """

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self.messages = self.reacting = self.capitals = self.anonymous = 0
        self._lexicon = lexicon or Lexicon.read()
        self._marks: dict[str, tuple[bool, bool]] = {}
        self._rows: list[tuple[int, ...]] = []
        self._last_s: dict[str, float] = {}
        self._bin, self._bin_ends_s = 0, BIN_S
        self._recent: deque[_Bin] = deque([_Bin(), _Bin()], maxlen=3)  # the last is open

    def add(self, comment: Comment) -> None:
        """Count a comment."""
        if is_counted(comment):
            self.count(comment.time_s, comment.user, *self.marks(comment.text))

    def marks(self, text: str) -> tuple[bool, bool]:
        """Tell whether a text laughs or cheers, and whether it is in capitals."""
        marks = self._marks.get(text)
        if marks is None:
            marks = (self._lexicon.find(text) is not None, in_capitals(text))
            if len(text) <= _CACHED_LENGTH:
                if len(self._marks) >= _CACHED_TEXTS:
                    self._marks.clear()
                self._marks[text] = marks
        return marks

    def count(self, time_s: float, user: str | None, reacting: bool, capitals: bool) -> None:  # noqa: FBT001
        """Count a comment whose marks are known."""
        if time_s < 0:
            return
        if time_s >= self._bin_ends_s:
            self.advance(time_s)
        now = self._recent[-1]
        now.messages += 1
        self.messages += 1
        who: object = user
        if user is None:
            who = object()
            self.anonymous += 1
        else:
            last_s = self._last_s.get(user)
            if last_s is None or time_s - last_s >= SILENCE_S:
                now.returning += 1
            self._last_s[user] = time_s
        now.chatters.add(who)
        if reacting:
            self.reacting += 1
            now.reacting.add(who)
        if capitals:
            self.capitals += 1
            now.capitals.add(who)

    def advance(self, time_s: float) -> None:
        """Close all bins that end by ``time_s``, whose comments have all come."""
        while self._bin_ends_s <= time_s:
            if self._bin:
                self._rows.append(_row(self._recent))
            self._recent.append(_Bin())
            self._bin += 1
            self._bin_ends_s = (self._bin + 1) * BIN_S

    @property
    def chatters(self) -> int:
        """Number of chatters so far."""
        return len(self._last_s) + self.anonymous

    @property
    def lexical(self) -> bool:
        """Whether enough messages so far are in the lexicon or in capitals to count reactions."""
        return max(self.reacting, self.capitals) >= MIN_SHARE * self.messages

    def table(self) -> np.ndarray:
        """Return the counts of all bins but the last two (bins, 6), columns `COLUMNS`: their neighbours are closed."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, len(COLUMNS))

    def live(self) -> Moment | None:
        """Return the latest bin that can be scored, by the past alone; None where there is none yet.

        Call it after `advance` with the time of the stream: the bin is the one whose middle lies `LIVE_DELAY_S` or a
        little more in the past. Its extent is that of its bin.
        """
        scores = score(self.table(), lexical=self.lexical, live=True)
        if not len(scores):
            return None
        middle_s = (len(scores) - 0.5) * BIN_S
        height = float(outstanding(scores)[-1])
        return Moment(middle_s, float(scores[-1]), height, middle_s - BIN_S / 2, middle_s + BIN_S / 2)


@dataclass(slots=True)
class _Bin:
    chatters: set[object] = field(default_factory=set)
    reacting: set[object] = field(default_factory=set)
    capitals: set[object] = field(default_factory=set)
    returning: int = 0
    messages: int = 0


def _row(bins: Sequence[_Bin]) -> tuple[int, ...]:
    """Counts of the middle one of three bins."""
    return (
        len(set().union(*(b.reacting for b in bins))),
        len(set().union(*(b.capitals for b in bins))),
        sum(b.returning for b in bins),
        len(bins[1].chatters),
        len(set().union(*(b.chatters for b in bins))),
        bins[1].messages,
    )


def is_counted(comment: Comment) -> bool:
    """Whether a comment counts: a message of a viewer that is not a command to a bot."""
    return is_text(comment) and not _COMMAND.match(comment.text)


def in_capitals(text: str) -> bool:
    """Whether a text has at least three letters and all are upper case."""
    return text.isupper() and sum(map(str.isupper, text)) >= 3


def score(table: np.ndarray, *, lexical: bool = True, live: bool = False) -> np.ndarray:
    """Score counts (bins, 6) -> (bins,).

    Parameters
    ----------
    lexical
        Whether the lexicon and capitals fit the language; otherwise distinct chatters in 30 s and in 10 s are scored.
    live
        Compare with the 10 min before alone, not with those on either side.
    """
    y = np.log1p(table)
    if not lexical:
        return y[:, 4] + y[:, 3]
    y = y[:, :4].sum(1)
    reach, bins = round(SURROUNDINGS_S / BIN_S), np.arange(len(y))
    start, stop = np.maximum(bins - reach, 0), np.minimum(bins + (1 if live else reach + 1), len(y))
    total = np.r_[0.0, np.cumsum(y)]
    return y - 0.5 * (total[stop] - total[start]) / (stop - start)


def outstanding(scores: np.ndarray) -> np.ndarray:
    """Tell how far scores (bins,) lie above their median, in robust standard deviations (bins,)."""
    if not len(scores):
        return scores
    low, median, high = np.quantile(scores, [0.25, 0.5, 0.75])
    return (scores - median) / ((high - low) / 1.35 + 0.05)


def strength(outstanding: float) -> Strength | None:
    """Put outstandingness into a word; None below the least of `STRENGTHS`."""
    return next((word for word, least in STRENGTHS.items() if outstanding >= least), None)


@dataclass(frozen=True)
class Reaction:
    """The reaction of an audience, a score for each bin of `BIN_S` seconds.

    ``counts`` is (bins, 6) with `COLUMNS`. ``lexical`` is False where lexicon and capitals do not fit the language, so
    that chatters alone are scored. ``reliability`` is the correlation between the scores of two random halves of the
    chatters, None if it was not measured. ``too_little`` says why the log has too little chat for the score to be
    used, None if it has enough.
    """

    score: np.ndarray
    counts: np.ndarray
    lexical: bool
    reliability: float | None
    too_little: str | None
    comments: Sequence[Comment] = field(repr=False)
    lexicon: Lexicon = field(repr=False)

    @cached_property
    def outstanding(self) -> np.ndarray:
        """Outstandingness of every bin (bins,)."""
        return outstanding(self.score)

    @property
    def time_s(self) -> np.ndarray:
        """Middle of each bin (bins,)."""
        return (np.arange(len(self.score)) + 0.5) * BIN_S

    def by_segment(self, segments: Sequence[Segment]) -> np.ndarray:
        """Return the highest score in each segment (segments,), NaN where no bin has its middle in it."""
        bounds = [(np.searchsorted(self.time_s, s.start_s), np.searchsorted(self.time_s, s.end_s)) for s in segments]
        return np.array([self.score[a:b].max() if a < b else np.nan for a, b in bounds])

    def moments(self, *, top: int | None = None, min_gap_s: float = MIN_GAP_S) -> tuple[Moment, ...]:
        """Return the ``top`` moments that stand out, the highest first, at least ``min_gap_s`` apart."""
        least = min(STRENGTHS.values())
        bins = [i for i in peaks(self.score, min_gap_s=min_gap_s) if self.outstanding[i] >= least][:top]
        return tuple(
            Moment(float(self.time_s[i]), float(self.score[i]), float(self.outstanding[i]), *self.burst_extent(i))
            for i in bins
        )

    def burst_extent(self, peak: int) -> tuple[float, float]:
        """Return start and end (s) of the clip that shows the burst with its peak in bin ``peak``.

        A clip begins with the burst and holds the reaction to it: of a clip a third lies before the peak. The burst
        lasts while the score is above half of the peak's height over the median; the clip is `CLIP_LENGTHS_S` long.
        """
        level = (self.score[peak] + np.median(self.score)) / 2
        low = np.flatnonzero(np.r_[True, self.score < level, True]) - 1
        after = int(np.searchsorted(low, peak))
        burst_start_s, burst_end_s = (low[after - 1] + 1) * BIN_S, low[after] * BIN_S
        peak_s, end_s = float(self.time_s[peak]), len(self.score) * BIN_S
        shortest, longest = CLIP_LENGTHS_S
        start_s = np.clip(burst_start_s, peak_s - longest / 3, peak_s - shortest / 3)
        stop_s = np.clip(burst_end_s, peak_s + shortest * 2 / 3, peak_s + longest * 2 / 3)
        return max(0.0, float(start_s)), min(end_s, float(stop_s))

    def evidence(self, start_s: float, end_s: float, *, top: int = 5, quotes: int = 3) -> Evidence:
        """Gather what was written from ``start_s`` to ``end_s``, with the ``top`` words and emotes."""
        return _evidence(self, start_s, end_s, top=top, quotes=quotes)


def peaks(scores: np.ndarray, *, min_gap_s: float = MIN_GAP_S, bin_s: float = BIN_S) -> list[int]:
    """Return the bins of peaks, best first: the highest bin, then the highest at least ``min_gap_s`` away, and so on.

    Of equal bins the earlier comes first; NaN is no peak.
    """
    reach = int(np.ceil(min_gap_s / bin_s))
    free, chosen = np.isfinite(scores), []
    for i in np.argsort(-scores, kind="stable"):
        if free[i]:
            chosen.append(int(i))
            free[max(0, i - reach + 1) : i + reach] = False
    return chosen


def measure(
    comments: Sequence[Comment],
    *,
    duration_s: float | None = None,
    generator: np.random.Generator | None = None,
    lexicon: Lexicon | None = None,
) -> Reaction:
    """Measure the reaction of an audience in one pass over its comments.

    Parameters
    ----------
    comments
        In order of time, as `kuaihl.comments.read` returns them. Those before 0 s and after the end do not count.
    duration_s
        Length of the recording; by default it ends with the last comment.
    generator
        Divides the chatters into halves to measure the reliability, which is left out without it.
    lexicon
        By default the one that comes with KuaiHL.
    """
    lexicon = lexicon or Lexicon.read()
    if duration_s is None:
        duration_s = np.nextafter(comments[-1].time_s, np.inf) if comments else 0.0
    whole, halves = ReactionMeter(lexicon), (ReactionMeter(lexicon), ReactionMeter(lexicon))
    coins = b"" if generator is None else generator.integers(2, size=len(comments), dtype=np.uint8).tobytes()
    side_of: dict[str, int] = {}
    for k, comment in enumerate(comments):
        if comment.time_s >= duration_s:
            break
        if is_counted(comment):
            reacting, capitals = whole.marks(comment.text)
            whole.count(comment.time_s, comment.user, reacting, capitals)
            if coins:
                side = coins[k] if comment.user is None else side_of.setdefault(comment.user, coins[k])
                halves[side].count(comment.time_s, comment.user, reacting, capitals)
    bins = int(np.ceil(duration_s / BIN_S))
    tables = []
    for meter in (whole, *halves):
        meter.advance((bins + 1) * BIN_S)
        tables.append(meter.table()[:bins])
    scores, *parts = (score(table, lexical=whole.lexical) for table in tables)
    return Reaction(
        score=scores,
        counts=tables[0],
        lexical=whole.lexical,
        reliability=_correlation(*parts) if coins else None,
        too_little=_too_little(tables[0], whole.chatters),
        comments=comments,
        lexicon=lexicon,
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if len(first) < 2 or not (first.std() and second.std()):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _too_little(table: np.ndarray, chatters: int) -> str | None:
    if chatters < MIN_CHATTERS:
        return f"{chatters} chatters; a reaction needs at least {MIN_CHATTERS}"
    minutes = np.add.reduceat(table[:, -1], np.arange(0, len(table), round(60 / BIN_S)))
    coverage = float((minutes > 0).mean())
    if coverage < MIN_COVERAGE:
        return f"comments in {coverage:.0%} of the minutes; a reaction needs at least {MIN_COVERAGE:.0%}"
    return None


def _evidence(reaction: Reaction, start_s: float, end_s: float, *, top: int, quotes: int) -> Evidence:
    comments, lexicon = reaction.comments, reaction.lexicon
    bounds_s = (start_s - SURROUNDINGS_S, start_s, end_s, end_s + SURROUNDINGS_S)
    before, first, stop, after = (bisect_left(comments, time_s, key=lambda c: c.time_s) for time_s in bounds_s)
    burst = [c for c in comments[first:stop] if is_counted(c)]
    around = [c for part in (comments[before:first], comments[stop:after]) for c in part if is_counted(c)]
    written, usual = _writers(burst), _writers(around)
    share = (end_s - start_s) / max(bounds_s[3] - max(bounds_s[0], 0.0) - (end_s - start_s), 1.0)
    gain = {word: n - share * usual[word] for word, n in written.items() if n > 1}
