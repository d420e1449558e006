import pytest

from kuaihl.comments import xml_stream
from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError

HEAD = "<?xml version='1.0' encoding='UTF-8'?><i><chatserver>c</chatserver><chatid>7</chatid><maxlimit>10</maxlimit>"
RECORDER = (
    '\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<?xml-stylesheet type="text/xsl" href="#s"?>\r\n<i>\r\n'
    "<!-- sc is a SuperChat -->\r\n  <chatid>0</chatid>\r\n"
    '<BililiveRecorderRecordInfo roomid="1" start_time="2021-12-18T00:30:32-05:00" />\r\n'
    '<BililiveRecorderXmlStyle><z:s xmlns:z="u"><table><tr><z:for-each select="/i/d"/></tr></table></z:s>'
    "</BililiveRecorderXmlStyle>\r\n"
)


def entries(content):
    return [(c.time_s, c.user, c.text, c.kind) for c in read(content).comments]


def d(time, text, *, fields=8, mode=1, more=""):
    rest = ["25", "16777215", "1606932706", "0", "b105c2ee", "418", "11"][: fields - 2]
    return f'<d p="{time},{mode},{",".join(rest)}"{more}>{text}</d>'


def test_unsorted_with_eight_or_nine_fields_on_one_line(log):
    path = log(HEAD + d(302.308, "b &amp; c", fields=9) + d("17.118999481201", "a") + "</i>")
    assert read(path).format == "Bilibili XML"
    assert entries(path) == [(17.118999481201, None, "a", "message"), (302.308, None, "b & c", "message")]
    assert read(path).skipped == ()


def test_special_modes(log):
    path = log(
        HEAD + d(1, '[0,0,"1-1",4.5,"placed",0]', mode=7) + d(2, "def text(){}", mode=9) + d(3, "odd", mode=7) + "</i>"
    )
    assert [(t, text) for t, _, text, _ in entries(path)] == [(1.0, "placed"), (3.0, "odd")]
    assert [(s.count, s.where) for s in read(path).skipped] == [(1, "element 2 (<d>)")]


def test_recorder(log):
    path = log(
        RECORDER
        + "  "
        + d("1.204", "来了", more=' user="Ann&lt;3" raw="[[&quot;x&quot;]]"')
        + '\r\n  <sc ts="9.5" user="Bo" price="30" time="60">well said</sc>\r\n'
        + '  <gift ts="4" user="Cy" giftname="rose" giftcount="3" />\r\n'
        + '  <guard ts="5" user="Di" level="3" count="1" />\r\n'
        + "  "
        + d("6", "no end", more=' user="Ed"')
    )
    assert read(path).format == "BililiveRecorder XML"
    assert entries(path) == [
        (1.204, "Ann<3", "来了", "message"),
        (4.0, "Cy", "rose x3", "gift"),
        (5.0, "Di", "captain x1", "gift"),
        (6.0, "Ed", "no end", "message"),
        (9.5, "Bo", "well said", "paid"),
    ]
    assert read(path).skipped == ()


def test_damage_costs_only_its_element(log):
    path = log(
        HEAD
        + "\n".join(
            [
                d(1, "good"),
                d(2, "I <3 you & me &nbsp;&lt;"),
                '<d p="3,1,25">never closed',
                d(4, "after"),
                d(5, "bell \x07 and &#x1; end"),
                '<d p="6,1" user="a"b">attribute</d>',
                d("soon", "no time"),
                '<d q="8">no time at all</d>',
                d(9, ""),
                "</i>",
                "<?xml version='1.0'?><i>",
                d(10, "second document"),
                '<d p="11,1,25">cut o',
            ]
        )
    )
    assert [(t, text) for t, _, text, _ in entries(path)] == [
        (1.0, "good"),
        (2.0, "I <3 you & me \xa0<"),
        (4.0, "after"),
        (5.0, "bell  and  end"),
        (10.0, "second document"),
    ]
    assert {s.reason: (s.count, s.where) for s in read(path).skipped} == {
        "broken elements": (3, "line 3"),
        "control characters, removed": (2, "line 1"),
        "entries without a readable time": (2, "element 5 (<d>)"),
        "comments without text": (1, "element 7 (<d>)"),
    }


@pytest.mark.parametrize("joined", ["\n", ""], ids=["lines", "one line"])
def test_pieces_do_not_matter(log, monkeypatch, joined):
    monkeypatch.setattr(xml_stream, "CHUNK", 700)
    path = log(HEAD + joined.join(d(i, f"text {i} 字") for i in range(500)) + "\n</i>\n")
    assert entries(path) == [(float(i), None, f"text {i} 字", "message") for i in range(500)]
    assert read(path).skipped == ()


def test_entities_are_not_expanded(log):
    bomb = "<!DOCTYPE i [<!ENTITY a 'lol'><!ENTITY b '&a;&a;'><!ENTITY f SYSTEM 'file:///etc/passwd'>]>"
    path = log(bomb + "<i><chatid>1</chatid>" + d(1, "&b;&f;") + d("2", "x", more=' user="&b;"') + "</i>")
    assert [(text, user) for _, user, text, _ in entries(path)] == [("&b;&f;", None), ("x", "&b;")]


def test_all_damaged(log):
    with pytest.raises(CommentLogError, match=r"looks like Bilibili XML.*broken elements \(2.*line 1\).*<d p="):
        read(log(HEAD + '<d p="1>a</d><d p=2>b</d></i>'))
