"""What was written at a moment: counts, the words and emotes that many chatters wrote, and a few quotes."""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kuaihl.lexicon import Lexicon, in_capitals, is_counted
from kuaihl.records import Comment

AROUND_S = 600.0
"""Words are compared with those of this long before and after the moment."""
QUOTE_LENGTHS = (8, 80)

_WORD = re.compile(r"\[\w+\]|[^\s\[]+|\[")
_RUN = re.compile(r"(.)\1{3,}")
_EMOTE = re.compile(r":[\w+-]+:|\[\w+\]|[a-z\d]+[A-Z]\w*|[A-Z][a-z\d]+[A-Z]\w*")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was written from ``start_s`` to ``end_s``.

    ``laughing``, ``cheering`` and ``capitals`` count messages. ``words`` and ``emotes`` are those that at least two
    chatters wrote, and twice as many as usual in the minutes around, each with the number of its chatters.
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

    @property
    def summary(self) -> str:
        """The evidence in one line."""
        repeated = sorted((*self.emotes, *self.words), key=lambda word: -word[1])[:3]
        return ", ".join((f"{self.chatters} chatters", *(f"{word} × {count}" for word, count in repeated)))


def gather(
    comments: Sequence[Comment], start_s: float, end_s: float, *, lexicon: Lexicon, top: int = 5, quotes: int = 3
) -> Evidence:
    """Gather evidence from the comments of a log, which are in order of time.

    Parameters
    ----------
    top
        The largest number of words, and of emotes.
    quotes
        The largest number of quotes: each of another chatter, rather with the repeated words than without.
    """
    bounds_s = (start_s - AROUND_S, start_s, end_s, end_s + AROUND_S)
    before, first, stop, after = (bisect_left(comments, time_s, key=lambda c: c.time_s) for time_s in bounds_s)
    burst = [c for c in comments[first:stop] if is_counted(c)]
    around = [c for part in (comments[before:first], comments[stop:after]) for c in part if is_counted(c)]
    chatters, usual = _chatters_by_word(burst), _chatters_by_word(around)
    share = len(burst) / max(len(around), 1)
    expected = {word: share * usual[word] for word in chatters}
    often = [word for word, count in chatters.items() if count >= max(2, 2 * expected[word])]
    repeated = sorted(often, key=lambda word: expected[word] - chatters[word])
    emotes = [word for word in repeated if is_emote(word, lexicon)]
    words = [word for word in repeated if word not in emotes and word[0] != "@" and any(map(str.isalnum, word))]
    patterns = [lexicon.find(c.text) for c in burst]
    kinds = Counter(pattern.kind for pattern in patterns if pattern)
    return Evidence(
        start_s=start_s,
        end_s=end_s,
        messages=len(burst),
        chatters=len({_chatter(k, c) for k, c in enumerate(burst)}),
        laughing=kinds["laugh"],
        cheering=kinds["hype"],
        capitals=sum(in_capitals(c.text) for c in burst),
        words=tuple((word, chatters[word]) for word in words[:top]),
        emotes=tuple((word, chatters[word]) for word in emotes[:top]),
        quotes=_quotes(burst, words[:top], emotes[:top], most=quotes),
    )


def is_emote(word: str, lexicon: Lexicon) -> bool:
    """Whether a word is an emote: an emoji, a name as in ``:joy:``, ``[doge]`` or ``PogChamp``, or of the lexicon."""
    pattern = lexicon.find(word)
    return bool(
        (pattern and pattern.language == "emote")
        or _EMOTE.fullmatch(word)
        or any(unicodedata.category(letter) == "So" for letter in word)
    )


def _chatter(number: int, comment: Comment) -> str | int:
    """A comment without a user counts as a chatter of its own."""
    return number if comment.user is None else comment.user


def _words(text: str) -> list[str]:
    return _WORD.findall(_RUN.sub(r"\1\1\1", text))


def _chatters_by_word(comments: Sequence[Comment]) -> Counter[str]:
    pairs = dict.fromkeys((_chatter(k, c), word) for k, c in enumerate(comments) for word in _words(c.text))
    return Counter(word for _, word in pairs)


def _quotes(comments: Sequence[Comment], words: Sequence[str], emotes: Sequence[str], *, most: int) -> tuple[str, ...]:
    shortest, longest = QUOTE_LENGTHS
    by_text = {c.text.strip().casefold(): c for c in reversed(comments) if shortest <= len(c.text.strip()) <= longest}
    speaking = [c for c in by_text.values() if "://" not in c.text and not {*_words(c.text)}.issubset(emotes)]
    by_user = {_chatter(k, c): c for k, c in enumerate(speaking)}
    best = sorted(by_user.values(), key=lambda c: (-len({*words, *emotes}.intersection(_words(c.text))), c.time_s))
    return tuple(c.text.strip() for c in sorted(best[:most], key=lambda c: c.time_s))
