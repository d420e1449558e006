"""Publishing a checkpoint and the demo: the card, the folders, and what arrives on a Hub on loopback."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import load, sha256_of
from kuaihl.predictor import DEFAULT_CHECKPOINT
from tests.fixtures import hub_server as loopback
from tests.fixtures.hub_server import TOKEN, Hub
from tests.fixtures.serving import START_S, answers, free_port
from train.publish import PublishConfig, publish
from train.release.space import CPU_WHEELS

REPO, SPACE = "someone/kuaihl", "someone/demo"
SHA256 = sha256_of(DEFAULT_CHECKPOINT)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the shipped checkpoint, with files that are not published."""
    folder = tmp_path / "mine"
    shutil.copytree(DEFAULT_CHECKPOINT, folder)
    (folder / "state.pt").write_bytes(b"\x80\x04N.")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "note.json").write_text("{}")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with loopback.alone(monkeypatch, tmp_path) as hub:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def files_on(hub: Hub, name: str, ref: str = "main") -> dict[str, bytes]:
    repo = hub.repos[name]
    files = {path: file.content for path, file in repo.commits[repo.refs[ref]].items()}
    del files[".gitattributes"]
    return files


def change(checkpoint: Path) -> None:
    """Change the weights, and the evaluations with them."""
    model, _ = load(checkpoint)
    with torch.no_grad():
        model.head.bias += 1
    model.save_pretrained(checkpoint)
    for file in (*checkpoint.glob("evaluation-*.json"), *checkpoint.glob("leaderboard-*.json")):
        file.write_text(file.read_text().replace(SHA256, sha256_of(checkpoint)))


def test_a_dry_run_writes_what_a_push_uploads(checkpoint: Path, hub: Hub, tmp_path: Path) -> None:
    config = {"repo": REPO, "space": SPACE}
    assert publish(PublishConfig(checkpoint, out=tmp_path / "out", **config)) == []
    assert hub.requests == []
    with pytest.raises(CheckpointError, match="exists already"):
        publish(PublishConfig(checkpoint, out=tmp_path / "out", **config))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model", "space"]
    addresses = publish(PublishConfig(checkpoint, push=True, **config))
    assert [address.split("/commit/")[0] for address in addresses] == [f"{hub.url}/{REPO}", f"{hub.url}/spaces/{SPACE}"]
    assert files_on(hub, REPO) == files_in(tmp_path / "out" / "model")
    assert files_on(hub, f"spaces/{SPACE}") == files_in(tmp_path / "out" / "space")
    assert sorted(files_on(hub, REPO)) == sorted(path.name for path in DEFAULT_CHECKPOINT.iterdir())


def test_a_later_push_replaces_but_tags_stay(checkpoint: Path, hub: Hub) -> None:
    publish(PublishConfig(checkpoint, REPO, push=True, private=True, tag="v1"))
    old = files_on(hub, REPO)
    repo = hub.repos[REPO]
    assert repo.private
    (checkpoint / "distill.json").unlink()
    change(checkpoint)
    publish(PublishConfig(checkpoint, REPO, push=True, revision="trial"))
    assert files_on(hub, REPO) == files_on(hub, REPO, "v1") == old
    new = files_on(hub, REPO, "trial")
    assert old.keys() - new.keys() == {"distill.json"}
    assert new["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes() != old["model.safetensors"]
    with pytest.raises(CheckpointError, match="this tag exists already"):
        publish(PublishConfig(checkpoint, REPO, push=True, tag="v1"))


def test_why_nothing_is_published(checkpoint: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish_error(**settings: object) -> str:
        with pytest.raises(CheckpointError) as caught:
            publish(PublishConfig(checkpoint, push=True, **settings))
        return str(caught.value)

    assert "--push needs --repo" in publish_error()
    assert "written owner/name" in publish_error(repo="a/b/c")
    monkeypatch.delenv("HF_TOKEN")
    assert "HTTP 401: log in" in publish_error(repo=REPO)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish(PublishConfig(checkpoint, REPO, push=True))
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    assert "HTTP 403: log in" in publish_error(repo=REPO)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Space."""
    folder = tmp_path_factory.mktemp("space")
    shutil.copytree(DEFAULT_CHECKPOINT, folder / "mine")
    publish(PublishConfig(folder / "mine", REPO, SPACE, folder))
    return folder / "space"


def test_the_space_is_described_for_the_hub(space: Path) -> None:
    data = SpaceCard.load(space / "README.md").data
    assert (data.sdk, data.sdk_version, data.app_file) == ("gradio", version("gradio"), "app.py")
    assert (data.license, data.python_version) == ("apache-2.0", "3.11")
    assert 0 < len(data.short_description) <= 60  # the Hub's limit
    assert data.models == [REPO, "sentence-transformers/all-MiniLM-L6-v2", "openai/whisper-tiny.en"]
    assert (space / data.app_file).is_file()
    assert {path.name for path in space.iterdir()} == {
        "LICENSE", "README.md", "app.py", "assets", "kuaihl", "requirements.txt"
    }  # fmt: skip
    assert not list(space.rglob("__pycache__"))


def test_the_space_installs_what_is_tested_here(space: Path) -> None:
    first, *lines = (space / "requirements.txt").read_text().splitlines()
    assert first == CPU_WHEELS
    needed = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    assert "gradio" not in {requirement.name for requirement in needed}
    for requirement in needed:
        if requirement.marker is None or requirement.marker.evaluate():
            assert version(requirement.name).split("+")[0] in requirement.specifier, requirement


def test_the_space_runs_from_its_folder_alone(space: Path, tmp_path: Path, short_recording: Path) -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in {"SPACE_ID", "GRADIO_SHARE"}}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONDONTWRITEBYTECODE": "1"}
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    # Without site (-S), packages are found but not this project, which is installed beside them by a .pth file.
    alone = [sys.executable, "-S"]
    around = {"cwd": space, "env": environment, "stderr": subprocess.STDOUT}
    code = "import importlib.util; print(importlib.util.find_spec('train'))"
    assert subprocess.check_output([*alone, "-c", code], **around) == b"None\n"
    with log.open("wb") as output, subprocess.Popen([*alone, "app.py"], stdout=output, **around) as process:
        try:
            deadline = time.monotonic() + START_S
            while not answers(url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            client = Client(url, verbose=False, download_files=tmp_path, analytics_enabled=False)
            result = client.predict(recording=handle_file(short_recording), api_name="/predict")
        finally:
            process.terminate()
    prediction = json.loads(Path(result["files"]["prediction.json"]).read_text())
    assert len(prediction["segments"]) == 5
    assert prediction["checkpoint"]["sha256"].startswith(sha256_of(space / "assets" / "checkpoint")[:12])
