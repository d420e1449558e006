import json

import pytest

from kuaihl.comments.reader import read


def entry(offset, body="hi", *, user="Ann", **message):
    return {
        "_id": "x",
        "content_offset_seconds": offset,
        "commenter": {"display_name": user, "name": (user or "").lower()},
        "message": {"body": body, "bits_spent": 0, "user_badges": None, "user_notice_params": None, **message},
    }


def document(*comments, **others):
    return json.dumps({"FileInfo": {"Version": {"Major": 1}}, "video": {}, **others, "comments": list(comments)})


def parsed(path):
    return [(c.time_s, c.user, c.text, c.kind) for c in read(path).comments]


def test_json(log):
    result = read(log(document(entry(12.5, "late"), entry(3, "early", user="名字"), entry(-4, "before"))))
    assert result.format == "TwitchDownloader JSON"
    assert [(c.time_s, c.user, c.text) for c in result.comments] == [
        (-4.0, "Ann", "before"),
        (3.0, "名字", "early"),
        (12.5, "Ann", "late"),
    ]
    assert result.skipped == ()


@pytest.mark.parametrize("last", [False, True], ids=["video first", "video last"])
def test_trimmed_logs_keep_offsets_of_the_vod(log, last):
    # Old files have the video behind the comments; here further behind than the sniffer looks.
    comments = [entry(3600 + i, "word " * 20) for i in range(1000)]
    parts = {"streamer": {"name": "s"}, "video": {"start": 3600, "end": 9000}, "comments": comments}
    if last:
        parts["video"] = parts.pop("video")
    content = json.dumps(parts)
    assert last is (content.index('"video"') > 2**16)
    times = [c.time_s for c in read(log(content), offset_s=-1.5).comments]
    assert times == [i - 1.5 for i in range(1000)]
    assert "trimmed: times count from 1:00:00 of the VOD" in read(log(content)).format


@pytest.mark.parametrize("garbage", ["\n\0\0\0", '}]{"', '"comments": ['])
def test_what_follows_the_document_harms_nothing(log, garbage):
    assert parsed(log(document(entry(1), entry(2)) + garbage)) == [
        (1.0, "Ann", "hi", "message"),
        (2.0, "Ann", "hi", "message"),
    ]


def test_bulk_before_the_comments(log):
    content = json.dumps({"embeddedData": {"thirdParty": [{"data": "QUJD" * 2**20}]}, "comments": [entry(7)]})
    assert parsed(log(content)) == [(7.0, "Ann", "hi", "message")]


def test_kinds(log):
    path = log(
        document(
            entry(0, "Cheer100 well done", bits_spent=100),
            entry(1, "!uptime is 2 h", user="Nightbot"),
            entry(2, "a bot by its badge", user="MyHelper", user_badges=[{"_id": "bot-badge", "version": "1"}]),
            entry(3, "Ann subscribed with Prime. ", user_notice_params={"msg_id": "sub"}),
            entry(4, "Ann subscribed at Tier 1. They've subscribed for 8 months! what a game"),
            entry(5, "Ann gifted a Tier 1 sub to Bob! "),
            entry(6, "Ann is gifting 5 Tier 1 Subs to Cy's community!"),
            entry(7, "15 raiders from Ann have joined!", user_notice_params={"msg-id": "raid"}),
            entry(8, "look here", user_notice_params={"msg-id": "highlighted-message"}),
            entry(9, "I subscribed with Prime. Did you?"),
            entry(10, "An anonymous user is gifting 2 Tier 1 Subs", user="AnAnonymousGifter"),
            entry(11, "rewards!", user_notice_params={"msg-id": "rewardgift"}),
        )
    )
    kinds = [kind for *_, kind in parsed(path)]
    assert kinds == [
        "paid", "bot", "bot", "notice", "message", "gift", "gift", "notice", "message", "message", "gift", "gift",
    ]  # fmt: skip
    assert parsed(path)[4] == (4.0, "Ann", "what a game", "message")


def test_text_from_fragments_and_deleted_accounts(log):
    first = entry(1, None, fragments=[{"text": "so "}, {"text": "Kappa", "emoticon": {}}, {}])
    second = entry(2) | {"commenter": None}
    assert parsed(log(document(first, second))) == [(1.0, "Ann", "so Kappa", "message"), (2.0, None, "hi", "message")]


