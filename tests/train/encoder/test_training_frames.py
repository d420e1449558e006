"""Training frames, their labels, and the loss on them."""

import numpy as np
import pytest
import torch

from kuaihl.errors import LabelError
from kuaihl.features.vision import VisualEncoder
from train.encoder.student import Student, content_loss
from train.encoder.training_frames import CONFIG, IDLE, SCENES, LabelledFrames, draw_room, draw_training_frames
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.room import simulate_room
from train.simulator.rooms.visuals import STEADY
from train.simulator.settings import TALENTS

SIDE = 128


@pytest.fixture(scope="module")
def columns() -> tuple[np.ndarray, ...]:
    """All segments of a room."""
    return draw_room(3, segments=200, side=SIDE, scenes=None)


def test_frames_and_labels_are_those_of_the_room(columns: tuple[np.ndarray, ...]) -> None:
    room = simulate_room(CONFIG, 3)
    steady = np.flatnonzero(np.array(room.visuals.state) == STEADY)
    frames, scene, intensity, gifts = columns
    assert frames.shape == (len(steady), 3, SIDE, SIDE)
    assert frames.dtype == np.uint8
    for i in (0, 7, len(steady) - 1):
        truth = room.truth[steady[i] // 3]
        assert scene[i] == (IDLE if truth.idle else TALENTS.index(truth.talent))
        assert intensity[i] == np.float32(truth.intensity)
        assert np.expm1(gifts[i]) == pytest.approx(room.visuals.gifts[steady[i]], abs=1e-5)
    # The banner of the first gift, at the left, is pink.
    red, green = frames[:, :2, 24:29, 10:22].astype(float).mean((2, 3)).T
    np.testing.assert_array_equal(red - green > 60, gifts > 0)
    # An encoder sees the same as in a recording.
    encoder = VisualEncoder("swin_compact_128", weights=None, device="cpu")
    recorded = draw_segment(room, int(steady[7] // 3))[steady[7] % 3]
    resized = np.ascontiguousarray(frames[7].transpose(1, 2, 0))
    first, second = (encoder.encode(picture[None])[0].astype(np.float32) for picture in (recorded, resized))
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(LabelError, match="600 rooms"):
        draw_training_frames(1799, side=8)


def test_content_loss_is_zero_for_the_truth(columns: tuple[np.ndarray, ...]) -> None:
    frames = LabelledFrames(*map(torch.from_numpy, columns))
    indices = np.arange(len(frames))
    perfect = torch.full((len(frames), SCENES + 2), -20.0)
    perfect[torch.arange(len(frames)), frames.scene] = 20.0
    perfect[:, SCENES], perfect[:, SCENES + 1] = frames.intensity, frames.gifts
    assert content_loss(perfect, frames, indices) < 1e-6
    constant = perfect.clone()
    constant[:, SCENES], constant[:, SCENES + 1] = frames.intensity.mean(), frames.gifts.mean()
    assert content_loss(constant, frames, indices) == pytest.approx(2.0, abs=0.05)
    photos = LabelledFrames(frames.frames, frames.scene, torch.full_like(frames.intensity, torch.nan), frames.gifts)
    assert content_loss(constant, photos, indices) == pytest.approx(1.0, abs=0.05)
    assert Student("swin_compact_128")(frames.resize(indices[:2], size=64))[2].shape == (2, SCENES + 2)
