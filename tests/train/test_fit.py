"""Training: it learns what can be learned, each of several targets, and only from what it may see."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kuaihl.errors import LabelError
from kuaihl.model.config import Target
from kuaihl.model.kuaihl import load
from tests.fixtures.small_dataset import write_chat_dataset, write_dataset
from tests.fixtures.training_runs import config, curves, same, weights
from train import fit
from train.dataset import Segments, Windows
from train.evaluate import rooms_of, score
from train.hints import Learner
from train.metrics import taus
from train.mixture import open_parts
from train.run_state import LOG_FILE

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_it_learns_what_can_be_learned(dataset: Path, tmp_path: Path) -> None:
    folder = fit.fit(config(dataset, tmp_path, epochs=20))
    model, _ = load(folder)
    segments = Segments(dataset)
    scores = score(model, segments, rooms_of(segments, "test"))
    (tau,) = taus(scores.predicted, scores.true, scores.room, deltas=[None])
    assert tau.pooled > 0.4  # three times what chance would give; the label is written in the pictures
    log = json.loads((folder / LOG_FILE).read_text())
    assert log["best_tau"] > 0.5
    assert model.config.targets == (Target("lvtr", "random numbers", streamers=model.config.streamers),)
    assert model.config.streamers == ("streamer 0", "streamer 1")
    assert all(t.dtype == torch.float16 for t in load_file(folder / "model.safetensors").values())
    assert not scores.known.any()  # the test room's streamer is a stranger


def test_one_model_learns_two_targets(both: tuple[Path, Path], tmp_path: Path) -> None:
    folder = fit.fit(config(both, tmp_path, epochs=20, log_every=1))
    model, _ = load(folder)
    assert model.config.targets == (
        Target("lvtr", "random numbers", (), ("streamer 0", "streamer 1")),
        Target("participation", "made-up chat", ("pictures", "speech"), ("channel 0", "channel 1")),
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
        terms, _ = fit.loss_terms(*Learner(model)(batch), batch, given)
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


def test_each_term_is_used(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "all", epochs=1))
    for name, nothing in (("point", 0.0), ("align", 0.0), ("pair", (0.0,))):
        fit.fit(config(dataset, tmp_path / name, epochs=1, **{name: nothing}))
        assert not same(weights(tmp_path / "all"), weights(tmp_path / name))


def test_it_learns_in_bfloat16(dataset: Path, tmp_path: Path) -> None:
    fit.fit(config(dataset, tmp_path / "whole"))
    fit.fit(config(dataset, tmp_path / "half", bf16=True, epochs=8))
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
            predicted = model(features).scores[0].detach().numpy()
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
    assert (model.config.targets[0].excluded_inputs, model.config.window) == (without, 6)
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
