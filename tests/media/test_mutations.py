"""Mutated recordings are read or refused; they never crash the caller."""

from pathlib import Path

import numpy as np
import pytest

from kuaihl.errors import RecordingError
from kuaihl.media.recording import open_recording
from tests.fixtures.videos import write_recording


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.soak)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv", "ts"])
def test_mutations_are_read_or_refused(tmp_path: Path, suffix: str, count: int) -> None:
    path = write_recording(tmp_path / f"tiny.{suffix}", duration_s=6, fps=2, size=(64, 48))
    original = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(22)
    for _ in range(count):
        data = original.copy()
        where = random.integers(len(data), size=random.integers(1, 20))
        where[::2] %= 1024  # headers are at the start
        data[where] = random.integers(256, size=len(where))
        path.write_bytes(data[: random.integers(len(data) // 2, len(data) + 1)].tobytes())
        try:
            recording = open_recording(path)
            frames, audio = list(recording.read_frames()), list(recording.read_audio())
        except RecordingError:
            continue
        assert len(frames) == (len(recording.segments) if recording.has_video else 0)
        assert all(np.isfinite(samples).all() for _, samples in audio)
