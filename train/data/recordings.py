"""One's own recordings -> dataset on disk, through the pipeline of the app: one recording in, one shard out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kuaihl.errors import KuaiHLError, LabelError
from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder, sha256_file
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from train.data.labels import TARGETS, LabelOptions
from train.data.manifest import Entry, read_manifest, with_kinds, with_splits
from train.data.shards import Outcome, set_aside, update
from train.dataset import DATASET_FILE, DatasetInfo, read_info, write_info
from train.prepare import open_dataset


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of a manifest: what was done for each recording, by name, and why others were passed over."""

    done: dict[str, Outcome]
    failed: dict[str, str]


def prepare_recordings(
    manifest: Path,
    out: Path,
    *,
    options: LabelOptions,
    checkpoint: Path = DEFAULT_CHECKPOINT,
    tell: Callable[[str], None] = print,
) -> Prepared:
    """Encode and label all recordings of a manifest; a bad one is reported and passed over.

    What an earlier run made is kept where nothing that it came from has changed; where only labels, streamer, date or
    split have, it is not encoded again. Shards of recordings that fail now, or are not in the manifest any more, are
    set aside, not deleted.

    Parameters
    ----------
    manifest
        What `train.data.manifest.read_manifest` takes.
    out
        Folder of the dataset.
    options
        How labels are made.
    checkpoint
        Whose encoders and speech model to use.
    tell
        Told a line about each recording.

    Raises
    ------
    LabelError
        The manifest cannot be read, mixes kinds of labels, no recording can be used, or ``out`` holds another dataset.
    CheckpointError
        The checkpoint or one of its encoders is missing.
    """
    listed = read_manifest(manifest)
    if listed.unused:
        tell(f"columns of {manifest.name} that say nothing here: {', '.join(listed.unused)}")
    failed: dict[str, str] = {}
    entries = with_kinds(listed.entries, failed, manifest)
    for name, reason in failed.items():
        tell(f"{name}: passed over: {reason}")
    predictor = Predictor.from_pretrained(checkpoint)
    info = _info(predictor, checkpoint, entries, options, command=_command(manifest, out, checkpoint, options))
    _open(out, info, checkpoint)
    for name in set_aside(out, keep={entry.name for entry in entries}):
        tell(f"{name}: set aside, since the manifest does not have it, or it failed")
    done: dict[str, Outcome] = {}
    for number, entry in enumerate(with_splits(entries), 1):
        try:
            done[entry.name], line = update(entry, out, info, predictor=predictor, options=options)
        except KuaiHLError as error:
            failed[entry.name] = f"{entry.where}: {error}"
            line = f"passed over: {failed[entry.name]}"
            set_aside(out, keep={e.name for e in entries} - {entry.name})
        tell(f"[{number}/{len(entries)}] {entry.name}: {line}")
    good = [entry for entry in entries if entry.name in done]
    if not good:
        raise LabelError(f"{manifest}: none of its recordings can be used.")
    planned = with_splits(good)  # anew, since what failed takes no part in it
    for entry in planned:
        update(entry, out, info, predictor=predictor, options=options)
    if lacking := {"train", "validation"} - {str(entry.split) for entry in planned}:
        tell(f"no recording is left for {' and '.join(sorted(lacking))}: train.fit needs at least two.")
    write_info(out, replace(info, source=_source(good, options)))
    return Prepared(done, failed)


def _info(
    predictor: Predictor, checkpoint: Path, entries: Sequence[Entry], options: LabelOptions, *, command: str
) -> DatasetInfo:
    config = predictor.config
    visual = find_visual_encoder(config.visual_encoder, checkpoint=checkpoint)
    text = find_text_encoder(config.text_encoder, checkpoint=checkpoint)
    return DatasetInfo(
        visual_encoder=config.visual_encoder,
        picture_dim=config.picture_dim,
        text_encoder=config.text_encoder,
        text_dim=config.text_dim,
        encoders={
            config.visual_encoder: sha256_file(visual),
            config.text_encoder: sha256_file(text / "model.safetensors"),
        },
        target=TARGETS[entries[0].kind],
        source=_source(entries, options),
        made_by=command,
        parameters={"labels": entries[0].kind, "speech_model": config.speech_model, "options": asdict(options)},
    )


def _source(entries: Sequence[Entry], options: LabelOptions) -> str:
    kind, streamers = entries[0].kind, len({entry.streamer for entry in entries})
    measured = {
        "impressions": f"impressions, long views from {options.long_view_s:g} s",
        "most-replayed": "YouTube's most-replayed curves",
        "participation": "audience participation in chat",
        "own": "values of their owner",
    }[kind]
    count = f"{len(entries)} recording{'s' if len(entries) > 1 else ''}"
    return f"own recordings: {count} of {streamers} streamer{'s' if streamers > 1 else ''}, labelled by {measured}"


def _command(manifest: Path, out: Path, checkpoint: Path, options: LabelOptions) -> str:
    default = asdict(LabelOptions())
    changed = [f"--{k.replace('_', '-')} {v:g}" for k, v in asdict(options).items() if v != default[k]]
    given = [] if checkpoint == DEFAULT_CHECKPOINT else [f"--checkpoint {checkpoint.name}"]
    return " ".join([f"python -m train.prepare recordings {manifest.name}", *given, *changed, f"--out {out.name}"])


def _open(out: Path, info: DatasetInfo, checkpoint: Path) -> None:
    """Make the dataset, or go on with one that may have had other recordings and options of labels."""
    if (out / DATASET_FILE).exists():
        known = read_info(out)
        options = {"options": info.parameters["options"]}
        if replace(known, source=info.source, parameters={**known.parameters, **options}) == info:
            write_info(out, info)
    open_dataset(out, info, find_visual_encoder(info.visual_encoder, checkpoint=checkpoint))
