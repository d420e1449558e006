"""Training: it learns, it is the same again, and it goes on after being killed as if nothing had happened."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kuaihl.errors import LabelError
from kuaihl.model import Target, load
from tests.small_dataset import write_chat_dataset, write_dataset
from train import fit
from train.dataset import Segments, Windows
from train.evaluate import rooms_of, score
from train.fit import FitConfig
from train.metrics import taus
from train.mixture import open_parts
from train.state import LOG_FILE, STATE_FILE


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A tiny model gains nothing from threads, and the order of a sum must not depend on them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path)
    return path


@pytest.fixture(scope="module")
def both(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rooms, whose target is LVTR, and chats, whose target is participation."""
    path = tmp_path_factory.mktemp("chats")
    write_chat_dataset(path)
    return dataset, path


def config(dataset: Path | tuple[Path, ...], out: Path, **changes: object) -> FitConfig:
    datasets = dataset if isinstance(dataset, tuple) else (dataset,)
    base = FitConfig(datasets, out, preset="debug", epochs=3, batch=16, rate=3e-3, warmup=5, patience=50)
    return replace(base, **changes)


def flags(given: FitConfig) -> list[str]:
    """The command line of a run."""
    named = {name: value for name, value in vars(given).items() if value != getattr(FitConfig, name, None)}
    values = [(name, one) for name, value in named.items() for one in (value if name == "dataset" else [value])]
    return [word for name, value in values for word in (f"--{name.replace('_', '-')}", str(value))]


def torchrun(given: FitConfig) -> None:
    """Train with two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "train.fit", *flags(given)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def curves(out: Path) -> dict[str, dict[int, float]]:
    """Every curve by name: value by step. A step that was drawn twice would be an error."""
    events = EventAccumulator(str(out / "curves"), size_guidance={"scalars": 0}).Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        points = [(event.step, event.value) for event in events.Scalars(name)]
        found[name] = dict(points)
        assert len(found[name]) == len(points), name
    return found


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / STATE_FILE, weights_only=True)["model"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_what_can_be_learned(dataset: Path, tmp_path: Path) -> None:
    folder = fit.fit(config(dataset, tmp_path, epochs=20))
    model, _ = load(folder)
    segments = Segments(dataset)
    scores = score(model, segments, rooms_of(segments, "test"))
    (tau,) = taus(scores.predicted, scores.true, scores.room, deltas=[None])
    assert tau.pooled > 0.4  # three times what chance would give; the label is written in the pictures
    log = json.loads((folder / LOG_FILE).read_text())
    assert log["best_tau"] > 0.5
    assert model.config.targets == (Target("lvtr", "random numbers"),)
    assert model.config.streamers == ("streamer 0", "streamer 1")
    assert all(t.dtype == torch.float16 for t in load_file(folder / "model.safetensors").values())
    assert not scores.known.any()  # the test room's streamer is a stranger


def test_one_model_learns_two_targets(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder = fit.fit(config(both, tmp_path, epochs=20, log_every=1))
    model, _ = load(folder)
    assert model.config.targets == (
        Target("lvtr", "random numbers"),
        Target("participation", "made-up chat", without=("pictures", "speech")),
    )
    assert model.config.streamers == ("channel 0", "channel 1", "streamer 0", "streamer 1")
    log = json.loads((folder / LOG_FILE).read_text())
    assert [info["target"] for info in log["datasets"]] == ["lvtr", "participation"]
    assert log["best_tau"] == pytest.approx(np.mean([*log["best_taus"].values()]))
    drawn = curves(tmp_path)
    means = [*drawn["validation/tau"].values()]
    each = [[*drawn[f"{target}/validation/tau"].values()] for target in ("lvtr", "participation")]
    np.testing.assert_allclose(means, np.mean(each, axis=0), rtol=1e-6)
    assert max(means) == pytest.approx(log["best_tau"])
    for path in both:
        segments = Segments(path)
        scores = score(model, segments, rooms_of(segments, "test"))
        (tau,) = taus(scores.predicted, scores.true, scores.room, deltas=[None])
        assert tau.pooled > 0.35, path
    # Each step is of one target: 6 batches of rooms and 4 of chats an epoch.
    steps = [set(drawn[f"{target}/loss/point"]) for target in ("lvtr", "participation")]
    assert [len(taken) for taken in steps] == [20 * 6, 20 * 4]
    assert steps[0] | steps[1] == set(range(1, 201))
    assert not any(drawn["participation/loss/align"].values())


def test_a_step_leaves_other_heads_alone(both: tuple[Path, Path], tmp_path: Path) -> None:
    """Weight decay and the optimizer's memory aside: its gradient is that of its own target."""
    given = config(both, tmp_path)
    parts = open_parts(both)
    model = fit.build(given, parts)
    for k, part in enumerate(parts):
        (batch,) = Windows(part.segments, part.train, model.config).__getitems__(range(0, 62, 4))
        terms, _ = fit.loss_terms(model(batch.features, target=batch.target), batch, given)
        model.zero_grad()
        terms.sum().backward()
        assert model.head.weight.grad[k].any()
        assert not model.head.weight.grad[1 - k].any()
        assert not model.head.bias.grad[1 - k].any()
        assert model.project_chat.weight.grad.any()
        assert bool(model.project_pictures[1].weight.grad.any()) == (part.target == "lvtr")


