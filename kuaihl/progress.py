"""Progress reports of long work."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Progress:
    """Report which fraction of a stage is done: ``progress(0.5)``.

    Attributes
    ----------
    report
        Called with the stage and the fraction, from the thread that works. An exception that it raises stops the work.
        None reports nothing.
    name
        The current stage, such as "listening".
    start, stop
        Fractions of the stage that ``progress(0.0)`` and ``progress(1.0)`` stand for.
    """

    report: Callable[[str, float], object] | None = None
    name: str = ""
    start: float = 0.0
    stop: float = 1.0

    def __call__(self, fraction: float) -> None:
        """Report that ``fraction`` of this part is done."""
        if self.report is not None:
            self.report(self.name, self.start + fraction * (self.stop - self.start))

    def stage(self, name: str) -> "Progress":
        """Return the progress of another stage, from 0 to 1."""
        return Progress(self.report, name)

    def part(self, start: float, stop: float) -> "Progress":
        """Return the progress of the part of this one between two fractions."""
        length = self.stop - self.start
        return replace(self, start=self.start + start * length, stop=self.start + stop * length)

    def split(self, count: int) -> "list[Progress]":
        """Divide this progress into ``count`` equal parts."""
        return [self.part(i / count, (i + 1) / count) for i in range(count)]


SILENT = Progress()
"""Reports nothing: the default of every ``progress`` argument."""
