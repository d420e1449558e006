"""Logs of lines that tell the time of the day: with dates, raw IRC, and Chatterino's."""

import pytest

from kuaihl.comments.reader import read

START = "2024-05-01T20:00:00+02:00"


def entries(result):
    return [(c.time_s, c.user, c.text, c.kind) for c in result.comments]


def test_utc(log):
    lines = [
        "[2024-05-01 18:00:01 UTC] ann: hello: there",
        "[2024-05-01 18:00:03.250 UTC] bo: \x01ACTION waves\x01",
        "[2024-05-01 18:00:02 UTC] nightbot: !rules",
        "[2024-05-01 18:00:04 UTC] ann was timed out",
        "[2024-05-01 18:00:05 UTC] bo:",
        "no date",
    ]
    result = read(log("\n".join(lines)), stream_start=START)
    assert entries(result) == [
        (1.0, "ann", "hello: there", "message"),
        (2.0, "nightbot", "!rules", "bot"),
        (3.25, "bo", "waves", "message"),
        (4.0, None, "ann was timed out", "notice"),
    ]
    assert {s.where for s in result.skipped} == {"line 5", "line 6"}


def test_justlog_is_utc_and_says_so(log):
    lines = "[2024-05-1 18:00:01] #chan ann: hi\n[2024-05-1 18:00:02] #chan bo has been timed out for 600 seconds\n"
    lines += "[2024-05-1 18:00:03] #chan ann gifted a Tier 1 sub to bo!\n"
    result = read(log(lines), stream_start=START)
    assert result.format == "justlog (dates are in UTC)"
    assert [(t, kind) for t, _, _, kind in entries(result)] == [(1.0, "message"), (2.0, "notice"), (3.0, "gift")]


@pytest.mark.parametrize(
    "line",
    [
        "2024-05-01 20:00:01,000 - chat_count:2 [channel] [ann] {}",
        "2024-05-01 20:00:01 [ann] {}",
        "[2024-05-01 20:00:01] <ann> {}",
        "2024-05-01T18:00:01Z ann: {}",
        "2024-05-01 20:00:01: ann: {}",
    ],
)
def test_other_loggers(log, line):
    texts = ["hi there", "[hi] there", "hi: there"]
    result = read(log("\n".join([*map(line.format, texts), "\0\0\0"])), stream_start=START)
    assert result.format.startswith("text with dates")
    assert [(c.time_s, c.user, c.text) for c in result.comments] == [(1.0, "ann", text) for text in texts]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "line 4")]


def test_raw_irc(log):
    def line(second, command, tags="", user="ann"):
        return f"@display-name=;{tags};tmi-sent-ts={(1714586400 + second) * 1000} :{user}!u@u.tmi.twitch.tv {command}"

    lines = [
        line(2, "PRIVMSG #c :hello :there \U000e0000"),
        line(1, "PRIVMSG #c :\x01ACTION waves\x01"),
        line(3, "PRIVMSG #c :Cheer100 wow", "bits=100"),
        line(4, "PRIVMSG #c :!rules", user="nightbot"),
        line(5, "USERNOTICE #c", r"login=bo;msg-id=subgift;system-msg=bo\sgifted\sa\ssub"),
        line(6, "USERNOTICE #c :thank you", "login=bo;msg-id=resub"),
        line(7, "CLEARCHAT #c :bo"),
        ":tmi.twitch.tv PING",
        ":ann!ann@x PRIVMSG #c :no time",
        "not irc",
    ]
    result = read(log("\r\r\n".join(lines)), stream_start=START)
    assert entries(result) == [
        (1.0, "ann", "waves", "message"),
        (2.0, "ann", "hello :there", "message"),
        (3.0, "ann", "Cheer100 wow", "paid"),
        (4.0, "nightbot", "!rules", "bot"),
        (5.0, "bo", "bo gifted a sub", "gift"),
        (6.0, "bo", "thank you", "message"),
    ]
    assert {s.reason: s.count for s in result.skipped} == {
        "messages other than comments (deletions, joins, states)": 2,
        "entries without a readable time": 1,
        "lines that are not an IRC message": 1,
    }


@pytest.mark.parametrize("before", ["[2024-05-01 18:00:09] ", "[18:00:09]", "< ", ">> "])
def test_what_programs_write_before_raw_irc(log, before):
    line = before + "@display-name=Ann;tmi-sent-ts=1714586401000 :ann!ann@x PRIVMSG #c :hi"
    result = read(log(f"{line}\n{line}\n"), stream_start=START)
    assert result.format == "raw Twitch IRC"
    assert entries(result) == [(1.0, "Ann", "hi", "message")] * 2


