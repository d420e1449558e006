import contextlib
import random

import pytest

from kuaihl.comments import FORMATS, READ_FORMATS, read
from kuaihl.comments.fields import clock_s, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.errors import CommentLogError

SAMPLES = {
    "TwitchDownloader JSON": '{"video": {}, "comments": [{"content_offset_seconds": 1, "message": '
    '{"body": "time,text"}}]}',
    "Twitch text": "[0:00:01] a: b\n",
    "chat-downloader JSON": '[{"author": "a", "message": "b", "time_in_seconds": 1}]',
    "chat-downloader JSON lines": '{"author": "a", "message": "b", "time_in_seconds": 1}\n',
    "chat-downloader CSV": "author,message,time_in_seconds\na,b,1\n",
    "YouTube live chat (yt-dlp)": '{"replayChatItemAction": {"actions": [{"addChatItemAction": {"item": '
    '{"liveChatTextMessageRenderer": {"message": {"simpleText": "b"}}}}}], "videoOffsetTimeMsec": "1000"}}',
    "Bilibili XML": '<i><chatid>1</chatid><d p="1,1,25,1,1,0,a,1">b</d></i>',
    "BililiveRecorder XML": '<i><BililiveRecorderRecordInfo start_time="x"/><d p="1,1,25,1,1,0,a,1" user="a">b</d></i>',
    "CSV or TSV": "time,user,text\n1,a,b\n",
    "CSV or TSV without header": "1,a,b\n2,a,b\n",
}  # fmt: skip


def test_every_format_has_a_sample():
    assert set(SAMPLES) == {f.name for f in FORMATS if isinstance(f, Format)}
    assert all(name in READ_FORMATS for name in SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_sniffing(log, name):
    result = read(log(SAMPLES[name]), offset_s=-2.0)
    assert result.format == name
    assert result.comments[0].time_s == -1.0
    assert result.skipped == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[2017-11-02 00:00:00 UTC] bob: hi\n", "wall clock"),
        ("[2022-05-17 00:00:00] #channel bob: hi\n", "justlog.*wall clock"),
        ("# Start logging at 2022-01-01 11:45:11 CET\n[11:46:04]  bob: hi\n", "Chatterino.*wall clock"),
        ("[11:46:04]  bob: hi\n", "Chatterino.*wall clock"),
        ("@badges=;tmi-sent-ts=1593049496513 :bob PRIVMSG #c :hi\n", "IRC.*wall clock"),
        ('{\n "guild": {"id": "1"}, "messages": [{"timestamp": "2021-01-01T00:00:00+00:00"}]}', "Discord.*wall clock"),
        ("2022-04-05 02:47:14,225 - [bob] hi\n", "wall clock"),
        ("createdAt,username,content\n2024-05-01T20:00:00Z,bob,hi\n", "wall clock"),
        ('<i><metadata><record_start_time>x</record_start_time></metadata><d p="1,1">a</d></i>', "blrec"),
        ('<i><d p="1,1,25">a</d><s timestamp="1" username="b">c</s></i>', "biliup"),
        ('<i><metadata><video_start_time>1</video_start_time></metadata><d p="1,1">a</d></i>', "biliLive-tools"),
        ('<packet><chat thread="1" vpos="100" user_id="a">b</chat></packet>', "Niconico"),
        ('<!DOCTYPE html><html><body><pre class="comment-root">', "TwitchDownloader HTML"),
        ("<!doctype html><html><body>", "begins with"),
        ("1:23 | (Member) Bob: hi\n", "chat-downloader text"),
        ("[Script Info]\nTitle: x\n[Events]\nDialogue: 0,0:00:01.00,0:00:09.00,R,,{\\move(1,2,3,4)}hi\n", "danmaku"),
        ("1\n00:00:01,000 --> 00:00:02,000\nhello\n", "transcript"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n", "transcript"),
        ("Dear diary, nothing happened.\n", "begins with 'Dear diary"),
        ('{"some": "json"}', "begins with"),
        ("[]", "begins with"),
        ("a,b,c\n1,2,3\n", "begins with"),
    ],
)  # fmt: skip
def test_refusals_say_why_and_what_is_read(log, content, says):
    with pytest.raises(CommentLogError, match=f"(?s){says}") as caught:
        read(log(content))
    assert "TwitchDownloader JSON" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wholly_damaged(log):
    content = SAMPLES["TwitchDownloader JSON"].replace('"content_offset_seconds": 1', '"content_offset_seconds": "?"')
    with pytest.raises(
        CommentLogError, match=r"none of its comments.*time \(1, the first at comment 1\).*content_offset"
    ):
        read(log(content))


def test_offset_must_be_finite(log):
    with pytest.raises(CommentLogError, match="offset"):
        read(log("1,a,b\n"), offset_s=float("nan"))


def test_too_many_comments(log, monkeypatch):
    monkeypatch.setattr("kuaihl.comments.MAX_COMMENTS", 1)
    with pytest.raises(CommentLogError, match="more than 1 comments"):
        read(log("1,a,b\n2,a,b\n"))


def test_mangled_logs_never_crash(log):
    """Any damage gives a log or a CommentLogError; never another exception."""
    rng = random.Random(11)
    read_ones = 0
    values = ['"x"', "null", "[]", "{}", "7", "true", "-1e999", "NaN", '"1:2:3"', "[{}]", '{"a":[1]}']
    for content in SAMPLES.values():
        data = (content * 3 if content.endswith("\n") else content).encode()
        for _ in range(150):
            mangled = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(mangled))
                new = rng.choice(
                    [b"", bytes([rng.randrange(256)]), rng.choice(values).encode(), b'"', b"<", b",", b"}"]
                )
                mangled[at : at + rng.choice([0, 1, 1, 8])] = new
            with contextlib.suppress(CommentLogError):
                read_ones += bool(read(log(bytes(mangled))).comments)
    assert read_ones > 300


def test_clock_and_seconds():
    cases = {"1:02": 62, "-1:02": -62, "27:00:01": 97201, "0:00:07.25": 7.25, "00:01:02,5": 62.5, "90:00": 5400}
    assert {text: clock_s(text) for text in cases} == cases
    assert clock_s("443,856:18:18") == 443856 * 3600 + 18 * 60 + 18
    assert [clock_s(text) for text in ("", "7", "1:2:3:4", "0:75", "a:01", "1:02 pm")] == [None] * 6
    assert [seconds(v) for v in (3, 2.5, "4", " 5,5 ", "1:00", "-3")] == [3, 2.5, 4, 5.5, 60, -3]
    assert [seconds(v) for v in (None, True, [], {}, "x", "1_0", "1,000.5", "")] == [None] * 8


def test_bots():
    assert is_bot("Nightbot")
    assert is_bot("@NightBot")
    assert is_bot(None, "moobot")
    assert not is_bot("reboot_the_robot", None, 7)
