"""Training: it learns what can be learned, each of several targets, and only from the inputs that it may see."""

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
from tests.fixtures.training_runs import config, equal, read_curves, read_weights
from train.dataset import Segments, Windows
from train.fit import build_model, build_optimizer, fit, loss_terms
from train.metrics import taus
from train.mixture import open_training_sets
from train.run_state import LOG_FILE
from train.scoring import score
from train.splits import select_rooms

pytestmark = pytest.mark.usefixtures("one_thread")
TERMS = ("point", "align", "pair")
TARGETS = ("lvtr", "participation")


def test_one_model_learns_two_targets(trained: Path, rooms: Path, chats: Path) -> None:
    model, folder = load(trained / "checkpoint")
    assert model.config.targets == (
        Target("lvtr", "random numbers", (), ("streamer 0", "streamer 1")),
        Target("participation", "made-up chat", ("pictures", "speech"), ("channel 0", "channel 1")),
    )
    assert model.config.streamers == ("channel 0", "channel 1", "streamer 0", "streamer 1")
    assert all(value.dtype == torch.float16 for value in load_file(folder / "model.safetensors").values())
    log = json.loads((folder / LOG_FILE).read_text())
    assert [info["target"] for info in log["datasets"]] == [*TARGETS]
    assert log["best_tau"] == pytest.approx(np.mean([*log["best_taus"].values()]))
    assert log["best_taus"]["lvtr"] > 0.5
    for path in (rooms, chats):
        segments = Segments(path)
        scores = score(model, segments, select_rooms(segments, "test"))
        (tau,) = taus(scores.predicted, scores.true, scores.room, deltas=[None])
        assert tau.pooled > 0.35, path  # the label follows from the inputs


def test_curves(trained: Path, rooms: Path, chats: Path) -> None:
    curves = read_curves(trained)
    assert curves.keys() == {f"{t}/{group}/{x}" for t in TARGETS for group in ("loss", "validation") for x in TERMS} | {
        "train/learning_rate", "train/gradient_norm", "validation/tau", *(f"{t}/validation/tau" for t in TARGETS)
    }  # fmt: skip
    # Each step is of one target: 6 batches of rooms and 4 of chats an epoch.
    steps = [set(curves[f"{target}/loss/point"]) for target in TARGETS]
    assert [len(some) for some in steps] == [20 * 6, 20 * 4]
    assert steps[0] | steps[1] == set(range(1, 201))
    assert [*curves["lvtr/validation/pair"]] == [*range(10, 201, 10)]
    assert not any(curves["participation/loss/align"].values())
    mean_tau = np.mean([[*curves[f"{target}/validation/tau"].values()] for target in TARGETS], axis=0)
    np.testing.assert_allclose([*curves["validation/tau"].values()], mean_tau, rtol=1e-6)
    # The learning rate warms up over 5 steps and follows half a cosine.
    expected = [3e-3 * min(k / 5, 1) * (1 + np.cos(np.pi * (k - 1) / 200)) / 2 for k in range(1, 201)]
    np.testing.assert_allclose([*curves["train/learning_rate"].values()], expected, rtol=1e-5, atol=1e-9)
    assert all(0 < norm < 100 for norm in curves["train/gradient_norm"].values())

    segments = Segments(rooms)
    run = config((rooms, chats), trained)
    model = build_model(run, open_training_sets(run.dataset)).eval()
    model.load_state_dict(read_weights(trained))
    losses = []
    for room in select_rooms(segments, "validation"):
        label, valid = segments.column("label", room), segments.scalar("valid", room.start, room.stop)
        for last in range(room.stop - room.start - 2, -1, -model.config.window):
            first = max(0, last + 1 - model.config.window)
            window = replace(room, start=room.start + first, stop=room.start + last + 1)
            features = segments.features(window, streamer=model.streamer_index(room.streamer))
            predicted = model(features).scores[0].detach().numpy()
            true, mask = label[first + 1 : last + 2], valid[first + 1 : last + 2]
            entropy = -true * np.log(predicted) - (1 - true) * np.log(1 - predicted)
            losses.append(entropy[mask].mean() if mask.any() else 0.0)
    assert curves["lvtr/validation/point"][200] == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_step_changes_no_other_head(rooms: Path, chats: Path, tmp_path: Path) -> None:
    run = config((rooms, chats), tmp_path)
    sets = open_training_sets(run.dataset)
    model = build_model(run, sets)
    for k, data in enumerate(sets):
        (batch,) = Windows(data.segments, data.train, model.config).__getitems__(range(0, 62, 4))
        terms, _ = loss_terms(model(batch.features, target=batch.target), batch, run)
        model.zero_grad()
        terms.sum().backward()
        assert model.head.weight.grad[k].any()
        assert not model.head.weight.grad[1 - k].any()
        assert not model.head.bias.grad[1 - k].any()
        assert model.project_chat.weight.grad.any()
        assert bool(model.project_pictures[1].weight.grad.any()) == (data.target == "lvtr")


