"""Activity against slow loops."""

import math
import random

import numpy as np
import pytest

from kuaihl.features.chat import (
    ARRIVAL_DECAYS_S,
    CHAT_COLUMNS,
    CONTENT,
    DECAYS_S,
    FREQUENCIES,
    RECENCIES,
    SPEECH_COLUMNS,
    chat_activity,
    speech_activity,
    utterances_by_segment,
)
from kuaihl.records import Comment, Utterance, segments_of


def random_chat(segments: int, seed: int) -> list[list[Comment]]:
    rng = random.Random(seed)
    texts = ("hi", "lol", "POG POG", "what a play!", "@anna why?", "x" * 300)
    users = [None, *[f"user{number}" for number in range(30)]]
    return [
        [
            Comment(30 * t + 30 * rng.random(), rng.choice(texts), rng.choice(users))
            for _ in range(rng.choice([0, 0, 1, 3, 12]))
        ]
        for t in range(segments)
    ]


def measured(chat: list[list[Comment]]) -> list[dict[str, float]]:
    rows = chat_activity(chat, segments_of(30.0 * len(chat)))
    assert rows.shape == (len(chat), len(CHAT_COLUMNS))
    assert rows.dtype == np.float32
    return [dict(zip(CHAT_COLUMNS, row.tolist(), strict=True)) for row in rows]


def test_chat_activity_by_a_slow_loop() -> None:
    chat = random_chat(60, seed=3)
    for t, row in enumerate(measured(chat)):
        wrote = [{c.user for c in some if c.user} for some in chat]
        writers, last = wrote[t], wrote[max(0, t - 19) : t + 1]
        present = set().union(*last)
        before = set().union(*wrote[max(0, t - 19) : t])
        mean = np.mean([len(some) for some in chat[: t + 1]])
        expected = {
            "log1p_comments": np.log(1 + len(chat[t])),
            "log1p_commenters": np.log(1 + len(writers)),
            "log1p_present": np.log(1 + len(present)),
            "participation": len(writers) / len(present) if present else 0,
            "log_burst": np.log((len(chat[t]) + 1) / (mean + 1)),
            "log1p_arrivals": np.log(1 + len(writers - before)),
            "regularity": np.mean([np.mean([user in some for some in last]) for user in present]) if present else 0,
            "recency": np.mean([user in set().union(*last[-3:]) for user in present]) if present else 0,
            "leaving": np.mean([t >= 19 and user not in set().union(*last[1:]) for user in present]) if present else 0,
        }
        for i in range(6):
            inside = sum(5 * i <= c.time_s - 30 * t < 5 * i + 5 for c in chat[t])
            expected[f"log1p_comments_{5 * i}s"] = np.log(1 + inside)
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_classes_of_those_present_by_a_slow_loop() -> None:
    chat = random_chat(60, seed=5)
    for t, row in enumerate(measured(chat)):
        last = [{c.user for c in some if c.user} for some in chat[max(0, t - 19) : t + 1]]
        present = sorted(set().union(*last))
        expected = {f"present_{recency}_{frequency}": 0.0 for recency in RECENCIES for frequency in FREQUENCIES}
        for user in present:
            wrote = [user in some for some in last]
            recency = max(r for r in RECENCIES if r <= wrote[::-1].index(True))
            frequency = max(f for f in FREQUENCIES if f <= sum(wrote))
            expected[f"present_{recency}_{frequency}"] += 1 / len(present)
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_intensities_by_a_slow_loop() -> None:
    chat = random_chat(60, seed=6)
    for t, row in enumerate(measured(chat)):
        events = {"intensity": [], "commenters": [], "arrivals": []}
        for s, some in enumerate(chat[: t + 1]):
            before = {c.user for earlier in chat[max(0, s - 19) : s] for c in earlier}
            events["intensity"] += [c.time_s for c in some]
            firsts = {user: min(c.time_s for c in some if c.user == user) for user in {c.user for c in some} - {None}}
            events["commenters"] += firsts.values()
            events["arrivals"] += [time_s for user, time_s in firsts.items() if user not in before]
        for name, decays_s in (("intensity", DECAYS_S), ("commenters", DECAYS_S), ("arrivals", ARRIVAL_DECAYS_S)):
            for decay_s in decays_s:
                total = sum(math.exp(-(30 * (t + 1) - time_s) / decay_s) for time_s in events[name])
                assert row[f"{name}_{decay_s:g}s"] == pytest.approx(math.log1p(30 * total / decay_s), abs=1e-5)


