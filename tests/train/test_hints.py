"""Hints: what a model learns beside labels, and leaves no trace in its checkpoint but what it learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import CHAT_INFO, HINTED, write_chat_dataset, write_dataset
from tests.fixtures.training_runs import config, curves, same, weights
from train import fit
from train.dataset import BLANK, Segments, Windows
from train.hints import Learner
from train.mixture import open_parts

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hinted")
    write_dataset(path, info=HINTED)
    return path


def test_hints_are_of_the_segment_and_of_the_one_after(dataset: Path, tmp_path: Path) -> None:
    """As `tests.fixtures.small_dataset` made them: the first is read off the picture, the second off the next label."""
    (part,) = open_parts([dataset])
    model = fit.build(config(dataset, tmp_path), [part])
    windows = Windows(part.segments, part.train, model.config, streamer_dropout=0.0, modality_dropout=0.0)
    (batch,) = windows.__getitems__([0, 3, 40, 57, len(windows) - 1, BLANK])
    shown, remembered = batch.hints
    assert shown.shape == (6, model.config.window, 3)
    assert remembered.shape == (6, model.config.window, 2)
    leans = batch.features.pictures[:, :, 0, 0].sign().float()  # zero where it is padded
    torch.testing.assert_close(shown, torch.stack([leans, -leans, leans], dim=-1))
    there = batch.labelled & batch.valid
    around = 4 * (batch.label[there] - 0.5)
    torch.testing.assert_close(remembered[there], torch.stack([around, -around], dim=-1), atol=2e-3, rtol=2e-3)
    assert not remembered[~batch.valid].any()


def test_what_is_missed_is_a_mean_over_segments_and_windows(dataset: Path, tmp_path: Path) -> None:
    (part,) = open_parts([dataset])
    model = fit.build(config(dataset, tmp_path), [part])
    learner = Learner(model, (3, 2)).eval()
    windows = Windows(part.segments, part.train, model.config)
    (batch,) = windows.__getitems__([0, 2, 50])  # windows of 1, 3 and 5 segments
    output, missed = learner(batch)
    expected = []
    for row, length in enumerate((1, 3, 5)):
        assert int(batch.valid[row].sum()) == length
        errors = [
            (guess(seen[row, :length]) - hint[row, :length]).square().mean()
            for guess, seen, hint in zip(learner.guesses, (output.latents, output.hidden), batch.hints, strict=True)
        ]
        expected.append(sum(errors))
    torch.testing.assert_close(missed, torch.stack(expected).mean())
    for without in (replace(batch, hints=()), batch):
        none = Learner(model) if without is batch else learner
        assert none.eval()(without)[1] == 0.0


def test_both_blocks_learn_from_hints(dataset: Path, tmp_path: Path) -> None:
    """Without labels: what the perceiver gathers tells what shows, and what the decoder gives foretells."""
    losses = {"point": 0.0, "align": 0.0, "pair": (0.0,)}
    fit.fit(config(dataset, tmp_path, epochs=8, hint=1.0, log_every=1, modality_dropout=0.0, **losses))
    drawn = curves(tmp_path)
    assert "hint" in {name.rpartition("/")[2] for name in drawn}
    missed = [*drawn["validation/hint"].values()]
    assert missed[-1] < 0.7 * missed[0]
    (part,) = open_parts([dataset])
    learner = Learner(fit.build(config(dataset, tmp_path), [part]), (3, 2)).eval()
    learner.model.load_state_dict(weights(tmp_path))
    learner.guesses.load_state_dict(weights(tmp_path, of="guesses"))
    (batch,) = Windows(part.segments, part.validation, learner.model.config).__getitems__(range(0, 30, 5))
    output, _ = learner(batch)
    for guess, seen, hint in zip(learner.guesses, (output.latents, output.hidden), batch.hints, strict=True):
        told, true = guess(seen)[batch.valid].detach().numpy(), hint[batch.valid].numpy()
        assert np.corrcoef(told.ravel(), true.ravel())[0, 1] > 0.6


def test_the_checkpoint_is_as_any_other(dataset: Path, tmp_path: Path) -> None:
    hinted = load_file(fit.fit(config(dataset, tmp_path / "hinted", epochs=1, hint=0.5)) / "model.safetensors")
    plain = load_file(fit.fit(config(dataset, tmp_path / "plain", epochs=1)) / "model.safetensors")
    assert hinted.keys() == plain.keys()
    assert not same(hinted, plain)
    assert "--hint 0.5" in (tmp_path / "hinted" / "checkpoint" / "fit.json").read_text()


def test_hints_that_are_not_asked_for_change_nothing(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "without")
    for name, folder in (("with", dataset), ("without", tmp_path / "without")):
        fit.fit(config(folder, tmp_path / f"run {name}", epochs=1, log_every=1))
        assert not any("hint" in curve for curve in curves(tmp_path / f"run {name}"))
    assert same(weights(tmp_path / "run with"), weights(tmp_path / "run without"))


def test_what_cannot_be_is_refused(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "without")
    with pytest.raises(LabelError, match="No dataset has hints"):
        fit.fit(config(tmp_path / "without", tmp_path / "out", hint=0.5))
    write_chat_dataset(tmp_path / "chat", info=replace(CHAT_INFO, hints={"shown": 4, "remembered": 2}))
    with pytest.raises(LabelError, match="different sizes"):
        fit.fit(config((dataset, tmp_path / "chat"), tmp_path / "out", hint=0.5))
    write_dataset(tmp_path / "torn")
    (tmp_path / "torn" / "dataset.json").write_bytes((dataset / "dataset.json").read_bytes())
    with pytest.raises(LabelError, match="no shown, remembered: make the dataset again"):
        Segments(tmp_path / "torn")
