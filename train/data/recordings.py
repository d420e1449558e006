"""Your own recordings to a dataset: one shard a recording, made again only where its files have changed."""

import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow.parquet as pq
import tyro
from tqdm import tqdm

from kuaihl.comments import reader, selection, timing
from kuaihl.engine import EngineOptions, run_each
from kuaihl.errors import KuaiHLError, LabelError
from kuaihl.media.recording import open_recording
from kuaihl.model.kuaihl import load
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from kuaihl.progress import Progress
from kuaihl.records import CommentLog, Segment, Skipped, segments_of
from train.command import command_line
from train.data.labels import TARGETS, LabelOptions, SegmentLabels, read_labels
from train.data.manifest import Entry, assign_kinds, assign_splits, read_manifest
from train.data.shards import build_columns, label_columns, open_dataset
from train.dataset import DatasetInfo, write_info, write_shard
from train.files import AnyPath, local_copy, write_json

Outcome = Literal["encoded", "labelled", "unchanged"]
_EPOCH = date(1970, 1, 1)
_MEASURED_BY = {
    "impressions": "impressions, long views from {long_view_s:g} s",
    "most-replayed": "YouTube's most-replayed curves",
    "participation": "audience participation in chat",
    "own": "values of their owner",
}


@dataclass(frozen=True, slots=True)
class RecordingsConfig:
    """Make a dataset of your own recordings and what you know of their audience."""

    manifest: tyro.conf.Positional[AnyPath]
    """Table with a row for each recording; see train/README.md."""
    out: AnyPath
    """Folder for the dataset. An interrupted run continues, and only what has changed is made again."""
    checkpoint: Path = DEFAULT_CHECKPOINT
    """Checkpoint whose encoders to use: the one that training will start from."""
    labels: Annotated[LabelOptions, tyro.conf.arg(name="")] = field(default_factory=LabelOptions)
    execution: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)

    def run(self) -> None:
        """Prepare; exit with code 1 if a recording was skipped."""
        if prepare_recordings(self).failed:
            sys.exit(1)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was done for each recording, by name, and why the others were skipped."""

    done: dict[str, Outcome]
    failed: dict[str, str]


def prepare_recordings(config: RecordingsConfig, *, report: Callable[[str], None] = print) -> Summary:
    """Encode and label all recordings of a manifest. One that cannot be used is reported and skipped.

    Shards of recordings that fail now, or are no longer in the manifest, are renamed, not deleted.

    Raises
    ------
    LabelError
        The manifest cannot be read, mixes kinds of labels, no recording can be used, or ``out`` has another dataset.
    CheckpointError
        The checkpoint or one of its encoders is missing.
    """
    manifest, out, options = config.manifest, config.out.absolute(), config.labels
    listed = read_manifest(manifest)
    if listed.unused:
        report(f"unused columns of {manifest.name}: {', '.join(listed.unused)}")
    entries, failed = assign_kinds(listed.entries, manifest)
    for name, reason in failed.items():
        report(f"{name}: skipped: {reason}")
    model, checkpoint = load(config.checkpoint)
    kind = entries[0].kind
    info = open_dataset(
        out,
        model.config,
        checkpoint,
        changeable=("source", "options"),
        target=TARGETS[kind],
        source=_describe(entries, options),
        made_by=command_line("python -m train.prepare recordings", replace(config, execution=EngineOptions())),
        parameters={"labels": kind, "speech_model": model.config.speech_model, "options": asdict(options)},
    )
    for name in _retire_shards(out, keep={entry.name for entry in entries}):
        report(f"{name}: renamed, since it is not in the manifest or failed")
    done: dict[str, Outcome] = {}
    update = _Update(out, info, checkpoint.absolute(), options)
    planned = assign_splits(entries)
    for number, (index, outcome) in enumerate(run_each(update, planned, options=config.execution), 1):
        entry = entries[index]
        if isinstance(outcome, KuaiHLError):
            failed[entry.name] = f"{entry.where}: {outcome}"
            line = f"skipped: {failed[entry.name]}"
        else:
            done[entry.name], line = outcome
        report(f"[{number}/{len(entries)}] {entry.name}: {line}")
    usable = [entry for entry in entries if entry.name in done]
    if not usable:
        raise LabelError(f"{manifest}: none of its recordings can be used.")
    _retire_shards(out, keep=done)
    final = assign_splits(usable)  # again, without those that failed
    for entry in set(final) - set(planned):
        update(entry)
    if missing := {"train", "validation"} - {entry.split for entry in final}:
        report(f"no recording is left for {' and '.join(sorted(missing))}: train.fit needs at least two.")
    write_info(out, replace(info, source=_describe(usable, options)))
    return Summary(done, failed)


def _describe(entries: Sequence[Entry], options: LabelOptions) -> str:
    """Say for people what the dataset is."""
    measured_by = _MEASURED_BY[entries[0].kind].format(**asdict(options))
    streamers = len({entry.streamer for entry in entries})
    return (
        f"own recordings: {len(entries)} recording{'s' * (len(entries) > 1)} of {streamers} "
        f"streamer{'s' * (streamers > 1)}, labelled by {measured_by}"
    )


@dataclass(frozen=True)
class _Update:
    """Bring a recording's shard up to date; return what was done, and a line for people.

    It is encoded if the recording, its log or its transcript has changed, and otherwise only labelled again if
    labels, streamer, date or split have. The encoders are loaded when they are first needed.
    """

    out: Path
    info: DatasetInfo
    checkpoint: Path
    options: LabelOptions

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor.from_pretrained(self.checkpoint)

    def __call__(self, entry: Entry) -> tuple[Outcome, str]:
        shard, inputs = self.out / "rooms" / f"{entry.name}.parquet", self.out / "inputs" / f"{entry.name}.json"
        if not shard.exists() and (retired := _retired(shard)).exists():
            retired.rename(shard)
        encoded_from = {
            **{name: _fingerprint(getattr(entry, name)) for name in ("recording", "log", "transcript")},
            "stream_start": None if entry.stream_start is None else entry.stream_start.isoformat(),
            "comment_offset_s": entry.comment_offset_s,
        }
        labelled_from = {
            "labels": _fingerprint(entry.labels),
            "kind": entry.kind,
            "options": asdict(self.options),
            **{name: str(getattr(entry, name)) for name in ("streamer", "date", "split")},
        }
        known = _read_inputs(inputs) if shard.exists() else {}
        if known.get("encoded_from") != encoded_from:
            outcome = "encoded"
            with _local_files(entry, "recording", "log", "labels", "transcript") as local:
                duration_s, columns, line = _encode(local, self._predictor, self.options)
        elif known.get("labelled_from") != labelled_from:
            outcome, duration_s = "labelled", known["duration_s"]
            with _local_files(entry, "log", "labels") as local:
                labels = _read_labels(local, segments_of(duration_s), self.options)
            with shard.open("rb") as file:
                table = pq.read_table(file)
            columns = {name: table[name] for name in table.column_names}
            columns |= label_columns(len(table), labels=labels, **_attributes(entry))
            line = f"labelled again: {_describe_labels(labels)}"
        else:
            return "unchanged", "unchanged"
        write_shard(shard, self.info, columns)
        write_json(inputs, {"encoded_from": encoded_from, "labelled_from": labelled_from, "duration_s": duration_s})
        return outcome, line


@contextmanager
def _local_files(entry: Entry, *names: str) -> Iterator[Entry]:
    """Yield the entry with local copies of those of its files that are remote."""
    with ExitStack() as stack:
        files = {name: file for name in names if (file := getattr(entry, name)) is not None}
        yield replace(entry, **{name: stack.enter_context(local_copy(file)) for name, file in files.items()})


def _encode(entry: Entry, predictor: Predictor, options: LabelOptions) -> tuple[float, dict[str, object], str]:
    """Encode and label a recording; return its length in seconds, the columns of its shard, and a line for people."""
    recording = open_recording(entry.recording)
    duration_s = recording.info.duration_s
    labels = _read_labels(entry, recording.segments, options)  # before encoding, which takes long
    log = None
    if entry.log is not None:
        log = reader.read(entry.log, offset_s=entry.comment_offset_s, stream_start=entry.stream_start)
    with tqdm(
        desc=entry.name, total=1.0, bar_format="{desc} {percentage:3.0f}% {elapsed}", leave=False, disable=None
    ) as bar:

        def show(stage: str, fraction: float) -> None:
            bar.n = fraction
            bar.set_description_str(f"{entry.name}: {stage}")

        encoded = predictor.encode(recording, log, transcript=entry.transcript, progress=Progress(show))
    took_s = sum(encoded.timings_s.values())
    columns = build_columns(
        name=entry.name,
        segments=encoded.segments,
        features=encoded.features,
        speech=encoded.speech,
        comments=encoded.comments,
        labels=labels,
        **_attributes(entry),
    )
    comments = _describe_log(entry, log, duration_s) + _describe_skipped(encoded.skipped)
    speed = f"{took_s:.0f} s, {duration_s / took_s:.0f} × real time"
    return duration_s, columns, f"{_describe_labels(labels)}; {comments}; {speed}"


def _attributes(entry: Entry) -> dict[str, Any]:
    """Return the columns that the manifest gives."""
    return {"streamer": entry.streamer, "day": (entry.date - _EPOCH).days, "split": entry.split}


def _read_labels(entry: Entry, segments: Sequence[Segment], options: LabelOptions) -> SegmentLabels:
    return read_labels(
        segments,
        entry.labels or entry.log,
        entry.kind,
        stream_start=entry.stream_start,
        comment_offset_s=entry.comment_offset_s,
        options=options,
    )


def _retire_shards(out: Path, *, keep: Collection[str]) -> list[str]:
    """Rename the shards of other recordings, so that the dataset does not have them; return their names."""
    others = [shard for shard in sorted((out / "rooms").glob("*.parquet")) if shard.stem not in keep]
    for shard in others:
        shard.rename(_retired(shard))
    return [shard.stem for shard in others]


def _retired(shard: Path) -> Path:
    return shard.with_suffix(".parquet.retired")


def _fingerprint(file: Path | None) -> dict[str, object] | None:
    """Return what shows that a file is unchanged, without reading it."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError as error:
        raise LabelError(f"{file} cannot be opened: {error.strerror or type(error).__name__}.") from error
    return {"name": file.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _read_inputs(file: Path) -> dict[str, Any]:
    """Return what a shard was made from; nothing if that is unknown."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _describe_labels(labels: SegmentLabels) -> str:
    mean = labels.label[labels.valid].mean()
    counts = f"{len(labels.label)} segments, {int(labels.valid.sum())} labelled, mean {mean:.3f}"
    return counts + _describe_skipped(labels.skipped)


def _describe_log(entry: Entry, log: CommentLog | None, duration_s: float) -> str:
    """Count the comments, and say if they seem to belong to another time."""
    if log is None:
        return "no comments"
    count = f"{len(selection.text_comments(log.comments)):,} comments"
    misfit = timing.mismatch(log.comments, duration_s)
    if misfit is None:
        return count
    offset_s = None if misfit.offset_s is None else entry.comment_offset_s + misfit.offset_s
    return f"{count}: {misfit.message}" + ("" if offset_s is None else f" Should comment_offset_s be {offset_s:g}?")


def _describe_skipped(skipped: Sequence[Skipped]) -> str:
    reasons = "; ".join(f"{s.count:,} × {s.reason}{f', first at {s.where}' if s.where else ''}" for s in skipped)
    return f" ({reasons})" if reasons else ""
