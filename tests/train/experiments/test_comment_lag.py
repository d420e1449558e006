"""The lag of comments behind pictures, as the alignment finds it in simulated rooms."""

import numpy as np
import pytest

from kuaihl.predictor import Predictor
from kuaihl.records import Alignment
from train.experiments.comment_lag import align_room, lag_errors
from train.simulator.rooms.room import simulate_room
from train.simulator.settings import SimulatorConfig


def test_the_path_finds_the_lag_of_the_comments() -> None:
    predictor = Predictor.from_pretrained(device="cpu")
    config = SimulatorConfig(size="small", seed=3, min_segments=40, max_segments=40, lag_share=1.0)
    rooms = [simulate_room(config, index) for index in range(40)]
    some = [room for lag in range(3) for room in [room for room in rooms if room.comment_lag == lag][:2]]
    errors = lag_errors([align_room(predictor, room) for room in some], [room.comment_lag for room in some])
    assert errors["diagonal"] == 1
    assert errors["path"] < 0.7
    assert errors["median_of_path"] < 0.7
    assert errors["spearman"] > 0.5


def test_errors_by_hand() -> None:
    late = Alignment("comments", "pictures", ((0, 0), (1, 0), (2, 1), (2, 2)), 0.0, 1, np.zeros((3, 3)))
    even = Alignment("comments", "pictures", ((0, 0), (1, 1), (2, 2)), 0.0, 1, np.zeros((3, 3)))
    errors = lag_errors([late, even], [1, 0])
    assert errors == pytest.approx({"path": 0.25, "median_of_path": 0.25, "diagonal": 0.5, "spearman": 1.0})
