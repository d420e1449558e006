"""Frames read with Decord, to be run in a child process: on some files it hangs, and its FFmpeg is of 2018."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

FORMATS = {"mov", "matroska", "flv"}
"""Demuxers with which Decord finds the right frame; in MPEG-TS, which has no index, it silently returns others."""


class DecordError(Exception):
    """Decord cannot read the file, or sees other frames than its packets tell."""


def is_installed() -> bool:
    """Return whether Decord is available on this platform."""
    return importlib.util.find_spec("decord") is not None


def read_frames(path: Path, shown_s: np.ndarray, batches: Sequence[Sequence[int]], size: int) -> Iterator[np.ndarray]:
    """Yield batches of frames, (frames, size, size, 3) uint8 RGB.

    Parameters
    ----------
    shown_s
        When each frame is shown, (frames,) seconds in ascending order.
    batches
        Numbers of frames in the order of ``shown_s``.

    Raises
    ------
    DecordError
        Decord cannot read the file, or sees other frames.
    """
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path), width=size, height=size, num_threads=0)
        decord_s = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        same = len(decord_s) == len(shown_s)
        if not same or not np.allclose(decord_s - decord_s[0], shown_s - shown_s[0], rtol=1e-6, atol=1e-3):
            raise DecordError("Decord sees other frames")
        for batch in batches:
            yield reader.get_batch(batch).asnumpy() if len(batch) else np.zeros((0, size, size, 3), np.uint8)
    except decord.DECORDError as error:
        raise DecordError(str(error)) from error
