"""Labels from the files of users, against a count over the rows that were written."""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kuaihl.errors import LabelError
from kuaihl.records import Comment, segments_of
from train.data.labels import (
    LabelOptions,
    find_kind,
    from_comments,
    from_heatmap,
    from_impressions,
    from_table,
    read_labels,
)
from train.simulator.render.logs import write_impressions
from train.simulator.rooms.room import simulate_room
from train.simulator.settings import SimulatorConfig

DEFAULT, FEW = LabelOptions(), LabelOptions(min_impressions=1)
SEGMENTS = segments_of(200.0)  # six whole ones and one of 20 s
START = datetime(2024, 5, 1, 20, tzinfo=timezone(timedelta(hours=2)))


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def impressions() -> list[tuple[float, float]]:
    rows = np.random.default_rng(0).uniform(0, (200, 300), (400, 2))
    return [(round(time_s, 2), round(view_s, 2)) for time_s, view_s in rows.tolist()]


def counted(rows: list[tuple[float, float]], *, long_view_s: float) -> tuple[list[int], list[int]]:
    """Impressions and long views of each segment, one row after the other."""
    seen, long = [0] * len(SEGMENTS), [0] * len(SEGMENTS)
    for time_s, view_s in rows:
        seen[int(time_s // 30)] += 1
        long[int(time_s // 30)] += view_s >= long_view_s
    return seen, long


@pytest.mark.parametrize("long_view_s", [60.0, 90.0])
def test_lvtr_is_long_views_over_impressions(tmp_path: Path, long_view_s: float) -> None:
    rows = impressions()
    log = write(tmp_path / "log.csv", "time_s,view_s", *(f"{t},{v}" for t, v in rows))
    labels = from_impressions(SEGMENTS, log, options=LabelOptions(long_view_s, min_impressions=50))
    seen, long = counted(rows, long_view_s=long_view_s)
    assert labels.impressions.tolist() == seen
    assert labels.long_views.tolist() == long
    assert labels.valid.tolist() == [n >= 50 for n in seen]
    assert 0 < labels.valid.sum() < len(SEGMENTS)
    for k in np.flatnonzero(labels.valid):
        assert labels.label[k] == long[k] / seen[k]
    assert np.isnan(labels.label[~labels.valid]).all()
    assert (labels.kind, labels.skipped) == ("impressions", ())


def test_the_log_of_the_simulator(tmp_path: Path) -> None:
    made = simulate_room(SimulatorConfig(size="tiny"), 0)
    write_impressions(made, tmp_path / "impressions.csv", until_s=made.segments[-1].end_s)
    labels = from_impressions(made.segments, tmp_path / "impressions.csv", options=DEFAULT)
    # It writes hundredths of a second: a few impressions fall on the other side of a bound.
    assert labels.impressions.sum() == sum(t.impressions for t in made.truth)
    np.testing.assert_allclose(labels.label, made.lvtr, atol=0.02)
    assert np.median(np.abs(labels.label - made.lvtr)) < 1e-9


@pytest.mark.parametrize(
    "form", ["start and end", "clock", "wall clock", "naive", "epoch_ms", "parquet", "spans", "semicolons"]
)
def test_the_same_log_in_other_forms(tmp_path: Path, form: str) -> None:
    rows = impressions()
    plain = write(tmp_path / "plain.csv", "time_s,view_s", *(f"{t},{v}" for t, v in rows))
    expected = from_impressions(SEGMENTS, plain, options=DEFAULT)
    log = tmp_path / "log"

    def wall(time_s: float) -> datetime:
        return START + timedelta(seconds=time_s)

    if form == "start and end":
        write(log, "viewer,start_s,end_s", *(f"x,{t},{t + v}" for t, v in rows))
    elif form == "clock":
        write(log, "Time,View time (s)", *(f"{int(t // 3600)}:{int(t // 60):02d}:{t % 60:05.2f},{v}" for t, v in rows))
    elif form == "wall clock":
        zone = timezone.utc
        write(log, "start,end", *(f"{wall(t).astimezone(zone).isoformat()},{wall(t + v).isoformat()}" for t, v in rows))
    elif form == "naive":
        write(log, "time,view_s", *(f"{wall(t):%Y-%m-%d %H:%M:%S.%f},{v}" for t, v in rows))
    elif form == "epoch_ms":
        write(log, "timestamp,view_ms", *(f"{wall(t).timestamp() * 1000:.0f},{v * 1000:.0f}" for t, v in rows))
    elif form == "parquet":
        times, views = zip(*rows, strict=True)
        pq.write_table(pa.table({"Time": [wall(t) for t in times], "view_s": [Decimal(str(v)) for v in views]}), log)
    elif form == "spans":
        table = {"start_s": [t for t, _ in rows], "end_s": [timedelta(seconds=t + v) for t, v in rows]}
        pq.write_table(pa.table(table), log)
    else:
        text = "\n".join(["time_s;view_s", *(f"{t:.2f};{v:.2f}".replace(".", ",") for t, v in rows)])
        log.write_bytes(text.encode("utf-16"))
    assert find_kind(log) == "impressions"
    labels = from_impressions(SEGMENTS, log, options=DEFAULT, stream_start=START)
    np.testing.assert_array_equal(labels.impressions, expected.impressions)
    np.testing.assert_array_equal(labels.long_views, expected.long_views)


def test_dates_need_a_start(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "time,view_s", "12,70", "2024-05-01 20:00:05,70")
    with pytest.raises(LabelError, match=r"log\.csv, line 3, column time: 2024-05-01 20:00:05 .* stream_start"):
        from_impressions(SEGMENTS, log, options=DEFAULT)


def test_views_cut_by_the_end_of_the_stream_give_no_label(tmp_path: Path) -> None:
    rows = [(t, min(v, 200 - t)) for t, v in impressions()]
    log = write(tmp_path / "log.csv", "time_s,view_s", *(f"{t},{v}" for t, v in rows))
    labels = from_impressions(SEGMENTS, log, options=FEW)
    # A minute before the end of 200 s is 140 s: the segment from 120 to 150 s is the first to be hurt.
    assert labels.valid.tolist() == [True] * 4 + [False] * 3


def test_bad_rows_are_counted_with_the_place_of_the_first(tmp_path: Path) -> None:
    good = [f"{t},{v}" for t, v in impressions()]
    bad = ["soon,70", "", "12,", "13,-4", "14,inf", "15,16,17", "-5,70", "205,70", "300,70"]
    log = write(tmp_path / "log.csv", "time_s,view_s", *bad, *good)
    labels = from_impressions(SEGMENTS, log, options=DEFAULT)
    assert labels.impressions.sum() == len(good)
    assert {(s.reason, s.count, s.where) for s in labels.skipped} == {
        ("rows without a readable time_s", 1, "line 2"),
        ("rows without a readable view_s", 2, "line 4"),
        ("rows that end before they begin, by view_s", 1, "line 5"),
        ("rows that do not have 2 columns", 1, "line 7"),
        ("impressions before the recording starts", 1, "-5 s"),
        ("impressions after the last segment", 2, "205 s"),
    }


def heatmap(path: Path, pieces: list[object], **more: object) -> Path:
    path.write_text(json.dumps({"id": "x", "heatmap": pieces, **more}), encoding="utf-8")
    return path


def test_most_replayed_is_averaged_over_segments_without_the_intro(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    duration_s = 1234.0
    values = np.r_[1.0, rng.uniform(0, 0.8, 99)]
    edges = np.linspace(0, duration_s, 101)
    pieces = [{"start_time": a, "end_time": b, "value": v} for (a, b), v in zip(pairwise(edges), values, strict=True)]
    file = heatmap(tmp_path / "v.info.json", pieces)
    assert find_kind(file) == "most-replayed"
    segments = segments_of(duration_s)
    labels = from_heatmap(segments, file, intro_s=60.0)
    first = int(np.searchsorted(edges, 60.0))  # the first piece that begins after the intro
    top = values[first:].max()
    for segment in segments:
        # Every hundredth of a second has the value of the piece that holds it.
        time_s = np.arange(segment.start_s, segment.end_s, 0.01) + 0.005
        piece = np.searchsorted(edges, time_s, side="right") - 1
        kept = piece >= first
        assert labels.valid[segment.index] == (kept.mean() >= 0.5)
        if kept.mean() >= 0.5:
            mean = (values[piece[kept]] / top).mean()
            assert labels.label[segment.index] == pytest.approx(mean, abs=2e-3)
    assert not labels.valid[:2].any()
    assert labels.valid[3:].all()


def test_the_first_piece_of_a_heatmap_is_intro(tmp_path: Path) -> None:
    edges = np.linspace(0, 15_000, 101)  # pieces of 150 s
    pieces = [{"start_time": a, "end_time": b, "value": 0.5 + (a == 0) / 2} for a, b in pairwise(edges)]
    labels = from_heatmap(segments_of(15_000), heatmap(tmp_path / "v.info.json", pieces))
    assert labels.valid.tolist() == [False] * 5 + [True] * 495
    np.testing.assert_allclose(labels.label[5:], 1.0)


def test_participation_is_the_share_of_those_present_who_write() -> None:
    rng = np.random.default_rng(0)
    segments = segments_of(30.0 * 50)
    comments = [Comment(t, "hi", f"user {rng.integers(60)}") for t in rng.uniform(0, 1500, 2500)]
    comments += [Comment(t, "beep", "bot", "bot") for t in range(0, 1500, 7)]
    comments += [Comment(t, "who am I") for t in range(0, 1500, 11)]
    labels = from_comments(segments, comments)
    writers = [
        {c.user for c in comments if s.start_s <= c.time_s < s.end_s and c.user and c.kind == "message"}
        for s in segments
    ]
    for k in range(20, 50):
        present = set().union(*writers[k - 19 : k + 1])
        assert labels.label[k] == pytest.approx(len(writers[k]) / len(present))
    assert labels.valid.tolist() == [False] * 20 + [True] * 30
    assert labels.kind == "participation"
    assert [(s.count, s.where) for s in labels.skipped] == [(len(range(0, 1500, 11)), "0 s")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["segment,label", "0,0.5", "6,1", "3,", "2,0.25"], [0.5, None, 0.25, None, None, None, 1]),
        (["start_s,value", "0,.5", "31,0", "59,1", "0:01:30,0.25"], [0.5, 0.5, None, 0.25, None, None, None]),
        (["start\tend\tlvtr", "0\t45\t1", "45\t1:15\t0", "180\t189\t1"], [1, 0.5, 0, None, None, None, None]),
    ],
)
def test_own_labels(tmp_path: Path, lines: list[str], expected: list[float | None]) -> None:
    file = write(tmp_path / "own.csv", *lines)
    assert find_kind(file) == "own"
    labels = from_table(SEGMENTS, file)
    assert [round(float(v), 9) if ok else None for v, ok in zip(labels.label, labels.valid, strict=True)] == expected
    assert labels.skipped == ()


def test_own_labels_are_between_0_and_1(tmp_path: Path) -> None:
    file = write(tmp_path / "own.csv", "segment,label", "0,0.5", "1,47")
    with pytest.raises(LabelError, match=r"own\.csv, line 3, column label: 47 is not between 0 and 1"):
        from_table(SEGMENTS, file)


@pytest.mark.parametrize(
    ("lines", "labelled", "skipped"),
    [
        (
            ["segment,label", "0,0.5", "7,0.5", "-1,0.5", "1.5,0.5", "2,good"],
            [0],
            {
                ("rows whose segment is not in the recording", 3, "line 3"),
                ("rows without a readable label", 1, "line 6"),
            },
        ),
        (
            ["start_s,end_s,label", "190,260,0.5", "200,260,1", "-60,0,1", "60,30,1"],
            [6],
            {("rows whose start_s is not in the recording", 3, "line 3")},
        ),
    ],
)
def test_rows_outside_the_recording_are_counted(
    tmp_path: Path, lines: list[str], labelled: list[int], skipped: set[tuple[str, int, str]]
) -> None:
    labels = from_table(SEGMENTS, write(tmp_path / "own.csv", *lines))
    assert np.flatnonzero(labels.valid).tolist() == labelled
    assert {(rows.reason, rows.count, rows.where) for rows in labels.skipped} == skipped


@pytest.mark.parametrize("names", ["time_s,Time s,view_s", "x,time_s,time_s,view_s"])
@pytest.mark.parametrize("parquet", [False, True])
def test_ambiguous_columns_are_refused(tmp_path: Path, names: str, *, parquet: bool) -> None:
    columns = names.split(",")
    file = write(tmp_path / "log", names, ",".join("5" * len(columns)))
    if parquet:
        pq.write_table(pa.Table.from_arrays([pa.array([5.0])] * len(columns), names=columns), file)
    with pytest.raises(LabelError, match="log has several columns called time_s"):
        from_impressions(SEGMENTS, file, options=DEFAULT)


def test_nulls_nan_and_nanoseconds_of_parquet(tmp_path: Path) -> None:
    moment = int(START.timestamp()) * 10**9
    times = [None, moment + 5 * 10**9 + 123, moment + 6 * 10**9]
    table = {"time": pa.array(times, pa.timestamp("ns", tz="UTC")), "view_s": [70.0, float("nan"), 70.0]}
    pq.write_table(pa.table(table), tmp_path / "log")
    labels = from_impressions(SEGMENTS, tmp_path / "log", options=FEW, stream_start=START)
    assert labels.impressions.tolist() == [1] + [0] * 6
    assert {(s.reason, s.count, s.where) for s in labels.skipped} == {
        ("rows without a readable time", 1, "row 1"),
        ("rows without a readable view_s", 1, "row 2"),
    }


def heatmap_of(start: object, end: object) -> bytes:
    return json.dumps({"heatmap": [{"start_time": start, "end_time": end, "value": 0.5}]}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be opened: No such file"),
        (b"", "is not a table"),
        (b"user,text\nann,hi\n", "columns user, text are not labels"),
        (b"time_s,view_s\n", "it has no rows. Expected: time_s and view_s as seconds"),
        (b"time_s,view_s\nx,1\ny,2\n", r"2 × rows without a readable time_s \(first: line 2\)"),
        (b"time_s,view_s\n1,70\n", "no segment gets a label, since none has 20 impressions"),
        (b"time_s,view_s,name\n1,70,\xff\xfe\xfd\n", "Save it as CSV in UTF-8"),
        (b"PAR1 and then nothing", "the Parquet file is damaged"),
        (b"{'not': json", "not the .info.json"),
        (b'{"heatmap": null}', "has no heatmap"),
        (heatmap_of(0, 500), "of a video of 500 s, and the recording has 200 s"),
        (heatmap_of(0, "x"), "no piece of its heatmap"),
        (heatmap_of(0, 200), "no segment gets a label, since none was replayed after the intro"),
        (b'{"heatmap": ' + b"[" * 100_000, "not the .info.json"),
        (b'{"heatmap": [{"start_time": 0, "end_time": 1' + b"0" * 400 + b', "value": 1}]}', "no piece of its heatmap"),
        (b'time_s,view_s\n1,70\n2,"70\n3,70\n', "line 3: not CSV"),
        (b"time_s,view_s\n05/01/2024 20:00,70\n", "dates with the year first"),
        (b"segment,label\n9,0.5\n", "segment in the recording, label from 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "labels"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LabelError, match=message):
        read_labels(SEGMENTS, file, find_kind(file), options=LabelOptions())
