"""Ablation tables: trainings resume, results are those of the checkpoints, and only like is compared with like."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
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
from train.experiments.comparison import Line, LineResult, compare, format_markdown, make_rows, read_rows
from train.fit import FitConfig
from train.metrics import DELTAS, Tau

ROOT = Path(__file__).parents[3]
TABLES = ablate.TABLES
LINES = (
    Line("point", "point", 0.5761),
    Line("without dropout", "no-dropout", 0.5900),
    Line("no pictures", "no-dropout", hidden="pictures", against=1),
)


@pytest.fixture(scope="module", autouse=True)
def short_table() -> Iterator[None]:
    """Two trainings in three lines, with one thread."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablate, "TABLES", {**TABLES, "table2": LINES})
        yield
    torch.set_num_threads(threads)


def config(dataset: Path, out: Path, **changes: object) -> AblateConfig:
    shared = FitConfig((dataset,), out, preset="debug", epochs=2, batch_size=16, learning_rate=3e-3, warmup_steps=5)
    return AblateConfig("table2", replace(shared, **changes), seeds=2)


@pytest.fixture(scope="module")
def finished(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the table, two trainings at a time."""
    path = tmp_path_factory.mktemp("finished")
    ablate.ablate(replace(config(rooms, path), processes=2))
    return path


def results_of(run: str, seed: int, tau: float | None) -> pd.DataFrame:
    per_room = None if tau is None else tau / 2
    test = [Tau(delta, tau, per_room, segments=30, rooms=3, rooms_skipped=0) for delta in DELTAS]
    return make_rows({"": test, "pictures": test}, run=run, seed=seed)


def compare_results(*rows: pd.DataFrame) -> list[LineResult]:
    return compare(LINES, pd.concat(rows))


def finished_trainings(folder: Path) -> list[tuple[str, int]]:
    rows = read_rows(folder / "rows.csv")
    return [*dict.fromkeys(zip(rows["run"], rows["seed"], strict=True))]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_stopped_table_resumes(
    rooms: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, steps = fit.take_step, 0

    def interrupted_step(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps == 21:  # a training has 12 steps; the second stops in its second epoch
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(fit, "take_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        ablate.ablate(config(rooms, tmp_path))
    assert finished_trainings(tmp_path) == [("point", 0)]  # no-dropout is next
    assert "| (a) point |" in (tmp_path / "table2.md").read_text()
    table = ablate.ablate(config(rooms, tmp_path))
    assert steps == 12 + 9 + 6 + 2 * 12  # only the second epoch of the second training is repeated
    assert capsys.readouterr().out.endswith(f"{table}\n")
    assert table == (tmp_path / "table2.md").read_text() == (finished / "table2.md").read_text()
    assert names(tmp_path) == ["rows.csv", "runs", "table2.md"]
    assert finished_trainings(tmp_path) == [(run, seed) for run in ("no-dropout", "point") for seed in (0, 1)]
    ablate.ablate(config(rooms, tmp_path))
    assert steps == 51  # nothing is missing
    assert str(tmp_path) not in (tmp_path / "rows.csv").read_text()


def test_results_are_those_of_the_checkpoints(rooms: Path, finished: Path) -> None:
    segments = Segments(rooms)
    (room,) = (room for room in segments.rooms if room.split == "test")
    true, valid = (segments.scalar(name, room.start, room.stop)[1:] for name in ("label", "valid"))

    def tau(run: str, seed: int, *, pictures: bool = True, delta: float = -1.0) -> float:
        model, _ = load(finished / "runs" / f"{run}-seed{seed}" / "checkpoint")
        excluded = frozenset() if pictures else frozenset({"pictures"})
        scores = model.sweep(segments.features(room, streamer=0, excluded=excluded)).numpy()[1:-1]
        mask = valid & (true > delta)
        return kendalltau(scores[mask], true[mask]).statistic

    measured = [
        [tau("point", seed) for seed in (0, 1)],
        [tau("no-dropout", seed) for seed in (0, 1)],
        [tau("no-dropout", seed, pictures=False) for seed in (0, 1)],
    ]
    results = compare(LINES, read_rows(finished / "rows.csv"))
    for result, values in zip(results, measured, strict=True):
        interval = ttest_1samp(values, 0).confidence_interval(0.95)
        pooled = result.pooled[0]
        expected = [np.mean(values), interval.low, interval.high]
        np.testing.assert_allclose([pooled.mean, pooled.low, pooled.high], expected, atol=1e-5)
        assert result.pooled == result.per_room  # there is one room
        assert result.segments[0] == valid.sum()
        assert result.seeds == (0, 1)
    assert results[0].difference is None
    for line, other in ((1, 0), (2, 1)):
        interval = ttest_rel(measured[line], measured[other]).confidence_interval(0.95)
        difference = results[line].difference
        np.testing.assert_allclose([difference.low, difference.high], [interval.low, interval.high], atol=1e-5)
    k = DELTAS.index(0.4)
    assert results[1].segments[k] == (valid & (true > 0.4)).sum()
    expected = np.mean([tau("no-dropout", seed, delta=0.4) for seed in (0, 1)])
    assert results[1].pooled[k].mean == pytest.approx(expected, abs=1e-6)
    assert f"| (b) without dropout | {np.mean(measured[1]):.4f} [" in (finished / "table2.md").read_text()
    assert [result.paper_difference for result in results] == [None, pytest.approx(0.0139), None]


def test_trainings_of_other_settings_or_data_are_refused(rooms: Path, finished: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text((finished / "rows.csv").read_text())
    with pytest.raises(LabelError, match=r"with other settings \(epochs, learning_rate\)"):
        ablate.ablate(
            replace(config(rooms, tmp_path), fit=replace(config(rooms, tmp_path).fit, epochs=3, learning_rate=1e-3))
        )
    write_dataset(tmp_path / "other")
    write_info(tmp_path / "other", replace(read_info(rooms), source="others"))
    with pytest.raises(LabelError, match=r"other settings \(dataset\)"):
        ablate.ablate(config(tmp_path / "other", tmp_path))
    rows.write_text(rows.read_text()[:700])
    with pytest.raises(LabelError, match=r"rows\.csv is damaged"):
        ablate.ablate(config(rooms, tmp_path))
    (tmp_path / "other" / "rooms" / "test-0.parquet").unlink()
    with pytest.raises(LabelError, match="no 'test' rooms"):
        ablate.ablate(config(tmp_path / "other", tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_every_run_is_another_training(rooms: Path, tmp_path: Path) -> None:
    settings = {run: replace(ablate.fit_config(config(rooms, tmp_path), run, 0), out=tmp_path) for run in ablate.RUNS}
    assert len({str(setting) for setting in settings.values()}) == len(ablate.RUNS)
    assert {line.run for lines in TABLES.values() for line in lines} == set(ablate.RUNS)
    plain = {run: setting for run, setting in settings.items() if not run.startswith("chat")}
    assert [run for run, setting in plain.items() if setting.activity] == ["activity", "words"]
    assert [run for run, setting in plain.items() if setting.words] == ["words"]
    losses = {line.run: settings[line.run] for line in TABLES["table2"]}
    assert [(run, x.region, x.positive) for run, x in losses.items() if x.pair_weight and x.align_weight] == [
        ("L1-plain", "border", "plain"),
        ("full", "border", "swap"),
    ]


def test_differences_are_over_shared_seeds() -> None:
    first, second, _ = compare_results(
        results_of("point", 0, 0.1), results_of("point", 1, 0.2), results_of("no-dropout", 1, 0.5)
    )
    assert first.pooled[0].mean == pytest.approx(0.15)
    assert second.difference.mean == pytest.approx(0.3)
    assert second.difference.low is None  # one seed has no interval
    _, undefined, _ = compare_results(results_of("point", 0, 0.1), results_of("no-dropout", 0, None))
    assert undefined.pooled[0] is None
    assert undefined.difference is None
    text = format_markdown([first, second], title="Two", source="numbers", seeds=5)
    assert "| (b) without dropout | 0.2500 | +0.1500 | (a) | 0.5000 | +0.3000 | 0.5900 (+0.0139) | 1 of 5 |" in text


@pytest.mark.parametrize(
    ("folder", "table", "seeds"),
    [
        ("ablation", "table2", 5),
        ("ablation", "table3", 5),
        ("ablation", "beyond", 5),
        ("participation", "participation", 2),
    ],
)
def test_the_shipped_tables_are_those_of_their_rows(folder: str, table: str, seeds: int) -> None:
    """Only the name of the dataset is not in the rows."""
    assets = ROOT / "assets" / folder
    lines = TABLES[table]
    results = compare(lines, read_rows(assets / "rows.csv"))
    made = format_markdown(results, title="", source="", seeds=seeds)
    shipped = (assets / f"{table}.md").read_text()
    assert made.partition("|")[2] == shipped.partition("|")[2]
    assert shipped.startswith(f"# {ablate.TITLES[table]}\n")
