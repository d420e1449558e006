"""Format of a comment log: its sniffer and parser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.source import Source
from kuaihl.records import Comment


@dataclass(frozen=True, slots=True)
class Format:
    """A format: ``sniff`` recognises it by the first characters, ``parse`` yields comments in any order.

    ``entry`` shows a user what an entry looks like.
    """

    name: str
    entry: str
    sniff: Callable[[str], bool]
    parse: Callable[[Source, Report], Iterator[Comment]]
