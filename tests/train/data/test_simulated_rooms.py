"""Simulated rooms to a dataset, with the shipped encoders."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kuaihl.errors import LabelError
from kuaihl.features.vision import VisualEncoder
from kuaihl.predictor import DEFAULT_CHECKPOINT
from tests.fixtures.small_dataset import SIMULATION
from train.data.simulated_rooms import RoomsConfig, prepare_rooms
from train.dataset import Segments
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.room import room_ids, simulate_room

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rows_are_the_rooms(simulated_rooms: Path) -> None:
    segments = Segments(simulated_rooms)
    names = room_ids(SIMULATION)
    assert sorted(stored.name for stored in segments.rooms) == sorted(names)
    for stored in segments.rooms:
        made = simulate_room(SIMULATION, names.index(stored.name))
        assert (stored.streamer, stored.split) == (made.streamer, made.split)
        np.testing.assert_allclose(segments.scalar("label", stored.start, stored.stop), made.lvtr, rtol=1e-6)
        impressions = [truth.impressions for truth in made.truth]
        np.testing.assert_array_equal(segments.column("impressions", stored), impressions)
    weights = DEFAULT_CHECKPOINT / "visual.safetensors"
    encoder = VisualEncoder(segments.info.visual_encoder, weights=weights, device="cpu")
    pictures = segments.array("pictures", stored.start, stored.start + 1).reshape(3, -1)
    np.testing.assert_allclose(pictures, encoder.encode(draw_segment(made, 0)), atol=0.02)  # threads may split sums
    assert segments.info.made_by == "python -m train.prepare rooms --size tiny --out simulated0"


def test_an_interrupted_run_continues_with_the_missing_rooms(simulated_rooms: Path, tmp_path: Path) -> None:
    """In two processes, which give the same rooms as one."""
    copy = tmp_path / "copy"
    shutil.copytree(simulated_rooms, copy, ignore=shutil.ignore_patterns("cache"))
    kept = copy / "rooms" / "train-0000.parquet"
    stamp = kept.stat().st_mtime_ns
    for name in ("test-0006", "test-0007"):
        (copy / "rooms" / f"{name}.parquet").unlink()
    prepare_rooms(RoomsConfig(size="tiny", workers=2, out=copy), SIMULATION)
    assert kept.stat().st_mtime_ns == stamp
    made, before = Segments(copy), Segments(simulated_rooms)
    assert made.rooms == before.rooms
    rows = (0, made.rooms[-1].stop)
    np.testing.assert_array_equal(made.scalar("label", *rows), before.scalar("label", *rows))
    for name, tolerance in (("words", 0), ("activity", 0), ("pictures", 0.02), ("text_both", 0.02)):
        np.testing.assert_allclose(made.array(name, *rows), before.array(name, *rows), atol=tolerance)
    with pytest.raises(LabelError, match="has another dataset"):
        prepare_rooms(RoomsConfig(size="tiny", seed=1, out=copy))
