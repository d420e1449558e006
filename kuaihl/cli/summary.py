"""The rows of a batch: as kuaihl-summary.csv next to the results, and as text on the terminal."""

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tqdm.utils import disp_len, disp_trim

from kuaihl.atomic import filled
from kuaihl.cli.console import columns, printable, rows, span_text, target_label
from kuaihl.cli.discovery import PREDICTION, RESULTS
from kuaihl.comments.fields import as_clock
from kuaihl.errors import KuaiHLError
from kuaihl.export.json_csv import escape_cell, unescape_cell

SUMMARY = "kuaihl-summary.csv"
DONE, DONE_BEFORE, FAILED = "done", "done before", "failed"
_MIN_NAME_WIDTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one recording.

    Attributes
    ----------
    recording, comment_log
        Absolute paths.
    reason
        Why it failed.
    highlight_start_s, highlight_end_s, highlight_predicted
        The first highlight and its score.
    results
        Folder next to the summary.
    made_from
        Hash of everything that the results depend on.
    """

    recording: str
    status: str
    reason: str = ""
    duration_s: float | None = None
    comment_log: str = ""
    comments: int | None = None
    target: str = ""
    highlight_start_s: float | None = None
    highlight_end_s: float | None = None
    highlight_predicted: float | None = None
    took_s: float | None = None
    results: str = ""
    warning: str = ""
    made_from: str = ""


_NUMBERS = {
    "comments": int,
    **dict.fromkeys(("duration_s", "highlight_start_s", "highlight_end_s", "highlight_predicted", "took_s"), float),
}


def read_summary(folder: Path) -> dict[Path, Row]:
    """Read the rows of recordings whose results still exist, by recording; none if there is no summary.

    Raises
    ------
    KuaiHLError
        The file cannot be read, or is not a summary.
    """
    path = folder / SUMMARY
    if not path.exists():
        return {}
    try:
        table = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="surrogateescape"), newline=""))
        known = [Row(**{name: _value(name, text) for name, text in row.items()}) for row in table]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise KuaiHLError(f"{path} is not a summary written by KuaiHL ({error}): move it away.") from error
    return {Path(r.recording): r for r in known if r.results and (folder / r.results / PREDICTION).is_file()}


def write_summary(folder: Path, done: Iterable[Row]) -> None:
    """Write rows as a table with a header; on failure the old table stays.

    Raises
    ------
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escape_cell(value) for name, value in asdict(row).items()} for row in done)
    with filled(folder) as new:
        # File names need not be Unicode.
        (new / SUMMARY).write_bytes(table.getvalue().encode("utf-8", errors="surrogateescape"))


def step_text(recording: Path, row: Row, *, number: int, count: int) -> str:
    """Describe the result of recording ``number`` of ``count``."""
    position = f"[{number}/{count}] "
    if row.status == FAILED:
        lines = [f"{recording}: failed: {row.reason}"]
    else:
        log = f"comments from {Path(row.comment_log).name}" if row.comment_log else "no comment log"
        status = row.status if row.status == DONE_BEFORE else f"took {row.took_s:.1f} s"
        lines = [f"{recording}: {_clock(row.duration_s)}, {log}, {status}"]
        lines += [f"warning: {row.warning}"] if row.warning else []
    indent = " " * len(position)
    return "\n".join(
        textwrap.fill(
            printable(line), max(columns(), 40), initial_indent=indent if i else position, subsequent_indent=indent
        )
        for i, line in enumerate(lines)
    )


def table_text(done: Sequence[Row], out_dir: Path, *, count: int) -> str:
    """Return a table of the results of ``count`` recordings, of which some may be missing, that fits the terminal."""
    target = target_label(next((row.target for row in done if row.target), ""))
    table = [["length", "comments", "top highlight", target, "took"], *(_cells(row) for row in done)]
    labels = ["recording", *(printable(row.results.removesuffix(RESULTS) or Path(row.recording).stem) for row in done)]
    widths = [max(len(cells[i]) for cells in table if cells) for i in range(len(table[0]))]
    available = columns() - sum(2 + width for width in widths)
    name_width = min(max(map(disp_len, labels)), max(available, _MIN_NAME_WIDTH))
    lines = []
    for label, cells, row in zip(labels, table, [None, *done], strict=True):
        text = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=False))
        if row and row.status == FAILED:
            text = textwrap.shorten(f"failed: {printable(row.reason)}", sum(widths) + 8, placeholder=" …")
        lines.append(f"{_fit(label, name_width)}  {text}")
    failed = sum(row.status == FAILED for row in done)
    counts = {
        "done before": sum(row.status == DONE_BEFORE for row in done),
        "failed": failed,
        "with a warning": sum(bool(row.warning) for row in done),
    }
    labelled = [
        ("done", ", ".join([f"{len(done) - failed} of {count}", *(f"{n} {what}" for what, n in counts.items() if n)])),
        ("results", f"{out_dir / f'NAME{RESULTS}'} for each recording NAME, with report.html and more"),
        ("table", str(out_dir / SUMMARY)),
    ]
    return "\n".join(["", *lines, "", rows(labelled)])


def _cells(row: Row) -> list[str]:
    if row.status == FAILED:
        return []
    span, predicted = "none", ""
    if row.highlight_start_s is not None and row.highlight_end_s is not None:
        span = span_text(row.highlight_start_s, row.highlight_end_s)
        predicted = f"{row.highlight_predicted:.1%}"
    comments = "-" if row.comments is None else f"{row.comments:,}"
    return [_clock(row.duration_s), comments, span, predicted, f"{row.took_s:.0f} s"]


def _clock(time_s: float | None) -> str:
    return "" if time_s is None else as_clock(time_s)


def _fit(text: str, width: int) -> str:
    """Pad a text to ``width`` columns, or shorten it in the middle: names often differ at their ends."""
    if disp_len(text) > width:
        end = disp_trim(text[::-1], (width - 1) // 2)[::-1]
        text = f"{disp_trim(text, width - 1 - disp_len(end))}…{end}"
    return text + " " * (width - disp_len(text))


def _value(name: str, text: str) -> Any:
    if name not in _NUMBERS:
        return unescape_cell(text)
    return _NUMBERS[name](text) if text else None
