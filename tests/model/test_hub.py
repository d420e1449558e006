"""Pulling checkpoints: over real HTTP, with huggingface_hub's own client, from a Hub on loopback."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from kuaihl.errors import CheckpointError
from kuaihl.features.bag_of_words import MOST_WORDS
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import PRESETS
from kuaihl.model.hub import fetch
from kuaihl.model.inputs import TOKENS, ModelInputs
from kuaihl.model.kuaihl import KuaiHL, load
from tests.fixtures import hub_server as loopback
from tests.fixtures.hub_server import File, Hub, Repo

REPO = "someone/kuaihl"
NAMES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with loopback.alone(monkeypatch, tmp_path) as hub:
        yield hub


def model(seed: int) -> KuaiHL:
    torch.manual_seed(seed)
    return KuaiHL(PRESETS["debug"]).eval()


def files_of(made: KuaiHL, folder: Path) -> dict[str, File]:
    """What a repository with this model holds."""
    made.save_pretrained(folder)
    (folder / "README.md").write_text("# A model\n")
    return {name: File((folder / name).read_bytes(), lfs=name.endswith(".safetensors")) for name in NAMES}


def store(hub: Hub, files: dict[str, File], *, branch: str = "main", **settings: bool) -> str:
    """Put files into a repository, past the API; returns the commit."""
    hub.objects |= {file.sha256: file.content for file in files.values()}
    return hub.repos.setdefault(REPO, Repo(**settings)).commit(files, branch)


def predictions(found: KuaiHL) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    inputs = ModelInputs(
        pictures=torch.randn(1, 7, 3, 8, generator=rng),
        text=torch.randn(1, 7, 8, generator=rng),
        speech_text=torch.randn(1, 7, 8, generator=rng),
        chat_activity=torch.randn(1, 7, len(CHAT_COLUMNS), generator=rng),
        speech_activity=torch.randn(1, 7, 2, generator=rng),
        words=torch.zeros(1, 7, MOST_WORDS, dtype=torch.int16),
        word_counts=torch.zeros(1, 7, MOST_WORDS),
        token_mask=torch.ones(1, 7, len(TOKENS), dtype=torch.bool),
        streamer=torch.zeros(1, dtype=torch.long),
    )
    return found.sweep(inputs)[1:]


def cached(tmp_path: Path) -> list[str]:
    """Names of the files in the cache that belong to commits."""
    return sorted(path.name for path in (tmp_path / "cache").glob("*/snapshots/*/**/*") if path.is_file())


def test_what_is_pulled_is_what_is_there(hub: Hub, tmp_path: Path) -> None:
    made = model(0)
    store(hub, files_of(made, tmp_path / "made"))
    found, folder = load(REPO)
    assert cached(tmp_path) == NAMES
    for name in NAMES:
        assert (folder / name).read_bytes() == (tmp_path / "made" / name).read_bytes()
    assert torch.equal(predictions(found), predictions(made))


def test_a_revision_keeps_its_weights(hub: Hub, tmp_path: Path) -> None:
    old, new = model(0), model(1)
    first = store(hub, files_of(old, tmp_path / "old"))
    hub.repos[REPO].refs["v1"] = first
    fetch(REPO)
    store(hub, files_of(new, tmp_path / "new"))
    store(hub, files_of(model(2), tmp_path / "other"), branch="trial/one")
    assert torch.equal(predictions(load(REPO)[0]), predictions(new))
    for revision in ("v1", first):
        assert torch.equal(predictions(load(REPO, revision=revision)[0]), predictions(old))
    assert torch.equal(predictions(load(REPO, revision="trial/one")[0]), predictions(model(2)))


def test_what_was_pulled_works_without_a_network(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(hub, files_of(model(0), tmp_path / "made"))
    hub.repos[REPO].refs["v1"] = hub.repos[REPO].refs["main"]
    folder = fetch(REPO)
    assert (fetch(REPO), len(hub.downloads())) == (folder, len(NAMES))
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(REPO) == folder
    with pytest.raises(CheckpointError, match="not whole in the cache, and HF_HUB_OFFLINE"):
        fetch(REPO, revision="v1")
    assert len(hub.requests) == asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.down = True
    assert fetch(REPO) == folder


def test_pickles_and_programs_are_neither_loaded_nor_downloaded(hub: Hub, tmp_path: Path) -> None:
    files = files_of(model(0), tmp_path / "made")
    evil = {name: File(b"\x80\x04N.", lfs=True) for name in ("pytorch_model.bin", "model.pt", "setup.py", "vocab.txt")}
    store(hub, {**files, **evil})
    fetch(REPO)
    assert cached(tmp_path) == NAMES
    del files["model.safetensors"]
    store(hub, {**files, **evil})
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors.*pickled weights"):
        load(REPO)
    assert not [line for line in hub.downloads() if line.endswith(tuple(evil))]


def test_what_keeps_from_pulling_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(repo: str = REPO, revision: str | None = None) -> str:
        with pytest.raises(CheckpointError) as caught:
            fetch(repo, revision=revision)
        return str(caught.value)

    assert "written owner/name" in why("a/b/c")
    assert "no such repository" in why()
    assert "is a file" in why(__file__)
    store(hub, files_of(model(0), tmp_path / "made"), private=True)
    assert "it is private: check the id, or log in" in why()
    monkeypatch.setenv("HF_TOKEN", loopback.TOKEN)
    assert "no branch, tag or commit 'v9'" in why(revision="v9")
    monkeypatch.delenv("HF_TOKEN")
    hub.repos[REPO].private, hub.repos[REPO].gated = False, True
    assert "gated: ask for access" in why()
    hub.down = True
    assert "HTTP 503: try again later" in why()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    assert "Connection refused. Check the network" in why()
    assert cached(tmp_path) == []


def test_a_download_that_breaks_off_goes_on(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # in these steps it counts what has come
    made = model(0)
    store(hub, files_of(made, tmp_path / "made"))
    hub.cut_after["model.safetensors"] = [5000, 3000]
    assert torch.equal(predictions(load(REPO)[0]), predictions(made))
    assert hub.sent_from == [0, 5000, 8000]


def test_the_commands_publish_and_pull(hub: Hub, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "assets" / "checkpoint"
    shutil.copytree(shipped, tmp_path / "mine")
    here = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": loopback.TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",  # where nobody answers: nothing leaves this machine
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, env=os.environ | here, capture_output=True, text=True, check=False)

    pushed = run("train.publish", "--checkpoint", str(tmp_path / "mine"), "--repo", REPO, "--tag", "v1", "--push")
    assert pushed.returncode == 0, pushed.stderr
    pulled = run("kuaihl", "pull", REPO, "--revision", "v1")
    assert pulled.returncode == 0, pulled.stderr
    folder = Path(pulled.stdout.strip())
    assert str(tmp_path / "home") in str(folder)
    for name in ("config.json", "model.safetensors", "visual.safetensors", "evaluation-lvtr.json", "README.md"):
        assert (folder / name).read_bytes() == (tmp_path / "mine" / name).read_bytes()
