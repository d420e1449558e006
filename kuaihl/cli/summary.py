"""The table of a batch: a row for each recording, kept as kuaihl-summary.csv beside the results."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kuaihl.atomic import filled
from kuaihl.cli.discovery import PREDICTION
from kuaihl.errors import KuaiHLError

SUMMARY = "kuaihl-summary.csv"

DONE, DONE_BEFORE, FAILED = "done", "done before", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of a recording.

    ``recording`` and ``comment_log`` are absolute paths, ``results`` a folder beside the summary. ``reason`` tells why
    it failed. ``made_from`` changes with everything that the results rest on. The highlight is the first one.
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
    """Read the rows of recordings whose results are still there, by recording; none where there is no summary.

    Raises
    ------
    KuaiHLError
        The file cannot be read, or is something else.
    """
    path = folder / SUMMARY
    if not path.exists():
        return {}
    try:
        table = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="surrogateescape"), newline=""))
        rows = [Row(**{name: _value(name, text) for name, text in row.items()}) for row in table]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise KuaiHLError(f"{path} is not a summary that KuaiHL wrote ({error}): move it away") from error
    return {Path(r.recording): r for r in rows if r.results and (folder / r.results / PREDICTION).is_file()}


def write_summary(folder: Path, rows: Iterable[Row]) -> None:
    """Write the rows as a table with a header; the old one stays until the new one is whole.

    Raises
    ------
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with filled(folder) as new:
        # Names of files need not be Unicode; read again, they have to be the same.
        (new / SUMMARY).write_bytes(table.getvalue().encode("utf-8", errors="surrogateescape"))


def _value(name: str, text: str) -> str | float | None:
    if name not in _NUMBERS:
        return text
    return _NUMBERS[name](text) if text else None
