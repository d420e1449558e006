"""Stills, and what a browser can play of a recording."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kuaihl.media.recording import open_recording, thumbnail
from kuaihl.media.remux import make_playable
from tests.fixtures.videos import assert_beeps, picture_times, time_of, whole_sound


@pytest.mark.parametrize(("name", "video"), [("h264.mp4", "libx264"), ("h264.ts", "libx264"), ("av1.mkv", "libsvtav1")])
def test_thumbnail_is_the_picture_shown(make_recording: Callable[..., Path], name: str, video: str) -> None:
    recording = open_recording(make_recording(name, video, "libopus" if video == "libsvtav1" else "aac"))
    for time_s in (0.0, 13.7, 35.9, 99.0):
        image = thumbnail(recording, time_s, width=160)
        assert image.shape == (120, 160, 3)
        assert time_of(image) == pytest.approx(min(time_s, 35.9), abs=0.101)


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("h264.mkv", "libx264", "aac"),
        ("h264.flv", "libx264", "aac"),
        ("h264.ts", "libx264", "aac"),
        ("h264.mov", "libx264", "aac"),
        ("silent.mkv", "libx264", None),
        ("vp9.mkv", "libvpx-vp9", "aac"),
        ("sound.mkv", None, "aac"),
    ],
)
def test_rewrapped_for_browsers(
    make_recording: Callable[..., Path], tmp_path: Path, name: str, video: str | None, audio: str | None
) -> None:
    recording = open_recording(make_recording(name, video, audio))
    path = make_playable(recording, tmp_path)
    assert path is not None
    assert list(tmp_path.iterdir()) == [path]
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    copy = open_recording(path)
    assert copy.info.container == "MP4"
    assert (copy.info.video_codec, copy.info.audio_codec) == (recording.info.video_codec, recording.info.audio_codec)
    assert copy.info.duration_s == pytest.approx(recording.info.duration_s, abs=0.06)
    assert len(data) < 1.4 * recording.path.stat().st_size
    np.testing.assert_allclose(np.ravel(picture_times(copy)), np.ravel(picture_times(recording)), atol=0.101)
    if audio is not None:
        assert_beeps(whole_sound(copy), list(range(36)), tolerance_s=0.03)


def test_what_browsers_play_is_left_alone_and_what_they_cannot_is_none(
    make_recording: Callable[..., Path], tmp_path: Path
) -> None:
    for name, video, audio in (
        ("h264.mp4", "libx264", "aac"),
        ("vp9.webm", "libvpx-vp9", "libopus"),
        ("sound.mp3", None, "libmp3lame"),
    ):
        path = make_recording(name, video, audio)
        assert make_playable(open_recording(path), tmp_path) == path
    for name in ("hevc.mp4", "hevc.mkv", "hevc.ts"):
        assert make_playable(open_recording(make_recording(name, "libx265", "aac")), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_gets_a_copy_beside_the_file(make_recording: Callable[..., Path], tmp_path: Path) -> None:
    disguised = tmp_path / "stream.mp4"
    disguised.write_bytes(make_recording("h264.mkv").read_bytes())
    before = disguised.read_bytes()
    path = make_playable(open_recording(disguised), tmp_path)
    assert path is not None
    assert path != disguised
    assert open_recording(path).info.container == "MP4"
    assert disguised.read_bytes() == before
