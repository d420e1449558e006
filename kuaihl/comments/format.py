"""What a family of formats provides."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.source import Source
from kuaihl.records import Comment


@dataclass(frozen=True, slots=True)
class Format:
    """A format: ``sniff`` knows it by the first characters, ``parse`` yields its comments in any order.

    ``entry`` tells a user what one entry of it looks like.
    """

    name: str
    entry: str
    sniff: Callable[[str], bool]
    parse: Callable[[Source, Report], Iterator[Comment]]
