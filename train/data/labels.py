"""What users know of their audience to a label for each segment: impressions, most replayed, participation, or own."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kuaihl.comments import reader, selection
from kuaihl.comments.diagnostics import Report
from kuaihl.errors import LabelError
from kuaihl.records import MIN_SEGMENT_S, SEGMENT_S, Comment, Segment, Skipped
from train.data.heatmap import is_json, read_heatmap
from train.data.participation import participation
from train.data.tables import open_table, read_duration_s, read_time_s

Kind = Literal["impressions", "most-replayed", "participation", "own"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TARGETS: dict[Kind, str] = {
    "impressions": "lvtr",
    "most-replayed": "most-replayed",
    "participation": "participation",
    "own": "label",
}
"""What a model predicts that learned from each kind."""

_TIMES = (
    "time_s", "start_s", "time", "start", "start_time", "started_at", "joined_at", "timestamp", "time_ms", "start_ms",
)  # fmt: skip
_ENDS = ("end_s", "end", "end_time", "ended_at", "left_at", "end_ms")
_VIEWS = (
    "view_s", "view_seconds", "view_time_s", "view_time", "watch_s", "watch_seconds", "watch_time_s", "watch_time",
    "duration_s", "duration", "dwell_s", "view_ms", "watch_ms", "watch_time_ms", "duration_ms",
)  # fmt: skip
_INDICES = ("segment", "index", "segment_index")
_VALUES = ("label", "value", "lvtr", "score", "rating")


@dataclass(frozen=True, slots=True)
class SegmentLabels:
    """Labels of a recording, all (segments,).

    Attributes
    ----------
    label, valid
        Values in [0, 1], and bool: where there is one.
    kind
        What was measured.
    impressions, long_views
        The counts behind an LVTR.
    appeal
        The probability that the simulator drew the label with.
    skipped
        Rows that could not be used, counted, with the place of the first.
    """

    label: np.ndarray
    valid: np.ndarray
    kind: str
    impressions: np.ndarray | None = None
    long_views: np.ndarray | None = None
    appeal: np.ndarray | None = None
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How labels are computed."""

    long_view_s: float = 60.0
    """A view of at least this many seconds is a long view."""
    min_impressions: int = 20
    """A segment with fewer impressions has no label."""
    intro_s: float = 60.0
    """Seconds at the beginning of a most-replayed curve that give no labels."""


def find_kind(file: Path) -> Kind:
    """Determine the kind of a label file from its content; LabelError if it is none."""
    if is_json(file):
        return "most-replayed"
    table = open_table(file)
    if table.find(_VALUES) and (table.find(_INDICES) or table.find(_TIMES)):
        return "own"
    if table.find(_TIMES) and (table.find(_VIEWS) or table.find(_ENDS)):
        return "impressions"
    raise LabelError(
        f"{file}: its columns {', '.join(table.columns)} are not labels. An impressions log has time_s and view_s, or"
        " start_s and end_s; your own labels have segment or start_s, and label."
    )


def read_labels(
    segments: Sequence[Segment],
    file: Path,
    kind: Kind,
    *,
    stream_start: datetime | None = None,
    comment_offset_s: float = 0.0,
    options: LabelOptions,
) -> SegmentLabels:
    """Read labels for the segments of a recording.

    Parameters
    ----------
    file
        A file of this kind; for participation the comment log.
    stream_start
        When the recording began, with its time zone, if the file has dates.
    comment_offset_s
        Added to the times of the comment log.

    Raises
    ------
    LabelError, CommentLogError
        The file cannot be read, is of another kind, or gives no segment a label.
    """
    if kind == "impressions":
        labels = from_impressions(segments, file, stream_start=stream_start, options=options)
        requirement = f"has {options.min_impressions} impressions"
    elif kind == "most-replayed":
        labels = from_heatmap(segments, file, intro_s=options.intro_s)
        requirement = "was replayed after the intro"
    elif kind == "participation":
        log = reader.read(file, offset_s=comment_offset_s, stream_start=stream_start)
        labels, requirement = from_comments(segments, log.comments), "has 20 chatters present, 21 segments in a row"
    else:
        labels, requirement = from_table(segments, file, stream_start=stream_start), "has a value"
    if not labels.valid.any():
        reasons = "".join(f"; {s.count:,} × {s.reason} ({s.where})" for s in labels.skipped)
        raise LabelError(f"{file}: no segment gets a label, since none {requirement}{reasons}.")
    return labels