def test_weight_decay_is_for_matrices(rooms: Path, tmp_path: Path) -> None:
    run = config(rooms, tmp_path, weight_decay=0.1, word_weight_decay=2.0)
    model = build_model(run, open_training_sets([rooms]))
    optimizer, _ = build_optimizer(run, model, steps=10)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay.keys() == {id(parameter) for parameter in model.parameters()}
    decays = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    assert decays.pop("words.weight") == 2.0
    embeddings = ("streamer.", "token_kind")
    for name, parameter in model.named_parameters():
        if name in decays:
            assert decays[name] == 0.1 * (parameter.ndim > 1 and not name.startswith(embeddings)), name


def test_an_epoch_draws_a_share_of_the_windows(rooms: Path, chats: Path, tmp_path: Path) -> None:
    fit(config((rooms, chats), tmp_path, epochs=1, log_every=1, epoch_share=(1.0, 0.5)))
    assert [len(read_curves(tmp_path)[f"{target}/loss/point"]) for target in TARGETS] == [6, 2]
    for share in ((1.0,), (1.0, 0.0), (1.0, 1.5)):
        with pytest.raises(LabelError, match="--epoch-share"):
            fit(config((rooms, chats), tmp_path / "wrong", epoch_share=share))


def test_streamers_left_out_are_not_learned(rooms: Path, chats: Path, tmp_path: Path) -> None:
    sets = open_training_sets((rooms, chats), left_out=["channel 1"])
    model = build_model(config((rooms, chats), tmp_path), sets)
    assert model.config.streamers == ("channel 0", "streamer 0", "streamer 1")


def test_each_loss_has_a_weight(rooms: Path, tmp_path: Path) -> None:
    fit(config(rooms, tmp_path / "all", epochs=1))
    for name, nothing in (("point", 0.0), ("align", 0.0), ("pair", (0.0,))):
        fit(config(rooms, tmp_path / name, epochs=1, **{f"{name}_weight": nothing}))
        assert not equal(read_weights(tmp_path / "all"), read_weights(tmp_path / name))


def test_it_learns_in_bfloat16(rooms: Path, tmp_path: Path) -> None:
    fit(config(rooms, tmp_path / "float32", epochs=1, log_every=1))
    fit(config(rooms, tmp_path / "bf16", bf16=True, epochs=8, log_every=1))
    exact, rounded = (read_curves(tmp_path / name) for name in ("float32", "bf16"))
    assert max(rounded["validation/tau"].values()) > 0.4
    assert exact["loss/pair"][1] != rounded["loss/pair"][1]
    assert all(value.dtype == torch.float32 for value in read_weights(tmp_path / "bf16").values())


def test_it_stops_early(rooms: Path, tmp_path: Path) -> None:
    fit(config(rooms, tmp_path, epochs=9, learning_rate=0.0, patience=2))  # the first epoch stays the best
    assert [*read_curves(tmp_path)["validation/tau"]] == [6, 12, 18]
    assert json.loads((tmp_path / "checkpoint" / LOG_FILE).read_text())["best_epoch"] == 1


@pytest.mark.parametrize("without", [("streamer",), ("pictures",), ("speech", "comments"), ("comments",)])
def test_the_checkpoint_excludes_what_it_was_trained_without(
    rooms: Path, tmp_path: Path, without: tuple[str, ...]
) -> None:
    model, _ = load(fit(config(rooms, tmp_path, epochs=1, log_every=1, without=without, window=6)))
    assert (model.config.targets[0].excluded_inputs, model.config.window) == (without, 6)
    assert len(model.streamer.weight) == (1 if "streamer" in without else 3)
    align = read_curves(tmp_path)["loss/align"].values()
    assert any(align) == (without in {("streamer",), ("comments",)})
