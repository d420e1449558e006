"""Vertical clips and captions: the size as ffprobe sees it, what is cropped, and when captions are there."""

import av
import numpy as np
import pytest

from kuaihl.export.reframe import VERTICAL_SIZE, reframe
from tests.fixtures.videos import write_recording


def frames(path):
    with av.open(str(path)) as clip:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in clip.decode(video=0)]


def halves(_):
    """Black on the left, white on the right."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[:, 64:] = 255
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("clip") / "clip.mp4", duration_s=4.0, fps=5, draw=halves)


@pytest.mark.parametrize(("crop", "brightness"), [(0.0, 0), (0.5, 127), (1.0, 255)])
def test_a_vertical_clip_is_the_chosen_part_at_9_to_16(clip, tmp_path, crop, brightness):
    reframe(clip, tmp_path / "out.mp4", vertical=True, crop=crop)
    written, source = frames(tmp_path / "out.mp4"), frames(clip)
    assert [time_s for time_s, _ in written] == pytest.approx([time_s for time_s, _ in source], abs=1e-3)
    width, height = VERTICAL_SIZE
    assert written[0][1].shape == (height, width, 3)
    assert width / height == 9 / 16
    assert written[5][1].mean() == pytest.approx(brightness, abs=6)
    with av.open(str(tmp_path / "out.mp4")) as out, av.open(str(clip)) as original:
        packets = [[bytes(p) for p in file.demux(audio=0) if p.size] for file in (out, original)]
        assert packets[0] == packets[1], "the sound is copied"


def test_captions_are_there_while_they_are_said(clip, tmp_path):
    reframe(clip, tmp_path / "out.mp4", captions=[(1.0, 2.0, "hello everyone")])
    reframe(clip, tmp_path / "plain.mp4")
    for (time_s, image), (_, plain) in zip(frames(tmp_path / "out.mp4"), frames(tmp_path / "plain.mp4"), strict=True):
        assert image.shape == (96, 128, 3)
        changed = np.abs(image.astype(int) - plain).max() > 100
        assert changed == (1.0 <= time_s < 2.0)
