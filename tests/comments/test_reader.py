import contextlib
import faulthandler
import gzip
import math
import random
import re
import tracemalloc

import pytest

from kuaihl.comments import json_stream, recorders, source, twitch_html, xml_stream
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import as_clock, clock_s, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.reader import FORMATS, READ_FORMATS, read
from kuaihl.comments.wall_clock import read_start
from kuaihl.errors import CommentLogError
from tests.fixtures.log_samples import LOGS, START


def test_every_format_has_a_log_and_is_named():
    assert set(LOGS) == {f.name for f in FORMATS if isinstance(f, Format)}
    assert len(LOGS) == len(FORMATS) - 1
    spelled = {"raw Twitch IRC", "Danmaku ASS", "DiscordChatExporter JSON", "text with dates", "justlog"}
    assert all(name in READ_FORMATS or name.split()[0] in READ_FORMATS for name in {*LOGS, *spelled})


@pytest.mark.parametrize("name", LOGS)
def test_each_is_known_by_its_content(log, name):
    result = read(log(LOGS[name]), offset_s=-2.0, stream_start=START)
    assert result.format.startswith(name)
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
        CommentLogError, match=r"none of its comments.*time \(3, the first at comment 1\).*content_offset"
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
    monkeypatch.setattr(recorders, "_LARGEST_PILE", 20)
    *first, last = LOGS[name].split("\n")

    def peak(size):
        report = Report(read_start(START))
        middle = first[-1:] * (size // len(first[-1]))
        opened = source.open_source(log("\n".join([*first, *middle, last])), report)
        parse = next(f.parse for f in FORMATS if f.name == name)
        tracemalloc.start()
        for _ in parse(opened, report):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(60_000) < peak(20_000) + 15_000


@pytest.fixture
def no_hang():
    """End the tests with a traceback should one of them not come to its end."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", LOGS)
def test_mangled_logs_never_crash(log, no_hang, name):
    """Any damage gives a log or a CommentLogError; never another exception."""
    rng = random.Random(name)
    data = LOGS[name].encode()
    values = [b'"x"', b"null", b"[]", b"{}", b"true", b"-1e999", b"NaN", b"9" * 400, b'"1:2:3"', b"[{}]", b"&a;", b"\0"]
    marks = [b"", b'"', b"<", b",", b"}", b"|", b"\n"]
    read_ones = 0
    for trial in range(90):
        mangled = bytearray(data)
        if trial % 3 == 0:
            del mangled[rng.randrange(len(mangled)) :]
        for _ in range(rng.randint(trial % 3 > 0, 3)):
            at = rng.randrange(len(mangled) + 1)
            if rng.random() < 0.4 and at < len(mangled):
                mangled[at] ^= 1 << rng.randrange(8)
            else:
                mangled[at : at + rng.choice([0, 1, 1, 8])] = rng.choice(values + marks)
        with contextlib.suppress(CommentLogError):
            result = read(log(bytes(mangled)), stream_start=rng.choice([START, None]))
            read_ones += bool(result.comments)
            assert all(math.isfinite(c.time_s) and c.text == c.text.strip() for c in result.comments)
    assert read_ones >= 10


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
