"""JSON with one flat entry a comment: Discord's, Kick's, TikTok's and one's own."""

import json

import pytest

from kuaihl.comments.reader import read

START = "2024-05-01T20:00:00+02:00"


def parsed(result):
    return [(c.time_s, c.user, c.text, c.kind) for c in result.comments]


def test_discord(log):
    def entry(second, content="hi", *, kind="Default", **author):
        return {
            "type": kind,
            "timestamp": f"2024-05-01T18:00:0{second}.5+00:00",
            "content": content,
            "author": {"id": "1", "name": "ann", **author},
        }

    document = {
        "guild": {"id": "1", "name": "g"},
        "channel": {"id": "2"},
        "messages": [
            entry(1, nickname="Ann"),
            entry(2, isBot=True),
            entry(3, "joined", kind="GuildMemberJoin"),
            entry(4, "yes", kind="Reply"),
            entry(5, "") | {"stickers": [{"name": "wave"}]},
            entry(6, "") | {"attachments": [{"url": "x"}]},
            entry(7) | {"timestamp": None},
        ],
    }
    result = read(log(json.dumps(document, indent=2)), stream_start=START)
    assert result.format == "DiscordChatExporter JSON"
    assert parsed(result) == [
        (1.5, "Ann", "hi", "message"),
        (2.5, "ann", "hi", "bot"),
        (3.5, "ann", "joined", "notice"),
        (4.5, "ann", "yes", "message"),
        (5.5, "ann", ":wave:", "message"),
    ]
    assert {s.where for s in result.skipped} == {"comment 6", "comment 7"}


@pytest.mark.parametrize("form", ["list", "lines", "document"])
def test_kick(log, form):
    rows = [
        {"id": "a", "createdAt": "2024-05-01T18:00:01.000Z", "username": "Ann", "content": "[emote:1:KEKW]"},
        {"id": "b", "created_at": "2024-05-01T18:00:02+00:00", "sender": {"id": 7, "username": "Bo"}, "content": "hi"},
        {"id": "b", "created_at": "2024-05-01T18:00:02+00:00", "sender": {"username": "Bo"}, "content": "hi"},
        {"id": "c", "username": "Cy", "content": "no time"},
    ]
    text = {
        "list": json.dumps(rows, indent=1),
        "lines": "\n".join(map(json.dumps, rows)),
        "document": json.dumps({"status": {"code": 200}, "data": {"messages": rows, "cursor": "1"}}),
    }[form]
    result = read(log(text), stream_start=START)
    assert parsed(result) == [(1.0, "Ann", "KEKW", "message"), (2.0, "Bo", "hi", "message")]
    assert {(s.reason, s.count) for s in result.skipped} == {
        ("repeats of a comment", 1),
        ("entries without a readable time", 1),
    }


def test_tiktok_repeats_old_comments_on_connecting(log):
    rows = [
        {"create_time": 1714586401000 + i * 1000, "user": {"nickname": "Ann", "unique_id": "ann1"}, "comment": "hi"}
        for i in (0, 1, 2, 0, 1, 3)
    ]
    result = read(log(json.dumps(rows)), stream_start=START)
    assert [c.time_s for c in result.comments] == [1.0, 2.0, 3.0, 4.0]
    assert [(s.reason, s.count) for s in result.skipped] == [("repeats of a comment", 2)]


def test_times_from_the_start_need_no_clock(log):
    rows = [{"time_ms": 1500, "user": "Ann", "text": "hi"}, {"time_ms": 2500, "user": None, "text": "ho"}]
    assert parsed(read(log(json.dumps(rows)))) == [(1.5, "Ann", "hi", "message"), (2.5, None, "ho", "message")]


TIKTOK = {
    "flat": lambda name, stamp: {
        "comment": "hi", "uniqueId": "ann1", "nickname": "Ann", "userBadges": [{"type": "pm", "badges": [{"a": 1}]}],
        "userDetails": {"createTime": "0"}, "msgId": name, "createTime": stamp,
    },
    "event": lambda name, stamp: {
        "event": {"msgId": name, "createTime": stamp}, "user": {"uniqueId": "ann1", "nickname": "Ann"}, "comment": "hi",
    },
    "common": lambda name, stamp: {
        "common": {"method": "WebcastChatMessage", "msgId": name, "createTime": stamp},
        "user": {"userId": "1", "nickname": "Ann"}, "content": "hi",
    },
}  # fmt: skip
"""As TikTok-Live-Connector wrote them over the years."""


@pytest.mark.parametrize("lines", [False, True], ids=["list", "lines"])
@pytest.mark.parametrize("form", TIKTOK)
def test_tiktok_as_its_libraries_write_it(log, form, lines):
    rows = [TIKTOK[form](str(i), str((1714586401 + i) * 1000)) for i in (0, 1, 0, 2)]
    result = read(log("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)), stream_start=START)
    assert parsed(result) == [
        (1.0, "Ann", "hi", "message"),
        (2.0, "Ann", "hi", "message"),
        (3.0, "Ann", "hi", "message"),
    ]
    assert [(s.reason, s.count) for s in result.skipped] == [("repeats of a comment", 1)]


def test_a_damaged_first_entry_hides_no_format(log):
    good = json.dumps({"time_s": 1, "user": {"name": "Ann"}, "text": "hi"})
    result = read(log(f'[{{"time_s": 0, "text" "x"}}, {good}]'))
    assert [c.time_s for c in result.comments] == [1.0]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "comment 1")]


