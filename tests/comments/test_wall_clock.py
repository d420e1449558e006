from datetime import datetime, timedelta, timezone

import pytest

from kuaihl.comments.fields import date_readings, epoch_s, read_date, read_start
from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError
from tests.fixtures.log_samples import LOGS

TABLE = "time,user,text\n2024-05-01 20:00:07,Ann,hi\n2024-05-01T18:00:08Z,Bo,hi\n"
CEST = timezone(timedelta(hours=2))


def test_dates():
    moment = datetime(2024, 5, 1, 20, 0, 7)  # noqa: DTZ001 - a date that names no zone
    assert (
        read_date("2024-05-01 20:00:07")
        == read_date("2024/5/1 20:00:07")
        == read_date(" 2024-05-01T20:00:07 ")
        == moment
    )
    assert read_date("2024-05-01 20:00:07,25") == moment.replace(microsecond=250_000)
    assert read_date("2024-05-01T20:00:07.1234567+02:00") == moment.replace(microsecond=123_456, tzinfo=CEST)
    same = ["2024-05-01T18:00:07Z", "2024-05-01 18:00:07 UTC", "2024-05-01T20:00:07+0200", "2024-05-01T14:30:07-03:30"]
    assert [read_date(text) for text in same] == [moment.replace(tzinfo=CEST)] * 4
    wrong = [
        "",
        "2024-05-01",
        "20:00:07",
        "2024-13-01 20:00",
        "2024-05-01 25:00",
        "03/04/2024 20:00",
        "2024-05-01T20:00+99:00",
    ]
    assert [read_date(text) for text in wrong] == [None] * 7


def test_epochs_in_any_unit():
    assert [epoch_s(1714593607 * unit) for unit in (1, 10**3, 10**6, 10**9)] == [pytest.approx(1714593607)] * 4
    assert [epoch_s(value) for value in (0.0, 4e7, 1e10, 1e20, -1714593607.0)] == [None] * 5


def test_the_start_needs_a_zone():
    assert read_start("2024-05-01T20:00:00+02:00") == read_start(datetime(2024, 5, 1, 20, tzinfo=CEST))
    for start in ("2024-05-01T20:00:00", datetime(2024, 5, 1, 20)):  # noqa: DTZ001 - the mistake that is tested
        with pytest.raises(CommentLogError, match=r"no time zone.*\+02:00"):
            read_start(start)
    for start in ("eight o'clock", "9999-12-31T23:59:59-02:00", "0001-01-01T00:00:00+02:00"):
        with pytest.raises(CommentLogError, match=r"must be a date.*2024-05-01T20:00:00\+02:00, not (eight|9999|0001)"):
            read_start(start)


def test_without_a_start_the_error_says_what_to_give(log):
    with pytest.raises(CommentLogError, match=r"first is 2024-05-01 20:00:07 at line 2.*--stream-start 2024-"):
        read(log(TABLE))


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("31/03/2024 20:00", ["2024-03-31T20:00:00"]),
        ("03/31/2024, 8:00:07 PM", ["2024-03-31T20:00:07"]),
        ("3/4/2024 12:30 AM", ["2024-04-03T00:30:00", "2024-03-04T00:30:00"]),
        ("03.04.2024 20:00:07,5 +02:00", ["2024-04-03T20:00:07.500000+02:00"]),
        ("05-05-24 20:00", ["2024-05-05T20:00:00"]),
        ("32/13/2024 20:00", []),
    ],
)
def test_dates_that_do_not_begin_with_the_year(text, readings):
    assert [reading.isoformat() for reading in date_readings(text)] == readings
    assert (read_date(text) is None) == (len(readings) != 1)


BY_THE_CLOCK = [
    "DiscordChatExporter JSON", "JSON of comments", "raw Twitch IRC", "Chatterino log", "chat log by the wall clock",
    "justlog", "text with dates", "youtube-chat JSON",
]  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_formats_by_the_clock_ask_for_the_start_and_no_others(log, name):
    if name.partition(";")[0] not in BY_THE_CLOCK:
        assert read(log(LOGS[name])).comments
        return
    with pytest.raises(CommentLogError, match=r"by the wall clock \(the first is .* at .*with the time zone, as in"):
        read(log(LOGS[name]))


def test_dates_without_a_zone_are_in_that_of_the_start_and_this_is_told(log):
    result = read(log(TABLE), stream_start="2024-05-01T20:00:00+02:00", offset_s=0.5)
    assert [c.time_s for c in result.comments] == [7.5, 8.5]
    assert result.format == "CSV or TSV (dates without a time zone are read in that of the stream start, +02:00)"


def test_another_start_moves_everything(log):
    early = read(log(TABLE), stream_start="2024-05-01T19:00:00+02:00").comments
    assert [c.time_s for c in early] == [3607.0, 3608.0]


def test_a_start_years_away_is_questioned(log):
    with pytest.raises(CommentLogError, match=r"more than a year away.*Is the stream start right, 2020-05-01"):
        read(log(TABLE), stream_start="2020-05-01T20:00:00+02:00")


def test_a_start_that_is_not_needed_is_told(log):
    assert "was not needed" in read(log("1,a,b\n2,a,b\n"), stream_start="2024-05-01T20:00:00Z").format
