"""Time and memory of the reaction: 10,000 and a million comments, with its reliability and the evidence of ten moments.

Run as `python -m tests.benchmarks.bench_reaction`.
"""

import time
import tracemalloc

import numpy as np

from kuaihl.reaction import measure
from kuaihl.records import Comment

SIZES = (10_000, 1_000_000)
PER_S = 20.0
WORDS = 50_000
"""Words of the made-up language; how often they come falls as it does in real chat."""


def chat(count: int, *, letters: int = 5) -> list[Comment]:
    """Make up a chat of ``count`` comments whose words have about so many letters."""
    rng = np.random.default_rng(0)
    alphabet = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(alphabet, size=rng.integers(2, 2 * letters))) for _ in range(WORDS)]
    words[20:26] = ["lol", "KEKW", "OMG", "haha", "Pog", "gg"]
    drawn = np.minimum(rng.zipf(1.3, size=(count, 6)), WORDS) - 1
    lengths = rng.integers(1, 7, size=count)
    users = [f"chatter {k}" for k in range(max(100, count // 50))]
    who = rng.integers(len(users), size=count)
    return [Comment(k / PER_S, " ".join(words[w] for w in drawn[k, : lengths[k]]), users[who[k]]) for k in range(count)]


def work(comments: list[Comment]) -> None:
    """Measure, and gather evidence."""
    reaction = measure(comments, generator=np.random.default_rng(0))
    for moment in reaction.moments(top=10):
        reaction.evidence(moment.start_s, moment.end_s)


def peak_mib(comments: list[Comment]) -> float:
    """Peak of the memory that the work needs beyond the comments."""
    tracemalloc.start()
    work(comments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    """Print seconds and memory for each size, and memory again for words five times as long."""
    for count in SIZES:
        comments = chat(count)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        work(comments)
        took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        short, long = peak_mib(comments), peak_mib(chat(count, letters=25))
        print(
            f"reaction, {count:,} comments: {took_s:.2f} s ({took_cpu_s:.2f} s of CPU), "
            f"peak memory {short:.1f} MiB, with words five times as long {long:.1f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
