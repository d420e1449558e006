"""Figures: drawn from the losses themselves, from logged curves, from real windows, and from reports."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from tests.fixtures.small_dataset import write_dataset
from tests.fixtures.training_runs import config, read_curves
from train.dataset import Segments, read_info, write_info
from train.experiments import figures
from train.experiments.figures import Fig4, Fig5, Reliability
from train.fit import fit
from train.metrics import calibration


@pytest.fixture(scope="module")
def runs(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short trainings under the names of train.experiments.ablate, with each step in the curves."""
    path = tmp_path_factory.mktemp("runs")
    changes = {"L0": {"region": "all", "align_weight": 0.0}, "L1": {"align_weight": 0.0}, "full": {}}
    for name, changed in changes.items():
        fit(config(rooms, path / f"{name}-seed0", epochs=1, log_every=1, **changed))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of train.evaluate whose predictions are 0.1 too low."""
    predicted = np.random.default_rng(0).random(500)
    bins = asdict(calibration(predicted, np.clip(predicted + 0.1, 0, 1), bins=5))
    file = tmp_path_factory.mktemp("report") / "evaluation.json"
    file.write_text(json.dumps({"target": "lvtr", "split": "test", "rooms": 7, "calibration": bins}))
    return file


@pytest.mark.parametrize(
    ("region", "counted"),
    [
        ("all", lambda gap: True),
        ("border", lambda gap: gap <= 0.25),
        ("inverted", lambda gap: gap <= 0),
        ("under", lambda gap: 0 < gap < 0.25),
    ],
)
def test_fig3_shows_the_loss_of_each_region(region: str, counted: Callable[[float], bool]) -> None:
    gaps = np.array([-1.0, -0.5, 0.0, 0.125, 0.25, 0.375, 1.0])
    loss = figures.pair_curve(region, gaps, true_gap=0.25, sigma=3.0)
    expected = [math.log(1 + math.exp(-3.0 * gap)) if counted(gap) else 0.0 for gap in gaps]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_fig4_reads_the_logged_curves(runs: Path, tmp_path: Path) -> None:
    curve = figures.read_curve(runs / "full-seed0", "loss/pair")
    assert (
        dict(zip(curve.step.tolist(), curve.value.tolist(), strict=True))
        == read_curves(runs / "full-seed0")["loss/pair"]
    )
    with pytest.raises(LabelError, match="no curve 'loss/other'"):
        figures.read_curve(runs / "full-seed0", "loss/other")
    with pytest.raises(LabelError, match="no run L0-seed"):
        Fig4(tmp_path, tmp_path / "x.png").draw()
    values = np.array([3.0, 0.0, 6.0, 9.0, 3.0])
    np.testing.assert_allclose(figures.smooth(values, width=3), [1.5, 3.0, 5.0, 6.0, 6.0])
    np.testing.assert_allclose(figures.smooth(values, width=1), values)


def test_fig5_starts_from_the_initial_weights_of_training(rooms: Path, tmp_path: Path) -> None:
    unchanged, _ = load(fit(config(rooms, tmp_path, learning_rate=0.0, epochs=1, seed=3)))
    initial = figures.make_untrained(unchanged.config, seed=3)
    for layer in ("project_pictures", "project_text"):
        parameters = (getattr(model, layer).parameters() for model in (initial, unchanged))
        for first, second in zip(*parameters, strict=True):
            torch.testing.assert_close(first.half().float(), second.float(), rtol=0, atol=0)


def test_fig5_shows_the_cost_of_windows_of_the_test_split(rooms: Path, runs: Path, tmp_path: Path) -> None:
    segments = Segments(rooms)
    (window,) = figures.choose_windows(segments, count=1, length=20, generator=np.random.default_rng(0))
    assert window.room.name == "test-0"
    assert 0 <= window.start == window.stop - 20 <= 13
    model, _ = load(runs / "full-seed0" / "checkpoint")
    first, last = window.room.start + window.start, window.room.start + window.stop
    pictures = torch.tensor(segments.array("pictures", first, last).reshape(20, 3, -1)).float()
    text = torch.tensor(segments.array("text_both", first, last)).float()
    with torch.no_grad():
        expected = cdist(model.project_text(text), model.project_pictures(pictures).mean(1), "cosine")
    np.testing.assert_allclose(figures.alignment_cost(model, segments, window), expected, atol=1e-5)
    with pytest.raises(LabelError, match="1 test rooms"):
        figures.choose_windows(segments, count=2, length=20, generator=np.random.default_rng(0))
    write_dataset(tmp_path, seed=1)
    write_info(tmp_path, replace(read_info(tmp_path), source="other numbers"))
    with pytest.raises(LabelError, match="another dataset"):
        Fig5(runs, tmp_path, tmp_path / "x.png").draw()


def test_reliability_shows_the_bins(report: Path, tmp_path: Path) -> None:
    (axis,) = Reliability(report, tmp_path / "a.png").draw().axes
    diagonal, line = axis.lines
    x, y = line.get_data()
    assert len(x) == 5
    np.testing.assert_allclose(np.subtract(y, x)[:4], 0.1, atol=0.01)
    np.testing.assert_array_equal(*diagonal.get_data())
    assert "500 segments of 7 rooms" in axis.get_title()
    for content in ("no json", "[]", '{"target": "lvtr"}', None):
        file = tmp_path / "broken.json"
        file.unlink(missing_ok=True) if content is None else file.write_text(content)
        with pytest.raises(LabelError, match=r"broken\.json"):
            Reliability(file, tmp_path / "a.png").draw()


def test_the_command_writes_every_figure(
    rooms: Path,
    runs: Path,
    report: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "new" / "figure.png"
    for flags in (
        ["fig3"],
        ["fig4", "--runs", runs],
        ["fig5", "--runs", runs, "--dataset", rooms, "--windows", "1"],
        ["reliability", "--evaluation", report],
    ):
        monkeypatch.setattr(sys, "argv", ["figures", *map(str, flags), "--out", str(file)])
        figures.main()
        with Image.open(file) as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 10
        assert [path.name for path in file.parent.iterdir()] == ["figure.png"]
        file.unlink()
    monkeypatch.setattr(sys, "argv", ["figures", "fig3", "--out", "figure.mp4"])
    with pytest.raises(SystemExit, match="2"):
        figures.main()
    assert "figure.mp4 must end in .png, .pdf or .svg" in capsys.readouterr().err
