"""The ablation runner: goes on where it stopped, counts what it should, and compares only like with like."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, ttest_1samp, ttest_rel

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from tests.fixtures.small_dataset import write_dataset
from train import fit
from train.dataset import Segments, read_info, write_info
from train.experiments import ablate
from train.experiments.ablate import AblateConfig
from train.experiments.comparison import Finished, Line, compare, markdown, time_left_s
from train.metrics import DELTAS, Tau

LINES = (
    Line("point", "point", 0.5761),
    Line("without dropout", "no-dropout", 0.5900),
    Line("no pictures", "no-dropout", missing="pictures", against=1),
)


TABLES = ablate.TABLES


@pytest.fixture(scope="module", autouse=True)
def short_table() -> Iterator[None]:
    """Two trainings in three lines, with one thread."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablate, "TABLES", {"table2": LINES})
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path)
    return path


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the table, trained without a stop."""
    path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch, (path / "printed.txt").open("w") as printed:
        patch.setattr(sys, "stdout", printed)
        ablate.ablate(config(dataset, path / "out"))
    return path / "out"


def config(dataset: Path, out: Path, **changes: object) -> AblateConfig:
    base = AblateConfig(
        "table2", dataset, out, seeds=2, preset="debug", epochs=2, batch_size=16, learning_rate=3e-3, warmup_steps=5
    )
    return replace(base, **changes)


def row(run: str, seed: int, tau: float | None, *, seconds: float = 1.0) -> Finished:
    test = [asdict(Tau(delta, tau, tau, segments=30, rooms=3, rooms_skipped=0)) for delta in DELTAS]
    return Finished(run, seed, {}, "0", "2", 2, 1, 0.5, seconds, {"": test, "pictures": test})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_stopped_and_resumed(dataset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = fit.take_step, 0

    def dies(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps == 21:  # a training has 12; the second dies in its second epoch
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(fit, "take_step", dies)
    with pytest.raises(KeyboardInterrupt):
        ablate.ablate(config(dataset, tmp_path))
    assert names(tmp_path / "rows") == ["point-seed0.json"]  # seeds are the outer loop: no-dropout comes next
    assert "| (a) point |" in (tmp_path / "table2.md").read_text()
    ablate.ablate(config(dataset, tmp_path))
    assert steps == 12 + 9 + 6 + 2 * 12  # only the second epoch of the second training is done again
    for name in ("table2.md", "table2.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert names(tmp_path) == ["rows", "runs", "table2.json", "table2.md"]
    assert names(tmp_path / "rows") == [f"{run}-seed{seed}.json" for run in ("no-dropout", "point") for seed in (0, 1)]
    ablate.ablate(config(dataset, tmp_path))
    assert steps == 51  # all is there


def test_two_at_once_train_the_same(dataset: Path, whole: Path, tmp_path: Path) -> None:
    ablate.ablate(config(dataset, tmp_path, processes=2))
    assert (tmp_path / "table2.md").read_bytes() == (whole / "table2.md").read_bytes()


def test_what_is_printed(whole: Path) -> None:
    printed = (whole.parent / "printed.txt").read_text()
    assert printed.count("| (b) without dropout |") == 2  # a table for each seed
    assert printed.endswith(f"{(whole / 'table2.md').read_text()}\n")
    assert "trainings to go: 3, about 0 h 0 min" in printed


def test_the_numbers_are_those_of_the_checkpoints(dataset: Path, whole: Path) -> None:
    segments = Segments(dataset)
    (room,) = (room for room in segments.rooms if room.split == "test")
    true, valid = (segments.scalar(name, room.start, room.stop)[1:] for name in ("label", "valid"))

    def tau(run: str, seed: int, *, pictures: bool = True, delta: float = -1.0) -> float:
        model, _ = load(whole / "runs" / f"{run}-seed{seed}" / "checkpoint")
        features = segments.features(room, streamer=0, excluded=[] if pictures else ["pictures"])
        kept = valid & (true > delta)
        return kendalltau(model.sweep(features).numpy()[1:-1][kept], true[kept]).statistic

    measured = [
        [tau("point", seed) for seed in (0, 1)],
        [tau("no-dropout", seed) for seed in (0, 1)],
        [tau("no-dropout", seed, pictures=False) for seed in (0, 1)],
    ]
    lines = json.loads((whole / "table2.json").read_text())["lines"]
    for line, values in zip(lines, measured, strict=True):
        cell = line["cells"][0]
        interval = ttest_1samp(values, 0).confidence_interval(0.95)
        expected = [np.mean(values), interval.low, interval.high]
        np.testing.assert_allclose([cell["pooled"][k] for k in ("mean", "low", "high")], expected, rtol=1e-6)
        assert cell["pooled"] == cell["per_room"]  # there is one room
        assert cell["segments"] == valid.sum()
        assert line["seeds"] == [0, 1]
    assert lines[0]["cells"][0]["pooled_difference"] is None
    for line, other in ((1, 0), (2, 1)):
        interval = ttest_rel(measured[line], measured[other]).confidence_interval(0.95)
        found = lines[line]["cells"][0]["pooled_difference"]
        np.testing.assert_allclose([found["low"], found["high"]], [interval.low, interval.high], rtol=1e-6)
    above = lines[1]["cells"][DELTAS.index(0.4)]
    assert above["segments"] == (valid & (true > 0.4)).sum()
    assert above["pooled"]["mean"] == pytest.approx(np.mean([tau("no-dropout", s, delta=0.4) for s in (0, 1)]))
    assert f"| (b) without dropout | {np.mean(measured[1]):.4f} [" in (whole / "table2.md").read_text()
    assert [line["paper_difference"] for line in lines] == [None, pytest.approx(0.0139), None]


def test_rows_of_other_settings_or_data_are_refused(dataset: Path, tmp_path: Path) -> None:
    ablate.ablate(config(dataset, tmp_path / "out", seeds=1, epochs=1))
    with pytest.raises(LabelError, match=r"point-seed0.json was trained with other settings \(epochs, learning_rate\)"):
        ablate.ablate(config(dataset, tmp_path / "out", seeds=1, epochs=2, learning_rate=1e-3))
    write_dataset(tmp_path / "other")
    write_info(tmp_path / "other", replace(read_info(dataset), source="others"))
    with pytest.raises(LabelError, match=r"other settings \(dataset\)"):
        ablate.ablate(config(tmp_path / "other", tmp_path / "out", seeds=1, epochs=1))
    file = tmp_path / "out" / "rows" / "point-seed0.json"
    assert str(tmp_path) not in file.read_text()  # rows are committed
    file.write_text(file.read_text()[:100])
    with pytest.raises(LabelError, match="damaged"):
        ablate.ablate(config(dataset, tmp_path / "out", seeds=1, epochs=1))
    (tmp_path / "other" / "rooms" / "test-0.parquet").unlink()
    with pytest.raises(LabelError, match="no 'test' rooms"):
        ablate.ablate(config(tmp_path / "other", tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_every_run_is_another_training(dataset: Path, tmp_path: Path) -> None:
    settings = [replace(ablate.fit_config(config(dataset, tmp_path), run, 0), out=tmp_path) for run in ablate.RUNS]
    assert len({str(one) for one in settings}) == len(ablate.RUNS)
    assert {line.run for lines in TABLES.values() for line in lines} == set(ablate.RUNS)
    rooms = [(run, one) for run, one in zip(ablate.RUNS, settings, strict=True) if not run.startswith("chat")]
    assert [run for run, one in rooms if one.activity] == ["activity", "words"]
    assert [run for run, one in rooms if one.words] == ["words"]
    regions = {line.run: ablate.fit_config(config(dataset, tmp_path), line.run, 0) for line in TABLES["table2"]}
    assert [
        (run, one.region, one.positive) for run, one in regions.items() if one.pair_weight and one.align_weight
    ] == [
        ("L1-plain", "border", "plain"),
        ("full", "border", "swap"),
    ]


def test_differences_are_over_the_seeds_that_both_have() -> None:
    rows = [row("point", 0, 0.1), row("point", 1, 0.2), row("no-dropout", 1, 0.5)]
    first, second, _ = compare(LINES, {(r.run, r.seed): r for r in rows})
    assert first.cells[0].pooled.mean == pytest.approx(0.15)
    assert second.cells[0].pooled_difference.mean == pytest.approx(0.3)
    assert second.cells[0].pooled_difference.low is None  # one seed has no interval
    text = markdown([first, second], title="Two", source="numbers", seeds=5)
    assert "Measured on numbers." in text
    assert "| (b) without dropout | 0.5000 | +0.3000 | (a) | 0.5000 | 0.5900 (+0.0139) | 1 of 5 |" in text
    assert "The paper's numbers" in text
    plain = compare([replace(line, paper=None) for line in LINES], {(r.run, r.seed): r for r in rows})
    assert "The paper's numbers" not in markdown(plain, title="Two", source="numbers", seeds=5)


def test_a_tau_that_is_not_defined_leaves_no_mean() -> None:
    rows = [row("point", 0, 0.1), row("no-dropout", 0, None)]
    _, second, _ = compare(LINES, {(r.run, r.seed): r for r in rows})
    assert second.cells[0].pooled is None
    assert second.cells[0].pooled_difference is None


def test_the_time_left_is_that_of_the_same_run_or_of_the_average() -> None:
    rows = [row("a", 0, 0.1, seconds=10.0), row("a", 1, 0.1, seconds=20.0), row("b", 0, 0.1, seconds=45.0)]
    assert time_left_s(rows, ["a", "b", "c"]) == pytest.approx(15 + 45 + 30)
    assert time_left_s([], ["a"]) == 0
