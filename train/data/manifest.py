"""The list of one's own recordings: a table with a row for each, and its split by date."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.wall_clock import read_start
from kuaihl.errors import CommentLogError, LabelError
from train.data.labels import KINDS, Kind, find_kind
from train.data.tables import Table, open_table

SPLITS = ("train", "validation", "test")
_NEEDED = ("recording", "streamer", "date")
_OPTIONAL = ("log", "labels", "kind", "transcript", "split", "stream_start", "comment_offset_s")


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording, and what is known of it. ``name`` is that of its shard, ``where`` its place in the manifest."""

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
    """All recordings in order of date, and the columns that mean nothing to us."""

    entries: tuple[Entry, ...]
    unused: tuple[str, ...]


def read_manifest(file: Path) -> Manifest:
    """Read a manifest: a table with the columns recording, streamer and date, and any of the optional ones.

    Those are log, labels, kind, transcript, split, stream_start and comment_offset_s. Paths are relative to the
    manifest's folder. Whether the files are there is not looked at.

    Raises
    ------
    LabelError
        The table cannot be read, lacks a column or a value, or has one that cannot be understood.
    """
    table, report = open_table(file), Report()
    if lacking := [name for name in _NEEDED if name not in table.columns]:
        raise LabelError(
            f"{file} has no column {' and no column '.join(lacking)}; a manifest has {', '.join(_NEEDED)}, and may have"
            f" {', '.join(_OPTIONAL)}."
        )
    names = [name for name in (*_NEEDED, *_OPTIONAL) if name in table.columns]
    entries = []
    for where, values in table.rows(*names, report=report):
        cells = dict.fromkeys((*_NEEDED, *_OPTIONAL), "")
        cells |= {k: "" if v is None else str(v) for k, v in zip(names, values, strict=True)}
        entries.append(_entry(table, where, cells))
    for damaged in report.skipped():
        raise LabelError(f"{file}, {damaged.where}: {damaged.reason}; quote what has commas in it.")
    if not entries:
        raise LabelError(f"{file} lists no recording.")
    for name, count in Counter(entry.name.lower() for entry in entries).items():
        if count > 1:
            raise LabelError(f"{file} lists {count} recordings that would be called {name}: rename one, or drop it.")
    if len({entry.split is None for entry in entries}) > 1:
        raise LabelError(f"{file}: give every recording a split ({', '.join(SPLITS)}), or none.")
    entries.sort(key=lambda entry: (entry.date, entry.name))
    return Manifest(tuple(entries), tuple(c for c in table.columns if c and c not in names))


def split_by_date(count: int) -> list[str]:
    """Split of each of ``count`` recordings in order of date: 70 % train, 10 % validate, 20 % test.

    Of few, one at least trains, then one validates, then one tests.
    """
    tests_from = max(int(0.8 * count), 2)
    validates_from = max(min(int(0.7 * count), tests_from - 1), 1)
    return ["train" if k < validates_from else "validation" if k < tests_from else "test" for k in range(count)]


def with_splits(entries: Sequence[Entry]) -> list[Entry]:
    """Entries, which are in order of date, with a split each."""
    return [replace(e, split=e.split or split) for e, split in zip(entries, split_by_date(len(entries)), strict=True)]


def with_kinds(entries: Sequence[Entry], failed: dict[str, str], manifest: Path) -> list[Entry]:
    """Entries with the kind of their labels; those whose labels tell none go into ``failed``, by name, with the reason.

    Raises
    ------
    LabelError
        No recording has labels, or there are several kinds, of which a model could learn but one.
    """
    found = []
    for entry in entries:
        if entry.labels is None and entry.kind not in {None, "participation"}:
            failed[entry.name] = f"{entry.where}: the kind is {entry.kind}, but the column labels is empty."
            continue
        try:
            kind = entry.kind or ("participation" if entry.labels is None else find_kind(entry.labels))
        except LabelError as error:
            failed[entry.name] = f"{entry.where}: {error}"
        else:
            # Participation is measured in the log: labels beside it are of another kind.
            labels = None if kind == "participation" and entry.log else entry.labels
            found.append(replace(entry, kind=kind, labels=labels))
    if not found:
        raise LabelError(f"{manifest}: no recording has labels; the first, {next(iter(failed.values()))}")
    first = {entry.kind: entry.where for entry in reversed(found)}
    if len(first) > 1:
        kinds = ", ".join(f"{kind} ({where})" for kind, where in first.items())
        raise LabelError(
            f"{manifest} has labels of several kinds: {kinds}. A model learns one: make a manifest for each."
        )
    return found


def _entry(table: Table, where: str, cells: dict[str, str]) -> Entry:
    at, folder = f"{table.path}, {where}", table.path.parent
    for name in _NEEDED:
        if not cells[name]:
            raise LabelError(f"{at}, column {name}: it is empty.")
    if not cells["log"] and not cells["labels"]:
        raise LabelError(f"{at}: a recording needs labels, or a comment log to take audience participation from.")
    for name, choices in (("kind", KINDS), ("split", SPLITS)):
        if cells[name] and cells[name] not in choices:
            raise LabelError(f"{at}, column {name}: {cells[name]!r} is none of {', '.join(choices)}.")
    try:
        day = date.fromisoformat(cells["date"][:10])
    except ValueError as error:
        raise LabelError(f"{at}, column date: {cells['date']!r} is no date such as 2024-05-01.") from error
    try:
        start = read_start(cells["stream_start"]) if cells["stream_start"] else None
    except CommentLogError as error:
        raise LabelError(f"{at}, column stream_start: {error}") from error
    try:
        offset_s = float(cells["comment_offset_s"] or 0)
    except ValueError:
        offset_s = math.nan
    if not math.isfinite(offset_s):
        raise LabelError(f"{at}, column comment_offset_s: {cells['comment_offset_s']!r} is no number of seconds.")

    def path(name: str) -> Path | None:
        return folder / Path(cells[name]).expanduser() if cells[name] else None

    parts = [part for part in Path(cells["recording"]).with_suffix("").parts if re.search(r"\w", part)]
    return Entry(
        name=re.sub(r"[^\w.-]", "_", "-".join(parts))[-100:].lstrip("."),
        where=where,
        recording=path("recording"),
        log=path("log"),
        labels=path("labels"),
        kind=cells["kind"] or None,
        transcript=path("transcript"),
        streamer=cells["streamer"],
        date=day,
        split=cells["split"] or None,
        stream_start=start,
        comment_offset_s=offset_s,
    )
