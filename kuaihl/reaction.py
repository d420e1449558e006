"""Reaction: how strongly the audience of a stream reacted, measured from its chat with hindsight.

The score needs no model and no recording. In bins of 10 s it adds up, as log1p, four counts of chatters: those who
laugh or cheer, those who write in capitals, those who return from silence, and all who write. Half of the mean of the
20 minutes around is subtracted, so that a moment stands out from its part of the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from kuaihl.evidence import AROUND_S, Evidence, gather
from kuaihl.lexicon import Lexicon, is_counted
from kuaihl.reaction_counts import BIN_S, MAX_TIME_S, ReactionCounter
from kuaihl.records import Comment, Segment

SURROUNDINGS_S = 600.0
"""A bin is compared with this long before and after it."""
LIVE_DELAY_S = 1.5 * BIN_S
"""The live score of a bin is known this long after its middle."""
MIN_GAP_S = 60.0
"""Moments are at least this far apart."""
CLIP_LENGTHS_S = (15.0, 60.0)
"""Length of the shortest and of the longest clip of a burst."""
Strength = Literal["strong", "medium", "weak"]
STRENGTHS: dict[Strength, float] = {"strong": 4.5, "medium": 3.5, "weak": 3.0}
"""Least outstandingness of moments; below the last, nothing stands out: of the peaks between 2.5 and 3, viewers clipped
no more than of those below (3 %, above 3 8 %; training and validation streams)."""
MIN_CHATTERS, MIN_COVERAGE = 30, 0.75
MIN_DURATION_S = 2 * SURROUNDINGS_S
"""A log with fewer chatters, or with comments in a smaller share of the minutes, has too little chat: at two messages a
minute, chance alone makes a moment of medium strength every three hours, at one a minute ten an hour."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment at the middle of a bin: its score, its outstandingness, and start and end of its clip."""

    time_s: float
    score: float
    outstanding: float
    start_s: float
    end_s: float

    @property
    def strength(self) -> Strength | None:
        """Strength in words; None where the moment does not stand out."""
        return next((word for word, least in STRENGTHS.items() if self.outstanding >= least), None)


