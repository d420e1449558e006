"""The run of the paper preset, with small encoders in place of its own."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from transformers import BertConfig

from kuaihl.features.pretrained import TEXT_FOLDER
from kuaihl.features.text import TextEncoder
from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import load
from train.experiments import paper_preset
from train.experiments.paper_preset import LOSSES_FILE, PaperConfig, make_encoders, train_paper

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compact Swin and a tiny BERT, which no Hub has."""
    preset = replace(
        PRESETS["paper"],
        visual_encoder="swin_compact_128",
        picture_dim=256,
        text_encoder="nobody/tiny-bert",
        text_dim=32,
        perceiver_layers=1,
        decoder_layers=1,
    )
    monkeypatch.setitem(PRESETS, "paper", preset)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    monkeypatch.setattr(paper_preset, "BertConfig", partial(BertConfig, **small))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_the_loss_falls_over_the_steps(tmp_path: Path) -> None:
    config = PaperConfig(tmp_path, steps=120, segments=8, batch_size=8, learning_rate=1e-3)
    losses = train_paper(config)
    assert list(losses) == ["point", "align", "pair"]
    assert len(losses) == 120  # four rooms of seven windows: 30 epochs of four steps
    falls = losses.head(8).mean() - losses.tail(8).mean()
    assert falls["point"] + falls["pair"] > 0.05, falls
    written = pd.read_csv(tmp_path / LOSSES_FILE, index_col="step")
    assert written.index.tolist() == list(range(1, 121))
    model, _ = load(tmp_path / "run" / "checkpoint")
    assert (model.config.dim, model.config.activity, model.config.words) == (256, False, False)
    pd.testing.assert_frame_equal(train_paper(config), losses)  # nothing is left to do


def test_random_weights_can_be_loaded_and_are_kept(tmp_path: Path) -> None:
    make_encoders(tmp_path)
    encoder = TextEncoder("tiny", weights=tmp_path / TEXT_FOLDER)
    features = encoder.encode(["hello there", "good bye"], None).speech
    assert features.shape == (2, 32)
    assert (features[0] != features[1]).any()
    files = {file: file.read_bytes() for file in tmp_path.rglob("*.safetensors")}
    assert len(files) == 2
    make_encoders(tmp_path, seed=1)
    assert files == {file: file.read_bytes() for file in tmp_path.rglob("*.safetensors")}
