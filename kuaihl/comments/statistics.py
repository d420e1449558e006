"""Statistics of a comment log, and its rate over time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kuaihl.comments.timing import ends
from kuaihl.records import CommentLog, Skipped

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = ".:-=+*#@"
"""The same for terminals without such letters."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of a log.

    ``inside`` counts comments within the recording, if its length is known. ``rate`` counts comments in bins of
    ``bin_s`` seconds from ``rate_start_s``: over the recording if any is inside it, else over the log.
    """

    format: str
    comments: int
    users: int
    kinds: dict[str, int]
    first_s: float | None
    last_s: float | None
    inside: int | None
    rate: tuple[int, ...]
    rate_start_s: float
    bin_s: float
    skipped: tuple[Skipped, ...]

    @property
    def peak(self) -> int:
        """Index of the first bin with the most comments."""
        return max(range(len(self.rate)), key=self.rate.__getitem__)


def summarize(log: CommentLog, *, bins: int, duration_s: float | None = None) -> Summary:
    """Summarize a log; ``duration_s`` is the length of its recording, if known."""
    times = [c.time_s for c in log.comments]
    start_s, stop_s = ends(times) if times else (0.0, 0.0)
    inside = None if duration_s is None else sum(0 <= time_s < duration_s for time_s in times)
    if duration_s is not None and inside:
        start_s, stop_s = 0.0, duration_s
    bin_s = max(stop_s - start_s, 1.0) / bins
    rate = [0] * bins
    for time_s in times:
        if start_s <= time_s <= stop_s:
            rate[min(int((time_s - start_s) / bin_s), bins - 1)] += 1
    return Summary(
        format=log.format,
        comments=len(times),
        users=len({c.user for c in log.comments} - {None}),
        kinds=dict(Counter(c.kind for c in log.comments).most_common()),
        first_s=times[0] if times else None,
        last_s=times[-1] if times else None,
        inside=inside,
        rate=tuple(rate),
        rate_start_s=start_s,
        bin_s=bin_s,
        skipped=log.skipped,
    )


def sparkline(counts: Sequence[int], *, blocks: str = BLOCKS) -> str:
    """Draw counts as blocks from nothing (a space) to the largest (the last block)."""
    most = max(counts, default=0)
    # Rounded up, so that any comment shows.
    return "".join(blocks[-(-count * len(blocks) // most) - 1] if count else " " for count in counts)
