"""A batch on the terminal: what came of each recording when it is done, and the table at the end."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tqdm.utils import disp_len, disp_trim

from kuaihl.cli.console import columns, printable, rows
from kuaihl.cli.discovery import RESULTS
from kuaihl.cli.summary import DONE_BEFORE, FAILED, SUMMARY, Row
from kuaihl.comments.fields import as_clock

_LEAST_NAME = 12


def step_text(recording: Path, row: Row, *, number: int, count: int) -> str:
    """Tell what came of recording ``number`` of ``count``."""
    place = f"[{number}/{count}] "
    if row.status == FAILED:
        told = [f"{recording}: failed: {row.reason}"]
    else:
        log = f"comments from {Path(row.comment_log).name}" if row.comment_log else "no comment log"
        took = row.status if row.status == DONE_BEFORE else f"took {row.took_s:.1f} s"
        told = [f"{recording}: {as_clock(row.duration_s)}, {log}, {took}"]
        told += [f"warning: {row.warning}"] if row.warning else []
    indent = " " * len(place)
    return "\n".join(
        textwrap.fill(
            printable(line), max(columns(), 40), initial_indent=indent if i else place, subsequent_indent=indent
        )
        for i, line in enumerate(told)
    )


def table_text(done: Sequence[Row], out_dir: Path, *, count: int) -> str:
    """Lay out what came of the recordings, ``count`` of them if none is missing, to fit the terminal."""
    target = next((row.target for row in done if row.target), "")
    target = target.upper() if target == "lvtr" else target
    table = [["length", "comments", "top highlight", target, "took"], *(_cells(row) for row in done)]
    labels = ["recording", *(printable(row.results.removesuffix(RESULTS) or Path(row.recording).stem) for row in done)]
    widths = [max(len(cells[i]) for cells in table if cells) for i in range(len(table[0]))]
    left = columns() - sum(2 + width for width in widths)
    name_width = min(max(map(disp_len, labels)), max(left, _LEAST_NAME))
    lines = []
    for label, cells, row in zip(labels, table, [None, *done], strict=True):
        if cells:
            told = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        else:
            told = textwrap.shorten(f"failed: {printable(row.reason)}", sum(widths) + 8, placeholder=" …")
        lines.append(f"{_fitted(label, name_width)}  {told}")
    counts = {
        "of them before": sum(row.status == DONE_BEFORE for row in done),
        "failed": sum(row.status == FAILED for row in done),
        "with a warning": sum(bool(row.warning) for row in done),
    }
    told = [f"{len(done) - counts['failed']} of {count}", *(f"{n} {what}" for what, n in counts.items() if n)]
    summed = [
        ("done", ", ".join(told)),
        ("results", f"{out_dir / f'NAME{RESULTS}'} for each recording NAME, with report.html and more"),
        ("this table", str(out_dir / SUMMARY)),
    ]
    return "\n".join(["", *lines, "", rows(summed)])


def _cells(row: Row) -> list[str]:
    if row.status == FAILED:
        return []
    span, predicted = "none", ""
    if row.highlight_start_s is not None:
        span = f"{as_clock(row.highlight_start_s)}–{as_clock(row.highlight_end_s)}"
        predicted = f"{row.highlight_predicted:.1%}"
    comments = "-" if row.comments is None else f"{row.comments:,}"
    return [as_clock(row.duration_s), comments, span, predicted, f"{row.took_s:.0f} s"]


def _fitted(text: str, width: int) -> str:
    """Fill up or shorten a text in its middle, since names often differ at their ends, to so many columns."""
    if disp_len(text) > width:
        end = disp_trim(text[::-1], (width - 1) // 2)[::-1]
        text = f"{disp_trim(text, width - 1 - disp_len(end))}…{end}"
    return text + " " * (width - disp_len(text))
