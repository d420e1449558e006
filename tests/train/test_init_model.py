"""Where a training starts: a new model fits its dataset, a checkpoint keeps what it knows and learns new streamers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.features.pretrained import sha256_file
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL, load
from tests.fixtures.small_dataset import INFO, write_chat_dataset, write_dataset
from train import fit
from train.dataset import DatasetInfo
from train.fit import FitConfig
from train.init_model import new_model
from train.mixture import open_parts


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> DatasetInfo:
    """Of encoders that are there: a checkpoint is only used with features of its own."""
    folder = tmp_path_factory.mktemp("encoders")
    visual, text = folder / "visual.safetensors", folder / "text" / "model.safetensors"
    text.parent.mkdir()
    for file, value in ((visual, 1.0), (text, 2.0)):
        save_file({"weight": torch.tensor(value)}, file)
    (text.parent / "config.json").write_text("{}")
    (text.parent / "vocab.txt").write_text("[UNK]")
    encoders = {str(visual): sha256_file(visual), str(text.parent): sha256_file(text)}
    return replace(INFO, visual_encoder=str(visual), text_encoder=str(text.parent), encoders=encoders)


@pytest.fixture(scope="module")
def dataset(info: DatasetInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path, info=replace(info, source="other random numbers"), seed=1)
    return path


@pytest.fixture(scope="module")
def chats(info: DatasetInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chats")
    write_chat_dataset(path, info=replace(info, target="participation", source="made-up chat"))
    return path


@pytest.fixture(scope="module")
def checkpoint(info: DatasetInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that know one of the dataset's two streamers, and one who is not there."""
    torch.manual_seed(0)
    model = KuaiHL(
        replace(
            PRESETS["debug"],
            window=6,
            picture_dim=info.picture_dim,
            text_dim=info.text_dim,
            visual_encoder=info.visual_encoder,
            text_encoder=info.text_encoder,
            streamers=("someone else", "streamer 1"),
            targets=(Target("lvtr", "random numbers"),),
        )
    )
    model.chat_mean.fill_(3.0)
    path = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(path)
    return path


def config(dataset: Path | tuple[Path, ...], out: Path, **changes: object) -> FitConfig:
    datasets = dataset if isinstance(dataset, tuple) else (dataset,)
    return replace(FitConfig(datasets, out, preset="debug", epochs=1, batch=16), **changes)


def built(given: FitConfig) -> KuaiHL:
    return fit.build(given, open_parts(given.dataset))


def test_a_new_model_fits_its_dataset(dataset: Path, info: DatasetInfo, tmp_path: Path) -> None:
    (part,) = open_parts([dataset])
    model = built(config(dataset, tmp_path))
    columns = {name: [part.segments.column(name, r) for r in part.train] for name in ("label", "has_comments")}
    label, written = (np.concatenate(parts) for parts in columns.values())
    activity = np.concatenate([part.segments.array("activity", r.start, r.stop) for r in part.train])
    assert not written.all()
    np.testing.assert_allclose(model.chat_mean, activity[written, : len(CHAT_COLUMNS)].mean(0), rtol=1e-5)
    spoken = np.concatenate([part.segments.column("has_speech", r) for r in part.train])
    np.testing.assert_allclose(model.speech_std, activity[spoken, len(CHAT_COLUMNS) :].std(0), rtol=1e-5)
    assert model.head.bias.sigmoid().item() == pytest.approx(np.nanmean(label), abs=1e-6)
    assert model.config.streamers == ("streamer 0", "streamer 1")
    assert (model.config.text_encoder, model.config.text_dim) == (info.text_encoder, info.text_dim)


def test_rooms_without_a_streamers_name_add_none(dataset: Path) -> None:
    """As videos of PHD: whom nobody names is the unknown one, in training and ever after."""
    (part,) = open_parts([dataset])
    rooms = [replace(room, streamer="" if k else "Ann") for k, room in enumerate(part.train)]
    model = new_model([replace(part, train=rooms)], config=PRESETS["debug"])
    assert model.config.streamers == ("Ann",)
    assert model.streamer_index("") == 0


def test_a_new_model_has_a_head_for_each_dataset(dataset: Path, chats: Path, tmp_path: Path) -> None:
    model = built(config((chats, dataset), tmp_path, without=("comments",)))
    chat, lvtr = model.config.targets
    channels, people = ("channel 0", "channel 1"), ("streamer 0", "streamer 1")
    assert chat == Target("participation", "made-up chat", ("comments", "pictures", "speech"), channels)
    assert lvtr == Target("lvtr", "other random numbers", ("comments",), people)
    parts = open_parts([chats, dataset])
    labels = [np.concatenate([p.segments.column("label", r) for r in p.train]) for p in parts]
    expected = [np.nanmean(label) for label in labels]
    torch.testing.assert_close(model.head.bias.sigmoid().detach(), torch.tensor(expected).float())
    alone = built(config(dataset, tmp_path))
    assert torch.equal(model.speech_mean, alone.speech_mean)  # chats, which have no speech, say nothing of it