@dataclass(frozen=True)
class Reaction:
    """The reaction of an audience: a score (bins,) for each `BIN_S` seconds.

    ``counts`` is (bins, 6), its columns are `kuaihl.reaction_counts.COLUMNS`. ``lexical`` is False where the lexicon
    and capitals do not fit the language, so that chatters alone are scored. ``reliability`` is the correlation of the
    scores of two random halves of the chatters, None where it is not defined or was not asked for. ``too_little`` says
    why the log has too little chat for the score to mean anything, None where it has enough.
    """

    score: np.ndarray
    counts: np.ndarray
    lexical: bool
    reliability: float | None
    too_little: str | None
    comments: Sequence[Comment] = field(repr=False)
    lexicon: Lexicon = field(repr=False)

    @property
    def time_s(self) -> np.ndarray:
        """Middle of each bin (bins,)."""
        return (np.arange(len(self.score)) + 0.5) * BIN_S

    @cached_property
    def outstanding(self) -> np.ndarray:
        """Outstandingness of each bin (bins,)."""
        return outstanding(self.score)

    def by_segment(self, segments: Sequence[Segment]) -> np.ndarray:
        """Return the highest score in each segment (segments,), NaN where no bin has its middle in it."""
        bounds = np.searchsorted(self.time_s, [(s.start_s, s.end_s) for s in segments]).reshape(-1, 2)
        return np.array([self.score[first:stop].max() if first < stop else np.nan for first, stop in bounds])

    def moments(self, *, top: int | None = None, min_gap_s: float = MIN_GAP_S) -> tuple[Moment, ...]:
        """Return the ``top`` moments that stand out, best first; there may be none."""
        high = [i for i in peaks(self.score, min_gap_s=min_gap_s) if self.outstanding[i] >= STRENGTHS["weak"]]
        return tuple(
            Moment(float(self.time_s[i]), float(self.score[i]), float(self.outstanding[i]), *self.burst_extent(i))
            for i in high[:top]
        )

    def burst_extent(self, peak: int) -> tuple[float, float]:
        """Return start and end (s) of a clip that begins with the burst of bin ``peak`` and holds the reaction.

        The burst lasts while the score is at least half-way from its median to the peak. The clip is limited to
        `CLIP_LENGTHS_S`, of which a third lies before the middle of the bin and two thirds behind it.
        """
        low = np.flatnonzero(self.score < (self.score[peak] + np.median(self.score)) / 2)
        stop = int(np.searchsorted(low, peak))
        first = stop - 1
        burst_start_s = (low[first] + 1) * BIN_S if first >= 0 else 0.0
        burst_end_s = low[stop] * BIN_S if stop < len(low) else np.inf
        peak_s, (shortest, longest) = float(self.time_s[peak]), CLIP_LENGTHS_S
        start_s = np.clip(burst_start_s, peak_s - longest / 3, peak_s - shortest / 3)
        end_s = np.clip(burst_end_s, peak_s + shortest * 2 / 3, peak_s + longest * 2 / 3)
        return max(0.0, float(start_s)), min(len(self.score) * BIN_S, float(end_s))

    def evidence(self, start_s: float, end_s: float) -> Evidence:
        """Gather what was written from ``start_s`` to ``end_s``."""
        return gather(self.comments, start_s, end_s, lexicon=self.lexicon)


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
        In order of time, as `kuaihl.comments.read` returns them. Those before the start and after the end do not count.
    duration_s
        Length of the recording; by default it ends with the last comment.
    generator
        Divides the chatters into halves for the reliability, which is not measured without it.
    lexicon
        By default the one that comes with KuaiHL.
    """
    lexicon = lexicon or Lexicon.read()
    if duration_s is None:
        last_s = comments[-1].time_s if comments else -1.0
        duration_s = min((last_s // BIN_S + 1) * BIN_S, MAX_TIME_S)
    whole, halves = ReactionCounter(lexicon), (ReactionCounter(lexicon), ReactionCounter(lexicon))
    coins = b"" if generator is None else generator.integers(2, size=len(comments), dtype=np.uint8).tobytes()
    half_of: dict[str | None, int] = {}
    for k, comment in enumerate(comments):
        if comment.time_s >= duration_s:
            break
        if is_counted(comment):
            time_s, user, marks = comment.time_s, comment.user, whole.marks(comment.text)
            whole.count(time_s, user, marks)
            if coins:
                half = coins[k] if user is None else half_of.setdefault(user, coins[k])
                halves[half].count(time_s, user, marks)
    bins = max(0, int(np.ceil(duration_s / BIN_S)))
    for meter in (whole, *halves):
        meter.advance((bins + 1) * BIN_S)
    counts, *parts = (meter.table()[:bins] for meter in (whole, *halves))
    return Reaction(
        score=score(counts, lexical=whole.lexical),
        counts=counts,
        lexical=whole.lexical,
        reliability=_correlation(*(score(part, lexical=whole.lexical) for part in parts)) if coins else None,
        too_little=_too_little(counts, whole.chatters),
        comments=comments,
        lexicon=lexicon,
    )


class LiveReaction:
    """Finds moments as comments come, in order of time, judged by the past alone."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = lexicon or Lexicon.read()
        self._counter = ReactionCounter(self._lexicon)
        self._recent: list[Comment] = []
        self._judged, self._raised_s = 0, -np.inf

    def add(self, comment: Comment) -> None:
        """Count a comment."""
        self._counter.add(comment)
        self._recent.append(comment)

    def advance(self, time_s: float) -> tuple[Moment, ...]:
        """Return the new moments when all comments before ``time_s`` have come.

        A bin can be judged `LIVE_DELAY_S` after its middle. None is in the first `SURROUNDINGS_S`, none less than
        `MIN_GAP_S` after the one before, and none where the chat so far is too little for a reaction. Clips end where
        the stream was when the moment could be judged.
        """
        self._counter.advance(time_s)
        counts, moments = self._counter.table(), []
        scores = score(counts, lexical=self._counter.lexical, live=True)
        self._recent = [c for c in self._recent if c.time_s >= time_s - AROUND_S]
        first = max(self._judged, round(SURROUNDINGS_S / BIN_S))
        self._judged = len(scores)
        if _too_little(counts, self._counter.chatters, least_s=SURROUNDINGS_S):
            return ()
        for i in range(first, len(scores)):
            middle_s, high = (i + 0.5) * BIN_S, float(outstanding(scores[: i + 1])[-1])
            if high >= STRENGTHS["weak"] and middle_s - self._raised_s >= MIN_GAP_S:
                start_s, self._raised_s = middle_s - CLIP_LENGTHS_S[1] / 3, middle_s
                moments.append(Moment(middle_s, float(scores[i]), high, start_s, middle_s + LIVE_DELAY_S))
        return tuple(moments)

    def evidence(self, moment: Moment) -> Evidence:
        """Gather what was written in a moment that `advance` has just returned."""
        return gather(self._recent, moment.start_s, moment.end_s, lexicon=self._lexicon)