def test_chatterino(log):
    lines = [
        "# Start logging at 2024-05-01 19:58:00 CEST",
        "[19:59:59] chan is live!",
        "[20:00:01]  ann: hello: there",
        "[20:00:03] bo has been timed out for 10m. ",
        "[20:00:02]  nightbot: !rules",
        "[20:00:04] ann gifted a Tier 1 sub to bo!",
        "# Stop logging at 2024-05-01 20:01:00 CEST",
        "# Start logging at 2024-05-01 23:59:00 CEST",
        "[23:59:58]  ann: late",
        "[00:00:02]  ann: later",
        "nonsense",
    ]
    result = read(log("\n".join(lines)), stream_start=START)
    assert entries(result) == [
        (-1.0, None, "chan is live!", "notice"),
        (1.0, "ann", "hello: there", "message"),
        (2.0, "nightbot", "!rules", "bot"),
        (3.0, None, "bo has been timed out for 10m.", "notice"),
        (4.0, None, "ann gifted a Tier 1 sub to bo!", "gift"),
        (4 * 3600 - 2.0, "ann", "late", "message"),
        (4 * 3600 + 2.0, "ann", "later", "message"),
    ]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "line 11")]
    assert "+02:00" in result.format


def test_chatterino_with_a_day_that_none_was(log):
    lines = "# Start logging at {} 00:00:00 CEST\n[20:00:01]  ann: hi\n"
    for day in ("0001-01-01", "9999-12-31", "2024-02-30"):
        assert [c.time_s for c in read(log(lines.format(day)), stream_start=START).comments] == [1.0]


def test_chatterino_in_utc(log):
    result = read(log("# Start logging at 2024-05-01 17:00:00 UTC\n[18:00:01]  ann: hi\n"), stream_start=START)
    assert [c.time_s for c in result.comments] == [1.0]
    assert result.format == "Chatterino log"


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (("20:00", "20:01", "00:02"), (0, 60, 14520)),
        (("8:00:01 PM", "8:00:02 pm", "12:01:00 AM"), (1, 2, 14460)),
        (("20:00:01.250", "20:00:02.5", "00:01:00.000"), (1.25, 2.5, 14460)),
        (("8:00 pm", "9:30 pm", "12:00 am"), (0, 5400, 14400)),
    ],
)
def test_chatterino_with_each_form_of_its_times(log, times, seconds):
    lines = ["# Start logging at 2024-05-01 19:58:00 CEST", *(f"[{time}]  ann: hi" for time in times)]
    result = read(log("\n".join(lines)), stream_start=START)
    assert [c.time_s for c in result.comments] == pytest.approx(seconds)
    assert result.skipped == ()


def test_chatterino_by_the_name_of_the_file(log):
    path = log("[20:00:01]  ann: hi\n")
    named = path.rename(path.with_name("chan-2024-05-02.log"))
    assert [c.time_s for c in read(named, stream_start=START).comments] == [86401.0]


def test_chatterino_without_a_day_is_next_to_the_start(log):
    path = log("[23:59:58]  ann: hi\n[00:00:03]  ann: there\n")
    for start in ("2024-05-01T23:59:59+02:00", "2024-05-02T00:00:01+02:00"):
        result = read(path, stream_start=start)
        first = -1.0 if start.endswith("59+02:00") else -3.0
        assert [c.time_s for c in result.comments] == [first, first + 5]
        assert "no date in the log" in result.format


@pytest.mark.parametrize(
    ("lines", "first_s"),
    [
        (["[0:00:{:02}.500] {}"], 1.5),
        (["# Log started: 2024-05-01 18:59:00 +0100", "[19:00:{:02}] {}"], 1),
        (["# Log started: 2024-05-01 18:59:00 +0100", "[2024-05-01 20:00:{:02}] {}"], 1),
        (["**** BEGIN LOGGING AT Wed May  1 19:58:00 2024", "[8:00:{:02} PM] {}"], 1),
        (["--- Log opened Tue Apr 30 19:58:00 2024", "--- Day changed Wed May 01 2024", "20:00:{:02} {}"], 1),
        (["[20:00:{:02}] {}"], 1),
    ],
    ids=["video", "Chatty", "Chatty with dates", "HexChat", "irssi", "no date"],
)
def test_users_in_angle_brackets(log, lines, first_s):
    """With marks of their role, actions of all programs, and notices of the program."""
    *head, form = lines
    said = ["<ann> hi", "<@bo> ho: ho", "<~cy>* waves", "* di waves", "*ed waves", "<fi> /me waves", "BAN: gi (600s)"]
    lines = [
        *head,
        *(form.format(second, text) for second, text in enumerate(said, 1)),
        "# Log closed: x",
        "-",
        "what?",
    ]
    result = read(log("\n".join(lines)), stream_start=START)
    users, texts = ["ann", "bo", "cy", "di", "ed", "fi"], ["hi", "ho: ho", *["waves"] * 4]
    expected = [(first_s + i, user, text, "message") for i, (user, text) in enumerate(zip(users, texts, strict=True))]
    if not lines[-4].startswith("20:00"):  # without brackets around the time, this is not a line of its own
        expected.append((first_s + 6, None, "BAN: gi (600s)", "notice"))
    assert entries(result) == expected
    assert ("start was not needed" in result.format) == (first_s == 1.5)
    assert result.skipped[0].where == f"line {len(lines)}" or lines[-4].startswith("20:00")


def test_late_times_may_be_of_the_day(log):
    assert "give the stream start" in read(log("[20:00:01] <ann> hi\n[20:00:02] <ann> ho\n")).format
    assert "stream start" not in read(log("[0:00:01] <ann> hi\n[20:00:02] <ann> ho\n")).format