def test_a_share_of_the_windows_makes_an_epoch(both: tuple[Path, Path], tmp_path: Path) -> None:
    fit.fit(config(both, tmp_path, epochs=1, log_every=1, share=(1.0, 0.5)))
    assert [len(curves(tmp_path)[f"{target}/loss/point"]) for target in ("lvtr", "participation")] == [6, 2]
    for share in ((1.0,), (1.0, 0.0), (1.0, 1.5)):
        with pytest.raises(LabelError, match="--share needs a number"):
            fit.fit(config(both, tmp_path / "wrong", share=share))


def test_streamers_left_out_are_not_learned_from(both: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = load(fit.fit(config(both, tmp_path, epochs=1, left_out=("channel 1",))))
    assert model.config.streamers == ("channel 0", "streamer 0", "streamer 1")


def test_the_same_seed_gives_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit.fit(config(dataset, tmp_path / name, epochs=1, seed=seed))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize(("count", "deaths"), [(1, (4, 9, 13)), (2, (4, 13, 20))])
def test_resumed_runs_end_with_the_same_weights(
    both: tuple[Path, Path], tmp_path: Path, count: int, deaths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = both[:count]
    fit.fit(config(dataset, tmp_path / "whole"))
    steps = 0
    terms = fit.loss_terms

    def dies(*args: object) -> dict[str, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps in deaths:  # in the middle of the first epoch, in its validation, and in the second
            raise KeyboardInterrupt
        return terms(*args)

    monkeypatch.setattr(fit, "loss_terms", dies)
    for _ in deaths:
        with pytest.raises(KeyboardInterrupt):
            fit.fit(config(dataset, tmp_path / "cut", save_every=2))
    fit.fit(config(dataset, tmp_path / "cut", save_every=2))
    assert steps > 18  # steps after the last state were taken again
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_killed_and_started_again(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "whole", epochs=9))
    cut = config(dataset, tmp_path / "cut", epochs=9, save_every=2)
    command, environment = [sys.executable, "-m", "train.fit", *flags(cut)], {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut" / STATE_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    assert running.wait(timeout=30) == -signal.SIGKILL, "it was done before it was killed"
    fit.fit(cut)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_each_term_is_used(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "all", epochs=1))
    for name in ("point", "align", "pair"):
        fit.fit(config(dataset, tmp_path / name, epochs=1, **{name: 0.0}))
        assert not same(weights(tmp_path / "all"), weights(tmp_path / name))


TWO = {"batch": 23, "dropout": 0.0, "log_every": 1}
"""93 windows in batches of 23, an odd number: the last has one window, and the second process none of it."""


def assert_close(one: Path, other: Path) -> None:
    """Two runs are the same but for the rounding of sums."""
    ours, theirs = curves(one), curves(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.keys() == theirs[name].keys()
        # One rank more or less: tau has no steps between.
        tolerance = 5e-3 if name.endswith("tau") else 1e-5
        np.testing.assert_allclose(
            [*theirs[name].values()], [*values.values()], atol=tolerance, rtol=1e-5, err_msg=name
        )
    ours, theirs = felt(weights(one)), felt(weights(other))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-5, rtol=1e-4, msg=name)


def felt(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights but the biases of keys: softmax does not feel them, so that their gradient is rounding alone."""
    kept = dict(given)
    for name in (name for name in given if name.endswith("in_proj_bias")):
        query, _, value = given[name].chunk(3)
        kept[name] = torch.cat([query, value])
    return kept


def files(out: Path) -> set[str]:
    """What is there, but for the moment and the process in the name of a curve's file."""
    return {re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(out))) for path in out.rglob("*")}


def test_two_processes_take_the_same_steps_as_one(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "one", **TWO))
    torchrun(config(dataset, tmp_path / "two", **TWO))
    assert_close(tmp_path / "one", tmp_path / "two")
    assert len(curves(tmp_path / "two")["loss/point"]) == 15
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(list((tmp_path / "two" / "curves").iterdir())) == 1