def score(counts: np.ndarray, *, lexical: bool = True, live: bool = False) -> np.ndarray:
    """Score counts (bins, 6), columns `kuaihl.reaction_counts.COLUMNS`, -> (bins,).

    Parameters
    ----------
    lexical
        Whether lexicon and capitals fit the language; if not, the chatters of 10 s and of 30 s are scored.
    live
        Compare with the past alone.
    """
    logs = np.log1p(counts)
    if not lexical:
        return logs[:, 3] + logs[:, 4]
    sums, bins, reach = logs[:, :4].sum(1), np.arange(len(logs)), round(SURROUNDINGS_S / BIN_S)
    start, stop = np.maximum(bins - reach, 0), np.minimum(bins + (0 if live else reach) + 1, len(logs))
    total = np.r_[0.0, np.cumsum(sums)]
    return sums - 0.5 * (total[stop] - total[start]) / (stop - start)


def outstanding(scores: np.ndarray) -> np.ndarray:
    """Return how far scores (bins,) lie above their median, in robust standard deviations (bins,)."""
    if not len(scores):
        return scores
    low, median, high = np.quantile(scores, [0.25, 0.5, 0.75])
    return (scores - median) / ((high - low) / 1.35 + 0.05)


def peaks(scores: np.ndarray, *, min_gap_s: float = MIN_GAP_S, bin_s: float = BIN_S) -> list[int]:
    """Return the highest bin, the highest of those at least ``min_gap_s`` away from it, and so on; NaN is no peak."""
    reach = int(np.ceil(min_gap_s / bin_s))
    free, chosen = np.isfinite(scores), []
    for i in np.argsort(-scores, kind="stable").tolist():
        if free[i]:
            chosen.append(i)
            free[max(0, i - reach + 1) : i + reach] = False
    return chosen


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if len(first) < 2 or not (first.std() and second.std()):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _too_little(counts: np.ndarray, chatters: int, *, least_s: float = MIN_DURATION_S) -> str | None:
    if len(counts) * BIN_S < least_s:
        return f"only {len(counts) * BIN_S / 60:.0f} of the {least_s / 60:.0f} minutes that a reaction needs"
    if chatters < MIN_CHATTERS:
        return f"only {chatters} of the {MIN_CHATTERS} chatters that a reaction needs"
    per_minute = np.add.reduceat(counts[:, -1], np.arange(0, len(counts), round(60 / BIN_S)))
    coverage = np.mean(per_minute > 0)
    if coverage < MIN_COVERAGE:
        return f"comments in only {coverage:.0%} of the minutes; a reaction needs them in {MIN_COVERAGE:.0%}"
    return None
