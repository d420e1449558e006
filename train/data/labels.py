"""What users know of their audience -> a label for each segment: impressions, most replayed, participation, or own.

Each kind is a pure function of the segments and a file; which kind a file is can be seen by its content.
"""

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
from train.data.tables import Table, duration_s, open_table, time_s

Kind = Literal["impressions", "most-replayed", "participation", "own"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TARGETS: dict[Kind, str] = {
    "impressions": "lvtr",
    "most-replayed": "most-replayed",
    "participation": "participation",
    "own": "label",
}
"""What a model learns from each kind."""

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
    """What is known of a recording's audience, all (segments,): ``label`` in [0, 1] is trained on where ``valid``.

    ``kind`` is what was measured; ``impressions`` and ``long_views`` are the counts behind an LVTR, ``appeal`` the
    simulator's truth, and ``skipped`` what could not be used, with the place of the first.
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
    """How labels are made of what a file says.

    Attributes
    ----------
    long_view_s
        A view of so many seconds is a long one.
    min_impressions
        A segment with fewer has no label: a ratio of few is mostly chance.
    intro_s
        Of a most-replayed curve, so much of the beginning is left out.
    """

    long_view_s: float = 60.0
    min_impressions: int = 20
    intro_s: float = 60.0


def find_kind(file: Path) -> Kind:
    """Tell by its content what a file of labels is; LabelError where it is nothing that is read."""
    if is_json(file):
        return "most-replayed"
    table = open_table(file)
    if table.find(_VALUES) and (table.find(_INDICES) or table.find(_TIMES)):
        return "own"
    if table.find(_TIMES) and (table.find(_VIEWS) or table.find(_ENDS)):
        return "impressions"
    raise LabelError(
        f"{file}: its columns {', '.join(table.columns)} are no labels that are read: an impressions log has time_s and"
        " view_s, or start_s and end_s; labels of your own have segment or start_s, and label."
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
    """Read the labels of a recording's ``segments`` from a file of the kind given.

    Parameters
    ----------
    file
        For participation, the comment log.
    stream_start
        When the recording began, with its zone, where the file's times are by the wall clock.
    comment_offset_s
        Added to the times of the comment log.

    Raises
    ------
    LabelError, CommentLogError
        The file cannot be read, is not of this kind, or leaves no segment with a label.
    """
    if kind == "impressions":
        found = from_impressions(
            segments,
            file,
            stream_start=stream_start,
            long_view_s=options.long_view_s,
            min_impressions=options.min_impressions,
        )
        lack = f"has {options.min_impressions} impressions"
    elif kind == "most-replayed":
        found, lack = from_heatmap(segments, file, intro_s=options.intro_s), "was replayed behind the intro"
    elif kind == "participation":
        log = reader.read(file, offset_s=comment_offset_s, stream_start=stream_start)
        found, lack = from_comments(segments, log.comments), "has 20 chatters present, 21 segments on end"
    else:
        found, lack = from_table(segments, file, stream_start=stream_start), "has a value"
    if not found.valid.any():
        why = "".join(f"; {s.count:,} × {s.reason} ({s.where})" for s in found.skipped)
        raise LabelError(f"{file}: no segment gets a label, as none {lack}{why}.")
    return found


def from_impressions(
    segments: Sequence[Segment],
    file: Path,
    *,
    stream_start: datetime | None = None,
    long_view_s: float = 60.0,
    min_impressions: int = 20,
) -> SegmentLabels:
    """LVTR (Eq. 1): of the impressions that began in a segment, the share that lasted ``long_view_s``.

    The file (CSV, Parquet) has a row an impression: its time and how long it was watched, or its start and end.
    Where no view outlasts the recording, the stream ended with it, and whoever came in the last ``long_view_s`` could
    not stay for long: those segments have no label either.
    """
    table, report = open_table(file), Report()
    began_in, view_in, end_in = table.find(_TIMES), table.find(_VIEWS), table.find(_ENDS)
    if not began_in or not (view_in or end_in):
        raise _columns_lack(table, "time_s and view_s, or start_s and end_s")
    until_in = view_in or end_in
    began, views = [], []
    for where, (time, until) in table.rows(began_in, until_in, report=report):
        place = f"{file}, {where}"
        at_s = time_s(time, start=stream_start, column=began_in, where=place)
        if view_in:
            view_s = duration_s(until, column=view_in)
        else:
            end_s = time_s(until, start=stream_start, column=end_in, where=place)
            view_s = None if end_s is None or at_s is None else end_s - at_s
        if at_s is None:
            report.damage(f"rows without a readable {began_in}", where)
        elif view_s is None:
            report.damage(f"rows without a readable {until_in}", where)
        elif view_s < 0:
            report.damage(f"rows that end before they begin, by their {until_in}", where)
        else:
            began.append(at_s)
            views.append(view_s)
    expected = f"{began_in} and {until_in} as seconds or h:mm:ss, or by the wall clock with dates written year first"
    _need(file, report, expected=expected, found=len(began))
    begins_s, views_s = np.array(began), np.array(views)
    ends_s = np.array([s.end_s for s in segments])
    index = np.searchsorted(ends_s, begins_s, side="right")
    early, late = begins_s < 0, index == len(segments)
    for reason, outside in (("before the recording starts", early), ("after the last segment", late)):
        if outside.any():
            report.skip(f"impressions {reason}", f"{begins_s[outside][0]:.0f} s", count=int(outside.sum()))
    inside, long = ~early & ~late, views_s >= long_view_s
    impressions = np.bincount(index[inside], minlength=len(segments))
    long_views = np.bincount(index[inside & long], minlength=len(segments))
    cut_off = (begins_s + views_s).max() <= ends_s[-1] + MIN_SEGMENT_S
    valid = (impressions >= max(min_impressions, 1)) & ~(cut_off & (ends_s + long_view_s > ends_s[-1]))
    label = np.where(valid, long_views / np.maximum(impressions, 1), np.nan)
    return SegmentLabels(label, valid, "impressions", impressions, long_views, skipped=report.skipped())


def from_heatmap(segments: Sequence[Segment], file: Path, *, intro_s: float = 60.0) -> SegmentLabels:
    """YouTube's most-replayed curve, from the .info.json that yt-dlp writes: its mean over each segment.

    Playback starts at the start, so the beginning is the most replayed part of most videos, whatever it shows. So what
    begins within ``intro_s``, and the curve's first piece however long it is, gives no label, and the curve is scaled
    to have its maximum, which YouTube sets to 1, among what is left.
    """
    report = Report()
    pieces = read_heatmap(file, report)
    ends_s = np.array([s.end_s for s in segments])
    off_s = pieces[:, 1].max() - ends_s[-1]
    if abs(off_s) > max(SEGMENT_S, 0.02 * ends_s[-1]):
        raise LabelError(
            f"{file}: its heatmap is of a video of {pieces[:, 1].max():.0f} s, and the recording has"
            f" {ends_s[-1]:.0f} s: it must be the whole of that video."
        )
    after = pieces[:, 0] >= max(intro_s, pieces[:, 1].min())
    top = pieces[after, 2].max(initial=0.0)
    mean, covered = _mean_over(segments, pieces[after] / (1.0, 1.0, top or 1.0))
    valid = covered & (top > 0)
    return SegmentLabels(np.where(valid, mean, np.nan), valid, "most-replayed", skipped=report.skipped())


def from_comments(segments: Sequence[Segment], comments: Sequence[Comment]) -> SegmentLabels:
    """Audience participation: of the chatters present, the share who write; labelled where it is scored.

    See `train.data.participation`: presence takes 20 segments to fill, so the first 20 have no label.
    """
    spoken = selection.text_comments(comments)
    who: dict[str, int] = {}
    signed = [
        (index, who.setdefault(comment.user, len(who)))
        for index, some in enumerate(selection.by_segment(spoken, segments))
        for comment in some
        if comment.user
    ]
    segment, chatter = np.array(signed, dtype=np.int64).reshape(-1, 2).T
    measured = participation(segment, chatter, segments=len(segments))
    label = np.where(measured.scored, measured.share, np.nan)
    skipped = selection.outside(spoken, segments)
    if unsigned := [c.time_s for c in spoken if not c.user]:
        reason = "comments of which the log does not tell who wrote them"
        skipped = (*skipped, Skipped(reason, len(unsigned), f"{unsigned[0]:.0f} s"))
    return SegmentLabels(label, measured.scored, "participation", skipped=skipped)


def from_table(segments: Sequence[Segment], file: Path, *, stream_start: datetime | None = None) -> SegmentLabels:
    """Labels of one's own (CSV, Parquet): for a segment, counted from 0, or a time, a value in [0, 1].

    A value is that of its whole segment; with a start and an end, that of this span. A segment has the mean over what
    it is covered by, and no label where that is less than half of it; a row with an empty value says nothing.
    """
    table, report = open_table(file), Report()
    value_in, index_in, start_in, end_in = (table.find(names) for names in (_VALUES, _INDICES, _TIMES, _ENDS))
    place_in = index_in or start_in
    if not value_in or not place_in:
        raise _columns_lack(table, "segment or start_s, and label")
    until_in = end_in if end_in and not index_in else place_in
    spans: list[tuple[float, float, float]] = []
    for where, (place, until, value) in table.rows(place_in, until_in, value_in, report=report):
        at = f"{file}, {where}"
        number = duration_s(value, column=value_in)
        if number is not None and not 0 <= number <= 1:
            raise LabelError(
                f"{at}, column {value_in}: {value} is not between 0 and 1. Scale all values alike: percentages by"
                " 1/100, others by the largest that there can be, the same for all recordings."
            )
        if index_in:
            held = _holder(segments, duration_s(place, column=""), by_index=True)
        else:
            start_s = time_s(place, start=stream_start, column=place_in, where=at)
            end_s = time_s(until, start=stream_start, column=until_in, where=at)
            both = start_s is not None and end_s is not None and 0 < end_s > start_s < segments[-1].end_s
            held = (start_s, end_s) if both else None if end_in else _holder(segments, start_s, by_index=False)
        if value is None or value == "":
            continue
        if number is None:
            report.damage(f"rows without a readable {value_in}", where)
        elif held is None:
            report.damage(f"rows whose {place_in} is no place in the recording", where)
        else:
            spans.append((*held, number))
    _need(file, report, expected=f"{place_in} in the recording, and {value_in} from 0 to 1", found=len(spans))
    label, valid = _mean_over(segments, np.array(spans))
    return SegmentLabels(label, valid, "own", skipped=report.skipped())


def _holder(segments: Sequence[Segment], value: float | None, *, by_index: bool) -> tuple[float, float] | None:
    """Start and end of the segment with this index, or which holds this time; None where there is none."""
    if value is None or (by_index and value != int(value)):
        return None
    index = int(value) if by_index else int(np.searchsorted([s.end_s for s in segments], value, side="right"))
    return (segments[index].start_s, segments[index].end_s) if value >= 0 and index < len(segments) else None


def _mean_over(segments: Sequence[Segment], pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a stepwise curve over each segment, and whether the pieces (start, end, value) cover half of it."""
    starts_s, ends_s, values = pieces.T
    mean, covered = np.zeros(len(segments)), np.zeros(len(segments), dtype=bool)
    for k, segment in enumerate(segments):
        overlap_s = np.clip(np.minimum(ends_s, segment.end_s) - np.maximum(starts_s, segment.start_s), 0, None)
        covered[k] = overlap_s.sum() >= (segment.end_s - segment.start_s) / 2
        mean[k] = overlap_s @ values / overlap_s.sum() if covered[k] else np.nan
    return mean, covered


def _need(file: Path, report: Report, *, expected: str, found: int) -> None:
    if not found:
        why = "; ".join(f"{s.count:,} × {s.reason} (first: {s.where})" for s in report.skipped()) or "there are no rows"
        raise LabelError(f"{file}: nothing in it can be read: {why}. Expected: {expected}.")


def _columns_lack(table: Table, expected: str) -> LabelError:
    return LabelError(f"{table.path} has the columns {', '.join(table.columns)}; expected: {expected}.")
