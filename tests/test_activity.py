"""Activity against slow loops."""

import random

import numpy as np
import pytest
from scipy.stats import zmap

from kuaihl.activity import (
    CHAT_COLUMNS,
    SPEECH_COLUMNS,
    chat_activity,
    chat_spikes,
    speech_activity,
    utterances_by_segment,
)
from kuaihl.records import Comment, Utterance, segments_of


def random_chat(segments: int, seed: int) -> list[list[Comment]]:
    rng = random.Random(seed)
    users = [None, *[f"user{number}" for number in range(30)]]
    return [
        [Comment(30.0 * t, "hi", rng.choice(users)) for _ in range(rng.choice([0, 0, 1, 3, 12]))]
        for t in range(segments)
    ]


def test_chat_activity_by_a_slow_loop() -> None:
    chat = random_chat(60, seed=3)
    found = chat_activity(chat)
    assert found.shape == (60, len(CHAT_COLUMNS))
    assert found.dtype == np.float32
    for t in range(60):
        writers = {c.user for c in chat[t] if c.user}
        present = {c.user for some in chat[max(0, t - 19) : t + 1] for c in some if c.user}
        mean = np.mean([len(some) for some in chat[: t + 1]])
        expected = [
            np.log(1 + len(chat[t])),
            np.log(1 + len(writers)),
            np.log(1 + len(present)),
            len(writers) / len(present) if present else 0,
            np.log((len(chat[t]) + 1) / (mean + 1)),
        ]
        np.testing.assert_allclose(found[t], expected, rtol=1e-6, atol=1e-6)


def test_someone_silent_for_twenty_segments_is_gone() -> None:
    chat = [[Comment(0.0, "hi", "anna")], *[[] for _ in range(20)], [Comment(630.0, "hi", "ben")]]
    present = np.expm1(chat_activity(chat)[:, CHAT_COLUMNS.index("log1p_present")])
    np.testing.assert_allclose(present, [*[1.0] * 20, 0.0, 1.0], atol=1e-6)


def test_comments_without_user_are_no_commenters() -> None:
    row = dict(zip(CHAT_COLUMNS, chat_activity([[Comment(0.0, "hi")] * 3])[0].tolist(), strict=True))
    assert row["log1p_comments"] == pytest.approx(np.log(4))
    assert row["log1p_commenters"] == row["log1p_present"] == row["participation"] == 0


def test_chat_activity_is_causal() -> None:
    chat = random_chat(50, seed=4)
    whole = chat_activity(chat)
    for t in (1, 19, 20, 21, 40):
        np.testing.assert_array_equal(chat_activity(chat[:t]), whole[:t])
    assert chat_activity([]).shape == (0, 5)


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


def test_chat_spikes_against_scipy_and_the_past_alone() -> None:
    counts = [3, 5, 4, 30, 4, 4, 0, 9]
    found = chat_spikes(counts)
    assert found[:2].tolist() == [0, 0]
    for t in range(2, len(counts)):
        assert found[t] == pytest.approx(zmap([counts[t]], counts[:t])[0])
    np.testing.assert_array_equal(chat_spikes(counts[:5]), found[:5])
    assert chat_spikes([2, 2, 2, 5]).tolist() == [0, 0, 0, 3], "without spread the difference itself counts"
