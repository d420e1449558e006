"""Results of trainings as rows of a CSV file, and tables of their means over seeds with paired differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kuaihl.errors import LabelError
from train.files import replacing
from train.metrics import DELTAS, SeedMean, Tau, over_seeds, paired_over_seeds

_DELTA_NAMES = ["all" if delta is None else f"{delta:.1f}" for delta in DELTAS]
_COLUMNS = [f"{kind}_{delta}" for delta in _DELTA_NAMES for kind in ("segments", "pooled", "per_room")]
_KEY = ["run", "seed", "hidden"]
_SETTINGS = ["settings", "dataset_sha256"]


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
class LineResult:
    """Results of a line: means over its ``seeds`` for each of `DELTAS`, None if a tau is undefined.

    ``difference`` and ``per_room_difference`` are paired differences of tau over all segments, pooled and per room, to
    the line that it is compared with.
    """

    line: Line
    seeds: tuple[int, ...]
    segments: tuple[int, ...]
    pooled: tuple[SeedMean | None, ...]
    per_room: tuple[SeedMean | None, ...]
    difference: SeedMean | None
    per_room_difference: SeedMean | None
    paper_difference: float | None


def make_rows(test: Mapping[str, Sequence[Tau]], **facts: Any) -> pd.DataFrame:
    """Return a row for each input ``hidden`` at test: the facts of the training, and tau for each of `DELTAS`."""
    rows = []
    for hidden, taus in test.items():
        values = [value for tau in taus for value in (tau.segments, tau.pooled, tau.per_room)]
        rows.append({**facts, "hidden": hidden, **dict(zip(_COLUMNS, values, strict=True))})
    return pd.DataFrame(rows)


def read_rows(file: Path) -> pd.DataFrame:
    """Read a CSV file of rows; there are none if it does not exist. LabelError if it is damaged."""
    if not file.exists():
        return pd.DataFrame(columns=[*_KEY, *_SETTINGS, *_COLUMNS])
    try:
        rows = pd.read_csv(file, dtype={"hidden": str, "settings": str}).fillna({"hidden": ""})
        if rows[[*_KEY, *_SETTINGS, *_COLUMNS[::3]]].isna().any(axis=None):
            raise ValueError("a value is missing")
    except (KeyError, ValueError) as error:
        raise LabelError(f"{file} is damaged ({error}): restore or delete it.") from error
    return rows


def add_rows(file: Path, new: pd.DataFrame) -> pd.DataFrame:
    """Add rows to a CSV file, in the order of their keys; return all."""
    old = read_rows(file)
    rows = (pd.concat([old, new]) if len(old) else new).sort_values(_KEY, ignore_index=True)
    with replacing(file) as part:
        rows.round(6).to_csv(part, index=False)
    return rows


def compare(lines: Sequence[Line], rows: pd.DataFrame) -> list[LineResult]:
    """Return means over the seeds of each line, and differences over the seeds that both lines have."""
    return [_compare_line(line, lines[line.against], rows) for line in lines]


def _compare_line(line: Line, other: Line, rows: pd.DataFrame) -> LineResult:
    results, others = (
        rows[(rows["run"] == some.run) & (rows["hidden"] == some.hidden)].set_index("seed").sort_index()
        for some in (line, other)
    )
    shared = results.index.intersection(others.index)

    def difference(column: str) -> SeedMean | None:
        pairs = [frame.loc[shared, column] for frame in (results, others)]
        if other is line or not len(shared) or any(pair.isna().any() for pair in pairs):
            return None
        return paired_over_seeds(*pairs)

    in_paper = other is not line and line.paper is not None and other.paper is not None
    return LineResult(
        line,
        seeds=tuple(results.index),
        segments=tuple(int(results[f"segments_{delta}"].max()) for delta in _DELTA_NAMES) if len(results) else (),
        pooled=tuple(_mean_over_seeds(results[f"pooled_{delta}"]) for delta in _DELTA_NAMES),
        per_room=tuple(_mean_over_seeds(results[f"per_room_{delta}"]) for delta in _DELTA_NAMES),
        difference=difference("pooled_all"),
        per_room_difference=difference("per_room_all"),
        paper_difference=line.paper - other.paper if in_paper else None,
    )


def _mean_over_seeds(values: pd.Series) -> SeedMean | None:
    return over_seeds(values.tolist()) if len(values) and not values.isna().any() else None


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
                format_mean(result.per_room[0]),
                format_mean(result.per_room_difference, sign="+"),
                "" if results[line.against] is result else letters[line.against],
                format_mean(result.pooled[0]),
                format_mean(result.difference, sign="+"),
                " ".join(paper) or "-",
                f"{len(result.seeds)} of {seeds}",
            ]
        )
        cells = zip(result.per_room, result.pooled, strict=True)
        deltas.append([letter, *(" / ".join("-" if x is None else f"{x.mean:.4f}" for x in cell) for cell in cells)])
    segments = next((result.segments for result in results if result.seeds), (0,) * len(DELTAS))
    names = [f"{delta} ({count} segments)" for delta, count in zip(_DELTA_NAMES, segments, strict=True)]
    head = [
        "",
        "tau per room",
        "difference",
        "to",
        "tau pooled",
        "difference",
        "paper's tau, pooled (difference)",
        "seeds",
    ]
    note = " The paper's numbers are on its own data, which are not public."
    sections = [
        f"# {title}",
        "Kendall's tau-b on the test split, the mean over rooms and pooled over all scored segments: mean over seeds "
        "with its 95 % interval (Student's t). Differences are paired by seed. Dataset: "
        f"{source}." + note * any(result.line.paper is not None for result in results),
        format_table(head, main),
        "Segments with a true label above Delta only: per room / pooled.",
        format_table(["", *names], [row for row, result in zip(deltas, results, strict=True) if result.seeds]),
    ]
    return "\n\n".join(sections) + "\n"


def format_mean(value: SeedMean | None, *, sign: str = "") -> str:
    """Format a mean with its interval; "-" for None."""
    if value is None:
        return "-"
    interval = "" if value.low is None else f" [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"
    return f"{value.mean:{sign}.4f}{interval}"


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
