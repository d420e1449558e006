"""What KuaiLive and KuaiLive-M3 share: the paper's LVTR from sessions, and rooms without recordings to shards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from kuaihl.features.embeddings import segment_features
from kuaihl.features.text import TextEncoder, TextFeatures
from kuaihl.records import Comment, Segment
from train.data.labels import LabelOptions, SegmentLabels
from train.data.shards import build_columns
from train.dataset import DatasetInfo, write_shard

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """A release of KuaiLive, and what to make of it."""

    folder: tyro.conf.Positional[Path]
    """The release, flat or with its tables in live/."""
    out: Path
    """New folder for the dataset."""
    options: Annotated[LabelOptions, tyro.conf.arg(name="")] = field(default_factory=LabelOptions)
    """How the LVTR is computed."""
    shows: bool = False
    """Count rooms that were shown but not entered as impressions of the LVTR."""
    top_k: int = 10_000
    """Most watched rooms to use."""
    memory: str = "4GB"
    """Memory for DuckDB, which sorts larger tables on disk."""


@dataclass(frozen=True, slots=True)
class AudienceRoom:
    """A room of which the audience is known, but no recording.

    Attributes
    ----------
    start_s
        When it began, in seconds since 1970.
    pictures
        (segments, picture_dim): one picture token a segment.
    comments
        With times in the room.
    """

    name: str
    streamer: str
    start_s: float
    split: str
    segments: Sequence[Segment]
    pictures: np.ndarray
    comments: Sequence[Comment]
    labels: SegmentLabels


def session_labels(
    segments: Sequence[Segment],
    starts_s: np.ndarray,
    views_s: np.ndarray,
    *,
    shown_s: np.ndarray | None = None,
    options: LabelOptions,
) -> SegmentLabels:
    """Compute the paper's LVTR: the share of the impressions in a segment that became long views.

    Parameters
    ----------
    starts_s, views_s
        (sessions,): when each began, in the room, and its length; NaN for unknown.
    shown_s
        (impressions,): when the room was shown and not entered.
    """
    is_long = views_s >= options.long_view_s
    impressions, long_views = (_count(segments, times) for times in (starts_s, starts_s[is_long]))
    if shown_s is not None:
        impressions += _count(segments, shown_s)
    valid = impressions >= max(options.min_impressions, 1)
    label = np.where(valid, long_views / np.maximum(impressions, 1), np.nan)
    return SegmentLabels(label, valid, "impressions", impressions, long_views)


def write_audience_room(out: Path, info: DatasetInfo, room: AudienceRoom, encoder: TextEncoder | None) -> None:
    """Write the shard of a room. Without an encoder, comments count but have no text."""
    starts_s = np.array([segment.start_s for segment in room.segments])
    ends_s = np.array([segment.end_s for segment in room.segments])
    groups: list[list[Comment]] = [[] for _ in room.segments]
    for comment in room.comments:
        index = int(np.searchsorted(ends_s, comment.time_s, side="right"))
        if index < len(groups) and comment.time_s >= starts_s[index]:
            groups[index].append(comment)
    text = TextFeatures(None, None, None)
    if encoder is not None:
        text = encoder.encode(None, [[comment.text for comment in group] for group in groups])
    features = segment_features(
        room.segments,
        pictures=room.pictures[:, None].astype(np.float16),
        speech=None,
        comments=groups,
        text=text,
    )
    columns = build_columns(
        name=room.name,
        streamer=room.streamer,
        day=int(room.start_s // DAY_S),
        split=room.split,
        segments=room.segments,
        features=features,
        speech=None,
        comments=groups if encoder is not None else None,
        labels=room.labels,
    )
    write_shard(out / "rooms" / f"{room.name}.parquet", info, columns)


def _count(segments: Sequence[Segment], times_s: np.ndarray) -> np.ndarray:
    """Count the times in each segment, start included."""
    times_s = np.sort(times_s)
    edges = ([s.start_s for s in segments], [s.end_s for s in segments])
    first, last = (np.searchsorted(times_s, np.array(x), side="left") for x in edges)
    return last - first
