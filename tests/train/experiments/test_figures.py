"""Figures 3 to 5: drawn from the losses themselves, from curves as they were logged, and from real windows."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from tests.fixtures.small_dataset import write_dataset
from train import fit
from train.dataset import Segments, read_info, write_info
from train.experiments import figures
from train.experiments.figures import Fig4, Fig5
from train.fit import FitConfig


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path)
    return path


@pytest.fixture(scope="module")
def runs(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short trainings under the names that train.experiments.ablate gives, each step of which is in the curves."""
    path = tmp_path_factory.mktemp("runs")
    changes = {"L0": {"region": "all", "align_weight": 0.0}, "L1": {"align_weight": 0.0}, "full": {}}
    for name, changed in changes.items():
        fit.fit(short(dataset, path / f"{name}-seed0", log_every=1, **changed))
    return path


def short(dataset: Path, out: Path, **changes: object) -> FitConfig:
    return replace(
        FitConfig((dataset,), out, preset="debug", epochs=2, batch_size=16, learning_rate=3e-3, warmup_steps=5),
        **changes,
    )


@pytest.mark.parametrize(
    ("region", "counted"),
    [
        ("all", lambda gap: True),
        ("border", lambda gap: gap <= 0.25),
        ("inverted", lambda gap: gap <= 0),
        ("under", lambda gap: 0 < gap < 0.25),
    ],
)
def test_fig3_shows_the_loss_of_each_region(region: str, counted: object) -> None:
    gaps = np.array([-1.0, -0.5, 0.0, 0.125, 0.25, 0.375, 1.0])
    loss = figures.pair_curve(region, gaps, true_gap=0.25, sigma=3.0)
    expected = [math.log(1 + math.exp(-3.0 * gap)) if counted(gap) else 0.0 for gap in gaps]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_curves_of_a_stopped_run_are_those_of_an_undisturbed_one(
    dataset: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = short(dataset, tmp_path, log_every=1, save_every=4)
    terms, steps = fit.loss_terms, 0

    def dies(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps == 11:  # 8 are saved: steps 9 and 10 are logged twice
            raise KeyboardInterrupt
        return terms(*args)

    monkeypatch.setattr(fit, "loss_terms", dies)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(config)
    fit.fit(config)
    whole, cut = (figures.read_curve(run, "loss/pair") for run in (runs / "full-seed0", tmp_path))
    np.testing.assert_array_equal(cut.step, np.arange(1, 13))
    np.testing.assert_array_equal(cut.step, whole.step)
    np.testing.assert_array_equal(cut.value, whole.value)
    with pytest.raises(LabelError, match="no curve 'loss/other'"):
        figures.read_curve(tmp_path, "loss/other")


def test_smoothing_is_a_mean_of_neighbours() -> None:
    values = np.array([3.0, 0.0, 6.0, 9.0, 3.0])
    np.testing.assert_allclose(figures.smooth(values, width=3), [1.5, 3.0, 5.0, 6.0, 6.0])
    np.testing.assert_allclose(figures.smooth(values, width=1), values)


def test_fig5_begins_with_the_weights_that_training_began_with(dataset: Path, tmp_path: Path) -> None:
    still, _ = load(fit.fit(short(dataset, tmp_path, learning_rate=0.0, epochs=1, seed=3)))
    before = figures.untrained(still.config, seed=3)
    for layer in ("project_pictures", "project_text"):
        for mine, fitted in zip(getattr(before, layer).parameters(), getattr(still, layer).parameters(), strict=True):
            torch.testing.assert_close(mine.half().float(), fitted.float(), rtol=0, atol=0)


def test_fig5_shows_the_cost_of_windows_of_the_test_split(dataset: Path, runs: Path) -> None:
    segments = Segments(dataset)
    (window,) = figures.choose_windows(segments, count=1, length=20, generator=np.random.default_rng(0))
    assert window.room.name == "test-0"
    assert 0 <= window.start == window.stop - 20 <= 13
    model, _ = load(runs / "full-seed0" / "checkpoint")
    rows = slice(window.room.start + window.start, window.room.start + window.stop)
    pictures = torch.tensor(segments.array("pictures", rows.start, rows.stop).reshape(20, 3, -1)).float()
    text = torch.tensor(segments.array("text_both", rows.start, rows.stop)).float()
    with torch.no_grad():
        expected = cdist(model.project_text(text), model.project_pictures(pictures).mean(1), "cosine")
    np.testing.assert_allclose(figures.window_cost(model, segments, window), expected, atol=1e-5)
    with pytest.raises(LabelError, match="1 test rooms"):
        figures.choose_windows(segments, count=2, length=20, generator=np.random.default_rng(0))


def test_all_three_can_be_looked_at(
    dataset: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "figure.png"
    for flags in (["fig3"], ["fig4", "--runs", runs], ["fig5", "--runs", runs, "--dataset", dataset, "--windows", "1"]):
        monkeypatch.setattr(sys, "argv", ["figures", *map(str, flags), "--out", str(file)])
        figures.main()
        with Image.open(file) as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 10
        assert names(file.parent) == ["figure.png"]
        file.unlink()
    monkeypatch.setattr(sys, "argv", ["figures", "fig3", "--out", "figure.mp4"])
    with pytest.raises(SystemExit, match="2"):
        figures.main()
    assert "error: figure.mp4 must end in .png, .pdf or .svg." in capsys.readouterr().err


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_runs_that_are_missing_or_of_another_dataset_are_told(dataset: Path, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no run L0-seed"):
        Fig4(tmp_path, tmp_path / "x.png").draw()
    write_dataset(tmp_path, seed=1)
    write_info(tmp_path, replace(read_info(dataset), source="other numbers"))
    with pytest.raises(LabelError, match="another dataset"):
        Fig5(runs, tmp_path, tmp_path / "x.png").draw()
