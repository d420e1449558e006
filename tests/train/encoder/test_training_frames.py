"""Frames of training rooms."""

from itertools import islice

import numpy as np
import pytest

from kuaihl.errors import LabelError
from train.encoder.training_frames import CONFIG, FRAMES_PER_ROOM, draw_frames
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.room import simulate_room

SIDE = 64


def test_frames_are_those_of_the_training_rooms() -> None:
    frames = [*draw_frames(FRAMES_PER_ROOM + 4, side=SIDE, scenes=None, without=frozenset())]
    assert len(frames) == FRAMES_PER_ROOM + 4
    assert {(frame.shape, frame.dtype) for frame in frames} == {((SIDE, SIDE, 3), np.dtype(np.uint8))}
    for first, index in ((0, 0), (FRAMES_PER_ROOM, 1)):
        expected = draw_segment(simulate_room(CONFIG, index), 0, size=(SIDE, SIDE))
        np.testing.assert_array_equal(frames[first : first + 3], expected)


def test_more_frames_than_the_rooms_have_are_refused() -> None:
    limit = CONFIG.rooms.train * FRAMES_PER_ROOM
    with pytest.raises(LabelError, match=f"at most {limit}"):
        list(islice(draw_frames(limit + 1, side=SIDE, scenes=None, without=frozenset()), 1))
