"""Table I: every row, resuming, tuning, histories, and predictions of rooms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, ttest_rel

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import INFO, LENGTHS, write_room
from tests.train.data.test_phd_csv import HEADER
from train.baselines.gif_rankers import Video2GIF
from train.baselines.pr_net import PRNet
from train.baselines.rival import HISTORY, Histories, Tokenizer
from train.baselines.task import open_task
from train.baselines.training import RivalData, train_rival
from train.dataset import write_info
from train.experiments import table1
from train.experiments.comparison import read_rows
from train.experiments.table1 import METHODS, Table1Config, make_table

pytestmark = pytest.mark.usefixtures("one_thread")


def config(dataset: Path, out: Path, **changes: object) -> Table1Config:
    base = Table1Config(dataset, out, rows=("kuaihl", "video2gif"), seeds=2, epochs=2, batch_size=32)
    return replace(base, learning_rates=(1e-5, 1e-2), **changes)


@pytest.fixture(scope="module")
def finished(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of two seeds."""
    out = tmp_path_factory.mktemp("table1")
    make_table(config(rooms, out))
    return out


def test_differences_are_paired_by_seed(finished: Path, rooms: Path) -> None:
    rows = read_rows(finished / "rows.csv")
    assert sorted(zip(rows["run"], rows["seed"], strict=True)) == [
        (name, seed) for name in ("kuaihl", "video2gif") for seed in (0, 1)
    ]
    ours, rival = (rows[rows["run"] == name]["per_room_all"].to_numpy() for name in ("kuaihl", "video2gif"))
    interval = ttest_rel(rival, ours).confidence_interval()
    cell = f"{(rival - ours).mean():+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    table = (finished / "table1.md").read_text()
    assert cell in next(line for line in table.splitlines() if line.startswith("| Video2GIF"))
    assert "not used, no test room has one" in table
    assert (rows["parameters"] > 0).all()
    assert set(rows["learning_rate"]) <= {1e-5, 1e-2}
    assert rows.groupby("run")["learning_rate"].nunique().eq(1).all()  # tuned with seed 0, then kept


def test_finished_rows_are_kept_and_missing_ones_are_named(
    finished: Path, rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished / "rows.csv").read_bytes()
    monkeypatch.setattr(table1, "run_row", lambda *_: pytest.fail("nothing is missing"))
    make_table(config(rooms, finished))
    assert (finished / "rows.csv").read_bytes() == before
    with pytest.raises(LabelError, match="other settings"):
        make_table(config(rooms, finished, epochs=3))
    with pytest.raises(LabelError, match="no row pr-nett"):
        make_table(config(rooms, finished, rows=("pr-nett",)))
    table = table1.format_table1(
        config(rooms, finished, seeds=3), ["kuaihl", "showme"], read_rows(finished / "rows.csv")
    )
    lines = {line.split(" | ")[0]: line for line in reversed(table.splitlines())}
    assert lines["| KuaiHL"].endswith("| 2 of 3 |")
    assert lines["| after ShowMe"].endswith("| 0 of 3 |")


def test_the_learning_rate_with_the_best_validation_tau_is_chosen(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def run(task: object, method: object, settings: table1.FitConfig) -> table1.Result:
        tried.append(settings.learning_rate)
        count = len(task.labels(task.test))
        facts = table1._facts(settings, 1.0, tau={1e-5: 0.3, 1e-2: 0.1}[settings.learning_rate])
        return np.arange(count) * settings.learning_rate, facts

    monkeypatch.setattr(table1, "_run_rival", run)
    make_table(config(rooms, tmp_path, rows=("video2gif",)))
    assert tried == [1e-5, 1e-2, 1e-5]
    assert read_rows(tmp_path / "rows.csv")["learning_rate"].tolist() == [1e-5, 1e-5]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("kuaihl", "video2gif")])
def test_every_row_runs(name: str, rooms: Path, tmp_path: Path) -> None:
    settings = config(rooms, tmp_path, epochs=1, epoch_share=0.2, activity=True)
    (row,) = table1.run_row(settings, name, 0, (1e-3,)).to_dict("records")
    assert row["run"] == name
    assert row["segments_all"] == len(open_task(rooms).labels(open_task(rooms).test))
    assert np.isfinite(row["pooled_all"])
    assert (row["parameters"] > 0) == (name != "chat-spike")


@pytest.mark.parametrize("build", [PRNet, METHODS["antpivot-pictures"].build])
def test_a_room_is_predicted_from_the_past_alone(build: type, rooms: Path, tmp_path: Path) -> None:
    task = open_task(rooms)
    data = RivalData(task, config(rooms, tmp_path).fit_config("rival", 0, 1e-3))
    torch.manual_seed(0)
    model, (room,) = build(data.sizes).eval(), task.test
    curve = data.predict_room(model, room)
    assert np.flatnonzero(np.isnan(curve)).tolist() == [0]
    for length in (1, 4, 20, 21, 30):
        short = data.predict_room(model, replace(room, stop=room.start + length))
        np.testing.assert_allclose(short, curve[:length], rtol=1e-3, atol=1e-5)


