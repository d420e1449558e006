"""Hashed words: what counts as a word, how often, and how many are kept."""

import zlib

import numpy as np

from kuaihl.features.bag_of_words import BUCKETS, MOST_WORDS, hashed_words
from kuaihl.records import Comment


def written(*texts: str) -> list[Comment]:
    return [Comment(0.0, text) for text in texts]


def counted(*texts: str) -> dict[int, float]:
    words, counts = hashed_words([written(*texts)])
    return {
        int(word): float(np.expm1(count.astype(float))) for word, count in zip(words[0], counts[0], strict=True) if word
    }


def bucket(word: str) -> int:
    return zlib.crc32(word.encode("utf-8")) % (BUCKETS - 1) + 1


def test_a_word_counts_once_a_comment_and_emotes_are_not_their_lower_case() -> None:
    found = counted("KEKW KEKW that was good", "kekw", "KEKW")
    assert set(found) == {bucket(word) for word in ("KEKW", "that", "was", "good", "kekw")}
    assert round(found[bucket("KEKW")], 2) == 2
    assert round(found[bucket("kekw")], 2) == 1


def test_scripts_without_spaces_give_a_word_a_sign() -> None:
    assert set(counted("主播好棒 lol")) == {bucket(word) for word in ("主", "播", "好", "棒", "lol")}


def test_the_commonest_are_kept() -> None:
    words, _ = hashed_words([written(" ".join(f"word{k}" for k in range(300)), *["common"] * 9)])
    assert words.shape == (1, MOST_WORDS)
    assert words[0, 0] == bucket("common")
    assert (words > 0).all()


def test_nothing_written_is_no_word() -> None:
    words, counts = hashed_words([[], written("  ")])
    assert not words.any()
    assert not counts.any()
    assert hashed_words([])[0].shape == (0, MOST_WORDS)
