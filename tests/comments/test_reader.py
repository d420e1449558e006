import gzip
import random
import re
import tracemalloc

import pytest

from kuaihl.comments import bilibili, json_stream, source, twitch_html, xml_stream
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import as_clock, clock_s, is_bot, read_start, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.reader import FORMATS, READ_FORMATS, read
from kuaihl.errors import CommentLogError
from tests.fixtures.log_samples import ASS, LOGS, START


def test_every_format_has_a_log_and_is_named():
    assert {name.partition(";")[0] for name in LOGS} == {f.name for f in FORMATS if isinstance(f, Format)}
    spelled = {"raw Twitch IRC", "Danmaku ASS", "DiscordChatExporter JSON", "text with dates", "justlog"}
    assert all(name in READ_FORMATS or name.split()[0] in READ_FORMATS for name in {*LOGS, *spelled})


@pytest.mark.parametrize("name", LOGS)
def test_each_is_known_by_its_content(log, name):
    result = read(log(LOGS[name]), offset_s=-2.0, stream_start=START)
    assert result.format.startswith(name.partition(";")[0])
    assert [c.time_s for c in result.comments[:3]] == [-1.0, 0.0, 1.0]
    assert result.comments[0].text in ("hi", "time,text")
    assert result.skipped == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize("name", LOGS)
def test_encodings_packing_and_line_ends_do_not_matter(log, name, encoding):
    plain = read(log(LOGS[name]), stream_start=START)
    content = ("\ufeff" + LOGS[name].replace("\n", "\r\n")).encode(encoding)
    assert read(log(content), stream_start=START) == plain
    assert read(log(gzip.compress(content)), stream_start=START) == plain


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1\n00:00:01,000 --> 00:00:02,000\nhello\n", "transcript"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n", "transcript"),
        ("[Script Info]\n[Events]\nDialogue: 0,0:00:01.00,0:00:09.00,R,,0,0,0,,hello\n", "transcript"),
        ("<!DOCTYPE html><html><body>", "without comments"),
        ("Dear diary, nothing happened.\n", "begins with 'Dear diary"),
        ('{"some": "json"}', "begins with"),
        ("[]", "begins with"),
        ("a,b,c\n1,2,3\n", "begins with"),
        ("[0:00:01] Ann: hi\n" + "Dear diary, nothing happened.\n" * 9, "only 1 of 10 of its entries"),
        ('[{"time_s": 1, "text": "hi"}, 2, 3, 4, 5]', "only 1 of 5 of its entries"),
        (ASS + "Dialogue: 0,0:00:01.00,0:00:09.00,R,,0,0,0,,{\\move(1,2,3,4)}sign\n"
         + "Dialogue: 0,0:00:02.00,0:00:09.00,R,,0,0,0,,hello\n" * 9, "transcript"),
    ],
)  # fmt: skip
def test_refusals_say_why_and_what_is_read(log, content, says):
    with pytest.raises(CommentLogError, match=f"(?s){says}") as caught:
        read(log(content))
    assert READ_FORMATS in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wholly_damaged(log):
    content = re.sub('"content_offset_seconds": .', '"content_offset_seconds": "?"', LOGS["TwitchDownloader JSON"])
    with pytest.raises(
        CommentLogError, match=r"none of its entries.*time \(3, the first at comment 1\).*content_offset"
    ):
        read(log(content))


def test_offset_must_be_finite(log):
    with pytest.raises(CommentLogError, match="offset"):
        read(log("1,a,b\n"), offset_s=float("nan"))


def test_too_many_comments(log, monkeypatch):
    monkeypatch.setattr("kuaihl.comments.reader.MAX_COMMENTS", 1)
    with pytest.raises(CommentLogError, match="more than 1 comments"):
        read(log("1,a,b\n2,a,b\n"))


