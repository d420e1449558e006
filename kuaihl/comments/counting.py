"""What of a log counts as comments: bots, commands and gifts can be left out or taken in."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, CommentLog, Skipped

KINDS = ("message", "command", "paid", "gift", "bot", "notice")
"""What an entry of a log can be; a command is a message to a bot, such as ``!drops``."""
COUNTED = ("message", "command", "paid")
"""What counts unless told otherwise, and what models have learned from."""

_COMMAND = re.compile(r"![A-Za-z]")


def counting(log: CommentLog, kinds: Collection[str] = COUNTED) -> CommentLog:
    """Keep the entries of some ``KINDS``, all of which then count as text; what is left out is told in ``skipped``.

    Raises
    ------
    CommentLogError
        There is no such kind.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise CommentLogError(f"A comment cannot be of the kind {unknown[0]!r}: kinds are {', '.join(KINDS)}.")
    kept, left = [], Counter()
    for comment in log.comments:
        kind = _kind(comment)
        if kind in kinds:
            kept.append(comment if comment.kind in COUNTED else replace(comment, kind="message"))
        else:
            left[kind] += 1
    skipped = (Skipped(f"{kind}, left out of the text", count) for kind, count in left.items())
    return CommentLog(log.format, tuple(kept), (*log.skipped, *skipped))


def _kind(comment: Comment) -> str:
    return "command" if comment.kind == "message" and _COMMAND.match(comment.text) else comment.kind
