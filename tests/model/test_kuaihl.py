"""The model: causality by gradients, masks, the sweep, and saving."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from kuaihl.errors import CheckpointError
from kuaihl.features.bag_of_words import BUCKETS, MOST_WORDS
from kuaihl.features.chat import CHAT_COLUMNS, SPEECH_COLUMNS
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.inputs import ModelInputs
from kuaihl.model.kuaihl import KuaiHL, load, sha256_of

CONFIG = replace(PRESETS["debug"], streamers=("ann", "bo"))
MODALITIES = ("pictures", "speech", "comments")


def features(segments: int, *, batch: int = 1, seed: int = 0) -> ModelInputs:
    rng = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(batch, segments, *shape, generator=rng)

    return ModelInputs(
        pictures=noise(3, CONFIG.picture_dim),
        text=noise(CONFIG.text_dim),
        spoken=noise(CONFIG.text_dim),
        chat=noise(len(CHAT_COLUMNS)),
        speech=noise(len(SPEECH_COLUMNS)),
        words=torch.randint(1, BUCKETS, (batch, segments, MOST_WORDS), generator=rng),
        counts=noise(MOST_WORDS).abs(),
        **{f"has_{m}": torch.ones(batch, segments, dtype=torch.bool) for m in MODALITIES},
        streamer=torch.ones(batch, dtype=torch.long),
    )


@pytest.fixture(scope="module")
def model() -> KuaiHL:
    torch.manual_seed(0)
    return KuaiHL(CONFIG).eval()


def test_no_position_sees_a_later_segment(model: KuaiHL) -> None:
    given = features(5)
    names = ("pictures", "text", "spoken", "chat", "speech", "counts")
    inputs = [getattr(given, name).requires_grad_() for name in names]
    lvtr = model(given).scores[0]
    for i in range(5):
        for name, grad in zip(names, torch.autograd.grad(lvtr[i], inputs, retain_graph=True), strict=True):
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


@pytest.mark.parametrize("missing", MODALITIES)
def test_what_is_missing_has_no_influence(model: KuaiHL, missing: str) -> None:
    absent = torch.zeros(1, 5, dtype=torch.bool)
    masked = replace(features(5), **{f"has_{missing}": absent})
    changed = {"pictures": ["pictures"], "speech": ["speech"], "comments": ["chat"]}[missing]
    other = replace(masked, **{name: getattr(masked, name) + 1 for name in changed})
    assert torch.equal(model(masked).scores, model(other).scores)
    assert not torch.allclose(model(masked).scores, model(features(5)).scores)


def test_speech_alone_is_read_where_there_is_speech(model: KuaiHL) -> None:
    given, absent = features(5), torch.zeros(1, 5, dtype=torch.bool)
    other = replace(given, spoken=given.spoken.flip(-1))
    assert not torch.allclose(model(given).scores, model(other).scores)
    deaf, other = (replace(some, has_speech=absent) for some in (given, other))
    assert torch.equal(model(deaf).scores, model(other).scores)
    torch.manual_seed(0)
    without = KuaiHL(replace(CONFIG, speech_text=False)).eval()
    assert torch.equal(without(given).scores, without(replace(given, spoken=given.spoken + 1)).scores)


def test_text_is_masked_only_where_speech_and_comments_are_missing(model: KuaiHL) -> None:
    absent = torch.zeros(1, 5, dtype=torch.bool)
    deaf = replace(features(5), has_speech=absent)
    mute = replace(deaf, has_comments=absent)
    assert not torch.allclose(model(deaf).scores, model(replace(deaf, text=deaf.text + deaf.text.flip(-1))).scores)
    assert torch.equal(model(mute).scores, model(replace(mute, text=mute.text + 1)).scores)
    blind = replace(mute, has_pictures=absent)
    assert model(blind).scores.isfinite().all()


def test_a_head_for_each_target_on_one_trunk(model: KuaiHL) -> None:
    """Each predicts what a model with this head alone does, and never sees what its target does without."""
    torch.manual_seed(1)
    lvtr, chat = Target("lvtr"), Target("participation", excluded_inputs=("pictures", "speech"))
    joint = KuaiHL(replace(CONFIG, targets=(lvtr, chat))).eval()
    weights, given = joint.state_dict(), features(13)
    curves = [joint.sweep(given, target=row)[1:] for row in (0, 1)]
    assert not torch.isclose(*curves).any()
    for row, target in enumerate(joint.config.targets):
        alone = KuaiHL(replace(CONFIG, targets=(target,))).eval()
        names = alone.state_dict()  # without the recurrent layer, where the other head alone has it
        alone.load_state_dict({k: weights[k][row : row + 1] if k.startswith("head.") else weights[k] for k in names})
        torch.testing.assert_close(alone.sweep(given)[1:], curves[row])
    changed = replace(given, pictures=given.pictures + 1, speech=given.speech + 1)
    assert torch.equal(joint.sweep(changed, target=1)[1:], curves[1])
    assert not torch.isclose(joint.sweep(changed)[1:], curves[0]).any()
    assert not torch.isclose(joint.sweep(replace(given, chat=given.chat + 1), target=1)[1:], curves[1]).any()


def test_a_head_that_never_saw_text_sees_how_much_there_is_alone() -> None:
    torch.manual_seed(1)
    model = KuaiHL(replace(CONFIG, targets=(Target("participation", excluded_inputs=("text",)),))).eval()
    given = features(13)
    curve = model.sweep(given)[1:]
    for text in (torch.zeros_like(given.text), given.text + 1):
        assert torch.equal(model.sweep(replace(given, text=text, spoken=text))[1:], curve)
    assert not torch.isclose(model.sweep(replace(given, chat=given.chat + 1))[1:], curve).any()


def test_a_head_without_words_reads_none() -> None:
    torch.manual_seed(1)
    lvtr, chat = Target("lvtr", excluded_inputs=("words",)), Target("participation")
    model, given = KuaiHL(replace(CONFIG, targets=(lvtr, chat))).eval(), features(13)
    other = replace(given, words=given.words.flip(1))
    assert torch.equal(model.sweep(given)[1:], model.sweep(other)[1:])
    assert not torch.isclose(model.sweep(given, target=1)[1:], model.sweep(other, target=1)[1:]).all()


def test_targets_have_names() -> None:
    config = replace(CONFIG, targets=(Target("lvtr"), Target("participation")))
    assert [config.target_index(name) for name in (None, "lvtr", "participation")] == [0, 0, 1]
    with pytest.raises(CheckpointError, match="does not predict 'mood': it predicts lvtr, participation"):
        config.target_index("mood")
    with pytest.raises(ValueError, match="a target to predict"):
        replace(CONFIG, targets=())


def test_streamers_differ_and_strangers_are_alike(model: KuaiHL) -> None:
    assert [model.streamer_index(name) for name in ("ann", "bo", "cy", None)] == [1, 2, 0, 0]
    ann, bo = (model(replace(features(5), streamer=torch.tensor([k]))).scores for k in (1, 2))
    assert not torch.allclose(ann, bo)


def test_without_activity_the_counts_do_not_matter() -> None:
    torch.manual_seed(0)
    model = KuaiHL(replace(CONFIG, activity=False, word_shares=False)).eval()
    given = features(5)
    assert torch.equal(model(given).scores, model(replace(given, chat=given.chat + 1, speech=given.speech + 1)).scores)


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


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(model: KuaiHL) -> None:
    expected = model.sweep(features(13))
    got = model.to("cuda").sweep(features(13))
    model.to("cpu")
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0, equal_nan=True)
