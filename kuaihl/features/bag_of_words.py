"""Hashed words of the comments. An emote is a word like any other and kept whole, where pooled text blurs it."""

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kuaihl.records import Comment

BUCKETS = 2**14
"""Size of the hash table; 0 stands for no word."""
MOST_WORDS = 128
"""Different words that are kept per segment, the most frequent first."""
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
"""A run without spaces, or one character of a script that writes none."""


def hashed_words(comments: Sequence[Sequence[Comment]]) -> tuple[np.ndarray, np.ndarray]:
    """Count in how many comments of each segment a word occurs.

    Words are case-sensitive, as emotes are, and hashed (Weinberger et al., "Feature hashing for large scale multitask
    learning", ICML 2009), so that there is no vocabulary and any language works.

    Returns
    -------
    Buckets (segments, 128) int16, and log1p of the counts (segments, 128) float16.
    """
    words = np.zeros((len(comments), MOST_WORDS), dtype=np.int16)
    counts = np.zeros((len(comments), MOST_WORDS), dtype=np.float16)
    for i, segment in enumerate(comments):
        frequency: Counter[int] = Counter()
        for text, times in Counter(comment.text for comment in segment).items():  # a busy chat repeats itself
            for word in dict.fromkeys(WORD.findall(text)):
                frequency[_bucket(word)] += times
        for k, (bucket, count) in enumerate(frequency.most_common(MOST_WORDS)):
            words[i, k], counts[i, k] = bucket, np.log1p(count)
    return words, counts


def _bucket(word: str) -> int:
    """Return the bucket of a word, the same on every machine."""
    return 1 + zlib.crc32(word.encode()) % (BUCKETS - 1)
