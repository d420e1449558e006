"""A lexicon of reactions: words, emotes and signs in many languages with which viewers laugh or cheer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kuaihl.comments.selection import is_text
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment

LEXICON_FILE = Path(__file__).with_name("reaction_lexicon.txt")
"""One pattern a line; its head describes the format."""
KINDS = ("laugh", "hype")

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uff66-\uff9f"
_PIECE = re.compile(rf"[{_CJK}]+|[^\s{_CJK}]+")
_RUN = re.compile(r"(.)\1{2,}")
_PUNCTUATION = ".,!?…~*\"'()-–—:;。，！？、～"
_COMMAND = re.compile(r"!\w")
_CACHED_WORDS, _CACHED_LENGTH = 2**16, 32


@dataclass(frozen=True, slots=True)
class Pattern:
    """An entry of the lexicon: a word, or with ``anywhere`` a part of a word; ``language`` may be "emote" or "any"."""

    language: str
    kind: str
    text: str
    anywhere: bool = False


class Lexicon:
    """Finds reactions in comments in time linear in their length.

    A word matches a pattern of equal letters, whatever their case; a run of three or more equal letters also matches a
    shorter run. Where a script without spaces meets another, a new word begins.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._words: dict[str, Pattern] = {}
        self._parts: dict[str, Pattern] = {}
        for pattern in patterns:
            (self._parts if pattern.anywhere else self._words).setdefault(pattern.text.casefold(), pattern)
        starts: dict[str, list[str]] = {}
        for part in self._parts:
            starts.setdefault(part[0], []).append(part)
        self._starts = {letter: tuple(parts) for letter, parts in starts.items()}
        self._cache: dict[str, Pattern | None] = {}

    @classmethod
    def read(cls, file: Path = LEXICON_FILE) -> "Lexicon":
        """Read a lexicon.

        Raises
        ------
        CommentLogError
            The file cannot be read, or a line is not "language kind pattern".
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CommentLogError(f"The lexicon {file} cannot be read: {error}.") from error
        return cls(_parse(line, f"{file}, line {k}") for k, line in enumerate(lines, 1) if line and line[0] != "#")

    def find(self, text: str) -> Pattern | None:
        """Return the pattern of the first word that is a reaction, or None."""
        cache = self._cache
        for word in text.split():
            try:
                pattern = cache[word]
            except KeyError:
                pattern = self._match(word)
                if len(word) <= _CACHED_LENGTH:
                    if len(cache) >= _CACHED_WORDS:
                        cache.clear()
                    cache[word] = pattern
            if pattern is not None:
                return pattern
        return None

    def _match(self, word: str) -> Pattern | None:
        word = word.casefold()
        for start, letter in enumerate(word):
            if (parts := self._starts.get(letter)) and word.startswith(parts, start):
                return next(self._parts[part] for part in parts if word.startswith(part, start))
        pieces = [word] if word.isascii() else _PIECE.findall(word)
        for form in (form for piece in pieces for form in (piece, piece.strip(_PUNCTUATION))):
            if pattern := self._words.get(form):
                return pattern
            if _RUN.search(form):
                for run in (r"\1\1\1", r"\1\1", r"\1"):
                    if pattern := self._words.get(_RUN.sub(run, form)):
                        return pattern
        return None


def is_counted(comment: Comment) -> bool:
    """Whether a comment counts as a reaction at all: a message of a viewer that is not a command to a bot."""
    return is_text(comment) and not _COMMAND.match(comment.text)


def in_capitals(text: str) -> bool:
    """Whether a text has at least three upper-case letters and no lower-case ones."""
    return text.isupper() and sum(map(str.isupper, text)) >= 3


def _parse(line: str, where: str) -> Pattern:
    fields = line.split()
    if len(fields) != 3 or fields[1] not in KINDS or not fields[2].strip("*"):
        raise CommentLogError(
            f"{where}: {line!r} is not a pattern; expected a language, {' or '.join(KINDS)}, and a word or *part*."
        )
    language, kind, text = fields
    anywhere = len(text) > 2 and text[0] == text[-1] == "*"
    return Pattern(language, kind, text[1:-1] if anywhere else text, anywhere)
