import pytest

from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError


def entries(path):
    return [(c.time_s, c.user, c.text) for c in read(path).comments]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("time,user,text", "90.5,Ann,hi"),
        ("Text;User Name;Time", "hi;Ann;0:01:30.5"),
        ("author\tid\tmessage\ttime_ms", "Ann\t4\thi\t90500"),
        ("user,TIMESTAMP,content", 'Ann,"1:30,5",hi'),
        (" stime , mode , author , text", "90.500,1,Ann,hi"),
    ],
)
def test_headers(log, header, row):
    assert entries(log(f"{header}\n{row}\n")) == [(90.5, "Ann", "hi")]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_without_header(log, delimiter):
    rows = [("27:00:00", "Ann", "hi"), ("-5", "Nightbot", f"one{delimiter} two"), ("0:03", "", "x")]
    result = read(log("\n".join(delimiter.join(row) for row in rows)))
    assert result.format == "CSV or TSV without header"
    assert [(c.time_s, c.user, c.text, c.kind) for c in result.comments] == [
        (-5.0, "Nightbot", f"one{delimiter} two".replace("\t", " "), "bot"),
        (3.0, None, "x", "message"),
        (97200.0, "Ann", "hi", "message"),
    ]


def test_two_columns_are_time_and_text(log):
    assert entries(log("1,hello\n2,and again\n")) == [(1.0, None, "hello"), (2.0, None, "and again")]


def test_unquoted_commas(log):
    assert entries(log("time,user,text\n1,Ann,well, well, well\n")) == [(1.0, "Ann", "well, well, well")]
    result = read(log("text,user,time\nwell, well,Ann,1\nhi,Bo,2\n"))
    assert [c.text for c in result.comments] == ["hi"]
    assert [(s.reason, s.count, s.where) for s in result.skipped] == [("rows that do not have 3 columns", 1, "line 2")]


def test_quotes(log):
    path = log(
        "time,user,text\n"
        '1,Ann,"two\nlines, ""quoted"""\n'
        '2,Bo,"never closed\n'
        '3,Cy,5" of rain\n'
        '4,Di,"what" he said\n'
        '5,"Ed, Jr",bye\n'
    )
    assert entries(path) == [
        (1.0, "Ann", 'two lines, "quoted"'),
        (2.0, "Bo", '"never closed'),
        (3.0, "Cy", '5" of rain'),
        (4.0, "Di", '"what" he said'),
        (5.0, "Ed, Jr", "bye"),
    ]
    assert read(path).skipped == ()


def test_a_stray_quote_does_not_swallow_the_rest(log):
    rows = [f"{i},Ann,hello" for i in range(500)]
    rows[100] = '100,Ann,"oops'
    assert [c.time_s for c in read(log("\n".join(["time,user,text", *rows]))).comments] == list(map(float, range(500)))


def test_bad_times_are_counted(log):
    result = read(
        log("time,user,text\n1,a,b\nnan,a,b\n1e9,a,b\nsoon,a,b\n0:75,a,b\n2,a,\n3,a\n2024-05-01 20:00,a,b\n4,a,b\n")
    )
    assert [c.time_s for c in result.comments] == [1.0, 4.0]
    assert {s.reason: (s.count, s.where) for s in result.skipped} == {
        "times that are not finite": (1, "line 3"),
        "wall-clock times instead of times from the start of the recording": (2, "line 4"),
        "entries without a readable time": (2, "line 5"),
        "comments without text": (1, "line 7"),
        "rows that do not have 3 columns": (1, "line 8"),
    }


@pytest.mark.parametrize("time", ["2025-03-31T17:45:40+08:00", "31/03/2025 17:45", "1743414340", "1743414340382"])
def test_dates_are_refused(log, time):
    with pytest.raises(CommentLogError, match=rf"wall clock.*{time.split('+')[0]}"):
        read(log(f"video_id,author,message,published_at\nv,Ann,hi,{time}\n"))


@pytest.mark.parametrize(
    "time", ["2025-03-31T17:45:40+08:00", "2025-03-31 09:45:40Z", "2025/3/31 11:45:40.000 +0200", "1743414340382"]
)
@pytest.mark.parametrize("header", ["author,message,published_at\n", ""])
def test_dates_are_placed_by_the_start_of_the_stream(log, time, header):
    row = f"Ann,hi,{time}\n" if header else f"{time},Ann,hi\n"
    (comment,) = read(log(header + row), stream_start="2025-03-31T11:45:00+02:00").comments
    assert comment.time_s == pytest.approx(40, abs=0.4)
    assert (comment.user, comment.text) == ("Ann", "hi")


def test_comments_of_one_poll_share_its_time_and_are_all_kept(log):
    rows = "".join(f"2025-03-31 11:45:{poll:02},Ann,hi\n" * 3 for poll in (10, 20, 30))
    result = read(log("published_at,author,message\n" + rows), stream_start="2025-03-31T11:45:00+02:00")
    assert [c.time_s for c in result.comments] == [10.0] * 3 + [20.0] * 3 + [30.0] * 3
    assert result.skipped == ()


@pytest.mark.parametrize(("step_s", "note"), [(10, "about 10 s apart"), (60, "about 60 s apart"), (1, None)])
def test_batches_are_told(log, step_s, note):
    """Of polls, and of clocks without seconds; whole seconds are fine enough."""
    rows = "".join(f"{i // 7 * step_s},ann,hi {i}\n" for i in range(100))
    result = read(log("time_s,user,text\n" + rows))
    assert len(result.comments) == 100
    assert (note in result.format) if note else ("batches" not in result.format)


def test_repeats_are_known_by_the_id_of_the_message(log):
    result = read(log("time_s,id,msgId,user,text\n1,7,a,ann,hi\n2,7,b,ann,hi\n1,7,a,ann,hi\n"))
    assert [c.time_s for c in result.comments] == [1.0, 2.0]
    assert [(s.reason, s.where) for s in result.skipped] == [("repeats of a comment", "line 4")]


@pytest.mark.parametrize(("start", "time_s"), [("2025-04-03", 2700), ("2025-03-04", 2700), ("2025-06-01", None)])
def test_dates_with_two_readings_are_read_as_the_one_near_the_start(log, start, time_s):
    path = log("author,message,date\nAnn,hi,03/04/2025 17:45\n")
    if time_s is None:
        with pytest.raises(CommentLogError, match="day or the month"):
            read(path, stream_start=f"{start}T17:00:00+02:00")
    else:
        assert [c.time_s for c in read(path, stream_start=f"{start}T17:00:00+02:00").comments] == [time_s]


def test_kicks_emotes_and_tiktoks_repeats(log):
    rows = "1714593601000,Ann,[emote:37226:KEKW] hi\n" * 2 + "1714593602000,Ann,hi\n"
    result = read(log("create_time,nickname,comment\n" + rows), stream_start="2024-05-01T20:00:00Z")
    assert [(c.time_s, c.text) for c in result.comments] == [(1.0, "KEKW hi"), (2.0, "hi")]
    assert [(s.reason, s.count) for s in result.skipped] == [("repeats of a comment", 1)]


def test_announcements_of_twitch(log):
    result = read(log("0:00:01\tAnn\tAnn gifted a Tier 1 sub to Bo!\n0:00:02\tBo\tthank you\n"))
    assert [c.kind for c in result.comments] == ["gift", "message"]