@pytest.mark.parametrize("name", [name for name in LOGS if LOGS[name].count("\n") > 1])
def test_reading_takes_no_more_memory_for_a_longer_log(log, monkeypatch, name):
    """What is read is handed on; only ``read`` keeps it."""
    for module in (json_stream, source, twitch_html, xml_stream):
        monkeypatch.setattr(module, "CHUNK", 2**12)
    monkeypatch.setattr(source, "HEAD_CHARS", 2**12)
    monkeypatch.setattr(bilibili, "_LARGEST_PILE", 20)
    *first, last = LOGS[name].split("\n")

    def peak(size):
        report = Report(read_start(START))
        middle = first[-1:] * (size // len(first[-1]))
        opened = source.open_source(log("\n".join([*first, *middle, last])), report)
        parse = next(f.parse for f in FORMATS if isinstance(f, Format) and f.name == name.partition(";")[0])
        tracemalloc.start()
        for _ in parse(opened, report):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(60_000) < peak(20_000) + 15_000


def test_clock_and_seconds():
    cases = {"1:02": 62, "-1:02": -62, "27:00:01": 97201, "0:00:07.25": 7.25, "00:01:02,5": 62.5, "90:00": 5400}
    assert {text: clock_s(text) for text in cases} == cases
    assert clock_s("443,856:18:18") == 443856 * 3600 + 18 * 60 + 18
    assert [clock_s(text) for text in ("", "7", "1:2:3:4", "0:75", "a:01", "1:02 pm")] == [None] * 6
    assert [seconds(v) for v in (3, 2.5, "4", " 5,5 ", "1:00", "-3")] == [3, 2.5, 4, 5.5, 60, -3]
    assert [seconds(v) for v in (None, True, [], {}, "x", "1_0", "1,000.5", "")] == [None] * 8


def test_clock_is_written_as_it_is_read():
    assert [as_clock(t) for t in (0, -0.4, 59.6, -62, 97201)] == [
        "0:00:00",
        "0:00:00",
        "0:01:00",
        "-0:01:02",
        "27:00:01",
    ]
    assert all(clock_s(as_clock(t)) == t for t in range(-4000, 200_000, 997))


def test_bots():
    assert is_bot("Nightbot")
    assert is_bot("@NightBot")
    assert is_bot(None, "moobot")
    assert not is_bot("reboot_the_robot", None, 7)


def test_a_log_that_is_damaged_behind_its_beginning_is_refused(log):
    rows = "".join(f"{i},ann,some text that is long enough\n" for i in range(3000))
    with pytest.raises(
        CommentLogError, match=r"only 3,000 of 9,000 .*rows that do not have 3 columns \(6000, .*line 3002"
    ):
        read(log(f"time,user,text\n{rows}" + "nonsense\n" * 6000))


@pytest.mark.parametrize("form", ["{clock} ann: {i}", "[{clock}] ann: {i}"])
@pytest.mark.parametrize("lengths", [(18, 18), (400, 150, 300), (60,)])
def test_times_that_start_again_are_noted(log, form, lengths):
    """Logs of parts that were joined; late comments and a stray do not count."""
    lines = []
    for length in lengths:
        seconds = [5 * i + 2 for i in range(length)]
        seconds[9], seconds[10] = seconds[10], seconds[9]
        lines += [form.format(clock=as_clock(s), i=s) for s in seconds]
    lines.insert(lengths[0] // 2, form.format(clock="90:00:00", i=0))
    lines.insert(lengths[0] // 2 + 5, form.format(clock="0:00:01", i=0))
    if not form.startswith("["):
        lines = ["time,user,text", *(line.replace(" ann: ", ",ann,") for line in lines)]
    found = read(log("\n".join(lines))).format
    if len(lengths) == 1:
        assert "start again" not in found
    else:
        first = lengths[0] + 3 + (not form.startswith("["))
        assert f"times start again at line {first} (0:00:02 after {as_clock(5 * lengths[0] - 3)})" in found
        assert ("and 1 times more" in found) == (len(lengths) == 3)


@pytest.mark.parametrize("order", ["shuffled", "newest first"])
def test_logs_in_no_order_do_not_start_again(log, order):
    times = list(range(0, 9000, 3))
    random.Random(1).shuffle(times) if order == "shuffled" else times.reverse()
    assert "start again" not in read(log("time,user,text\n" + "".join(f"{t},ann,hi\n" for t in times))).format
