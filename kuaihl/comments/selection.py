"""Select comments: by kind, by whether they are text, and by segment."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, CommentLog, Segment, Skipped

KINDS = ("message", "command", "paid", "gift", "bot", "notice")
"""Kinds of entries; a command is a message to a bot, such as ``!drops``."""
COUNTED = ("message", "command", "paid")
"""Kinds that count by default, and that models were trained on."""

_COMMAND = re.compile(r"![A-Za-z]")


def select_kinds(log: CommentLog, kinds: Collection[str] = COUNTED) -> CommentLog:
    """Keep the entries of some ``KINDS``, all of which then count as text; report the others in ``skipped``.

    Raises
    ------
    CommentLogError
        A kind is unknown.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise CommentLogError(f"Unknown kind of comment {unknown[0]!r}: use {', '.join(KINDS)}.")
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


_TEXT_KINDS = frozenset({"message", "paid"})


def is_text(comment: Comment) -> bool:
    """Return whether a viewer wrote it: messages and paid messages, not bots, gifts and notices."""
    return comment.kind in _TEXT_KINDS


def text_comments(comments: Iterable[Comment]) -> list[Comment]:
    """Return the comments that count as text."""
    return [c for c in comments if is_text(c)]


def by_segment(comments: Iterable[Comment], segments: Sequence[Segment]) -> list[list[Comment]]:
    """Return the comments of each segment in order of time; ``start_s <= time_s < end_s``.

    Comments outside all segments are left out; ``outside`` counts them.
    """
    starts = [s.start_s for s in segments]
    found: list[list[Comment]] = [[] for _ in segments]
    for comment in sorted(comments, key=lambda c: c.time_s):
        index = bisect_right(starts, comment.time_s) - 1
        if index >= 0 and comment.time_s < segments[index].end_s:
            found[index].append(comment)
    return found


def outside(comments: Iterable[Comment], segments: Sequence[Segment]) -> tuple[Skipped, ...]:
    """Count the comments that ``by_segment`` leaves out: before the recording, and after its last segment."""
    times = sorted(c.time_s for c in comments)
    early = bisect_left(times, segments[0].start_s if segments else 0.0)
    late = bisect_left(times, segments[-1].end_s if segments else 0.0)
    found = []
    if early:
        found.append(Skipped("comments before the recording starts", early, f"{times[0]:.0f} s"))
    if late < len(times):
        found.append(Skipped("comments after the last segment", len(times) - late, f"{times[late]:.0f} s"))
    return tuple(found)