def from_impressions(
    segments: Sequence[Segment],
    file: Path,
    *,
    options: LabelOptions,
    stream_start: datetime | None = None,
) -> SegmentLabels:
    """Compute LVTR (Eq. 1): the share of the impressions that began in a segment and became long views.

    The file (CSV, Parquet) has a row for each impression: its time and duration, or its start and end. If no view ends
    after the recording, the stream ended with it: views that began less than ``long_view_s`` before the end were cut
    short, and their segments have no label.
    """
    table, report = open_table(file), Report()
    start_column, view_column, end_column = table.find(_TIMES), table.find(_VIEWS), table.find(_ENDS)
    last_column = view_column or end_column
    if not start_column or not last_column:
        raise _missing_columns(file, table.columns, "time_s and view_s, or start_s and end_s")
    rows = []
    for where, (start, last) in table.rows(start_column, last_column, report=report):
        place = f"{file}, {where}"
        start_s = read_time_s(start, start=stream_start, column=start_column, place=place)
        if view_column:
            view_s = read_duration_s(last, column=view_column)
        else:
            end_s = read_time_s(last, start=stream_start, column=last_column, place=place)
            view_s = None if end_s is None or start_s is None else end_s - start_s
        if start_s is None:
            report.damage(f"rows without a readable {start_column}", where)
        elif view_s is None:
            report.damage(f"rows without a readable {last_column}", where)
        elif view_s < 0:
            report.damage(f"rows that end before they begin, by {last_column}", where)
        else:
            rows.append((start_s, view_s))
    expected = f"{start_column} and {last_column} as seconds or h:mm:ss, or as dates with the year first"
    _check_readable(file, report, expected=expected, rows=rows)
    starts_s, views_s = np.array(rows).T
    ends_s = np.array([segment.end_s for segment in segments])
    index = np.searchsorted(ends_s, starts_s, side="right")
    early, late = starts_s < 0, index == len(segments)
    for reason, outside in (("before the recording starts", early), ("after the last segment", late)):
        if outside.any():
            report.skip(f"impressions {reason}", f"{starts_s[outside][0]:.0f} s", count=int(outside.sum()))
    inside, is_long = ~early & ~late, views_s >= options.long_view_s
    impressions = np.bincount(index[inside], minlength=len(segments))
    long_views = np.bincount(index[inside & is_long], minlength=len(segments))
    valid = impressions >= max(options.min_impressions, 1)
    if (starts_s + views_s).max() <= ends_s[-1] + MIN_SEGMENT_S:
        valid &= ends_s + options.long_view_s <= ends_s[-1]
    label = np.where(valid, long_views / np.maximum(impressions, 1), np.nan)
    return SegmentLabels(label, valid, "impressions", impressions, long_views, skipped=report.skipped())


def from_heatmap(segments: Sequence[Segment], file: Path, *, intro_s: float = 60.0) -> SegmentLabels:
    """Average YouTube's most-replayed curve, from the .info.json of yt-dlp, over each segment.

    Videos are played from the start, so that their beginning is replayed most, whatever it shows. Pieces that begin
    within ``intro_s``, and the first piece in any case, give no label, and the others are scaled to a maximum of 1.
    """
    report = Report()
    pieces = read_heatmap(file, report)
    end_s, length_s = pieces[:, 1].max(), segments[-1].end_s
    if abs(end_s - length_s) > max(SEGMENT_S, 0.02 * length_s):
        raise LabelError(
            f"{file}: its heatmap is of a video of {end_s:.0f} s, and the recording has {length_s:.0f} s. It must be"
            " the whole video."
        )
    kept = pieces[pieces[:, 0] >= max(intro_s, pieces[:, 1].min())]
    top = kept[:, 2].max(initial=0.0)
    mean, covered = _average(segments, kept / (1.0, 1.0, top or 1.0))
    valid = covered & (top > 0)
    return SegmentLabels(np.where(valid, mean, np.nan), valid, "most-replayed", skipped=report.skipped())


