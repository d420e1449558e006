"""Tables in CSV, of any delimiter, or Parquet: rows with their place in the file, and times."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kuaihl.comments.diagnostics import MAX_TIME_S, Report
from kuaihl.comments.fields import START_EXAMPLE, epoch_s, read_date, seconds
from kuaihl.errors import LabelError

_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``columns`` are in lower case with underscores; ``delimiter`` is empty for a Parquet file."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    encoding: str = "utf-8"

    def find(self, names: Sequence[str]) -> str | None:
        """Return the first of ``names`` that is a column."""
        return next((name for name in names if name in self.columns), None)

    def rows(self, *names: str, report: Report) -> Iterator[tuple[str, list[object]]]:
        """Yield the place of every row and its values in the columns ``names``.

        Values are text, or of Parquet's types. Rows with too few or too many cells go into ``report``.

        Raises
        ------
        LabelError
            The file is damaged, or has two columns of one of these names.
        """
        if ambiguous := [name for name in names if self.columns.count(name) > 1]:
            raise LabelError(f"{self.path} has several columns called {ambiguous[0]}: remove all but one.")
        wanted = [self.columns.index(name) for name in names]
        yield from self._csv_rows(wanted, report) if self.delimiter else self._parquet_rows(wanted)

    def _parquet_rows(self, wanted: list[int]) -> Iterator[tuple[str, list[object]]]:
        try:
            file = pq.ParquetFile(self.path)
            columns = [file.schema_arrow.names[k] for k in wanted]
            number = 0
            for batch in file.iter_batches(columns=columns):
                for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                    number += 1
                    yield f"row {number}", list(values)
        except (OSError, pa.ArrowException) as error:
            raise LabelError(f"{self.path}: the Parquet file is damaged ({error}). Write it again.") from error

    def _csv_rows(self, wanted: list[int], report: Report) -> Iterator[tuple[str, list[object]]]:
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            line = 1
            try:
                next(reader)
                while True:
                    line = reader.line_num + 1
                    if (cells := next(reader, None)) is None:
                        return
                    if len(cells) == len(self.columns):
                        yield f"line {line}", [cells[k].strip() for k in wanted]
                    elif any(cell.strip() for cell in cells):
                        report.damage(f"rows that do not have {len(self.columns)} columns", f"line {line}")
            except csv.Error as error:
                raise LabelError(
                    f"{self.path}, line {line}: not CSV ({error}). Is a quotation mark missing there?"
                ) from error
            except UnicodeDecodeError as error:
                raise _no_table(self.path) from error


def open_table(path: Path) -> Table:
    """Determine the format of a table, and its columns; LabelError if it is missing, empty, or not a table."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"PAR1":
            return Table(path, _normalize(pq.read_schema(path).names), "")
        encoding = "utf-16" if magic[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
        with path.open(encoding=encoding, newline="") as file:
            header = file.readline(2**16)
    except OSError as error:
        raise LabelError(f"{path} cannot be opened: {error.strerror or error}.") from error
    except UnicodeError as error:
        raise _no_table(path) from error
    except pa.ArrowException as error:
        raise LabelError(f"{path}: the Parquet file is damaged ({error}). Write it again.") from error
    if not header.strip() or "\0" in header:
        raise LabelError(f"{path} is not a table: its first line must have the names of the columns.")
    delimiter = max(_DELIMITERS, key=header.count)
    return Table(path, _normalize(next(csv.reader([header], delimiter=delimiter))), delimiter, encoding)


def _normalize(names: Sequence[str]) -> tuple[str, ...]:
    """``View time (s)`` -> ``view_time_s``."""
    return tuple(re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in names)


def _no_table(path: Path) -> LabelError:
    return LabelError(f"{path} is neither Parquet nor text in UTF-8. Save it as CSV in UTF-8.")


def read_time_s(value: object, *, start: datetime | None, column: str, place: str) -> float | None:
    """Return seconds from the start of the recording; None if the value is not a time.

    Parameters
    ----------
    value
        Seconds (milliseconds if ``column`` ends with _ms), h:mm:ss, a date with time, or an epoch.
    start
        When the recording began, with its time zone. It is also the zone of times without one.
    column, place
        For messages.

    Raises
    ------
    LabelError
        The value is a date or an epoch, and ``start`` is None.
    """
    number_s = read_duration_s(value, column=column)
    if number_s is not None and abs(number_s) <= MAX_TIME_S:
        return number_s
    moment = read_date(value) if isinstance(value, str) else value if isinstance(value, datetime) else None
    since_1970_s = None if number_s is None else epoch_s(number_s)
    if moment is None and since_1970_s is None:
        return None
    if start is None:
        raise LabelError(
            f"{place}, column {column}: {value} is a date or an epoch. Give the start of the recording as stream_start,"
            f" such as {START_EXAMPLE}."
        )
    if moment is not None:
        since_1970_s = (moment if moment.tzinfo else moment.replace(tzinfo=start.tzinfo)).timestamp()
    return since_1970_s - start.timestamp()


def read_duration_s(value: object, *, column: str) -> float | None:
    """Return seconds from a number (of milliseconds if ``column`` ends with _ms) or h:mm:ss; None for others."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number_s = seconds(float(value) if isinstance(value, Decimal) else value)
    if number_s is None or not math.isfinite(number_s):
        return None
    return number_s * 1e-3 if column.endswith(("_ms", "_msec", "_millis")) else number_s
