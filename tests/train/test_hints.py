"""Hints: auxiliary targets that a model learns beside its labels, and that its checkpoint does not have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import CHAT_INFO, write_chat_dataset, write_dataset
from tests.fixtures.training_runs import config, equal, read_curves, read_weights
from train.dataset import BLANK, Segments, Windows
from train.fit import build_model, fit
from train.hints import Learner
from train.mixture import TrainingSet, open_training_sets

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rooms without their hints."""
    path = tmp_path_factory.mktemp("plain")
    write_dataset(path)
    return path


@pytest.fixture
def data(rooms: Path) -> TrainingSet:
    return open_training_sets([rooms])[0]


@pytest.fixture
def learner(data: TrainingSet, rooms: Path) -> Learner:
    return Learner(build_model(config(rooms, rooms), [data]), (3, 2)).eval()


def test_hints_are_of_the_segment_and_of_the_next_one(data: TrainingSet, learner: Learner) -> None:
    """As in `hints_of`: the first is a function of the pictures, the second of the label."""
    config = learner.model.config
    windows = Windows(data.segments, data.train, config, streamer_dropout=0.0, modality_dropout=0.0)
    (batch,) = windows.__getitems__([0, 3, 40, 57, len(windows) - 1, BLANK])
    shown, remembered = batch.hints
    assert shown.shape == (6, config.window, 3)
    assert remembered.shape == (6, config.window, 2)
    signs = batch.features.pictures[:, :, 0, 0].sign().float()  # zero for padding
    torch.testing.assert_close(shown, torch.stack([signs, -signs, signs], dim=-1))
    mask = batch.label_mask & batch.segment_mask
    labels = 4 * (batch.label[mask] - 0.5)
    torch.testing.assert_close(remembered[mask], torch.stack([labels, -labels], dim=-1), atol=2e-3, rtol=2e-3)
    assert not remembered[~batch.segment_mask].any()


def test_the_error_is_a_mean_over_segments_and_windows(data: TrainingSet, learner: Learner) -> None:
    windows = Windows(data.segments, data.train, learner.model.config)
    (batch,) = windows.__getitems__([0, 2, 50])  # windows of 1, 3 and 5 segments
    output, error = learner(batch)
    expected = []
    for row, length in enumerate((1, 3, 5)):
        assert int(batch.segment_mask[row].sum()) == length
        heads = zip(learner.hint_heads, (output.latents, output.hidden), batch.hints, strict=True)
        expected.append(
            sum((head(states[row, :length]) - hint[row, :length]).square().mean() for head, states, hint in heads)
        )
    torch.testing.assert_close(error, torch.stack(expected).mean())
    assert learner(replace(batch, hints=()))[1] == 0.0
    assert Learner(learner.model)(batch)[1] == 0.0


def test_both_blocks_learn_from_hints(rooms: Path, data: TrainingSet, learner: Learner, tmp_path: Path) -> None:
    weights = {"point_weight": 0.0, "align_weight": 0.0, "pair_weight": (0.0,), "hint_weight": 1.0}
    fit(config(rooms, tmp_path, epochs=8, log_every=1, modality_dropout=0.0, **weights))
    errors = [*read_curves(tmp_path)["validation/hint"].values()]
    assert errors[-1] < 0.7 * errors[0]
    learner.model.load_state_dict(read_weights(tmp_path))
    learner.hint_heads.load_state_dict(read_weights(tmp_path, part="hint_heads"))
    (batch,) = Windows(data.segments, data.validation, learner.model.config).__getitems__(range(0, 30, 5))
    output, _ = learner(batch)
    for head, states, hint in zip(learner.hint_heads, (output.latents, output.hidden), batch.hints, strict=True):
        predicted, true = head(states)[batch.segment_mask].detach().numpy(), hint[batch.segment_mask].numpy()
        assert np.corrcoef(predicted.ravel(), true.ravel())[0, 1] > 0.6


def test_hints_count_only_if_they_have_a_weight(rooms: Path, plain: Path, tmp_path: Path) -> None:
    runs = {"hinted": (rooms, 0.5), "unused": (rooms, 0.0), "plain": (plain, 0.0)}
    checkpoints = {
        name: load_file(
            fit(config(dataset, tmp_path / name, epochs=1, log_every=1, hint_weight=weight)) / "model.safetensors"
        )
        for name, (dataset, weight) in runs.items()
    }
    assert equal(checkpoints["unused"], checkpoints["plain"])
    assert checkpoints["hinted"].keys() == checkpoints["plain"].keys()
    assert not equal(checkpoints["hinted"], checkpoints["plain"])
    assert [any("hint" in curve for curve in read_curves(tmp_path / name)) for name in runs] == [True, False, False]


def test_hints_must_be_there_and_fit(rooms: Path, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="No dataset has hints"):
        fit(config(plain, tmp_path / "out", hint_weight=0.5))
    write_chat_dataset(tmp_path / "chat", info=replace(CHAT_INFO, hints={"shown": 4, "remembered": 2}))
    with pytest.raises(LabelError, match="different sizes"):
        fit(config((rooms, tmp_path / "chat"), tmp_path / "out", hint_weight=0.5))
    write_dataset(tmp_path / "torn")
    (tmp_path / "torn" / "dataset.json").write_bytes((rooms / "dataset.json").read_bytes())
    with pytest.raises(LabelError, match="no shown, remembered"):
        Segments(tmp_path / "torn")
