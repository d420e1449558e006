"""Decord in a process of its own.

Decord is fast at keyframes, but on some files its `get_batch` never returns, and its FFmpeg is of 2018. In a process of
its own it can neither hang nor crash the program: the kernel's alarm clock ends it, and PyAV reads on.
"""

import importlib.util
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

OPENING_S = 600
"""Opening reads the whole file once."""
BATCH_S = 60
"""For one batch of pictures."""
_LOOK_EVERY_S = 0.2


class DecordError(Exception):
    """Decord cannot go on with this file."""


def is_installed() -> bool:
    """Whether this platform has Decord."""
    return importlib.util.find_spec("decord") is not None


class DecordWorker:
    """Pictures of one file by frame number, in the order frames are shown; to be closed.

    ``size`` is the side of the pictures. ``starts_s`` (frames,) are the times of the frames from the first one on.
    ``waiting`` is called now and then while Decord works; what it raises ends the wait.

    Raises
    ------
    DecordError
        Decord cannot open or decode the file, took too long, or died; from any method.
    """

    def __init__(self, path: Path, *, size: int, waiting: Callable[[], None]) -> None:
        self._size, self._waiting = size, waiting
        package_parent = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module; the path is one argument
            [sys.executable, "-m", "kuaihl.media.decord_worker", str(path.absolute()), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # so that nothing waits where a selector does not see it
            cwd=package_parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([package_parent, *filter(None, sys.path)])},
        )
        try:
            frames = int.from_bytes(self._receive(8), "little")
            self.starts_s = np.frombuffer(self._receive(4 * frames), np.float32)
        except BaseException:
            self.close()
            raise

    def pictures(self, frames: Sequence[int]) -> np.ndarray:
        """Return (frames, size, size, 3) uint8 RGB."""
        request = np.asarray(frames, np.int64).tobytes()
        try:
            self._process.stdin.write(len(frames).to_bytes(8, "little") + request)
            self._process.stdin.flush()
        except OSError as error:
            raise DecordError("died") from error
        shape = (len(frames), self._size, self._size, 3)
        return np.frombuffer(self._receive(int(np.prod(shape))), np.uint8).reshape(shape)

    def _receive(self, size: int) -> bytes:
        answer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while len(answer) < size:
                if not selector.select(_LOOK_EVERY_S):
                    self._waiting()
                elif part := self._process.stdout.read(size - len(answer)):
                    answer += part
                else:
                    raise DecordError("gave no answer")
        return bytes(answer)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass


def main() -> None:
    """Answer requests on stdin (count, then frame numbers) with pictures on stdout, until stdin ends."""
    import signal

    import decord

    path, size = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the pictures
    signal.alarm(OPENING_S)  # nobody catches it: the kernel ends the process, whatever native code is doing
    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(path, width=size, height=size, num_threads=0)
    starts_s = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float32)
    answers.write(len(starts_s).to_bytes(8, "little") + starts_s.tobytes())
    while True:
        answers.flush()
        signal.alarm(0)
        count = int.from_bytes(sys.stdin.buffer.read(8), "little")
        if not count:
            return
        frames = np.frombuffer(sys.stdin.buffer.read(8 * count), np.int64)
        signal.alarm(BATCH_S)
        answers.write(reader.get_batch(frames).asnumpy().tobytes())


if __name__ == "__main__":
    main()