def test_content_of_comments() -> None:
    texts = ["lol", "lol", "that is hype PogChamp", "why @anna?", "WOW !", "a b c"]
    (row,) = measured([[Comment(1.0, text, f"user{k}") for k, text in enumerate(texts)]])
    counts = dict(zip(CONTENT, (2, 2, 1, 1, 1, 1, 2), strict=True))
    assert {name: row[f"share_{name}"] for name in CONTENT} == pytest.approx({k: n / 6 for k, n in counts.items()})
    expected = {name: math.log1p(count) for name, count in counts.items()}
    assert {name: row[f"log1p_{name}"] for name in CONTENT} == pytest.approx(expected)
    assert row["length"] == pytest.approx(np.mean([len(text) for text in texts]) / 50)
    assert row["repeated"] == pytest.approx(1 / 6)
    (row,) = measured([[Comment(1.0, "x" * 10_000, "ben")]])
    assert row["length"] == 4


def test_someone_silent_for_twenty_segments_is_gone() -> None:
    chat = [[Comment(0.0, "hi", "anna")], *[[] for _ in range(20)], [Comment(630.0, "hi", "ben")]]
    rows = measured(chat)
    np.testing.assert_allclose([np.expm1(row["log1p_present"]) for row in rows], [*[1.0] * 20, 0.0, 1.0], atol=1e-6)
    assert [row["leaving"] for row in rows] == [*[0.0] * 19, 1.0, 0.0, 0.0]
    assert [row["log1p_arrivals"] > 0 for row in rows] == [True, *[False] * 20, True]


def test_comments_without_user_are_no_commenters() -> None:
    (row,) = measured([[Comment(0.0, "hi")] * 3])
    assert row["log1p_comments"] == row["log1p_comments_0s"] == pytest.approx(np.log(4))
    assert row["log1p_commenters"] == row["log1p_present"] == row["participation"] == row["regularity"] == 0


def test_comments_outside_their_segment_fall_into_its_ends() -> None:
    """Watching a stream, a late comment is put into the segment under way."""
    (row,) = chat_activity([[Comment(-4.0, "hi"), Comment(31.0, "hi")]], segments_of(30.0))
    first = CHAT_COLUMNS.index("log1p_comments_0s")
    assert row[first : first + 6] == pytest.approx([np.log(2), 0, 0, 0, 0, np.log(2)])
    assert np.isfinite(row).all()


def test_chat_activity_is_causal() -> None:
    chat, segments = random_chat(50, seed=4), segments_of(1500.0)
    whole = chat_activity(chat, segments)
    for t in (1, 19, 20, 21, 40):
        np.testing.assert_array_equal(chat_activity(chat[:t], segments[:t]), whole[:t])
    assert chat_activity([], []).shape == (0, len(CHAT_COLUMNS))


def test_speech_activity() -> None:
    said = [
        [Utterance(1.0, 3.0, "well, this is it"), Utterance(10.0, 10.5, "yes")],
        [],
        [Utterance(61.0, 65.0, "one two"), Utterance(64.0, 66.0, "three"), Utterance(62.0, 63.0, "four")],
        [Utterance(90.0, 91.0, "唱得好 wow")],
    ]
    found = speech_activity(said)
    assert found.dtype == np.float32
    assert SPEECH_COLUMNS == ("log1p_words", "speech_s")
    np.testing.assert_allclose(np.expm1(found[:, 0]), [5, 0, 4, 4], atol=1e-5)
    np.testing.assert_allclose(found[:, 1], [2.5, 0, 5.0, 1.0])


def test_utterances_fall_into_their_segments() -> None:
    segments = segments_of(70.0)
    assert [segment.end_s for segment in segments] == [30.0, 60.0, 70.0]
    said = [Utterance(*times, "w") for times in [(0.0, 30.0), (29.9, 30.2), (30.0, 31.0), (68.0, 70.0), (70.0, 72.0)]]
    assert utterances_by_segment(said, segments) == [said[:1], said[1:3], said[3:4]]
    assert utterances_by_segment([], segments) == [[], [], []]
    assert utterances_by_segment(said, []) == []
