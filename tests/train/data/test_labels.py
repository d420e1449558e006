"""Labels from the files of users, against a count over the rows that were written."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from kuaihl.records import segments_of
from train.data.labels import (
    LabelOptions,
    from_impressions,
)
from train.simulator.render.logs import write_impressions
from train.simulator.rooms.room import simulate_room
from train.simulator.settings import SimulatorConfig

DEFAULT, FEW = LabelOptions(), LabelOptions(min_impressions=1)
SEGMENTS = segments_of(200.0)  # six whole ones and one of 20 s
START = datetime(2024, 5, 1, 20, tzinfo=timezone(timedelta(hours=2)))


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def impressions() -> list[tuple[float, float]]:
    rows = np.random.default_rng(0).uniform(0, (200, 300), (400, 2))
    return [(round(time_s, 2), round(view_s, 2)) for time_s, view_s in rows.tolist()]


def counted(rows: list[tuple[float, float]], *, long_view_s: float) -> tuple[list[int], list[int]]:
    """Impressions and long views of each segment, one row after the other."""
    seen, long = [0] * len(SEGMENTS), [0] * len(SEGMENTS)
    for time_s, view_s in rows:
        seen[int(time_s // 30)] += 1
        long[int(time_s // 30)] += view_s >= long_view_s
    return seen, long


@pytest.mark.parametrize("long_view_s", [60.0, 90.0])
def test_lvtr_is_long_views_over_impressions(tmp_path: Path, long_view_s: float) -> None:
    rows = impressions()
    log = write(tmp_path / "log.csv", "time_s,view_s", *(f"{t},{v}" for t, v in rows))
    labels = from_impressions(SEGMENTS, log, options=LabelOptions(long_view_s, min_impressions=50))
    seen, long = counted(rows, long_view_s=long_view_s)
    assert labels.impressions.tolist() == seen
    assert labels.long_views.tolist() == long
    assert labels.valid.tolist() == [n >= 50 for n in seen]
    assert 0 < labels.valid.sum() < len(SEGMENTS)
    for k in np.flatnonzero(labels.valid):
        assert labels.label[k] == long[k] / seen[k]
    assert np.isnan(labels.label[~labels.valid]).all()
    assert (labels.kind, labels.skipped) == ("impressions", ())


def test_the_log_of_the_simulator(tmp_path: Path) -> None:
    made = simulate_room(SimulatorConfig(size="tiny"), 0)
    write_impressions(made, tmp_path / "impressions.csv", until_s=made.segments[-1].end_s)
    labels = from_impressions(made.segments, tmp_path / "impressions.csv", options=DEFAULT)
    # It writes hundredths of a second: a few impressions fall on the other side of a bound.
    assert labels.impressions.sum() == sum(t.impressions for t in made.truth)
    np.testing.assert_allclose(labels.label, made.lvtr, atol=0.02)
    assert np.median(np.abs(labels.label - made.lvtr)) < 1e-9
