"""The model: causality by gradients, masks, the sweep, and saving."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from kuaihl.errors import CheckpointError
from kuaihl.features.bag_of_words import BUCKETS, MOST_WORDS
from kuaihl.features.chat import CHAT_COLUMNS, SPEECH_COLUMNS
from kuaihl.model.config import PRESETS, KuaiHLConfig, Target
from kuaihl.model.inputs import TOKENS, ModelInputs
from kuaihl.model.kuaihl import KuaiHL, load, sha256_of

CONFIG = replace(PRESETS["debug"], streamers=("ann", "bo"))
READ_BY = {
    "pictures": ["pictures"],
    "text": ["text"],
    "speech_text": ["speech_text"],
    "chat_activity": ["chat_activity", "word_shares"],
    "speech_activity": ["speech_activity"],
    "word_counts": ["words", "word_shares"],
}
"""Which tokens are made from each tensor."""


def features(segments: int, *, batch: int = 1, seed: int = 0) -> ModelInputs:
    rng = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(batch, segments, *shape, generator=rng)

    return ModelInputs(
        pictures=noise(3, CONFIG.picture_dim),
        text=noise(CONFIG.text_dim),
        speech_text=noise(CONFIG.text_dim),
        chat_activity=noise(len(CHAT_COLUMNS)),
        speech_activity=noise(len(SPEECH_COLUMNS)),
        words=torch.randint(1, BUCKETS, (batch, segments, MOST_WORDS), generator=rng),
        word_counts=noise(MOST_WORDS).abs(),
        token_mask=torch.ones(batch, segments, len(TOKENS), dtype=torch.bool),
        streamer=torch.ones(batch, dtype=torch.long),
    )


@pytest.fixture(scope="module")
def model() -> KuaiHL:
    torch.manual_seed(0)
    return KuaiHL(CONFIG).eval()


def test_no_position_sees_a_later_segment(model: KuaiHL) -> None:
    given = features(5)
    inputs = [getattr(given, name).requires_grad_() for name in READ_BY]
    lvtr = model(given).scores[0]
    for i in range(5):
        for name, grad in zip(READ_BY, torch.autograd.grad(lvtr[i], inputs, retain_graph=True), strict=True):
            assert not grad[0, i + 1 :].any(), f"position {i} sees later {name}"
            assert grad[0, : i + 1].flatten(1).any(1).all(), f"position {i} misses earlier {name}"


def test_sweep_predicts_each_segment_from_the_window_before_it(model: KuaiHL) -> None:
    whole = features(13)
    curve = model.sweep(whole)
    assert curve.shape == (14,)
    assert curve[0].isnan()
    for t in range(1, 14):
        window = whole.cut(max(0, t - CONFIG.window), t)
        torch.testing.assert_close(curve[t], model(window).scores[0, -1].detach(), atol=1e-6, rtol=0)


def test_sweep_never_looks_ahead(model: KuaiHL) -> None:
    whole, other = features(13), features(13, seed=1)
    mixed = ModelInputs(
        **{
            f.name: getattr(whole, f.name)
            if f.name == "streamer"
            else torch.cat([getattr(whole, f.name)[:, :8], getattr(other, f.name)[:, 8:]], dim=1)
            for f in fields(whole)
        }
    )
    ahead, behind = model.sweep(whole), model.sweep(mixed)
    assert torch.equal(ahead[1:9], behind[1:9])
    assert not torch.isclose(ahead[9:], behind[9:]).any()


@pytest.mark.parametrize("segments", [1, 2, 5, 6])
def test_sweep_of_short_recordings(model: KuaiHL, segments: int) -> None:
    assert model.sweep(features(segments))[1:].isfinite().all()


def masked(inputs: ModelInputs, *tokens: str) -> ModelInputs:
    visible = torch.tensor([token.name not in tokens for token in TOKENS])
    return replace(inputs, token_mask=inputs.token_mask & visible)


@pytest.mark.parametrize(("tensor", "tokens"), READ_BY.items())
def test_masked_tokens_have_no_influence(model: KuaiHL, tensor: str, tokens: list[str]) -> None:
    whole = features(5)
    other = replace(whole, **{tensor: getattr(whole, tensor).flip(-1)})
    assert not torch.allclose(model(whole).scores, model(other).scores)
    assert torch.equal(model(masked(whole, *tokens)).scores, model(masked(other, *tokens)).scores)
    assert not torch.allclose(model(masked(whole, *tokens)).scores, model(whole).scores)


def test_a_model_reads_the_tokens_of_its_config() -> None:
    torch.manual_seed(0)
    model = KuaiHL(replace(CONFIG, activity=False, words=False, word_shares=False, speech_text=False)).eval()
    whole = features(5)
    optional = [token.name for token in TOKENS if token.option]
    assert torch.equal(model(whole).scores, model(masked(whole, *optional)).scores)
    assert model(masked(whole, *(token.name for token in TOKENS))).scores.isfinite().all()


def test_a_head_for_each_target_on_one_trunk() -> None:
    """Each predicts what a model with this head alone does."""
    torch.manual_seed(1)
    joint = KuaiHL(replace(CONFIG, targets=(Target("lvtr"), Target("participation")))).eval()
    weights, given = joint.state_dict(), features(13)
    curves = [joint.sweep(given, target=row)[1:] for row in (0, 1)]
    assert not torch.isclose(*curves).any()
    for row, target in enumerate(joint.config.targets):
        alone = KuaiHL(replace(CONFIG, targets=(target,))).eval()
        names = alone.state_dict()  # without the recurrent layer, which only lvtr has
        alone.load_state_dict({k: weights[k][row : row + 1] if k.startswith("head.") else weights[k] for k in names})
        torch.testing.assert_close(alone.sweep(given)[1:], curves[row])


def test_targets_have_names() -> None:
    config = replace(CONFIG, targets=(Target("lvtr"), Target("participation")))
    assert [config.target_index(name) for name in (None, "lvtr", "participation")] == [0, 0, 1]
    with pytest.raises(CheckpointError, match="does not predict 'mood': it predicts lvtr, participation"):
        config.target_index("mood")
    with pytest.raises(ValueError, match="a target to predict"):
        replace(CONFIG, targets=())
    with pytest.raises(ValueError, match="not smell"):
        Target(excluded_inputs=("pictures", "smell"))


def test_streamers_differ_and_strangers_are_alike(model: KuaiHL) -> None:
    assert [model.streamer_index(name) for name in ("ann", "bo", "cy", None)] == [1, 2, 0, 0]
    ann, bo = (model(replace(features(5), streamer=torch.tensor([k]))).scores for k in (1, 2))
    assert not torch.allclose(ann, bo)


def test_the_alignment_trains_what_the_prediction_uses(model: KuaiHL) -> None:
    output = model(features(5))
    output.tokens.text.sum().backward()
    assert model.project_text[1].weight.grad.any()
    model.zero_grad()
    output = model(features(5))
    output.scores.sum().backward()
    assert model.project_text[1].weight.grad.any()
    model.zero_grad()


def test_saving_and_loading(model: KuaiHL, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "whole")
    again, folder = load(tmp_path / "whole")
    assert folder == tmp_path / "whole"
    assert again.config == CONFIG
    assert not again.training
    assert torch.equal(again.sweep(features(7))[1:], model.sweep(features(7))[1:])
    half = KuaiHL(CONFIG)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(tmp_path / "half")
    loaded, _ = load(tmp_path / "half")
    assert loaded.head.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.sweep(features(7)), model.sweep(features(7)), atol=2e-3, rtol=0, equal_nan=True)
    assert sha256_of(tmp_path / "half") != sha256_of(tmp_path / "whole")


def test_what_is_not_a_checkpoint_is_refused(model: KuaiHL, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="not a folder here, and the Hub gave none"):
        load(tmp_path / "nowhere")
    model.save_pretrained(tmp_path / "bad")
    weights = tmp_path / "bad" / "model.safetensors"
    kept = weights.read_bytes()
    for damaged in (b"", kept[:100], b"\x80\x04N."):
        weights.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="does not hold the weights"):
            load(tmp_path / "bad")
    weights.write_bytes(kept)
    config = tmp_path / "bad" / "config.json"
    wrong = ['{"dim": 7}', '{"depth": 3}', '{"target": "lvtr"}', '{"targets": ["lvtr"]}', '{"targets": []}']
    for damaged in ("{", *wrong, "[]"):
        config.write_text(damaged)
        with pytest.raises(CheckpointError, match="does not describe"):
            load(tmp_path / "bad")


def test_the_shipped_presets_may_be_loaded() -> None:
    for config in PRESETS.values():
        config.check_encoder_names()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, value) for name in ("dim", "heads", "window", "picture_dim", "text_dim") for value in (0, -8, 10**9)),
        *((name, value) for name in ("perceiver_layers", "decoder_layers") for value in (-1, 10**9, 1e9, "2", None)),
        *(("dropout", value) for value in (-0.1, 1.0, float("nan"), "0")),
        ("chat_columns", 0),
        ("chat_columns", True),
        ("words", 1),
        ("streamers", "abc"),
        ("streamers", [1]),
        ("recurrent", [[]]),
        ("targets", 5),
        ("targets", [{"name": 5}]),
        ("targets", [{"streamers": "abc"}]),
        ("targets", [{"excluded_inputs": [[]]}]),
        ("visual_encoder", "/srv/encoder.safetensors"),
        ("visual_encoder", "swin.safetensors"),
        ("text_encoder", "../encoder"),
        ("text_encoder", "/srv/encoder"),
        ("text_encoder", "~/encoder"),
        ("text_encoder", "a/b/c"),
        ("text_encoder", None),
        ("speech_model", "tiny.pt"),
        ("speech_model", "/srv/tiny.en"),
    ],
)
def test_a_config_out_of_range_is_refused_before_weights_are_read(
    model: KuaiHL, tmp_path: Path, field: str, value: object
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(CheckpointError, match="does not describe"):
        load(tmp_path)


def test_a_config_nested_deeply_is_refused(model: KuaiHL, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"streamers":' + "[" * 100_000)
    with pytest.raises(CheckpointError, match="does not describe"):
        load(tmp_path)


def test_nothing_is_allocated_for_weights_that_the_file_lacks(
    model: KuaiHL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config within its ranges can still describe a model of gigabytes."""
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "dim": 4096, "decoder_layers": 64}))
    devices = set()

    class Spy(KuaiHL):
        def __init__(self, config: KuaiHLConfig) -> None:
            devices.add(torch.get_default_device().type)
            super().__init__(config)

    monkeypatch.setattr("kuaihl.model.kuaihl.KuaiHL", Spy)
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        load(tmp_path)
    assert devices == {"meta"}


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(model: KuaiHL) -> None:
    expected = model.sweep(features(13))
    got = model.to("cuda").sweep(features(13))
    model.to("cpu")
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0, equal_nan=True)


def test_only_the_first_chat_columns_are_read() -> None:
    model = KuaiHL(replace(CONFIG, chat_columns=5)).eval()
    inputs = features(4)
    changed = inputs.chat_activity.clone()
    changed[..., 5:] += 1
    assert torch.equal(model(inputs).scores, model(replace(inputs, chat_activity=changed)).scores)
    changed[..., 4] += 1
    assert not torch.equal(model(inputs).scores, model(replace(inputs, chat_activity=changed)).scores)
    for columns in (0, len(CHAT_COLUMNS) + 1):
        with pytest.raises(ValueError, match="chat_columns"):
            replace(PRESETS["debug"], chat_columns=columns)
