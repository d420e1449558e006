"""The reliability diagram shows the numbers of the report."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kuaihl.errors import LabelError
from train.experiments.drawing import write
from train.experiments.reliability import Reliability, draw
from train.metrics import calibration


def a_report(**changes: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    predicted = rng.random(500)
    found = calibration(predicted, np.clip(predicted + 0.1, 0, 1), bins=5)
    return {"target": "lvtr", "split": "test", "rooms": 7, "calibration": asdict(found), **changes}


def test_points_are_the_bins() -> None:
    (axis,) = draw(a_report()).axes
    diagonal, line = axis.lines
    x, y = line.get_data()
    assert len(x) == 5
    np.testing.assert_allclose(np.subtract(y, x)[:4], 0.1, atol=0.01)
    np.testing.assert_array_equal(*diagonal.get_data())
    assert "500 segments of 7 rooms" in axis.get_title()
    assert axis.get_xlabel() == "predicted LVTR, mean of a bin"


def test_from_the_file_to_the_picture(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(a_report()))
    config = Reliability(tmp_path / "evaluation.json", tmp_path / "reliability.png")
    write(config.draw(), config.out)
    with Image.open(config.out) as image:
        assert np.asarray(image.convert("L")).std() > 10


@pytest.mark.parametrize("content", ["no json", "[]", '{"target": "lvtr"}'])
def test_what_is_no_report_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(LabelError, match=r"evaluation\.json"):
        Reliability(tmp_path / "evaluation.json", tmp_path / "a.png").draw()
    with pytest.raises(LabelError, match="missing"):
        Reliability(tmp_path / "missing.json", tmp_path / "a.png").draw()
