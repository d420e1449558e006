"""Logs that grow against the same logs when they are whole."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kuaihl.comments import reader, selection
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, Segment, segments_of
from kuaihl.watch.log_follower import UNKNOWN_FORMAT_S, LiveComments

TIMES_S = [round(i * 1.7, 1) for i in range(60)]
LENGTH_S = 120.0


def clock(time_s: float) -> str:
    return f"{int(time_s) // 3600}:{int(time_s) // 60 % 60:02}:{int(time_s) % 60:02}"


def row(time_s: float) -> dict[str, object]:
    return {"time": time_s, "user": f"Ärger{time_s % 7:.0f}", "text": f"naïve 雪 {time_s}"}


def irc(time_s: float) -> str:
    tags = f"@display-name=Ann;tmi-sent-ts={1_714_586_400_000 + round(time_s * 1000)}"
    return f"{tags} :ann!ann@ann.tmi.twitch.tv PRIVMSG #channel :naïve {time_s}\r\n"


def danmaku(time_s: float) -> str:
    return f'<d p="{time_s},1,25,16777215,1714586400,0,abc,1">naïve 雪 {time_s}</d>'


LOGS = {
    "JSON lines": "".join(json.dumps(row(t), ensure_ascii=False) + "\n" for t in TIMES_S),
    "TSV": "time\tuser\ttext\n" + "".join("\t".join(map(str, row(t).values())) + "\n" for t in TIMES_S),
    "quoted CSV": "time,user,text\n" + "".join(f'{t},Ann,"two\nlines, {t}"\n' for t in TIMES_S),
    "Twitch text": "".join(f"[{clock(t)}] Ann: naïve {t}\r\n" for t in TIMES_S),
    "IRC": "".join(map(irc, TIMES_S)),
    "Chatterino": "# Start logging at 2024-05-01 18:00:00 UTC\n"
    + "".join(f"[18:{int(t) // 60:02}:{int(t) % 60:02}]  ann: naïve {t}\n" for t in TIMES_S),
    "XML": '<?xml version="1.0" encoding="UTF-8"?><i><chatid>1</chatid>' + "\n".join(map(danmaku, TIMES_S)) + "</i>",
    "JSON list": json.dumps([row(t) for t in TIMES_S]),
}
START = "2024-05-01T18:00:00Z"


def take_all(live: LiveComments) -> list[Comment]:
    """Comments of all segments, taken once the log has passed each."""
    return [comment for segment in segments_of(LENGTH_S) for comment in live.take(segment)]


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("size", [1, 53, 10**6])
def test_a_growing_log_gives_the_comments_of_the_whole(tmp_path: Path, name: str, size: int) -> None:
    data, path, whole = LOGS[name].encode(), tmp_path / "growing.log", tmp_path / "whole.log"
    whole.write_bytes(data)
    expected = selection.by_segment(reader.read(whole, stream_start=START).comments, segments_of(LENGTH_S))
    path.write_bytes(b"")
    live, segments, found = LiveComments(path, stream_start=START), segments_of(LENGTH_S), []
    size = max(size, len(data) // 300) if name == "JSON list" else size  # which is read anew each time
    with path.open("ab", buffering=0) as file:
        for at in range(0, len(data), size):
            file.write(data[at : at + size])
            live.read()
            while live.last_comment_s >= segments[len(found)].end_s:
                found.append(live.take(segments[len(found)]))
    live.read(finished=True)
    live.close()
    found += [live.take(segment) for segment in segments[len(found) :]]
    assert found == expected
    assert sum(map(len, found)) == len(TIMES_S)
    assert live.skipped == ()


def test_a_half_written_line_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "chat.tsv"
    path.write_text("1.0\tAnn\thello\n2.0\tBo\tgoo")
    live = LiveComments(path)
    live.read()
    with path.open("a") as file:
        file.write("d bye\n3.0\tCy\tlast wo")
    live.read()
    live.read(finished=True)
    assert [(c.time_s, c.text) for c in take_all(live)] == [(1.0, "hello"), (2.0, "good bye"), (3.0, "last wo")]


@pytest.mark.parametrize("way", ["renamed", "truncated"])
def test_a_rotated_log_goes_on_in_the_new_file(tmp_path: Path, way: str) -> None:
    path = tmp_path / "chat.tsv"
    path.write_text("1.0\tAnn\tone\n")
    live = LiveComments(path)
    live.read()
    if way == "renamed":
        with path.open("a") as file:
            file.write("2.0\tBo\ttwo\n")  # between the last look and the rotation
        path.rename(tmp_path / "chat.tsv.1")
    path.write_text("3.0\tCy\tthree\n")
    live.read()
    live.read()
    assert [c.text for c in take_all(live)] == ["one", *(["two"] if way == "renamed" else []), "three"]


@pytest.mark.parametrize("kept", ["chat.tsv.1", "chat.tsv-20240501"])
@pytest.mark.parametrize("looked", ["while it was empty", "later"])
def test_a_log_that_is_copied_and_cut_in_place_loses_nothing_of_its_copy(
    tmp_path: Path, kept: str, looked: str
) -> None:
    path = tmp_path / "chat.tsv"
    path.write_text("1.0\tAnn\tone\n")
    live = LiveComments(path)
    live.read()
    (tmp_path / "chat.tsv.0").write_text("0.5\tAnn\tof another day\n0.6\tAnn\tas well\n")
    with path.open("a") as recorder:
        recorder.write("2.0\tBo\ttwo\n")  # between the last look and the cut
        recorder.flush()
        shutil.copy(path, tmp_path / kept)
        os.truncate(path, 0)
        if looked == "while it was empty":
            live.read()
        recorder.write("3.0\tCy\tthree\n")
    for _ in range(3):
        live.read()
    assert [c.text for c in take_all(live)] == ["one", "two", "three"]


def test_a_recorder_that_goes_on_behind_the_cut_leaves_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "chat.tsv"
    with path.open("w") as recorder:  # not to its end, but to where it was
        recorder.write("1.0\tAnn\tone\n" * 5000)
        recorder.flush()
        live = LiveComments(path)
        live.read()
        os.truncate(path, 0)
        recorder.write("3.0\tCy\tthree\n")
        recorder.flush()
        assert path.read_bytes().startswith(b"\0" * 60_000)
        live.read()
        recorder.write("4.0\tCy\tfour\n")
        recorder.flush()
        live.read()
    assert [c.text for c in take_all(live)] == [*["one"] * 5000, "three", "four"]
    assert live.skipped == ()


@pytest.mark.parametrize("name", ["JSON list", "quoted CSV"])
def test_a_log_that_is_away_for_a_moment(tmp_path: Path, name: str) -> None:
    path, away = tmp_path / "chat.log", tmp_path / "away.log"
    path.write_text(LOGS[name])
    live = LiveComments(path)
    for place in (away, path):
        (path if place is away else away).rename(place)
        live.read()
    assert [c.time_s for c in take_all(live)] == TIMES_S


@pytest.mark.parametrize("encode", [lambda text: gzip.compress(text.encode()), lambda text: text.encode("utf-16")])
def test_a_log_read_as_a_whole_may_be_caught_anywhere(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    path = tmp_path / "chat.log"
    data = encode("time,user,text\n" + "".join(f"{t},Ann,naïve {t}\n" for t in TIMES_S))
    for size in range(1, len(data), 29):
        path.write_bytes(data[:size])
        live = LiveComments(path)
        live.read()
        path.write_bytes(data[: size // 2])
        live.read()
        path.write_bytes(data)
        live.read(finished=True)
        assert [c.time_s for c in take_all(live)] == TIMES_S


@pytest.mark.parametrize("way", ["in place", "by another file"])
def test_a_log_that_is_written_anew_each_time_is_read_once(tmp_path: Path, way: str) -> None:
    path, part = tmp_path / "danmaku.xml", tmp_path / "part.xml"
    live = None
    for count in range(1, 40, 3):
        target = path if way == "in place" else part
        target.write_text(f"<?xml version='1.0'?><i><chatid>1</chatid>{''.join(map(danmaku, TIMES_S[:count]))}</i>")
        if way == "by another file":
            part.replace(path)
        live = live or LiveComments(path)
        live.read()
        if way == "in place":
            os.truncate(path, 30)  # caught in the middle of writing it
            live.read()
    assert [c.time_s for c in take_all(live)] == TIMES_S[:37]


def test_late_comments_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "chat.tsv"
    path.write_text("1.0\tAnn\tone\n31.0\tAnn\ttwo\n")
    live = LiveComments(path)
    live.read()
    first, second, *_ = segments_of(LENGTH_S)
    assert [c.text for c in live.take(first)] == ["one"]
    with path.open("a") as file:
        file.write("29.0\tBo\tlate\n32.0\tBo\tthree\n")
    live.read()
    assert [c.text for c in live.take(second)] == ["two", "three"]
    assert [(s.reason, s.count) for s in live.skipped] == [
        ("comments that were logged after the end of their segment", 1)
    ]


def test_the_offset_counts_and_nothing_is_taken_twice(tmp_path: Path) -> None:
    path = tmp_path / "chat.tsv"
    path.write_text("".join(f"{t}\tAnn\t{t:g}\n" for t in TIMES_S))
    live = LiveComments(path, offset_s=5.0)
    live.read()
    live.take(Segment(0, 0.0, 60.0))
    assert live.between(0.0, 60.0) == []
    assert [c.time_s for c in live.take(Segment(2, 60.0, 90.0))] == [t + 5 for t in TIMES_S if 60 <= t + 5 < 90]
    assert live.skipped == ()


def test_a_document_grown_too_large_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kuaihl.watch.log_readers.MAX_WHOLE_BYTES", 3000)
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([row(t) for t in TIMES_S[:20]]))
    live = LiveComments(path)
    live.read()
    path.write_text(json.dumps([row(t) for t in TIMES_S]))
    live.read()
    assert [c.time_s for c in take_all(live)] == TIMES_S[:20]
    assert "can only be read completely" in live.skipped[0].reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("words that are no log\n" * 1000, "is not a comment log of a known format"),
        ("2024-05-01T18:00:07Z\tAnn\thi\n", "when the recording starts"),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n", "use it as the transcript"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "chat.log"
    path.write_text(content)
    with pytest.raises(CommentLogError, match=message):
        LiveComments(path).read()


def test_a_short_log_of_unknown_format_is_a_warning_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, warnings, (first, second, *_) = [100.0], [], segments_of(LENGTH_S)
    monkeypatch.setattr("kuaihl.watch.log_follower.time.monotonic", lambda: now_s[0])
    (path := tmp_path / "chat.log").touch()
    live = LiveComments(path, warn=warnings.append)
    live.read()
    now_s[0] += 1000.0  # nobody wrote
    path.write_text("words that are no log\n")
    live.read()
    now_s[0] += UNKNOWN_FORMAT_S - 0.1
    live.read()
    assert (warnings, live.is_unreadable) == ([], False)
    now_s[0] += 0.2
    for _ in range(3):
        live.read()
    path.write_text("words that are no log\n" * 1000)
    live.read(finished=True)
    assert live.take(first) == []
    assert live.is_unreadable
    assert len(warnings) == 1
    assert "chat.log" in warnings[0]
    path.write_text("31.0\tAnn\tat last\n")
    live.read()
    assert not live.is_unreadable
    assert [c.text for c in live.take(second)] == ["at last"]


def test_during_the_watch_a_log_of_unknown_format_is_a_warning_at_once(tmp_path: Path) -> None:
    warnings, (first, *_) = [], segments_of(LENGTH_S)
    (path := tmp_path / "chat.log").touch()
    live = LiveComments(path, warn=warnings.append)
    live.take(first)
    path.write_text("words that are no log\n" * 1000)
    live.read()
    live.read()
    assert len(warnings) == 1


def test_a_log_must_be_there_but_may_be_empty(tmp_path: Path) -> None:
    with pytest.raises(CommentLogError, match="start its recorder first"):
        LiveComments(tmp_path / "gone.log")
    (tmp_path / "empty.log").touch()
    live = LiveComments(tmp_path / "empty.log")
    live.read(finished=True)
    assert take_all(live) == []
    assert live.skipped[0].reason == "comment logs that are empty or of unknown format"


def test_a_log_is_read_between_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is cut to nothing twice before a segment ends loses no more than was written since the last read."""
    now_s = [100.0]
    monkeypatch.setattr("kuaihl.watch.log_follower.time.monotonic", lambda: now_s[0])
    path = tmp_path / "chat.jsonl"
    path.touch()
    live = LiveComments(path)
    for number in range(3):
        path.write_text(json.dumps(row(number)) + "\n")
        live.poll()
        now_s[0] += 0.1  # too early for another
        path.write_text(json.dumps(row(number + 10)) + "\n")
        live.poll()
        now_s[0] += 0.15
    assert [c.time_s for c in live.take(Segment(0, 0.0, 30.0))] == [0.0, 1.0, 2.0]


def test_a_log_that_is_read_completely_is_not_polled(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(LOGS["JSON list"])
    live = LiveComments(path)
    live.read()
    path.write_text(json.dumps([row(0.5), row(31.0)]))
    live.poll()
    assert len(live.take(Segment(0, 0.0, 30.0))) > 1
    live.read()
    assert [c.time_s for c in live.take(Segment(1, 30.0, 60.0))] == [31.0]
