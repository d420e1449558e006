"""Words of the chat, hashed: an emote is a word like any other and kept whole, where a pooled sentence blurs it."""

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kuaihl.records import Comment

BUCKETS = 2**14
"""Words share this many numbers; 0 stands for no word."""
MOST_WORDS = 128
"""Different words of a segment that are kept, the commonest first."""
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
"""A run without spaces, or one sign of a script that writes none."""


def hashed_words(comments: Sequence[Sequence[Comment]]) -> tuple[np.ndarray, np.ndarray]:
    """Count in how many comments of each segment a word stands -> numbers (segments, 128) int16, counts float16.

    Counts are log1p. Upper and lower case differ, as in emotes. Words are hashed (Weinberger et al., "Feature hashing
    for large scale multitask learning", ICML 2009), so that there is no vocabulary and any language works.
    """
    words = np.zeros((len(comments), MOST_WORDS), dtype=np.int16)
    counts = np.zeros((len(comments), MOST_WORDS), dtype=np.float16)
    for i, some in enumerate(comments):
        found: Counter[int] = Counter()
        for text, times in Counter(comment.text for comment in some).items():  # most of a loud chat is the same
            for word in dict.fromkeys(WORD.findall(text)):
                found[_bucket(word)] += times
        for k, (bucket, count) in enumerate(found.most_common(MOST_WORDS)):
            words[i, k], counts[i, k] = bucket, np.log1p(count)
    return words, counts


def _bucket(word: str) -> int:
    """Number of a word, the same on every machine."""
    return 1 + zlib.crc32(word.encode()) % (BUCKETS - 1)
