import pytest

from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError

EPOCH_S = 1714593600


def entries(result):
    return [(c.time_s, c.user, c.text, c.kind) for c in result.comments]


def d(time, text, *, sent_s=EPOCH_S, more=""):
    return f'<d p="{time},1,25,16777215,{sent_s},0,a,1"{more}>{text}</d>'


def blrec(*elements):
    head = (
        "<metadata><user_name>s</user_name><record_start_time>2024-05-01T20:00:00+08:00</record_start_time></metadata>"
    )
    return f"<?xml version='1.0'?><i><chatserver>c</chatserver>{head}{''.join(elements)}</i>"


def test_blrec(log):
    result = read(
        log(
            blrec(
                d(1.5, "Ann: I &amp;lt;3 you", more=' user="Ann"'),
                d(2, "score 3: 2", more=' user="Bo"'),
                '<toast ts="3" user="Cy">Cy is a captain</toast>',
                '<sc ts="4" user="Di" price="30">well said</sc>',
                '<gift ts="5" user="Ed" giftname="rose" giftcount="3"/>',
            )
        )
    )
    assert result.format == "blrec XML"
    assert entries(result) == [
        (1.5, "Ann", "I <3 you", "message"),
        (2.0, "Bo", "score 3: 2", "message"),
        (3.0, "Cy", "Cy is a captain", "gift"),
        (4.0, "Di", "well said", "paid"),
        (5.0, "Ed", "rose x3", "gift"),
    ]


def test_names_before_the_text_where_there_are_no_others(log):
    assert entries(read(log(blrec(d(1, "Ann: hi"), d(2, "Bo: at 3: 2"))))) == [
        (1.0, "Ann", "hi", "message"),
        (2.0, "Bo", "at 3: 2", "message"),
    ]
    plain = read(log(blrec(d(1, "hi"), d(2, "note: this"))))
    assert [c.user for c in plain.comments] == [None, None]


def test_what_was_sent_in_an_interruption_is_left_out(log):
    calm = [d(i, f"calm {i}", sent_s=EPOCH_S + i) for i in range(5)]
    pile = [d("5.120", f"pile {i}", sent_s=EPOCH_S + 5 + i) for i in range(12)]
    busy = [d("6.000", f"busy {i}", sent_s=EPOCH_S + 18) for i in range(12)]
    result = read(log(blrec(*calm, *pile, *busy)))
    assert [c.text.split()[0] for c in result.comments] == ["calm"] * 5 + ["busy"] * 12
    assert [(s.reason, s.count, s.where) for s in result.skipped] == [
        ("comments from an interruption of the recording", 12, "element 6 (<d>)")
    ]


def test_an_interruption_is_known_by_epochs_in_milliseconds_too(log):
    """BililiveRecorder writes them so."""
    pile = [d("60.5", f"pile {i}", sent_s=(EPOCH_S + 30) * 1000 + i * 900) for i in range(12)]
    busy = [d("61.5", f"busy {i}", sent_s=(EPOCH_S + 61) * 1000 + i * 90) for i in range(12)]
    head = '<BililiveRecorderRecordInfo start_time="2024-05-01T20:00:00Z" />'
    result = read(log(f"<i>{head}{''.join(pile + busy)}</i>"))
    assert [c.text.split()[0] for c in result.comments] == ["busy"] * 12
    assert [(s.count, s.where) for s in result.skipped] == [(12, "element 1 (<d>)")]


def test_tools_without_a_start_of_the_video(log):
    later, first = d(2, "hi", more=' user="Ann"'), d(0, "first")
    result = read(log(f"<i><RecorderXmlStyle><z/></RecorderXmlStyle>{later}{first}</i>"))
    assert result.format == "biliLive-tools XML"
    assert entries(result) == [(0.0, None, "first", "message"), (2.0, "Ann", "hi", "message")]


def test_tools(log):
    def at(second):
        return f' user="Ann" timestamp="{(EPOCH_S + second) * 1000}"'

    # Grouped by kind in each flush; what was sent before the recording is put at 0.
    result = read(
        log(
            f"<i>\n<metadata><video_start_time>{EPOCH_S * 1000}</video_start_time></metadata>"
            f"{d(0, 'too early', more=at(-30))}{d(0, 'at once', more=at(0))}{d(9, 'later', more=at(9))}"
            f'<gift ts="4" giftname="rose" giftcount="2" price="1000"{at(4)}/>'
            f'<guard ts="{(EPOCH_S + 5) * 1000}" level="3"{at(5)}/>'
            f'<sc ts="6" price="30000"{at(6)}>well said</sc>'
        )
    )
    assert result.format == "biliLive-tools XML"
    assert entries(result) == [
        (-30.0, "Ann", "too early", "message"),
        (0.0, "Ann", "at once", "message"),
        (4.0, "Ann", "rose x2", "gift"),
        (5.0, "Ann", "captain x1", "gift"),
        (6.0, "Ann", "well said", "paid"),
        (9.0, "Ann", "later", "message"),
    ]


PRESENTS = (
    f'<s timestamp="{EPOCH_S + 3}" username="Bo" type="gift" num="2" giftname="rose">Bo gave</s>'
    f'<s timestamp="{EPOCH_S + 4}" username="Cy" type="super_chat" price="30" num="1">well said</s>'
)


@pytest.mark.parametrize("last", [False, True])
def test_biliup_ties_epochs_to_the_first_comment_with_both_times(log, last):
    comments = d("10.5", "untied", sent_s=0) + d("12.000", "hi", sent_s=EPOCH_S + 2, more=' user="Ann"')
    raw = f'<o timestamp="{EPOCH_S}">raw</o>'
    result = read(log(f"<i>{raw}{PRESENTS + comments if last else comments + PRESENTS}</i>"))
    assert result.format == "biliup XML"
    assert entries(result) == [
        (10.5, None, "untied", "message"),
        (12.0, "Ann", "hi", "message"),
        (13.0, "Bo", "rose x2", "gift"),
        (14.0, "Cy", "well said", "paid"),
    ]
    assert result.skipped == ()


def test_biliup_with_presents_alone_needs_the_start(log):
    path = log(f"<i>{PRESENTS}</i>")
    with pytest.raises(CommentLogError, match="wall clock"):
        read(path)
    assert [c.time_s for c in read(path, stream_start="2024-05-01T20:00:00Z").comments] == [3.0, 4.0]
