"""Counts of reactions in a chat, bin by bin: who laughs or cheers, writes in capitals, returns, or writes."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from kuaihl.lexicon import Lexicon, in_capitals, is_counted
from kuaihl.records import Comment

BIN_S = 10.0
"""Length of a bin."""
COLUMNS = ("reacting", "capitals", "returning", "chatters", "chatters_30s", "messages")
"""Columns of counts. All but chatters and messages span the bins before and after as well."""
SILENCE_S = 300.0
"""A chatter returns who writes for the first time, or after this long a silence."""
MAX_TIME_S = 31 * 24 * 3600.0
"""Comments later than this have a damaged time and do not count."""
MIN_SHARE = 0.03
"""If fewer messages are in the lexicon, and fewer in capitals, these do not fit the language."""

_CACHED_TEXTS, _CACHED_LENGTH = 2**15, 40


class ReactionCounter:
    """Counts reactions bin by bin as comments come, in order of time.

    It holds a number for each chatter and six for each bin, and no text beyond a bounded cache. Bots, gifts, notices
    and commands (``!...``) do not count. A comment without a user counts as a chatter of its own who does not return;
    one that comes late counts as of the current bin.
    """

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = lexicon or Lexicon.read()
        self._marks: dict[str, tuple[bool, bool]] = {}
        self._messages = self._reacting = self._capitals = self._unnamed = 0
        self._last_s: dict[str, float] = {}
        self._rows: list[tuple[int, ...]] = []
        self._bins = deque([_Bin(), _Bin()], maxlen=3)  # the last is open, the first stands before the start
        self._end_s = BIN_S

    def add(self, comment: Comment) -> None:
        """Count a comment."""
        if is_counted(comment):
            self.count(comment.time_s, comment.user, self.marks(comment.text))

    def marks(self, text: str) -> tuple[bool, bool]:
        """Return whether a text laughs or cheers, and whether it is in capitals."""
        marks = self._marks.get(text)
        if marks is None:
            marks = (self._lexicon.find(text) is not None, in_capitals(text))
            if len(text) <= _CACHED_LENGTH:
                if len(self._marks) >= _CACHED_TEXTS:
                    self._marks.clear()
                self._marks[text] = marks
        return marks

    def count(self, time_s: float, user: str | None, marks: tuple[bool, bool]) -> None:
        """Count a comment whose `marks` are known."""
        if not 0 <= time_s < MAX_TIME_S:
            return
        if time_s >= self._end_s:
            self.advance(time_s)
        current, chatter = self._bins[-1], user
        if user is None:
            self._unnamed += 1
            chatter = self._unnamed
        else:
            last_s = self._last_s.get(user)
            if last_s is None or time_s - last_s >= SILENCE_S:
                current.returning += 1
            self._last_s[user] = time_s
        reacting, capitals = marks
        self._messages += 1
        current.messages += 1
        current.chatters.add(chatter)
        if reacting:
            self._reacting += 1
            current.reacting.add(chatter)
        if capitals:
            self._capitals += 1
            current.capitals.add(chatter)

    def advance(self, time_s: float) -> None:
        """Close all bins that end by ``time_s``: their comments have all come."""
        while self._end_s <= time_s:
            if len(self._bins) == 3:
                self._rows.append(_row(*self._bins))
            self._bins.append(_Bin())
            self._end_s += BIN_S

    @property
    def chatters(self) -> int:
        """Number of chatters so far."""
        return len(self._last_s) + self._unnamed

    @property
    def lexical(self) -> bool:
        """Whether lexicon or capitals fit the language so far."""
        return max(self._reacting, self._capitals) >= MIN_SHARE * self._messages

    def table(self) -> np.ndarray:
        """Return the counts of all bins whose neighbours are closed (bins, 6), columns `COLUMNS`."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, len(COLUMNS))


@dataclass(slots=True)
class _Bin:
    chatters: set[str | int | None] = field(default_factory=set)
    reacting: set[str | int | None] = field(default_factory=set)
    capitals: set[str | int | None] = field(default_factory=set)
    returning: int = 0
    messages: int = 0


def _row(before: _Bin, current: _Bin, after: _Bin) -> tuple[int, ...]:
    return (
        len(before.reacting | current.reacting | after.reacting),
        len(before.capitals | current.capitals | after.capitals),
        before.returning + current.returning + after.returning,
        len(current.chatters),
        len(before.chatters | current.chatters | after.chatters),
        current.messages,
    )
