"""Whisper's weights: where they are found, the conversion from CTranslate2, and that nothing is unpickled."""

import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from kuaihl.errors import CheckpointError
from kuaihl.speech.whisper_weights import find_whisper, load, read, save

DIMS = ModelDimensions(80, 30, 16, 2, 2, 40, 24, 16, 4, 3)


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUAIHL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def whisper_model(dims: ModelDimensions = DIMS) -> Whisper:
    torch.manual_seed(0)
    model = Whisper(dims)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def ctranslate2_file(model: Whisper, path: Path) -> Path:
    """Write a model as CTranslate2's converter does, from the description of its format."""
    held = {k: v.numpy().astype(np.float16) for k, v in model.state_dict().items()}
    out: dict[str, np.ndarray] = {
        "decoder/embeddings/weight": held["decoder.token_embedding.weight"],
        "decoder/scale_embeddings": np.int8(0),
        "decoder/alignment_heads": np.int16(1),
    }
    for side, dims_heads in (("encoder", model.dims.n_audio_head), ("decoder", model.dims.n_text_head)):
        out[f"{side}/num_heads"] = np.int16(dims_heads)
        out[f"{side}/position_encodings/encodings"] = held[f"{side}.positional_embedding"]
        norm = "ln_post" if side == "encoder" else "ln"
        out[f"{side}/layer_norm/gamma"] = held[f"{side}.{norm}.weight"]
        out[f"{side}/layer_norm/beta"] = held[f"{side}.{norm}.bias"]
        for i, block in enumerate(getattr(model, side).blocks):
            at, to = f"{side}.blocks.{i}", f"{side}/layer_{i}"
            zeros = np.zeros(model.dims.n_text_state, np.float16)
            query, key, value = (f"{at}.attn.{n}" for n in ("query", "key", "value"))
            for part in ("weight", "bias"):
                keys = held[f"{key}.weight"] if part == "weight" else zeros
                out[f"{to}/self_attention/linear_0/{part}"] = np.concatenate(
                    [held[f"{query}.{part}"], keys, held[f"{value}.{part}"]]
                )
                out[f"{to}/self_attention/linear_1/{part}"] = held[f"{at}.attn.out.{part}"]
                out[f"{to}/ffn/linear_0/{part}"] = held[f"{at}.mlp.0.{part}"]
                out[f"{to}/ffn/linear_1/{part}"] = held[f"{at}.mlp.2.{part}"]
                if block.cross_attn is not None:
                    cross = f"{at}.cross_attn"
                    keys = held[f"{cross}.key.weight"] if part == "weight" else zeros
                    out[f"{to}/attention/linear_0/{part}"] = held[f"{cross}.query.{part}"]
                    out[f"{to}/attention/linear_1/{part}"] = np.concatenate([keys, held[f"{cross}.value.{part}"]])
                    out[f"{to}/attention/linear_2/{part}"] = held[f"{cross}.out.{part}"]
            norms = {"self_attention": "attn_ln", "attention": "cross_attn_ln", "ffn": "mlp_ln"}
            for there, here in norms.items():
                if f"{at}.{here}.weight" in held:
                    out[f"{to}/{there}/layer_norm/gamma"] = held[f"{at}.{here}.weight"]
                    out[f"{to}/{there}/layer_norm/beta"] = held[f"{at}.{here}.bias"]
    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            out[f"encoder/{conv}/{part}"] = held[f"encoder.{conv}.{part}"]

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    codes = {np.dtype(np.int8): 1, np.dtype(np.int16): 2, np.dtype(np.float16): 4}
    data = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(out))
    for name in sorted(out):
        array = np.asarray(out[name])
        data += string(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        data += struct.pack("<BI", codes[array.dtype], array.nbytes) + array.tobytes()
    data += struct.pack("<I", 1) + string("decoder/projection/weight") + string("decoder/embeddings/weight")
    path.write_bytes(data)
    return path


def test_ctranslate2_becomes_openai_whisper(tmp_path: Path) -> None:
    model = whisper_model()
    converted = read(ctranslate2_file(model, tmp_path / "model.bin"))
    assert converted.dims == vars(DIMS)
    assert converted.tensors.keys() == model.state_dict().keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(converted.tensors[key], tensor.half()), key
    save(converted, tmp_path / "again.safetensors")
    again = read(tmp_path / "again.safetensors")
    assert again.dims == converted.dims
    assert all(torch.equal(again.tensors[k], v) for k, v in converted.tensors.items())


def test_installed_whisper_is_converted_once_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: find_whisper("tiny.en"), range(4)))
    (path,) = found
    assert list((tmp_path / "cache").iterdir()) == [path]
    written = path.stat().st_mtime_ns
    assert find_whisper("tiny.en").stat().st_mtime_ns == written
    model = load(path)
    assert model.dims == ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
    # Whisper's encoder positions are sinusoids: an oracle within the file.
    expected = Whisper(ModelDimensions(80, 1500, 384, 6, 1, 10, 4, 384, 6, 1)).encoder.positional_embedding
    torch.testing.assert_close(model.encoder.positional_embedding, expected, atol=1e-3, rtol=0)
    path.write_bytes(path.read_bytes()[:1000])
    assert find_whisper("tiny.en").stat().st_size > 70_000_000


def test_an_unwritable_cache_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KUAIHL_CACHE", str(tmp_path / "file" / "cache"))
    assert load(find_whisper("tiny.en")).dims.n_vocab == 51864


def test_whisper_files_of_users(tmp_path: Path) -> None:
    model = whisper_model()
    torch.save({"dims": vars(DIMS), "model_state_dict": model.state_dict()}, tmp_path / "model.pt")
    loaded = load(find_whisper(str(tmp_path / "model.pt")))
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in model.state_dict().items())


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"dims": _Trap(sprung)}, tmp_path / "trap.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(_Trap(sprung)))
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 8)
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": {}}, tmp_path / "other.pt")
    for name in ("trap.pt", "old.pt", "noise.pt", "noise.bin", "other.pt"):
        with pytest.raises(CheckpointError):
            load(tmp_path / name)
    assert not sprung.exists()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match=r"tiny\.en, tiny, base\.en"):
        find_whisper("enormous")


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, root: str, in_memory: bool) -> str:  # noqa: FBT001 - openai-whisper's signature
        raise OSError("no route")

    monkeypatch.setattr("whisper._download", fail)
    with pytest.raises(CheckpointError, match=r"small\.pt.*no route"):
        find_whisper("small")
