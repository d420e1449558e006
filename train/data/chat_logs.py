"""Chat logs -> a dataset on disk whose label is audience participation; pictures and speech are absent."""

import hashlib
import logging
from pathlib import Path

from tqdm import tqdm

from kuaihl.comments import selection
from kuaihl.errors import CommentLogError, LabelError
from kuaihl.features.embeddings import segment_features
from kuaihl.features.pretrained import COMPACT_SWIN, find_text_encoder, find_visual_encoder, sha256_file
from kuaihl.features.text import TextEncoder, TextFeatures
from kuaihl.model.config import PRESETS
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import SEGMENT_S, segments_of
from train.data.labels import from_comments
from train.data.participation import TARGET, ChatLog, find_logs, split_by_date
from train.dataset import DatasetInfo, write_shard
from train.prepare import columns, lines, open_dataset

logger = logging.getLogger(__name__)

LONGEST_S = 48 * 3600
"""No stream lasts longer; what a log places later has a damaged time, and is left out."""


def prepare_chat(logs: Path, out: Path, *, text: bool = True) -> None:
    """Encode chats and write them, a shard for each; a run that was interrupted goes on with those that lack.

    A chat that cannot be read, or in which no segment can be scored, is reported and passed over.

    Parameters
    ----------
    logs
        What `train.data.participation.find_logs` takes.
    out
        Folder of the dataset.
    text
        Whether to encode what was written, which takes most of the time; without it there are activity and words alone.

    Raises
    ------
    LabelError
        The logs cannot be found, ``out`` holds another dataset, or no chat at all can be used.
    CheckpointError
        An encoder is missing.
    """
    found = find_logs(logs)
    preset = PRESETS["compact"]
    # It sees nothing here; a checkpoint that is trained on chat alone goes with one all the same.
    visual_file = find_visual_encoder(COMPACT_SWIN, checkpoint=DEFAULT_CHECKPOINT)
    text_folder = find_text_encoder(preset.text_encoder)
    encoder = TextEncoder(preset.text_encoder, weights=text_folder) if text else None
    channels = sorted({log.channel for log in found})
    info = DatasetInfo(
        visual_encoder=COMPACT_SWIN,
        picture_dim=preset.picture_dim,
        text_encoder=preset.text_encoder,
        text_dim=preset.text_dim,
        encoders={preset.text_encoder: sha256_file(text_folder / "model.safetensors")} if text else {},
        target=TARGET,
        source=f"real chat: audience participation in {len(found)} streams of {len(channels)} channels"
        + ("" if text else ", activity and words alone"),
        made_by=f"python -m train.prepare chat --logs {logs.name} --out {out.name}" + ("" if text else " --no-text"),
        parameters={"text": text, "streams": len(found), "names_sha256": _digest(found)},
    )
    open_dataset(out, info, visual_file)
    for day, (log, split) in enumerate(zip(tqdm(found, unit="chat"), split_by_date(len(found)), strict=True)):
        shard = out / "rooms" / f"{log.name}.parquet"
        if shard.exists():
            continue
        try:
            values = _columns(log, encoder, day=day, split=split)
        except (CommentLogError, LabelError) as error:
            logger.warning("passed over: %s", error)
            continue
        write_shard(shard, info, values)
    if not any((out / "rooms").glob("*.parquet")):
        raise LabelError(f"{logs}: no chat has a segment to score: a participation in 21 segments one after another.")


def _columns(log: ChatLog, encoder: TextEncoder | None, *, day: int, split: str) -> dict[str, object]:
    """Columns of a chat's shard; its segments end with the last that was written in."""
    comments = [c for c in log.read() if 0 <= c.time_s < LONGEST_S]
    segments = segments_of(SEGMENT_S * (1 + comments[-1].time_s // SEGMENT_S)) if comments else []
    labels = from_comments(segments, comments)
    if not labels.valid.any():
        raise LabelError(f"{log.name}: no segment can be scored: too few chatters were present, or none has a name.")
    written = selection.by_segment(comments, segments)
    text = TextFeatures(None, None, None) if encoder is None else encoder.encode(None, lines(written))
    return columns(
        name=log.name,
        streamer=log.channel,
        day=day,
        split=split,
        segments=segments,
        features=segment_features(segments, pictures=None, speech=None, comments=written, text=text),
        speech=None,
        comments=written,
        labels=labels,
    )


def _digest(logs: list[ChatLog]) -> str:
    return hashlib.sha256("\n".join(f"{log.name}\t{log.channel}" for log in logs).encode()).hexdigest()
