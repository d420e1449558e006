"""Trainings of several rows and seeds -> means, paired differences, a table for people. Nothing is trained here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.metrics import DELTAS, SeedMean, Tau, over_seeds, paired_over_seeds


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: a training, tested with the modality ``missing`` masked, if any.

    ``paper`` is the tau that the paper prints; ``against`` the number of the line that it is compared with.
    """

    label: str
    run: str
    paper: float | None = None
    missing: str = ""
    against: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished training: what it was, how it went, and how it did on the test split.

    ``settings`` are those of train.fit but for the folders; ``test`` maps the modality masked at test, ``""`` for none,
    to a `Tau` for each Delta, as plain values.
    """

    run: str
    seed: int
    settings: dict[str, Any]
    dataset_sha256: str
    torch: str
    epochs: int
    best_epoch: int
    validation_tau: float
    seconds: float
    test: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Cell:
    """A line above one ``delta``: means over seeds, and paired differences to the line that it is compared with.

    ``segments`` are those of the test split. None stands for the mean over values of which one is not defined, or over
    none, and for the difference of a line to itself.
    """

    delta: float | None
    segments: int
    pooled: SeedMean | None
    per_room: SeedMean | None
    pooled_difference: SeedMean | None
    per_room_difference: SeedMean | None


@dataclass(frozen=True, slots=True)
class LineResult:
    """A line with its numbers for each Delta, none where no seed is finished, and the paper's difference."""

    line: Line
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    paper_difference: float | None


def compare(lines: Sequence[Line], finished: Mapping[tuple[str, int], Finished]) -> list[LineResult]:
    """Means over the finished seeds of each line, and differences over those that the other line has too.

    Parameters
    ----------
    finished
        By run and seed.
    """
    results = []
    for line in lines:
        other = lines[line.against]
        tests = _tests(line, finished)
        others = {} if other is line else _tests(other, finished)
        cells = tuple(_cell(k, tests, others) for k in range(len(DELTAS)) if tests)
        known = other is not line and line.paper is not None and other.paper is not None
        results.append(LineResult(line, tuple(tests), cells, line.paper - other.paper if known else None))
    return results


def _tests(line: Line, finished: Mapping[tuple[str, int], Finished]) -> dict[int, list[Tau]]:
    """Taus of a line by seed, in the order of `DELTAS`."""
    rows = sorted((seed, row) for (run, seed), row in finished.items() if run == line.run)
    return {seed: [Tau(**values) for values in row.test[line.missing]] for seed, row in rows}


def _cell(k: int, tests: dict[int, list[Tau]], others: dict[int, list[Tau]]) -> Cell:
    means: dict[str, SeedMean | None] = {}
    for name in ("pooled", "per_room"):
        mine = {seed: getattr(taus[k], name) for seed, taus in tests.items()}
        theirs = {seed: getattr(taus[k], name) for seed, taus in others.items()}
        shared = [seed for seed in mine if seed in theirs]
        means[name] = _if_defined(over_seeds, list(mine.values()))
        means[f"{name}_difference"] = _if_defined(
            paired_over_seeds, [mine[seed] for seed in shared], [theirs[seed] for seed in shared]
        )
    return Cell(delta=DELTAS[k], segments=next(iter(tests.values()))[k].segments, **means)


def _if_defined(mean: Callable[..., SeedMean], *values: list[float | None]) -> SeedMean | None:
    return mean(*values) if all(some and None not in some for some in values) else None


def time_left_s(finished: Iterable[Finished], missing: Iterable[str]) -> float:
    """Time that the runs ``missing`` will take: each as long as with other seeds, else as long as the average run."""
    times: dict[str, list[float]] = {}
    for row in finished:
        times.setdefault(row.run, []).append(row.seconds)
    means = {run: sum(seconds) / len(seconds) for run, seconds in times.items()}
    average = sum(means.values()) / max(len(means), 1)
    return sum(means.get(run, average) for run in missing)


def markdown(results: Sequence[LineResult], *, title: str, source: str, seeds: int) -> str:
    """Write the results, on the dataset ``source``, for people: tau beside the paper's, then tau above each Delta."""
    letters = [f"({chr(ord('a') + k)})" for k in range(len(results))]
    main, deltas = [], []
    for letter, result in zip(letters, results, strict=True):
        line = result.line
        whole = result.cells[0] if result.cells else None
        paper = [] if line.paper is None else [f"{line.paper:.4f}"]
        if result.paper_difference is not None:
            paper.append(f"({result.paper_difference:+.4f})")
        main.append(
            [
                f"{letter} {line.label}",
                _interval(whole and whole.pooled),
                _interval(whole and whole.pooled_difference, sign="+"),
                "" if results[line.against] is result else letters[line.against],
                _interval(whole and whole.per_room),
                " ".join(paper) or "-",
                f"{len(result.seeds)} of {seeds}",
            ]
        )
        deltas.append([letter, *(f"{_mean(cell.pooled)} / {_mean(cell.per_room)}" for cell in result.cells)])
    measured = next((result.cells for result in results if result.cells), ())
    printed = any(result.line.paper is not None for result in results)
    names = [f"{'all' if cell.delta is None else cell.delta} ({cell.segments} segments)" for cell in measured]
    head = ["", "tau", "difference", "to", "tau per room", "paper's tau (difference)", "seeds"]
    return (
        "\n\n".join(
            [
                f"# {title}",
                "Kendall's tau-b on the test split: mean over seeds and its 95 % interval (Student's t). Tau is pooled "
                "over all scored segments, tau per room is its mean over rooms; differences are paired by seed. "
                f"Measured on {source}." + " The paper's numbers are of its own data, which nobody else has." * printed,
                _table(head, main),
                "The same above thresholds Delta on the true label: pooled / per room.",
                _table(["", *names], [row for row in deltas if len(row) > 1]),
            ]
        )
        + "\n"
    )


def _interval(value: SeedMean | None, *, sign: str = "") -> str:
    if value is None:
        return "-"
    ends = "" if value.low is None else f" [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"
    return f"{value.mean:{sign}.4f}{ends}"


def _mean(value: SeedMean | None) -> str:
    return "-" if value is None else f"{value.mean:.4f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
