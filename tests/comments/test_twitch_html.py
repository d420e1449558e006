import pytest

from kuaihl.comments import twitch_html
from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError

BADGE = '<img class="badge-image" title="subscriber" src="x"><div class="invis-text">subscriber</div>'
EMOTE = '<img width="auto" class="emote-image" title="Kappa" src="x"><div class="invis-text">Kappa</div> '


def said(time, user, html):
    return (
        f'<pre class="comment-root">[{time}] {BADGE} <a href="https://twitch.tv/x"><span class="comment-author" '
        f'style="color: #FFF">{user}</span></a><span class="comment-message">: {html}</span></pre>\n'
    )


def page(*comments, style=""):
    return f"<!DOCTYPE html>\n<html><head><style>{style}</style></head><body>\n{''.join(comments)}</body></html>"


def entries(result):
    return [(c.time_s, c.user, c.text, c.kind) for c in result.comments]


def test_page(log):
    result = read(
        log(
            page(
                said("0:00:05", "Ann", "so &lt;3 : " + EMOTE + "good "),
                said("0:00:06", "名字 (login)", ":) hi"),
                said("27:00:01", "Nightbot", "!rules"),
                said('<a href="v?t=0h0m7s">0:00:07</a>', "Bo", EMOTE),
                said("0:00:08", "Cy", ""),
                said("soon", "Di", "hi"),
            )
        )
    )
    assert result.format == "TwitchDownloader HTML"
    assert entries(result) == [
        (5.0, "Ann", "so <3 : Kappa good", "message"),
        (6.0, "名字", ":) hi", "message"),
        (7.0, "Bo", "Kappa", "message"),
        (97201.0, "Nightbot", "!rules", "bot"),
    ]
    assert {(s.reason, s.count, s.where) for s in result.skipped} == {
        ("comments without text", 1, "comment 5"),
        ("entries without a readable time", 1, "comment 6"),
    }


def test_minified(log):
    small = (
        "<pre class='cr'>[0:01:39] <img class='bi a1D' title='premium'><span class='th'>premium</span> <a href='x'>"
        "<span class='ca fMJ'>Ann</span></a><span>: <img title='Alien'><span class='th'>Alien</span></span></pre>"
    )
    assert entries(read(log(page(small)))) == [(99.0, "Ann", "Alien", "message")]


def test_dates(log):
    result = read(log(page(said("2024-05-01 20:00:05 UTC", "Ann", "hi"))), stream_start="2024-05-01T22:00:00+02:00")
    assert entries(result) == [(5.0, "Ann", "hi", "message")]


def test_emotes_kept_in_the_page_come_before_its_comments(log, monkeypatch):
    monkeypatch.setattr(twitch_html, "CHUNK", 1000)
    comments = [said(f"0:{i // 60:02}:{i % 60:02}", "Ann", f"text {i}") for i in range(200)]
    result = read(log(page(*comments, style=".first-1 {content: 'QUJD'}" * 9000)))
    assert [(c.time_s, c.text) for c in result.comments] == [(float(i), f"text {i}") for i in range(200)]


def test_cut_off(log):
    result = read(log(page(said("0:00:01", "Ann", "hi"), said("0:00:02", "Ann", "again")).partition("again")[0]))
    assert [c.text for c in result.comments] == ["hi"]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "the end")]


def test_other_pages(log):
    with pytest.raises(CommentLogError, match="page without comments"):
        read(log("<html><body><pre>[0:00:01] Ann: hi</pre></body></html>"))
