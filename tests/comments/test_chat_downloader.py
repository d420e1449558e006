import json

import pytest

from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError

OLD = {"author": "Ann", "message": "hi", "time_in_seconds": 7, "time_text": "0:07", "timestamp": 1597516926528738}
NEW = {"author": {"name": "ann", "display_name": "Ann"}, "message": "hi", "message_type": "text_message"}


@pytest.mark.parametrize("form", ["list", "indented list", "lines"])
def test_old_and_new_authors(log, form):
    rows = [NEW | {"time_in_seconds": 8.5}, OLD]
    text = {
        "list": json.dumps(rows),
        "indented list": json.dumps(rows, indent=4),
        "lines": "\n".join(map(json.dumps, rows)),
    }[form]
    result = read(log(text))
    assert result.format == "chat-downloader JSON"
    assert [(c.time_s, c.user, c.text, c.kind) for c in result.comments] == [
        (7.0, "Ann", "hi", "message"),
        (8.5, "Ann", "hi", "message"),
    ]
    assert result.skipped == ()


def test_times(log):
    rows = [
        OLD | {"time_in_seconds": 0, "time_text": "-1:02"},
        OLD | {"time_in_seconds": 0, "time_text": "-0:00"},
        OLD | {"time_in_seconds": -90.5, "time_text": "-1:30"},
        OLD | {"time_in_seconds": None, "time_text": "1:00:00"},
        OLD | {"time_in_seconds": 1597882698, "time_text": "443,856:18:18"},
        OLD | {"time_in_seconds": "nan"},
    ]
    result = read(log(json.dumps(rows)), offset_s=10)
    assert [c.time_s for c in result.comments] == [-80.5, -52.0, 10.0, 3610.0]
    assert {(s.count, s.where) for s in result.skipped} == {(1, "comment 5"), (1, "comment 6")}


def test_kinds(log):
    rows = [
        NEW | {"message_type": "paid_message", "money": {"amount": 5.0, "text": "$5.00"}},
        NEW | {"message_type": "paid_message", "message": None, "money": {"amount": 5.0, "text": "$5.00"}},
        NEW | {"message_type": "ticker_paid_message_item"},
        NEW | {"message_type": "placeholder_item", "message": None},
        NEW | {"message_type": "membership_item", "message": "Welcome"},
        NEW | {"bits": 100},
        NEW | {"author": {"name": "Moobot"}},
        NEW | {"message_type": "subscription_gift", "message": None, "system_message": "Ann gave a sub"},
        NEW | {"message_type": ["strange"], "message": {"strange": 1}},
    ]
    result = read(log(json.dumps([row | {"time_in_seconds": i} for i, row in enumerate(rows)])))
    assert [(c.time_s, c.text, c.kind) for c in result.comments] == [
        (0.0, "hi", "paid"),
        (1.0, "$5.00", "gift"),
        (4.0, "Welcome", "notice"),
        (5.0, "hi", "paid"),
        (6.0, "hi", "bot"),
        (7.0, "Ann gave a sub", "gift"),
    ]
    assert sorted(s.where for s in result.skipped) == ["comment 3", "comment 4", "comment 9"]


def test_live_captures_have_no_times(log):
    rows = [{"message": "hi", "timestamp": 1607483005292000, "message_type": "text_message"}] * 3
    with pytest.raises(CommentLogError, match=r"wall clock.*1607483005292000 at comment 1.*--stream-start"):
        read(log(json.dumps(rows)))


def test_csv_of_a_live_capture(log):
    header = "action_type,author.name,message,message_type,timestamp,money.text\n"
    rows = ["add_chat_item,Ann,hi,text_message,{},", "add_live_chat_ticker_item,Ann,hi,ticker_paid_message_item,{},$5"]
    path = log(header + "\n".join(row.format(1607483005000000) for row in rows))
    result = read(path, stream_start="2020-12-09T03:03:20Z")
    assert result.format == "chat-downloader CSV"
    assert [(c.time_s, c.user, c.text) for c in result.comments] == [(5.0, "Ann", "hi")]
    assert [s.where for s in result.skipped] == ["line 3"]


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000])
def test_live_captures_are_placed_by_the_start_of_the_stream(log, unit):
    rows = [{"message": "hi", "timestamp": (1607483005 + s) * unit} for s in (0, 60)]
    result = read(log(json.dumps(rows)), stream_start="2020-12-09T03:03:20Z")
    assert [c.time_s for c in result.comments] == [5.0, 65.0]


def test_rows_after_the_end_bear_epochs(log):
    row = OLD | {"time_in_seconds": 1597516930}  # 18:42:10 UTC
    result = read(log(json.dumps([OLD, row])), stream_start="2020-08-15T20:42:01+02:00")
    assert [c.time_s for c in result.comments] == [7.0, 9.0]


def test_text(log):
    result = read(
        log(
            "-1:02 | Ann: hello: there\n"
            "0:07 | (New member, Moderator) Bo B: hi\n"
            "0:08 | *$5.00* Cy: well done\n"
            "0:09 | (Member) *$2.00* Di\n"
            "1:00:10 | Nightbot: !rules\n"
            "2:00 | Slow mode is on\n"
            "and more of it\n"
        )
    )
    assert result.format == "chat-downloader text"
    assert [(c.time_s, c.user, c.text, c.kind) for c in result.comments] == [
        (-62.0, "Ann", "hello: there", "message"),
        (7.0, "Bo B", "hi", "message"),
        (8.0, "Cy", "well done", "paid"),
        (9.0, "Di", "$2.00", "gift"),
        (120.0, None, "Slow mode is on", "notice"),
        (3610.0, "Nightbot", "!rules", "bot"),
    ]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "line 7")]


def test_text_of_a_live_capture_has_local_dates(log):
    lines = "2024-05-01 20:00:07 | Ann: hi\n2024-05-01 20:01:00 | (Member) Bo: hi\n"
    result = read(log(lines), stream_start="2024-05-01T20:00:00+02:00")
    assert [c.time_s for c in result.comments] == [7.0, 60.0]
    assert "+02:00" in result.format


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (
            "author,message,time_in_seconds,time_text,timestamp",
            ["Ann,hi,7.0,0:07,15625", '"B, C","a ""b"", c\nd",8,0:08,16'],
        ),
        (
            "author.badges,author.display_name,author.name,message,message_type,time_in_seconds",
            [",Ann,ann,hi,text_message,7", ',"B, C",bc,"a ""b"", c\nd",text_message,8'],
        ),
    ],
)
def test_csv_in_any_order_of_columns(log, header, rows):
    result = read(log("\ufeff" + "\r\n".join([header, *rows, "x", ""])))
    assert result.format == "chat-downloader CSV"
    assert [(c.time_s, c.user, c.text) for c in result.comments] == [(7.0, "Ann", "hi"), (8.0, "B, C", 'a "b", c d')]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "line 5")]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_copies_in_the_ticker_are_left_out(log, form):
    """Of some versions only their ``ticker_duration`` tells them from what was paid for."""
    row = {"time_in_seconds": 7, "author": "Ann", "amount": "$5", "message": "wow", "ticker_duration": None}
    rows = [row, row | {"ticker_duration": 120}, row | {"time_in_seconds": 9, "message": "hi", "amount": ""}]
    table = "\n".join([",".join(row), *(",".join(str(v or "") for v in r.values()) for r in rows)])
    result = read(log(json.dumps(rows) if form == "json" else table))
    assert [(c.time_s, c.text, c.kind) for c in result.comments] == [(7.0, "wow", "paid"), (9.0, "hi", "message")]
    assert [s.count for s in result.skipped] == [1]