def test_a_trained_rival_ranks_segments_by_their_pictures(rooms: Path, tmp_path: Path) -> None:
    task = open_task(rooms)
    settings = config(rooms, tmp_path, epochs=20, patience=20).fit_config("rival", 0, 3e-3)
    data = RivalData(task, replace(settings, streamer_dropout=0.0))
    trained = train_rival(Video2GIF, data, settings)
    predicted = data.predict(trained.model, task.validation)
    assert kendalltau(predicted, task.labels(task.validation)).statistic == pytest.approx(trained.validation_tau)
    assert trained.validation_tau > 0.4


def test_histories_are_the_best_of_earlier_training_rooms(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_info(tmp_path, INFO)
    made = {}
    for name, streamer, day in (
        ("train-0", "red", 3), ("train-1", "red", 1), ("train-2", "blue", 2), ("train-3", "red", 5),
        ("validation-0", "red", 4), ("test-0", "red", 9), ("test-1", "green", 9), ("test-2", "", 9),
    ):  # fmt: skip
        label, valid = rng.random(15), rng.random(15) > 0.2
        pictures = rng.normal(size=(15, 3 * INFO.picture_dim))
        values = {"pictures": pictures, "label": np.where(valid, label, np.nan), "valid": valid}
        write_room(tmp_path, INFO, name, {**values, "streamer": [streamer] * 15, "day": np.full(15, day)})
        made[name] = (streamer, day, label, valid)
    task = open_task(tmp_path)
    tokenize = Tokenizer()
    histories, rooms = Histories(task, tokenize), {room.name: room for room in task.segments.rooms}
    for name, (streamer, day, _, _) in made.items():
        earlier = [r for r, (s, d, _, _) in made.items() if s == streamer and d < day and r.startswith("train")]
        known = [(made[r][2][k], made[r][1], k, r) for r in earlier for k in range(15) if made[r][3][k]]
        best = sorted(sorted(known, reverse=True)[:HISTORY], key=lambda entry: entry[1:3])
        history, mask = histories.stack([rooms[name]], raw=14)
        assert mask.sum() == len(best)
        for row, (_, _, k, r) in zip(history[0], best, strict=False):
            torch.testing.assert_close(row, tokenize(task.segments.features(rooms[r], streamer=0))[0, k])
    assert histories.count(task.test) == 1


def test_tokens(rooms: Path) -> None:
    """Pictures and text have mean 0 and variance 1, activity is scaled, and what is missing is zero."""
    task = open_task(rooms)
    by_name = {room.name: room for room in task.segments.rooms}
    activity = np.concatenate([task.segments.array("activity", room.start, room.stop) for room in task.train])
    tokenize = Tokenizer(activity)
    tokens = tokenize(task.segments.features(by_name["test-0"], streamer=0))[0].numpy()
    room = by_name["test-0"]
    pictures = task.segments.array("pictures", room.start, room.stop).reshape(-1, 3, 8).astype(np.float64).mean(1)
    expected = (pictures - pictures.mean(1, keepdims=True)) / np.sqrt(pictures.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(tokens[:, :8], expected, atol=1e-4)
    own = task.segments.array("activity", room.start, room.stop)
    np.testing.assert_allclose(tokens[:, 14:], (own - activity.mean(0)) / activity.std(0).clip(min=1e-3), atol=1e-4)
    without_pictures = tokenize(task.segments.features(by_name["train-0"], streamer=0))[0]
    assert not without_pictures[:, :8].any()
    assert without_pictures[:, 8:14].any()


def test_a_dataset_of_units_that_are_seen_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ahead 0, rivals and windows see the unit that they score, and every unit is scored."""
    rng = np.random.default_rng(0)
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    info = replace(INFO, ahead=0, target="highlight")
    write_info(dataset, info)
    for name, count in LENGTHS.items():
        pictures = rng.normal(size=(count, 3, 8))
        pictures[:, :, 0] = 4 * pictures[:, :1, 0]
        label = (pictures[:, 0, 0] > 1).astype(float)
        write_room(dataset, info, name, {"pictures": pictures.reshape(count, -1), "label": label})
    task = open_task(dataset)
    settings = config(dataset, tmp_path, epochs=15, patience=20).fit_config("rival", 0, 3e-3)
    data = RivalData(task, settings)
    assert len(data.windows) == sum(LENGTHS[name] for name in LENGTHS if name.startswith("train"))
    trained = train_rival(Video2GIF, data, settings)
    predicted = data.predict(trained.model, task.test)
    assert len(predicted) == LENGTHS["test-0"]
    true = task.labels(task.test) > 0
    assert (predicted[true][:, None] > predicted[~true]).mean() > 0.9

    # A user of PHD cut out unit 1 of 33, whose score is the second lowest: 32 units score as much.
    (dataset / "testing.csv").write_text(f"{HEADER}\ntest-0,5,5,7,165,True\nother,1,2,7,60,False\n")
    facts = table1._facts(settings, 1.0)
    monkeypatch.setattr(table1, "_run_rival", lambda *_: (np.arange(33.0), facts))
    (row,) = table1.run_row(config(dataset, tmp_path), "pr-net", 0, (1e-3,)).to_dict("records")
    assert row["precision"] == pytest.approx(1 / 32)
