"""What of a log counts as comments."""

import pytest

from kuaihl.comments.selection import COUNTED, KINDS, select_kinds, text_comments
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, CommentLog

LOG = CommentLog(
    "made up",
    (
        Comment(1.0, "hello", "a"),
        Comment(2.0, "!drops", "b"),
        Comment(3.0, "!!!", "c"),
        Comment(4.0, "take this", "d", "paid"),
        Comment(5.0, "a rose", "e", "gift"),
        Comment(6.0, "drops are on", "nightbot", "bot"),
        Comment(7.0, "slow mode is on", None, "notice"),
    ),
)


def texts(kinds):
    return [c.text for c in select_kinds(LOG, kinds).comments]


def test_the_default_is_what_counts_without():
    found = select_kinds(LOG)
    assert list(found.comments) == text_comments(LOG.comments)
    assert [(s.reason, s.count) for s in found.skipped] == [
        ("gift, left out of the text", 1),
        ("bot, left out of the text", 1),
        ("notice, left out of the text", 1),
    ]


def test_each_kind_can_be_taken_in_or_left_out():
    assert texts(set(COUNTED) - {"command"}) == ["hello", "!!!", "take this"]
    assert texts({*COUNTED, "gift"}) == ["hello", "!drops", "!!!", "take this", "a rose"]
    assert texts({"bot"}) == ["drops are on"]
    assert texts(KINDS) == [c.text for c in LOG.comments]
    assert texts(()) == []


def test_what_counts_counts_as_text():
    assert text_comments(select_kinds(LOG, KINDS).comments) == list(select_kinds(LOG, KINDS).comments)


def test_an_unknown_kind_is_refused():
    with pytest.raises(CommentLogError, match="'spam'"):
        select_kinds(LOG, ("message", "spam"))