def test_a_chat_whose_text_was_not_encoded_teaches_no_text(info: DatasetInfo, dataset: Path, tmp_path: Path) -> None:
    write_chat_dataset(
        tmp_path / "chats", info=replace(info, target="participation", source="made-up chat"), text=False
    )
    lvtr, chat = built(config((dataset, tmp_path / "chats"), tmp_path)).config.targets
    assert lvtr.excluded_inputs == ()
    assert chat.excluded_inputs == ("pictures", "speech", "text")


def test_what_is_hidden_from_one_target_alone(dataset: Path, chats: Path, tmp_path: Path) -> None:
    lvtr, chat = built(config((dataset, chats), tmp_path, without=("lvtr:words", "speech"))).config.targets
    assert lvtr.excluded_inputs == ("words", "speech")
    assert chat.excluded_inputs == ("speech", "pictures")
    for wrong in ("taste", "lvtr:taste", "mood:words", "lvtr:streamer"):
        with pytest.raises(LabelError, match=f"--without {wrong}: there is no such thing"):
            built(config(dataset, tmp_path, without=(wrong,)))


def test_rooms_without_a_label_teach_nothing(dataset: Path) -> None:
    (part,) = open_parts([dataset])
    part.segments.scalar("valid", 0, None)[:] = False
    with pytest.raises(LabelError, match="has a label"):
        new_model([part], config=PRESETS["debug"])


def test_a_checkpoint_learns_new_streamers(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    old, _ = load(checkpoint)
    model = built(config(dataset, tmp_path, init=checkpoint, dropout=0.3))
    assert model.config.streamers == ("someone else", "streamer 1", "streamer 0")
    assert (model.config.window, model.config.dropout) == (6, 0.3)
    assert model.config.targets == (Target("lvtr", "random numbers; then other random numbers"),)
    rows, old_rows = model.streamer.weight, old.streamer.weight
    torch.testing.assert_close(rows, torch.stack([*old_rows, old_rows[0]]), rtol=0, atol=0)
    others = {name: value for name, value in model.state_dict().items() if name != "streamer.weight"}
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in others.items())
    assert (model.chat_mean == 3.0).all()


def test_training_goes_on_from_a_checkpoint(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    trained, _ = load(fit.fit(config(dataset, tmp_path / "out", init=checkpoint, rate=0.0)))
    start = built(config(dataset, tmp_path, init=checkpoint))
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, start.state_dict()[name].half().float(), rtol=0, atol=0, msg=name)
    log = json.loads((tmp_path / "out" / "checkpoint" / "fit.json").read_text())
    assert f"--init {checkpoint.name}" in log["command"]
    assert str(checkpoint.parent) not in log["command"]


def test_a_checkpoint_learns_another_target(dataset: Path, chats: Path, checkpoint: Path, tmp_path: Path) -> None:
    old, _ = load(checkpoint)
    model = built(config((chats, dataset), tmp_path, init=checkpoint))
    chat, lvtr = model.config.targets
    channels = ("channel 0", "channel 1")
    assert chat == Target("participation", "random numbers; then made-up chat", ("pictures", "speech"), channels)
    assert lvtr == Target("lvtr", "random numbers; then other random numbers")
    assert torch.equal(model.head.weight[1], old.head.weight[0])
    assert not torch.isclose(model.head.weight[0], old.head.weight[0]).any()
    assert model.head.bias[0].sigmoid().item() < 0.3 < model.head.bias[1].sigmoid().item()
    assert built(config(chats, tmp_path, init=checkpoint)).config.targets == (chat,)


def test_a_checkpoint_can_forget_its_streamers(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    model = built(config(dataset, tmp_path, init=checkpoint, without=("streamer", "pictures")))
    assert (model.config.targets[0].excluded_inputs, model.config.streamers) == (("streamer", "pictures"), ())
    torch.testing.assert_close(model.streamer.weight, load(checkpoint)[0].streamer.weight[:1])


def test_what_does_not_go_with_a_checkpoint_is_refused(dataset: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="window 6, which cannot become 5: leave out --window"):
        built(config(dataset, tmp_path, init=checkpoint, window=5))
    with pytest.raises(LabelError, match="activity True"):
        built(config(dataset, tmp_path, init=checkpoint, activity=False))
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        built(config(dataset, tmp_path, init=tmp_path / "nothing"))
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy, ignore=shutil.ignore_patterns("cache"))
    described = json.loads((copy / "dataset.json").read_text())
    described["encoders"] = dict.fromkeys(described["encoders"], "0" * 64)
    (copy / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="not those of the checkpoint's"):
        built(config(copy, tmp_path, init=checkpoint))
    described["visual_encoder"], described["encoders"] = "swin_compact_128", {}
    (copy / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="not those of the checkpoint's"):
        built(config(copy, tmp_path, init=checkpoint))