def test_two_processes_go_on_where_one_stopped(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit.fit(config(both, tmp_path / "one", **TWO))
    step, steps = fit.take_step, itertools.count(1)

    def dies(*args: object) -> object:
        if next(steps) == 8:  # after the state of step 6, in the second epoch
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(fit, "take_step", dies)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(config(both, tmp_path / "two", save_every=3, **TWO))
    torchrun(config(both, tmp_path / "two", save_every=3, **TWO))
    assert_close(tmp_path / "one", tmp_path / "two")


def test_reading_ahead_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "between", epochs=1))
    fit.fit(config(dataset, tmp_path / "ahead", epochs=1, workers=1))
    assert same(weights(tmp_path / "between"), weights(tmp_path / "ahead"))


def test_it_learns_in_bfloat16(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "whole"))
    fit.fit(config(dataset, tmp_path / "half", bf16=True))
    assert max(curves(tmp_path / "half")["validation/tau"].values()) > 0.4
    assert not same(weights(tmp_path / "whole"), weights(tmp_path / "half"))
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "half").values())


def test_curves(dataset: Path, tmp_path: Path) -> None:
    """Every term, in training and validation; the rate warms up and follows half a cosine; gradients are clipped."""
    given = config(dataset, tmp_path, epochs=2, log_every=1, dropout=0.0)
    fit.fit(given)
    drawn = curves(tmp_path)
    terms = ("point", "align", "pair")
    assert drawn.keys() == {f"{x}/{term}" for x in ("loss", "validation") for term in terms} | {
        "train/rate", "train/gradient_norm", "validation/tau"
    }  # fmt: skip
    steps = [*range(1, 13)]
    assert [*drawn["loss/pair"]] == steps
    assert [*drawn["validation/pair"]] == [6, 12]
    expected = [3e-3 * min(k / 5, 1) * (1 + np.cos(np.pi * (k - 1) / 12)) / 2 for k in steps]
    np.testing.assert_allclose([*drawn["train/rate"].values()], expected, rtol=1e-5)
    assert all(0 < norm < 100 for norm in drawn["train/gradient_norm"].values())

    segments = Segments(dataset)
    model = fit.build(given, open_parts(given.dataset)).eval()
    model.load_state_dict(weights(tmp_path))
    losses = []
    for room in rooms_of(segments, "validation"):
        label, valid = segments.column("label", room), segments.scalar("valid", room.start, room.stop)
        for last in range(room.stop - room.start - 2, -1, -model.config.window):
            begin = max(0, last + 1 - model.config.window)
            part = replace(room, start=room.start + begin, stop=room.start + last + 1)
            features = segments.features(part, streamer=model.streamer_index(room.streamer))
            predicted = model(features).lvtr[0].detach().numpy()
            true, there = label[begin + 1 : last + 2], valid[begin + 1 : last + 2]
            entropy = -true * np.log(predicted) - (1 - true) * np.log(1 - predicted)
            losses.append(entropy[there].mean() if there.any() else 0.0)
    assert drawn["validation/point"][12] == pytest.approx(np.mean(losses), rel=1e-4)


def test_it_stops_early(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path, epochs=9, rate=0.0, patience=2))  # the first epoch stays the best
    assert [*curves(tmp_path)["validation/tau"]] == [6, 12, 18]
    assert json.loads((tmp_path / "checkpoint" / LOG_FILE).read_text())["best_epoch"] == 1


@pytest.mark.parametrize("without", [("streamer",), ("pictures",), ("speech", "comments"), ("comments",)])
def test_what_it_is_trained_without_is_never_seen(dataset: Path, tmp_path: Path, without: tuple[str, ...]) -> None:
    model, _ = load(fit.fit(config(dataset, tmp_path, epochs=1, log_every=1, without=without, window=6)))
    assert (model.config.targets[0].without, model.config.window) == (without, 6)
    segments = Segments(dataset)
    features = segments.features(segments.rooms[-1], streamer=model.streamer_index("streamer 1"))
    seen = model.sweep(features)
    changed = {"chat": features.chat + 1} if "comments" in without else {}
    if "pictures" in without:
        changed["pictures"] = features.pictures + 1
    if {"speech", "comments"} <= {*without}:
        changed |= {"text": features.text + 1, "speech": features.speech + 1}
    torch.testing.assert_close(model.sweep(replace(features, **changed)), seen, equal_nan=True)
    assert len(model.streamer.weight) == (1 if "streamer" in without else 3)
    aligned = curves(tmp_path)["loss/align"].values()
    assert any(aligned) == (without in {("streamer",), ("comments",)})
