"""What every source of a dataset shares: opening its folder, the columns of a shard, and writing shards."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kuaihl.errors import KuaiHLError, LabelError
from kuaihl.features.embeddings import SOURCES, SegmentFeatures
from kuaihl.features.pretrained import find_visual_encoder
from kuaihl.model.config import KuaiHLConfig
from kuaihl.records import Comment, Segment, Utterance
from train.data.labels import SegmentLabels
from train.dataset import DATASET_FILE, DatasetInfo, copy_encoder, encoder_hashes, read_info, write_info, write_shard

logger = logging.getLogger(__name__)


def open_dataset(
    out: Path,
    config: KuaiHLConfig,
    checkpoint: Path,
    *,
    unused: Collection[str] = (),
    changeable: Collection[str] = (),
    **description: Any,
) -> DatasetInfo:
    """Create the folder of a dataset, or open it again to continue.

    Parameters
    ----------
    config, checkpoint
        Names of the encoders, and the folder where their weights are looked for first.
    unused
        Names of encoders that compute no feature of this dataset.
    changeable
        Fields and parameters that may differ from those in the folder, and replace them.
    description
        The remaining fields of `DatasetInfo`.

    Raises
    ------
    LabelError
        ``out`` has another dataset.
    CheckpointError
        An encoder is missing.
    """
    hashes = encoder_hashes(config, checkpoint)
    info = DatasetInfo(
        visual_encoder=config.visual_encoder,
        picture_dim=config.picture_dim,
        text_encoder=config.text_encoder,
        text_dim=config.text_dim,
        encoders={name: digest for name, digest in hashes.items() if name not in unused},
        **description,
    )
    ignored = {"made_by", "parameters", *changeable}
    if (out / DATASET_FILE).exists():
        fields, known = (asdict(x) | x.parameters for x in (info, read_info(out)))
        if any(fields.get(name) != known.get(name) for name in (fields.keys() | known.keys()) - ignored):
            raise LabelError(f"{out} has another dataset, or one of other encoders. Choose another folder.")
    (out / "rooms").mkdir(parents=True, exist_ok=True)
    copy_encoder(find_visual_encoder(config.visual_encoder, checkpoint=checkpoint).parent, out)
    write_info(out, info)
    return info


def write_shards(out: Path, info: DatasetInfo, encoders: Mapping[str, Callable[[], dict[str, object]]]) -> int:
    """Write the shards that do not exist yet. One that fails is logged and skipped; return how many failed.

    Parameters
    ----------
    encoders
        Functions that return the columns of a shard, by the name of its room.
    """
    failed = 0
    for name, encode in tqdm(encoders.items(), unit="room"):
        shard = out / "rooms" / f"{name}.parquet"
        if shard.exists():
            continue
        try:
            write_shard(shard, info, encode())
        except KuaiHLError as error:
            logger.warning("skipped: %s", error)
            failed += 1
    return failed


def build_columns(
    *,
    name: str,
    streamer: str,
    day: int,
    split: str,
    segments: Sequence[Segment],
    features: SegmentFeatures,
    speech: Sequence[Sequence[Utterance]] | None,
    comments: Sequence[Sequence[Comment]] | None,
    labels: SegmentLabels,
) -> dict[str, object]:
    """Return the columns of a shard, as in `train.dataset.schema`.

    Parameters
    ----------
    name, streamer, day, split
        Of the room; ``day`` counts from 1970-01-01.
    speech, comments
        Of each segment; None if there is no such source.
    """
    count = len(segments)
    return {
        **label_columns(count, streamer=streamer, day=day, split=split, labels=labels),
        "room": [name] * count,
        "index": np.arange(count),
        "start_s": np.array([segment.start_s for segment in segments]),
        "pictures": None if features.pictures is None else features.pictures.reshape(count, -1),
        "text_speech": features.text.speech,
        "text_comments": features.text.comments,
        "text_both": features.text.both,
        "activity": np.concatenate([features.chat_activity, features.speech_activity], axis=1),
        "words": features.words,
        "counts": features.word_counts,
        **{f"has_{source}": features.mask(source) for source in SOURCES},
        "speech": speech_texts(speech),
        "comments": comment_texts(comments),
    }


def label_columns(count: int, *, streamer: str, day: int, split: str, labels: SegmentLabels) -> dict[str, object]:
    """Return the columns of a shard that do not depend on the recording."""
    return {
        "streamer": [streamer] * count,
        "day": np.full(count, day),
        "split": [split] * count,
        "impressions": labels.impressions,
        "long_views": labels.long_views,
        "label": labels.label,
        "label_kind": [labels.kind] * count,
        "valid": labels.valid,
        "appeal": labels.appeal,
    }


def speech_texts(speech: Sequence[Sequence[Utterance]] | None) -> list[str] | None:
    """Return the speech of each segment as one text, for the text encoder."""
    return None if speech is None else [" ".join(u.text for u in utterances) for utterances in speech]


def comment_texts(comments: Sequence[Sequence[Comment]] | None) -> list[list[str]] | None:
    """Return the texts of each segment's comments, for the text encoder."""
    return None if comments is None else [[comment.text for comment in some] for some in comments]
