"""What the tests of watching share: a process that writes a recording bit by bit."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITER = """
import os, random, sys, time
data, target, pause_s, last = open(sys.argv[1], "rb").read(), sys.argv[2], float(sys.argv[3]), sys.argv[4]
file = sys.stdout.buffer if target == "-" else open(target, "ab", buffering=0)
odd = random.Random(len(data))
at = 0
while at < len(data):
    size = odd.choice([1, 187, 4099, 20011])
    file.write(data[at : at + size])
    file.flush()
    at += size
    time.sleep(pause_s)
if last == "replace":
    open(target + ".new", "wb").write(b"the next recording")
    os.replace(target + ".new", target)
"""


@contextmanager
def being_written(whole: Path, target: Path, *, pause_s: float = 0.002, replace: bool = True) -> Iterator[Path]:
    """Append ``whole`` to ``target`` in odd pieces, from another process; in the end put another file in its place.

    That ends a watch at once, as nothing else does but a pause.
    """
    target.touch()
    arguments = [str(whole), str(target), str(pause_s), "replace" if replace else "keep"]
    with subprocess.Popen([sys.executable, "-c", _WRITER, *arguments]) as writer:
        try:
            yield target
        finally:
            writer.kill()


@contextmanager
def piped(whole: Path) -> Iterator[int]:
    """Write ``whole`` in odd pieces into a pipe, whose descriptor this gives."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(whole), "-", "0", "keep"], stdout=subprocess.PIPE
    ) as writer:
        try:
            yield writer.stdout.fileno()
        finally:
            writer.kill()