def from_comments(segments: Sequence[Segment], comments: Sequence[Comment]) -> SegmentLabels:
    """Compute audience participation where it is scored; see `train.data.participation`."""
    written = selection.text_comments(comments)
    authors: dict[str, int] = {}
    pairs = [
        (index, authors.setdefault(comment.user, len(authors)))
        for index, in_segment in enumerate(selection.by_segment(written, segments))
        for comment in in_segment
        if comment.user
    ]
    segment, chatter = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    measured = participation(segment, chatter, segments=len(segments))
    label = np.where(measured.scored, measured.share, np.nan)
    skipped = selection.outside(written, segments)
    if nameless := [comment.time_s for comment in written if not comment.user]:
        skipped = (*skipped, Skipped("comments without an author", len(nameless), f"{nameless[0]:.0f} s"))
    return SegmentLabels(label, measured.scored, "participation", skipped=skipped)


def from_table(segments: Sequence[Segment], file: Path, *, stream_start: datetime | None = None) -> SegmentLabels:
    """Read your own labels (CSV, Parquet): a value in [0, 1] for a segment, counted from 0, or a time.

    A value holds for its whole segment, or from start to end if the row has both. A segment gets the mean of the
    values that cover it, if they cover half of it. Rows with an empty value are ignored.
    """
    table, report = open_table(file), Report()
    value_column, index_column, start_column, end_column = map(table.find, (_VALUES, _INDICES, _TIMES, _ENDS))
    place_column = index_column or start_column
    if not value_column or not place_column:
        raise _missing_columns(file, table.columns, "segment or start_s, and label")
    until_column = end_column if end_column and not index_column else place_column
    ends_s = [segment.end_s for segment in segments]
    spans: list[tuple[float, float, float]] = []
    for where, (start, end, value) in table.rows(place_column, until_column, value_column, report=report):
        place = f"{file}, {where}"
        number = read_duration_s(value, column=value_column)
        if number is not None and not 0 <= number <= 1:
            raise LabelError(
                f"{place}, column {value_column}: {value} is not between 0 and 1. Divide percentages by 100, other"
                " values by their possible maximum, the same for all recordings."
            )
        if value is None or value == "":
            continue
        span = None
        if index_column:
            index = read_duration_s(start, column="")
        else:
            start_s = read_time_s(start, start=stream_start, column=place_column, place=place)
            end_s = read_time_s(end, start=stream_start, column=until_column, place=place)
            index = None if end_column or start_s is None or start_s < 0 else bisect_right(ends_s, start_s)
            if end_column and start_s is not None and end_s is not None and 0 < end_s > start_s < ends_s[-1]:
                span = start_s, end_s
        if index in range(len(segments)):
            span = segments[int(index)].start_s, segments[int(index)].end_s
        if number is None:
            report.damage(f"rows without a readable {value_column}", where)
        elif span is None:
            report.damage(f"rows whose {place_column} is not in the recording", where)
        else:
            spans.append((*span, number))
    _check_readable(file, report, expected=f"{place_column} in the recording, {value_column} from 0 to 1", rows=spans)
    label, valid = _average(segments, np.array(spans))
    return SegmentLabels(label, valid, "own", skipped=report.skipped())


def _average(segments: Sequence[Segment], pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average pieces (start, end, value) over each segment; return the mean, and whether they cover half of it."""
    starts_s, ends_s, values = pieces.T
    mean, covered = np.full(len(segments), np.nan), np.zeros(len(segments), dtype=bool)
    for k, segment in enumerate(segments):
        overlap_s = np.clip(np.minimum(ends_s, segment.end_s) - np.maximum(starts_s, segment.start_s), 0, None)
        covered[k] = overlap_s.sum() >= (segment.end_s - segment.start_s) / 2
        if covered[k]:
            mean[k] = overlap_s @ values / overlap_s.sum()
    return mean, covered


def _check_readable(file: Path, report: Report, *, expected: str, rows: Sequence[object]) -> None:
    if not rows:
        reasons = (
            "; ".join(f"{s.count:,} × {s.reason} (first: {s.where})" for s in report.skipped()) or "it has no rows"
        )
        raise LabelError(f"{file}: nothing can be read: {reasons}. Expected: {expected}.")


def _missing_columns(file: Path, columns: Sequence[str], expected: str) -> LabelError:
    return LabelError(f"{file} has the columns {', '.join(columns)}. Expected: {expected}.")
