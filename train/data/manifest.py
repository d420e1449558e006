"""The manifest: a table with a row for each of your recordings."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import read_start
from kuaihl.errors import CommentLogError, LabelError
from train.data.labels import KINDS, Kind, find_kind
from train.data.tables import open_table
from train.files import local_copy, open_path
from train.splits import SPLITS, split_by_date

_REQUIRED = ("recording", "streamer", "date")
_OPTIONAL = ("log", "labels", "kind", "transcript", "split", "stream_start", "comment_offset_s")


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording. ``name`` is that of its shard, ``where`` its place in the manifest."""

    name: str
    where: str
    recording: Path
    log: Path | None
    labels: Path | None
    kind: Kind | None
    transcript: Path | None
    streamer: str
    date: date
    split: str | None
    stream_start: datetime | None
    comment_offset_s: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """The recordings in order of date, and the columns that are not used."""

    entries: tuple[Entry, ...]
    unused: tuple[str, ...]


def read_manifest(file: Path) -> Manifest:
    """Read a manifest: a table with the columns recording, streamer and date.

    Optional columns are log, labels, kind, transcript, split, stream_start and comment_offset_s. Paths are URLs, or
    relative to the folder of the manifest. The files are not opened.

    Raises
    ------
    LabelError
        The table cannot be read, lacks a column or a value, or has an invalid value.
    """
    report, entries = Report(), []
    with local_copy(file) as copy:
        table = open_table(copy)
        if missing := [name for name in _REQUIRED if name not in table.columns]:
            raise LabelError(
                f"{file} has no column {' and no column '.join(missing)}. A manifest has {', '.join(_REQUIRED)}, and"
                f" may have {', '.join(_OPTIONAL)}."
            )
        names = [name for name in (*_REQUIRED, *_OPTIONAL) if name in table.columns]
        for where, values in table.rows(*names, report=report):
            cells = dict.fromkeys((*_REQUIRED, *_OPTIONAL), "")
            cells |= {name: "" if value is None else str(value) for name, value in zip(names, values, strict=True)}
            entries.append(_parse(file, where, cells))
    for damaged in report.skipped():
        raise LabelError(f"{file}, {damaged.where}: {damaged.reason}. Put cells with commas in quotation marks.")
    if not entries:
        raise LabelError(f"{file} lists no recording.")
    for name, count in Counter(entry.name.lower() for entry in entries).items():
        if count > 1:
            raise LabelError(f"{file} lists {count} recordings that would be called {name}: rename or remove one.")
    if len({entry.split is None for entry in entries}) > 1:
        raise LabelError(f"{file}: give every recording a split ({', '.join(SPLITS)}), or none.")
    entries.sort(key=lambda entry: (entry.date, entry.name))
    return Manifest(tuple(entries), tuple(name for name in table.columns if name and name not in names))


def assign_splits(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries, which are in order of date, with a split each."""
    return [replace(e, split=e.split or split) for e, split in zip(entries, split_by_date(len(entries)), strict=True)]


def assign_kinds(entries: Sequence[Entry], manifest: Path) -> tuple[list[Entry], dict[str, str]]:
    """Determine the kind of each entry's labels.

    Returns
    -------
    Entries with their kind, and for the others the reason, by name.

    Raises
    ------
    LabelError
        No recording has labels, or they are of several kinds, which a model cannot learn together.
    """
    determined = {entry.name: _determine_kind(entry) for entry in entries}
    usable = [entry for entry in determined.values() if isinstance(entry, Entry)]
    failed = {name: reason for name, reason in determined.items() if isinstance(reason, str)}
    if not usable:
        raise LabelError(f"{manifest}: no recording has labels; the first, {next(iter(failed.values()))}")
    first = {entry.kind: entry.where for entry in reversed(usable)}
    if len(first) > 1:
        kinds = ", ".join(f"{kind} ({where})" for kind, where in first.items())
        raise LabelError(f"{manifest} has labels of several kinds: {kinds}. Make a manifest for each kind.")
    return usable, failed


def _determine_kind(entry: Entry) -> Entry | str:
    """Return the entry with its kind of labels, or what is wrong with it."""
    if entry.labels is None and entry.kind not in (None, "participation"):
        return f"{entry.where}: the kind is {entry.kind}, but the column labels is empty."
    try:
        kind = entry.kind or ("participation" if entry.labels is None else _find_kind(entry.labels))
    except LabelError as error:
        return f"{entry.where}: {error}"
    # Participation is computed from the log, even if there are labels of another kind.
    return replace(entry, kind=kind, labels=None if kind == "participation" and entry.log else entry.labels)


def _find_kind(labels: Path) -> Kind:
    with local_copy(labels) as copy:
        return find_kind(copy)


def _parse(file: Path, where: str, cells: dict[str, str]) -> Entry:
    place = f"{file}, {where}"
    for name in _REQUIRED:
        if not cells[name]:
            raise LabelError(f"{place}, column {name} is empty.")
    if not cells["log"] and not cells["labels"]:
        raise LabelError(f"{place}: a recording needs labels, or a comment log for audience participation.")
    for name, choices in (("kind", KINDS), ("split", SPLITS)):
        if cells[name] and cells[name] not in choices:
            raise LabelError(f"{place}, column {name}: {cells[name]!r} is not one of {', '.join(choices)}.")
    try:
        day = date.fromisoformat(cells["date"][:10])
    except ValueError as error:
        raise LabelError(f"{place}, column date: {cells['date']!r} is not a date such as 2024-05-01.") from error
    try:
        start = read_start(cells["stream_start"]) if cells["stream_start"] else None
    except CommentLogError as error:
        raise LabelError(f"{place}, column stream_start: {error}") from error
    try:
        offset_s = float(cells["comment_offset_s"] or 0)
    except ValueError:
        offset_s = math.nan
    if not math.isfinite(offset_s):
        raise LabelError(f"{place}, column comment_offset_s: {cells['comment_offset_s']!r} is not a number of seconds.")

    paths = {
        name: _locate(cells[name], file.parent) if cells[name] else None
        for name in ("recording", "log", "labels", "transcript")
    }
    folders = [part for part in Path(cells["recording"]).with_suffix("").parts if re.search(r"\w", part)]
    return Entry(
        name=re.sub(r"[^\w.-]", "_", "-".join(folders))[-100:].lstrip("."),
        where=where,
        **paths,
        kind=cells["kind"] or None,
        streamer=cells["streamer"],
        date=day,
        split=cells["split"] or None,
        stream_start=start,
        comment_offset_s=offset_s,
    )


def _locate(cell: str, folder: Path) -> Path:
    return open_path(cell) if "://" in cell else folder / str(Path(cell).expanduser())
