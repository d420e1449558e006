"""Tables as people have them (CSV of any delimiter, Parquet), row by row with the place of each, and times in them."""

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
from kuaihl.comments.fields import seconds
from kuaihl.comments.wall_clock import EXAMPLE, epoch_s, read_date
from kuaihl.errors import LabelError

_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its ``columns`` in lower case with underscores, ``delimiter`` empty where it is a Parquet file."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    encoding: str = "utf-8"

    def find(self, names: Sequence[str]) -> str | None:
        """Return the first of ``names`` that is a column."""
        return next((name for name in names if name in self.columns), None)

    def rows(self, *names: str, report: Report) -> Iterator[tuple[str, list[object]]]:
        """Yield place and values of the columns ``names`` of every row; rows of another length go into ``report``.

        Values are as Parquet has them, or text. Raises LabelError where the file is damaged, or has two columns of one
        of these names.
        """
        if twice := [name for name in names if self.columns.count(name) > 1]:
            raise LabelError(f"{self.path} has several columns called {twice[0]}: which one is meant? Drop the others.")
        at = [self.columns.index(name) for name in names]
        if self.delimiter:
            yield from self._csv_rows(at, report)
            return
        try:
            file = pq.ParquetFile(self.path)
            kept = [file.schema_arrow.names[k] for k in at]
            number = 0
            for batch in file.iter_batches(columns=kept):
                for values in zip(*(batch.column(name).to_pylist() for name in kept), strict=True):
                    number += 1
                    yield f"row {number}", list(values)
        except (OSError, pa.ArrowException) as error:
            raise LabelError(f"{self.path}: the Parquet file is damaged ({error}): write it again.") from error

    def _csv_rows(self, at: list[int], report: Report) -> Iterator[tuple[str, list[object]]]:
        width = len(self.columns)
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                next(reader)
                last = reader.line_num
                for fields in reader:
                    first, last = last + 1, reader.line_num
                    where = f"line {first}"
                    if not any(field.strip() for field in fields):
                        continue
                    if first < last and (len(fields) != width or any("\n" in fields[k] for k in at)):
                        raise LabelError(
                            f"{self.path}, line {first}: a quotation mark opens a cell there that goes on to line"
                            f" {last}: close it, or take it out."
                        )
                    if len(fields) == width:
                        yield where, [fields[k].strip() for k in at]
                    else:
                        report.damage(f"rows that do not have {width} columns", where)
            except csv.Error as error:
                raise LabelError(f"{self.path}, line {reader.line_num}: not CSV ({error}): export it again.") from error
            except UnicodeDecodeError as error:
                raise _not_text(self.path) from error


def open_table(path: Path) -> Table:
    """Find out what kind of table a file is, and its columns.

    Raises
    ------
    LabelError
        It is missing, empty, or no table.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PAR1":
            return Table(path, _plain(pq.read_schema(path).names), "")
        encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
        with path.open(encoding=encoding, newline="") as file:
            header = file.readline(2**16)
    except OSError as error:
        raise LabelError(f"{path} cannot be opened: {error.strerror or error}.") from error
    except UnicodeError as error:
        raise _not_text(path) from error
    except pa.ArrowException as error:
        raise LabelError(f"{path}: the Parquet file is damaged ({error}): write it again.") from error
    if not header.strip() or "\0" in header:
        raise LabelError(f"{path}: a table with the names of its columns in the first line was expected.")
    delimiter = max(_DELIMITERS, key=header.count)
    return Table(path, _plain(next(csv.reader([header], delimiter=delimiter))), delimiter, encoding)


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    """``View time (s)`` -> ``view_time_s``."""
    return tuple(re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in names)


def _not_text(path: Path) -> LabelError:
    return LabelError(f"{path}: neither Parquet nor text in UTF-8: save it as CSV in UTF-8.")


def time_s(value: object, *, start: datetime | None, column: str, where: str) -> float | None:
    """Seconds from the start of the recording; None where there is no time to be read.

    Parameters
    ----------
    value
        A number of seconds (milliseconds where ``column`` ends with _ms), h:mm:ss, a date with time, or an epoch.
    start
        When the recording began, with its zone; a time without a zone is taken to be in the same.
    column, where
        Where the value is, for messages.

    Raises
    ------
    LabelError
        The time is by the wall clock, and ``start`` is not given.
    """
    found_s = duration_s(value, column=column)
    if found_s is not None and abs(found_s) <= MAX_TIME_S:
        return found_s
    at = read_date(value) if isinstance(value, str) else value if isinstance(value, datetime) else None
    since_1970_s = None if found_s is None else epoch_s(found_s)
    if at is None and since_1970_s is None:
        return None
    if start is None:
        raise LabelError(
            f"{where}, column {column}: {value} is a time by the wall clock, and when the recording began is not known:"
            f" give that as stream_start, such as {EXAMPLE}."
        )
    if at is not None:
        since_1970_s = (at if at.tzinfo else at.replace(tzinfo=start.tzinfo)).timestamp()
    return since_1970_s - start.timestamp()


def duration_s(value: object, *, column: str) -> float | None:
    """Seconds of a number (of milliseconds where ``column`` ends with _ms) or of h:mm:ss; None for anything else."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    found_s = seconds(float(value) if isinstance(value, Decimal) else value)
    if found_s is None or not math.isfinite(found_s):
        return None
    return found_s * 1e-3 if column.endswith(("_ms", "_msec", "_millis")) else found_s
