import json

import pytest

from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError


def line(offset_ms, item, *, action="addChatItemAction", shown=None, **top):
    name, content = item
    if shown:
        content = content | {"timestampText": {"simpleText": shown}}
    replay = {"actions": [{action: {"item": {name: content}}}]}
    if "isLive" in top:
        return json.dumps({"replayChatItemAction": replay, "videoOffsetTimeMsec": offset_ms, **top})
    return json.dumps({"replayChatItemAction": replay | {"videoOffsetTimeMsec": offset_ms}, **top})


def said(name, *runs, user="@ann"):
    pieces = [{"text": r} if isinstance(r, str) else {"emoji": r} for r in runs]
    return "liveChatTextMessageRenderer", {"id": name, "authorName": {"simpleText": user}, "message": {"runs": pieces}}


def test_replay(log):
    custom = {"emojiId": "UC/x", "shortcuts": [":cat:", ":c:"], "isCustomEmoji": True}
    plain = {"emojiId": "😀", "shortcuts": [":grinning:"]}
    result = read(
        log(
            "\n".join(
                [
                    line("0", said("a", "early"), shown="-1:02"),
                    line("0", said("b", "at once"), shown="-0:00"),
                    line("12345", said("c", "see ", custom, plain), shown="0:12"),
                    line("13000", said("c", "see again"), shown="0:13"),
                    line("14000", said("d", "!help", user="Nightbot")),
                ]
            )
        )
    )
    assert result.format == "YouTube live chat (yt-dlp)"
    assert [(c.time_s, c.user, c.text, c.kind) for c in result.comments] == [
        (-62.0, "@ann", "early", "message"),
        (0.0, "@ann", "at once", "message"),
        (12.345, "@ann", "see :cat:😀", "message"),
        (14.0, "Nightbot", "!help", "bot"),
    ]
    assert [(s.reason, s.count, s.where) for s in result.skipped] == [("repeats of a comment", 1, "line 4")]


def test_kinds_by_renderer(log):
    name = {"authorName": {"simpleText": "Bo"}}
    money = {"purchaseAmountText": {"simpleText": "$5.00"}}
    words = {"message": {"runs": [{"text": "thanks"}]}}
    welcome = {"headerSubtext": {"runs": [{"text": "Welcome"}]}}
    bought = {"header": {"liveChatSponsorshipsHeaderRenderer": name | {"primaryText": {"runs": [{"text": "Gave 5"}]}}}}
    items = [
        ("liveChatPaidMessageRenderer", name | money | words),
        ("liveChatPaidMessageRenderer", name | money),
        ("liveChatPaidStickerRenderer", name | money),
        ("liveChatMembershipItemRenderer", name | welcome),
        ("liveChatMembershipItemRenderer", name | welcome | words),
        ("liveChatSponsorshipsGiftPurchaseAnnouncementRenderer", bought),
        ("liveChatModeChangeMessageRenderer", {"text": {"runs": [{"text": "Slow mode is on"}]}}),
    ]
    result = read(log("\n".join(line(str(i * 1000), item) for i, item in enumerate(items))))
    assert [(c.user, c.text, c.kind) for c in result.comments] == [
        ("Bo", "thanks", "paid"),
        ("Bo", "$5.00", "gift"),
        ("Bo", "$5.00", "gift"),
        ("Bo", "Welcome", "notice"),
        ("Bo", "thanks", "message"),
        ("Bo", "Gave 5", "gift"),
        (None, "Slow mode is on", "notice"),
    ]


def test_what_is_left_out_is_counted(log):
    held_back = {"replaceChatItemAction": {"targetItemId": "p", "replacementItem": dict([said("p", "released")])}}
    result = read(
        log(
            "\n".join(
                [
                    line("1000", said("a", "hi")),
                    line("1000", ("liveChatTickerPaidMessageItemRenderer", {}), action="addLiveChatTickerItemAction"),
                    line("1000", ("liveChatPlaceholderItemRenderer", {"id": "p"})),
                    json.dumps({"replayChatItemAction": {"actions": [held_back], "videoOffsetTimeMsec": "2000"}}),
                    line("1000", ("liveChatViewerEngagementMessageRenderer", {"id": "e"})),
                    line("1000", ("aNewRenderer", {})),
                    json.dumps({"replayChatItemAction": {"actions": [{"markChatItemAsDeletedAction": {}}]}}),
                    "{not json",
                    line("never", said("n", "no time")),
                    line("3000", said("o")),
                    '{"replayChatItemAction": {"acti',
                ]
            )
        )
    )
    assert [(c.time_s, c.text) for c in result.comments] == [(1.0, "hi"), (2.0, "released")]
    assert {s.reason: (s.count, s.where) for s in result.skipped} == {
        "ticker items, which repeat what was paid for": (1, "line 2"),
        "placeholders": (1, "line 3"),
        "notes by YouTube": (1, "line 5"),
        "items of an unknown kind (aNewRenderer)": (1, "line 6"),
        "actions other than comments (deletions, banners, polls)": (1, "line 7"),
        "lines that are not a JSON object": (2, "line 8"),
        "entries without a readable time": (1, "line 9"),
        "comments without text": (1, "line 10"),
    }


def test_live_capture_says_what_its_zero_is(log):
    result = read(log(line("-2500", said("a", "hi"), isLive=True)))
    assert [c.time_s for c in result.comments] == [-2.5]
    assert "live capture" in result.format


def test_live_capture_is_placed_by_the_start_of_the_stream(log):
    name, item = said("a", "hi")
    early = line("-2500", (name, item | {"timestampUsec": "1714593605500000"}), isLive=True)
    replayed = line("7000", said("b", "later"))
    result = read(log(f"{early}\n{replayed}"), stream_start="2024-05-01T20:00:00Z")
    assert [c.time_s for c in result.comments] == [5.5, 7.0]


@pytest.mark.parametrize("is_replay", [True, False])
@pytest.mark.parametrize("form", ["page", "pages", "lines", "list"])
def test_responses_of_youtube_as_they_are(log, form, is_replay):
    actions = [json.loads(line(f"{s}000", said(f"m{s}", "hi")))["replayChatItemAction"] for s in (1, 2, 3)]
    for second, action in enumerate(actions, 1):
        (added,) = action["actions"]
        added["addChatItemAction"]["item"]["liveChatTextMessageRenderer"]["timestampUsec"] = f"171459360{second}000000"
    rows = [{"replayChatItemAction": a} if is_replay else a["actions"][0] for a in actions]
    rows.insert(1, {"addLiveChatTickerItemAction": {"item": {}}})
    rows.append({"showLiveChatActionPanelAction": {}})
    page = {
        "responseContext": {"visitorData": "x"},
        "continuationContents": {"liveChatContinuation": {"actions": rows}},
    }
    text = {
        "page": json.dumps(page, indent=2), "pages": json.dumps([page, page]),
        "lines": f"{json.dumps(page)}\n" * 2, "list": json.dumps(rows),
    }[form]  # fmt: skip
    result = read(log(text), stream_start="2024-05-01T20:00:00Z")
    assert result.format.startswith("YouTube live chat")
    assert [c.time_s for c in result.comments] == [1.0, 2.0, 3.0]
    counts = {s.reason: s.count for s in result.skipped}
    times = 1 if form in ("page", "list") else 2
    assert counts["ticker items, which repeat what was paid for"] == times
    assert sum(counts.values()) == 2 * times + (3 if times == 2 else 0)
    if not is_replay:
        with pytest.raises(CommentLogError, match="wall clock"):
            read(log(text))
