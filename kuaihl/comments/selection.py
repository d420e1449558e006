"""Which comments count as text, and which segment each belongs to."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from kuaihl.records import Comment, Segment, Skipped

_TEXT_KINDS = frozenset({"message", "paid"})


def is_text(comment: Comment) -> bool:
    """Whether a viewer said it: messages and paid messages; not bots, gifts and notices."""
    return comment.kind in _TEXT_KINDS


def spoken(comments: Iterable[Comment]) -> list[Comment]:
    """Only those comments that count as text."""
    return [c for c in comments if is_text(c)]


def by_segment(comments: Iterable[Comment], segments: Sequence[Segment]) -> list[list[Comment]]:
    """Return the comments of each segment in order of time; ``start_s <= time_s < end_s``.

    Comments outside all segments are left out: ``outside`` tells how many.
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