def test_damaged_entries_are_counted(log):
    content = document(
        entry(1), entry(float("nan")), entry(float("inf")), entry(1e12), entry(None), entry([]), entry(10**400),
        entry(2, ""), entry(3, None), entry(4) | {"message": None}, 7, None, entry(5, "x\x00\x01y"),
        entry(6, "\ud83d?"), *map(entry, range(7, 17)),
    )  # fmt: skip
    result = read(log(content))
    assert [c.time_s for c in result.comments] == [1.0, *map(float, range(5, 17))]
    assert result.comments[1].text == "x y"
    result.comments[2].text.encode()  # half an emoji would fail here
    counts = {s.reason: (s.count, s.where) for s in result.skipped}
    assert counts["times that are not finite"] == (3, "comment 2")
    assert counts["entries without a readable time"] == (2, "comment 5")
    assert counts["comments without text"] == (2, "comment 8")
    assert counts["comments without a message"] == (1, "comment 10")
    assert counts["list elements that are not objects"] == (2, "comment 11")
    assert sum(s.count for s in result.skipped) == 11


def test_damage_inside_costs_only_its_entry(log):
    comments = [entry(i, f"text {i}", fragments=[{"text": "a"}, {"text": "b"}]) for i in range(9)]
    content = document(*comments).replace('"text 4"', '"text 4').replace('"text 7"', '"text" 7')
    result = read(log(content))
    assert [c.time_s for c in result.comments] == [0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 8.0]
    assert [(s.count, s.where) for s in result.skipped] == [(2, "comment 5")]


@pytest.mark.parametrize("cut", [40, 400, 1])
def test_cut_off_file(log, cut):
    content = document(*(entry(i, "word " * 10) for i in range(50)))[: -len("]}")]
    result = read(log(content[:-cut]))
    assert 45 <= len(result.comments) <= 49
    (lost,) = result.skipped
    assert lost.reason == "the file ends in the middle of its list"
    assert lost.where == f"comment {len(result.comments) + 1}"


def test_files_made_to_be_slow_are_given_up(log):
    result = read(log(document(entry(1))[: -len("]}")] + ', {"a' + '},{"' * 200_000))
    assert [c.time_s for c in result.comments] == [1.0]
    assert [(s.reason, s.count, s.where) for s in result.skipped] == [
        ("too much damage, the rest of the list is left out", 1, "comment 2")
    ]


def test_no_comments_is_no_error(log):
    assert read(log(document())).comments == ()


def test_bare_list_of_comments(log):
    assert parsed(log(json.dumps([entry(1), entry(2)]))) == [
        (1.0, "Ann", "hi", "message"),
        (2.0, "Ann", "hi", "message"),
    ]


@pytest.mark.parametrize("indent", [None, 4])
def test_comments_in_no_list_as_twitch_itself_sends_them(log, indent):
    content = "\n".join(json.dumps(entry(i, f"text {i}"), indent=indent) for i in (2, 1, 3))
    assert read(log(content)).format == "TwitchDownloader JSON"
    assert [(t, text) for t, _, text, _ in parsed(log(content))] == [(1.0, "text 1"), (2.0, "text 2"), (3.0, "text 3")]
    assert parsed(log(json.dumps(entry(7), indent=indent))) == [(7.0, "Ann", "hi", "message")]
    broken = read(log(content.replace('"text 1"', '"text" 1')))
    assert [c.time_s for c in broken.comments] == [2.0, 3.0]
    assert [(s.count, s.where) for s in broken.skipped] == [(1, "comment 2" if indent else "line 2")]


def test_text(log):
    result = read(
        log(
            "[0:00:05] Ann: hello: there\r\n"
            "[27:00:01] 名字 (login): long stream\r\n"
            "[0:00:07.250] Bob: half\r\n"
            "[0:00:08] Ann was timed out\r\n"
            "and a line without a time\r\n"
            "\r\n"
            "[0:00:09] StreamElements: follow!\r\n"
            "[0:00:10] Ann: \r\n"
            "[0:00:11] Bob: Bob gifted a Tier 1 sub to Ann!\r\n"
        )
    )
    assert result.format == "Twitch text"
    assert [(c.time_s, c.user, c.text, c.kind) for c in result.comments] == [
        (5.0, "Ann", "hello: there", "message"),
        (7.25, "Bob", "half", "message"),
        (8.0, None, "Ann was timed out", "notice"),
        (9.0, "StreamElements", "follow!", "bot"),
        (11.0, "Bob", "Bob gifted a Tier 1 sub to Ann!", "gift"),
        (97201.0, "名字 (login)", "long stream", "message"),
    ]
    assert {(s.reason, s.count, s.where) for s in result.skipped} == {
        ("lines that do not begin with [h:mm:ss]", 1, "line 5"),
        ("comments without text", 1, "line 8"),
    }
