"""One recording -> one shard of a dataset, made again only where what it came from has changed."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from kuaihl.comments import reader, selection, timing
from kuaihl.errors import LabelError
from kuaihl.media.recording import open_recording
from kuaihl.predictor import Predictor
from kuaihl.progress import Progress
from kuaihl.records import CommentLog, Segment, Skipped, segments_of
from train.data.labels import LabelOptions, SegmentLabels, read_labels
from train.data.manifest import Entry
from train.dataset import DatasetInfo, write_shard
from train.prepare import columns, label_columns

INPUTS = "inputs"
"""Folder of the dataset that says what each shard was made of."""
_EPOCH = date(1970, 1, 1)

Outcome = Literal["encoded", "labelled", "kept"]


@dataclass(frozen=True, slots=True)
class Shard:
    """A recording as a dataset has it: columns by the names of `train.dataset.schema`, and a line for people."""

    columns: dict[str, object]
    duration_s: float
    line: str


def update(
    entry: Entry, out: Path, info: DatasetInfo, *, predictor: Predictor, options: LabelOptions
) -> tuple[Outcome, str]:
    """Bring a recording's shard up to date, and tell what was done; errors as for `make_shard`.

    A shard is encoded again where the recording, its log or its transcript has changed, and only labelled again where
    labels, streamer, date or split have.
    """
    shard, inputs = out / "rooms" / f"{entry.name}.parquet", out / INPUTS / f"{entry.name}.json"
    if not shard.exists() and (aside := _aside(shard)).exists():
        aside.replace(shard)
    encoded_from = {
        **{name: _identity(getattr(entry, name)) for name in ("recording", "log", "transcript")},
        "stream_start": None if entry.stream_start is None else entry.stream_start.isoformat(),
        "comment_offset_s": entry.comment_offset_s,
    }
    labelled_from = {
        "labels": _identity(entry.labels),
        "kind": entry.kind,
        "options": asdict(options),
        **{name: str(getattr(entry, name)) for name in ("streamer", "date", "split")},
    }
    known = _read_inputs(inputs) if shard.exists() else {}
    if known.get("encoded_from") == encoded_from and known.get("labelled_from") == labelled_from:
        return "kept", "kept as it is"
    if known.get("encoded_from") == encoded_from:
        outcome, duration_s = "labelled", known["duration_s"]
        labels = _labels(entry, segments_of(duration_s), options)
        _relabel(shard, label_columns(len(labels.label), labels=labels, **_said_of(entry)))
        line = f"labelled anew, {_counted(labels)}"
    else:
        made = make_shard(entry, predictor=predictor, options=options)
        write_shard(shard, info, made.columns)
        outcome, duration_s, line = "encoded", made.duration_s, made.line
    inputs.parent.mkdir(exist_ok=True)
    part = inputs.with_suffix(".part")
    now = {"encoded_from": encoded_from, "labelled_from": labelled_from, "duration_s": duration_s}
    part.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    part.replace(inputs)
    return outcome, line


def make_shard(entry: Entry, *, predictor: Predictor, options: LabelOptions) -> Shard:
    """Encode and label one recording, whose kind of labels and split are known; it depends on nothing else.

    Raises
    ------
    RecordingError, CommentLogError, LabelError
        One of its files cannot be read, or no segment gets a label.
    """
    opened = open_recording(entry.recording)
    duration_s = opened.info.duration_s
    labels = _labels(entry, opened.segments, options)  # before what takes long
    log = None
    if entry.log is not None:
        log = reader.read(entry.log, offset_s=entry.comment_offset_s, stream_start=entry.stream_start)
    with tqdm(
        desc=entry.name, total=1.0, bar_format="{desc} {percentage:3.0f}% {elapsed}", leave=False, disable=None
    ) as bar:

        def show(stage: str, fraction: float) -> None:
            bar.n = fraction
            bar.set_description_str(f"{entry.name}: {stage}")

        encoded = predictor.encode(entry.recording, log, transcript=entry.transcript, progress=Progress(show))
    took_s = sum(encoded.timings_s.values())
    written = _written(entry, log, duration_s) + _passed_over(encoded.skipped)
    line = f"{_counted(labels)}; {written}; {took_s:.0f} s, {duration_s / took_s:.0f} × real time"
    return Shard(
        columns(
            name=entry.name,
            segments=encoded.segments,
            pictures=encoded.pictures,
            speech=encoded.speech,
            comments=encoded.comments,
            text=encoded.text,
            labels=labels,
            **_said_of(entry),
        ),
        duration_s,
        line,
    )


def _written(entry: Entry, log: CommentLog | None, duration_s: float) -> str:
    """How many comments there are, and whether they seem to belong to another time."""
    if log is None:
        return "no comments"
    told = f"{len(selection.text_comments(log.comments)):,} comments"
    misfit = timing.mismatch(log.comments, duration_s)
    if misfit is None:
        return told
    offset_s = None if misfit.offset_s is None else entry.comment_offset_s + misfit.offset_s
    return f"{told}: {misfit.told}" + ("" if offset_s is None else f" Should comment_offset_s be {offset_s:g}?")


def _said_of(entry: Entry) -> dict[str, Any]:
    """What the manifest says of a recording, as `train.prepare.columns` takes it."""
    return {"streamer": entry.streamer, "day": (entry.date - _EPOCH).days, "split": entry.split}


def _labels(entry: Entry, segments: Sequence[Segment], options: LabelOptions) -> SegmentLabels:
    return read_labels(
        segments,
        entry.labels or entry.log,
        entry.kind,
        stream_start=entry.stream_start,
        comment_offset_s=entry.comment_offset_s,
        options=options,
    )


def _relabel(shard: Path, values: dict[str, object]) -> None:
    """Put other values into columns of a shard, whole or not at all."""
    table = pq.read_table(shard)
    for name, column in values.items():
        field = table.schema.field(name)
        array = pa.nulls(len(table), field.type) if column is None else pa.array(column, type=field.type)
        table = table.set_column(table.schema.get_field_index(name), field, array)
    part = shard.with_suffix(".part")
    pq.write_table(table, part, compression="zstd")
    part.replace(shard)


def set_aside(out: Path, *, keep: Collection[str]) -> list[str]:
    """Take shards of other recordings out of the dataset, and tell their names."""
    others = [shard for shard in sorted((out / "rooms").glob("*.parquet")) if shard.stem not in keep]
    for shard in others:
        shard.replace(_aside(shard))
    return [shard.stem for shard in others]


def _aside(shard: Path) -> Path:
    return shard.with_suffix(".parquet.aside")


def _identity(file: Path | None) -> dict[str, object] | None:
    """What tells that a file is still the same, without reading it."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError as error:
        raise LabelError(f"{file} cannot be opened: {error.strerror}.") from error
    return {"name": file.name, "bytes": found.st_size, "modified_ns": found.st_mtime_ns}


def _read_inputs(file: Path) -> dict[str, Any]:
    """What a shard was made of; nothing where that is not known."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _counted(labels: SegmentLabels) -> str:
    """Segments, labelled ones, and what of the labels could not be used."""
    mean = labels.label[labels.valid].mean()
    told = f"{len(labels.label)} segments, {int(labels.valid.sum())} labelled with {mean:.3f} on average"
    return told + _passed_over(labels.skipped)


def _passed_over(skipped: Sequence[Skipped]) -> str:
    told = "; ".join(f"{s.count:,} × {s.reason}{f', first at {s.where}' if s.where else ''}" for s in skipped)
    return f" ({told})" if told else ""
