import numpy as np
import pytest
import torch

from kuaihl.errors import LabelError
from kuaihl.features.vision import VisualEncoder
from train.encoder.student import Student, telling_loss
from train.encoder.training_frames import IDLE, SCENES, Drawings, _draw_room, draw_rooms
from train.simulator.render.draw import draw
from train.simulator.render.look import STEADY
from train.simulator.rooms.room import room
from train.simulator.settings import TALENTS, SimulatorConfig

SIDE = 128


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, ...]:
    """All segments of a room."""
    return _draw_room(SimulatorConfig(size="base"), 3, segments=200, side=SIDE, scenes=None)


def test_frames_are_those_that_an_encoder_reads(drawn: tuple[np.ndarray, ...]) -> None:
    made = room(SimulatorConfig(size="base"), 3)
    steady = np.flatnonzero(np.array(made.look.state) == STEADY)
    frames, scene, intensity, gifts = drawn
    assert frames.shape == (len(steady), 3, SIDE, SIDE)
    assert frames.dtype == np.uint8
    where = {slot: i for i, slot in enumerate(steady)}
    for slot in steady[[0, 7, -1]]:
        truth, i = made.truth[slot // 3], where[slot]
        assert scene[i] == (IDLE if truth.idle else TALENTS.index(truth.talent))
        assert intensity[i] == np.float32(truth.intensity)
        assert np.expm1(gifts[i]) == pytest.approx(made.look.gifts[slot], abs=1e-5)
    encoder = VisualEncoder("swin_compact_128", weights=None, device="cpu")
    recorded = draw(made, int(steady[7] // 3))[steady[7] % 3]
    scaled = np.ascontiguousarray(frames[7].transpose(1, 2, 0))
    first, second = (encoder.encode(picture[None])[0].astype(np.float32) for picture in (recorded, scaled))
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_labels_belong_to_their_frames(drawn: tuple[np.ndarray, ...]) -> None:
    """The first gift's banner, at the left, is pink where there are gifts."""
    frames, _, _, gifts = drawn
    red, green = frames[:, :2, 24:29, 10:22].astype(float).mean((2, 3)).T
    np.testing.assert_array_equal(red - green > 60, gifts > 0)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(LabelError, match="600 rooms"):
        draw_rooms(1799, side=8)


def test_telling_loss_falls_as_the_student_learns(drawn: tuple[np.ndarray, ...]) -> None:
    told = Drawings(*map(torch.from_numpy, drawn))
    chosen = np.arange(len(told))
    torch.manual_seed(0)
    perfect = torch.full((len(told), SCENES + 2), -20.0)
    perfect[torch.arange(len(told)), told.scene] = 20.0
    perfect[:, SCENES], perfect[:, SCENES + 1] = told.intensity, told.gifts
    assert telling_loss(perfect, told, chosen) < 1e-6
    ignorant = perfect.clone()
    ignorant[:, SCENES], ignorant[:, SCENES + 1] = told.intensity.mean(), told.gifts.mean()
    assert telling_loss(ignorant, told, chosen) == pytest.approx(2.0, abs=0.05)
    photographed = Drawings(told.frames, told.scene, torch.full_like(told.intensity, torch.nan), told.gifts)
    assert telling_loss(ignorant, photographed, chosen) == pytest.approx(1.0, abs=0.05)
    student = Student("swin_compact_128")
    assert student(told.whole(chosen[:2], size=64))[2].shape == (2, SCENES + 2)