def pages(form, rows):
    """Write rows as a list, lines, a page, a list of pages, or lines of pages."""
    halves = [{"code": 200, "content": {"next": {"n": 1}, "rows": half}} for half in (rows[:2], rows[2:])]
    return {
        "list": lambda: json.dumps(rows, indent=1),
        "lines": lambda: "\n".join(map(json.dumps, rows)),
        "page": lambda: json.dumps({"code": 200, "content": {"rows": rows}}),
        "long page": lambda: json.dumps({"content": {"rows": rows, "more": "x" * 70_000}}, indent=1),
        "pages": lambda: json.dumps(halves),
        "lines of pages": lambda: "\n".join(map(json.dumps, halves)),
    }[form]()


FORMS = ["list", "lines", "page", "long page", "pages", "lines of pages"]


@pytest.mark.parametrize("form", FORMS)
def test_twitch_graphql(log, form):
    def node(second, text, **author):
        commenter = {"login": "ann", "displayName": "Ann", **author}
        message = {"fragments": [{"text": text}, {"emote": {"id": "1"}, "text": " Kappa"}], "userBadges": []}
        return {"node": {"id": str(second), "contentOffsetSeconds": second, "commenter": commenter, "message": message}}

    rows = [node(2, "hi"), node(7, "!rules", login="nightbot"), node(7, "again"), node(9, "")]
    rows[3]["node"]["commenter"] = None
    result = read(log(pages(form, rows)))
    assert result.format == "Twitch GraphQL JSON"
    assert parsed(result) == [
        (2.0, "Ann", "hi Kappa", "message"), (7.0, "Ann", "!rules Kappa", "bot"), (9.0, None, "Kappa", "message")
    ]  # fmt: skip
    assert [(s.reason, s.count) for s in result.skipped] == [("repeats of a comment", 1)]


@pytest.mark.parametrize("form", FORMS)
def test_chzzk(log, form):
    def row(second, text, code=1, **more):
        return {
            "playerMessageTime": second * 1000, "messageTime": 1714586400000 + second, "messageTypeCode": code,
            "profile": json.dumps({"nickname": f"viewer{second}"}), "content": text, **more,
        }  # fmt: skip

    donation = row(3, "", 10, extras=json.dumps({"payAmount": 1000}))
    result = read(
        log(pages(form, [row(1, "hi"), row(2, "take this", 10), donation, row(4, "slow mode", 30, profile=None)]))
    )
    assert result.format == "CHZZK JSON"
    assert parsed(result) == [
        (1.0, "viewer1", "hi", "message"), (2.0, "viewer2", "take this", "paid"), (3.0, "viewer3", "1000", "gift"),
        (4.0, None, "slow mode", "notice"),
    ]  # fmt: skip


def test_chzzk_live(log):
    rows = [{"msg": "hi", "msgTime": 1714586401500, "msgTypeCode": 1, "profile": '{"nickname": "Ann"}'}]
    assert parsed(read(log(json.dumps({"cmd": 93101, "bdy": rows})), stream_start=START)) == [
        (1.5, "Ann", "hi", "message")
    ]


@pytest.mark.parametrize("form", FORMS)
def test_niconico(log, form):
    rows = [{"id": str(i), "vposMs": i * 1500, "userId": "u", "body": f"w{i}", "isPremium": False} for i in range(4)]
    result = read(log(pages(form, rows)))
    assert result.format == "Niconico JSON"
    assert parsed(result) == [(i * 1.5, "u", f"w{i}", "message") for i in range(4)]
    old = [{"chat": {"vpos": i * 150, "date": 1, "user_id": "u", "content": f"w{i}"}} for i in range(4)]
    assert parsed(read(log(pages(form, [{"ping": {}}, *old])))) == parsed(result)


def test_threads_of_niconico_do_not_start_again(log):
    thread = [{"id": "", "vposMs": i * 1000, "userId": "u", "body": f"w{i}"} for i in range(200)]
    document = {"meta": {"status": 200}, "data": {"threads": [{"fork": f, "comments": thread} for f in "ab"]}}
    result = read(log(json.dumps(document, indent=1)))
    assert (len(result.comments), result.format, result.skipped) == (400, "Niconico JSON", ())


@pytest.mark.parametrize("form", FORMS)
def test_npm_youtube_chat(log, form):
    def row(second, *message, **more):
        return {
            "id": f"m{second}", "author": {"name": "Ann", "channelId": "c"}, "message": list(message),
            "isMembership": False, "timestamp": f"2024-05-01T18:00:0{second}.250Z", **more,
        }  # fmt: skip

    emoji = {"url": "u", "alt": ":cat:", "emojiText": "", "isCustomEmoji": True}
    paid = {"superchat": {"amount": "$5.00", "color": "#fff"}}
    rows = [row(1, {"text": "see "}, emoji), row(2, {"text": "wow"}, **paid), row(3, **paid), row(4)]
    result = read(log(pages(form, rows)), stream_start=START)
    assert result.format == "youtube-chat JSON"
    assert parsed(result) == [
        (1.25, "Ann", "see :cat:", "message"), (2.25, "Ann", "wow", "paid"), (3.25, "Ann", "$5.00", "gift")
    ]  # fmt: skip


def test_youtube_api(log):
    item = {
        "snippet": {"publishedAt": "2024-05-01T18:00:01Z", "displayMessage": "hi"},
        "authorDetails": {"displayName": "A"},
    }
    assert parsed(read(log(json.dumps({"kind": "x", "items": [item]})), stream_start=START)) == [
        (1.0, "A", "hi", "message")
    ]
