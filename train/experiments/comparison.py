"""Finished trainings in a CSV file, and tables of their means over seeds with paired differences."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuaihl.errors import LabelError
from train.files import replacing
from train.metrics import DELTAS, SeedMean, Tau, over_seeds, paired_over_seeds

_DELTA_NAMES = ["all" if delta is None else f"{delta:.1f}" for delta in DELTAS]
_KINDS = ("segments", "pooled", "per_room")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: a training, tested with the input ``hidden`` masked, if any.

    ``paper`` is the tau in the paper, ``against`` the index of the line that it is compared with.
    """

    label: str
    run: str
    paper: float | None = None
    hidden: str = ""
    against: int = 0


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training and its results on the test split.

    ``settings`` are the options of train.fit that differ from their defaults, except folders. ``test`` maps each input
    that was hidden at test ("" for none) to a `Tau` for each of `DELTAS`.
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
    test: dict[str, list[Tau]]


Trainings = Mapping[tuple[str, int], Training]
"""Trainings by run and seed."""


@dataclass(frozen=True, slots=True)
class LineResult:
    """Results of a line: means over its ``seeds`` for each of `DELTAS`, None if a tau is undefined.

    ``difference`` is the paired difference of pooled tau over all segments to the line that it is compared with.
    """

    line: Line
    seeds: tuple[int, ...]
    segments: tuple[int, ...]
    pooled: tuple[SeedMean | None, ...]
    per_room: tuple[SeedMean | None, ...]
    difference: SeedMean | None
    paper_difference: float | None


def write_trainings(file: Path, trainings: Trainings) -> None:
    """Write a CSV file with a row for each training and input hidden at test."""
    columns = [f"{kind}_{delta}" for delta in _DELTA_NAMES for kind in _KINDS]
    with replacing(file) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*Training.__slots__[:-1], "hidden", *columns])
        for _, training in sorted(trainings.items()):
            values = [getattr(training, name) for name in Training.__slots__[:-1]]
            values[2] = json.dumps(training.settings)
            for hidden, taus in sorted(training.test.items()):
                cells = [getattr(tau, kind) for tau in taus for kind in _KINDS]
                writer.writerow([*values, hidden, *(round(x, 6) if isinstance(x, float) else x for x in cells)])


def read_trainings(file: Path) -> dict[tuple[str, int], Training]:
    """Read what `write_trainings` wrote; nothing if there is no such file.

    Raises
    ------
    LabelError
        The file is damaged.
    """
    trainings: dict[tuple[str, int], Training] = {}
    if not file.exists():
        return trainings
    with file.open(newline="", encoding="utf-8") as stream:
        try:
            for row in csv.DictReader(stream, strict=True):
                key = row["run"], int(row["seed"])
                training = trainings.setdefault(key, _parse_training(row))
                training.test[row["hidden"]] = [_parse_tau(row, k) for k in range(len(DELTAS))]
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise LabelError(f"{file} is damaged ({error}): restore or delete it.") from error
    return trainings


def _parse_training(row: Mapping[str, str]) -> Training:
    return Training(
        run=row["run"],
        seed=int(row["seed"]),
        settings=json.loads(row["settings"]),
        dataset_sha256=row["dataset_sha256"],
        torch=row["torch"],
        epochs=int(row["epochs"]),
        best_epoch=int(row["best_epoch"]),
        validation_tau=float(row["validation_tau"]),
        seconds=float(row["seconds"]),
        test={},
    )


def _parse_tau(row: Mapping[str, str], k: int) -> Tau:
    segments, pooled, per_room = (row[f"{kind}_{_DELTA_NAMES[k]}"] for kind in _KINDS)
    values = (float(value) if value else None for value in (pooled, per_room))
    return Tau(DELTAS[k], *values, segments=int(segments), rooms=0, rooms_skipped=0)


def compare(lines: Sequence[Line], trainings: Trainings) -> list[LineResult]:
    """Return means over the finished seeds of each line, and differences over the seeds that both lines have."""
    return [_compare_line(line, lines[line.against], trainings) for line in lines]


def _compare_line(line: Line, other: Line, trainings: Trainings) -> LineResult:
    tests, others = _select_tests(line, trainings), _select_tests(other, trainings)
    shared = [seed for seed in tests if seed in others] if other is not line else []
    means = {
        kind: tuple(_mean_over_seeds([getattr(taus[k], kind) for taus in tests.values()]) for k in range(len(DELTAS)))
        for kind in ("pooled", "per_room")
    }
    pairs = [(tests[seed][0].pooled, others[seed][0].pooled) for seed in shared]
    defined = pairs and all(value is not None for pair in pairs for value in pair)
    in_paper = other is not line and line.paper is not None and other.paper is not None
    return LineResult(
        line,
        seeds=tuple(tests),
        segments=tuple(tau.segments for tau in next(iter(tests.values()), [])),
        **means,
        difference=paired_over_seeds(*zip(*pairs, strict=True)) if defined else None,
        paper_difference=line.paper - other.paper if in_paper else None,
    )


def _select_tests(line: Line, trainings: Trainings) -> dict[int, list[Tau]]:
    """Return the taus of a line by seed."""
    return {seed: trainings[run, seed].test[line.hidden] for run, seed in sorted(trainings) if run == line.run}


def _mean_over_seeds(values: list[float | None]) -> SeedMean | None:
    return over_seeds(values) if values and None not in values else None


def format_markdown(results: Sequence[LineResult], *, title: str, source: str, seeds: int) -> str:
    """Format results on the dataset ``source`` as a page: tau beside that of the paper, then tau for each Delta."""
    letters = [f"({chr(ord('a') + k)})" for k in range(len(results))]
    main, deltas = [], []
    for letter, result in zip(letters, results, strict=True):
        line = result.line
        paper = [] if line.paper is None else [f"{line.paper:.4f}"]
        if result.paper_difference is not None:
            paper.append(f"({result.paper_difference:+.4f})")
        main.append(
            [
                f"{letter} {line.label}",
                _format_mean(result.pooled[0]),
                _format_mean(result.difference, sign="+"),
                "" if results[line.against] is result else letters[line.against],
                _format_mean(result.per_room[0]),
                " ".join(paper) or "-",
                f"{len(result.seeds)} of {seeds}",
            ]
        )
        cells = zip(result.pooled, result.per_room, strict=True)
        deltas.append([letter, *(" / ".join("-" if x is None else f"{x.mean:.4f}" for x in cell) for cell in cells)])
    segments = next((result.segments for result in results if result.seeds), (0,) * len(DELTAS))
    names = [f"{delta} ({count} segments)" for delta, count in zip(_DELTA_NAMES, segments, strict=True)]
    head = ["", "tau", "difference", "to", "tau per room", "paper's tau (difference)", "seeds"]
    note = " The paper's numbers are on its own data, which are not public."
    sections = [
        f"# {title}",
        "Kendall's tau-b on the test split, pooled over all scored segments: mean over seeds with its 95 % interval "
        "(Student's t). Tau per room is the mean over rooms. Differences are of pooled tau, paired by seed. Dataset: "
        f"{source}." + note * any(result.line.paper is not None for result in results),
        _format_table(head, main),
        "Segments with a true label above Delta only: pooled / per room.",
        _format_table(["", *names], [row for row, result in zip(deltas, results, strict=True) if result.seeds]),
    ]
    return "\n\n".join(sections) + "\n"


def _format_mean(value: SeedMean | None, *, sign: str = "") -> str:
    if value is None:
        return "-"
    interval = "" if value.low is None else f" [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"
    return f"{value.mean:{sign}.4f}{interval}"


def _format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
