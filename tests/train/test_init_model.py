"""Where training starts: a new model fits its datasets, a checkpoint keeps what it has and gets new streamers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL, load
from tests.fixtures.small_dataset import INFO, write_chat_dataset
from tests.fixtures.training_runs import config
from train.fit import build_model, fit
from train.init_model import new_model
from train.mixture import TrainingSet, open_training_sets

LVTR = Target("lvtr", "other random numbers; then random numbers")
CHANNELS, PEOPLE = ("channel 0", "channel 1"), ("streamer 0", "streamer 1")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that know one of the two streamers of the rooms, and another one."""
    torch.manual_seed(0)
    model = KuaiHL(
        replace(
            PRESETS["debug"],
            window=6,
            picture_dim=INFO.picture_dim,
            text_dim=INFO.text_dim,
            visual_encoder=INFO.visual_encoder,
            text_encoder=INFO.text_encoder,
            streamers=("someone else", "streamer 1"),
            targets=(Target("lvtr", "other random numbers"),),
        )
    )
    model.chat_mean.fill_(3.0)
    path = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(path)
    return path


def build(*datasets: Path, **changes: object) -> KuaiHL:
    return build_model(config(datasets, Path("out"), **changes), open_training_sets(datasets))


def column(data: TrainingSet, name: str) -> np.ndarray:
    return np.concatenate([data.segments.column(name, room) for room in data.train])


def test_a_new_model_fits_its_dataset(rooms: Path) -> None:
    (data,) = open_training_sets([rooms])
    model = build(rooms)
    activity = np.concatenate([data.segments.array("activity", room.start, room.stop) for room in data.train])
    has_comments, has_speech = column(data, "has_comments"), column(data, "has_speech")
    assert not has_comments.all()
    np.testing.assert_allclose(model.chat_mean, activity[has_comments, : len(CHAT_COLUMNS)].mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.speech_std, activity[has_speech, len(CHAT_COLUMNS) :].std(0), rtol=1e-5)
    assert model.head.bias.sigmoid().item() == pytest.approx(np.nanmean(column(data, "label")), abs=1e-6)
    assert model.config.streamers == PEOPLE
    assert (model.config.text_encoder, model.config.text_dim) == (INFO.text_encoder, INFO.text_dim)


def test_rooms_without_a_streamer_have_the_unknown_one(rooms: Path) -> None:
    (data,) = open_training_sets([rooms])
    renamed = [replace(room, streamer="" if k else "Ann") for k, room in enumerate(data.train)]
    model = new_model([replace(data, train=renamed)], config=PRESETS["debug"])
    assert model.config.streamers == ("Ann",)
    assert model.streamer_index("") == 0


def test_a_new_model_has_a_head_for_each_dataset(rooms: Path, chats: Path) -> None:
    model = build(chats, rooms, without=("comments",))
    assert model.config.targets == (
        Target("participation", "made-up chat", ("comments", "pictures", "speech"), CHANNELS),
        Target("lvtr", "random numbers", ("comments",), PEOPLE),
    )
    means = [np.nanmean(column(data, "label")) for data in open_training_sets([chats, rooms])]
    torch.testing.assert_close(model.head.bias.sigmoid().detach(), torch.tensor(means).float())
    assert torch.equal(model.speech_mean, build(rooms).speech_mean)  # chats have no speech


def test_text_that_was_not_encoded_is_excluded(rooms: Path, tmp_path: Path) -> None:
    write_chat_dataset(tmp_path, text=False)
    lvtr, chat = build(rooms, tmp_path).config.targets
    assert lvtr.excluded_inputs == ()
    assert chat.excluded_inputs == ("pictures", "speech", "text")


def test_an_input_can_be_excluded_for_one_target(rooms: Path, chats: Path) -> None:
    lvtr, chat = build(rooms, chats, without=("lvtr:words", "speech")).config.targets
    assert lvtr.excluded_inputs == ("words", "speech")
    assert chat.excluded_inputs == ("speech", "pictures")
    for wrong in ("taste", "lvtr:taste", "mood:words", "lvtr:streamer"):
        with pytest.raises(LabelError, match=f"--without {wrong}: choose from"):
            build(rooms, without=(wrong,))


def test_rooms_need_a_label(rooms: Path) -> None:
    (data,) = open_training_sets([rooms])
    data.segments.scalar("valid", 0, None)[:] = False
    with pytest.raises(LabelError, match="has a label"):
        new_model([data], config=PRESETS["debug"])


def test_a_checkpoint_gets_new_streamers(rooms: Path, checkpoint: Path) -> None:
    old, _ = load(checkpoint)
    model = build(rooms, init=checkpoint, dropout=0.3)
    assert model.config.streamers == ("someone else", "streamer 1", "streamer 0")
    assert (model.config.window, model.config.dropout) == (6, 0.3)
    assert model.config.targets == (LVTR,)
    old_rows = old.streamer.weight
    torch.testing.assert_close(model.streamer.weight, torch.stack([*old_rows, old_rows[0]]), rtol=0, atol=0)
    others = {name: value for name, value in model.state_dict().items() if name != "streamer.weight"}
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in others.items())
    assert (model.chat_mean == 3.0).all()


def test_training_starts_from_a_checkpoint(rooms: Path, checkpoint: Path, tmp_path: Path) -> None:
    trained, _ = load(fit(config(rooms, tmp_path, epochs=1, init=checkpoint, learning_rate=0.0)))
    start = build(rooms, init=checkpoint)
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, start.state_dict()[name].half().float(), rtol=0, atol=0, msg=name)
    log = json.loads((tmp_path / "checkpoint" / "fit.json").read_text())
    assert f"--init {checkpoint.name}" in log["command"]


def test_a_checkpoint_learns_another_target(rooms: Path, chats: Path, checkpoint: Path) -> None:
    old, _ = load(checkpoint)
    model = build(chats, rooms, init=checkpoint)
    chat = Target("participation", "other random numbers; then made-up chat", ("pictures", "speech"), CHANNELS)
    assert model.config.targets == (chat, LVTR)
    assert torch.equal(model.head.weight[1], old.head.weight[0])
    assert not torch.isclose(model.head.weight[0], old.head.weight[0]).any()
    assert model.head.bias[0].sigmoid().item() < 0.3 < model.head.bias[1].sigmoid().item()
    assert build(chats, init=checkpoint).config.targets == (chat,)


def test_a_checkpoint_can_lose_its_streamers(rooms: Path, checkpoint: Path) -> None:
    model = build(rooms, init=checkpoint, without=("streamer", "pictures"))
    assert (model.config.targets[0].excluded_inputs, model.config.streamers) == (("streamer", "pictures"), ())
    torch.testing.assert_close(model.streamer.weight, load(checkpoint)[0].streamer.weight[:1])


def test_settings_and_features_must_fit_the_checkpoint(rooms: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="window 6, which cannot change to 5"):
        build(rooms, init=checkpoint, window=5)
    with pytest.raises(LabelError, match="activity True"):
        build(rooms, init=checkpoint, activity=False)
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        build(rooms, init=tmp_path / "nothing")
    copy = tmp_path / "copy"
    shutil.copytree(rooms, copy, ignore=shutil.ignore_patterns("cache"))
    info = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**info, "text_encoder": "another"}))
    with pytest.raises(CheckpointError, match="The features of the dataset are of"):
        build(copy, init=checkpoint)
