"""The wheel, installed into an empty environment, works from any folder."""

import json
import os
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

import kuaihl
from tests.fixtures.serving import START_S, answers, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kuaihl command in an environment that shares the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (purelib / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return scripts / "kuaihl"


@pytest.fixture
def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SPACE_ID"}}


def test_the_wheel_carries_what_the_command_needs_and_nothing_else(wheel: Path) -> None:
    folders = ("kuaihl", "train", "assets/checkpoint", "assets/example")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.*") if file.is_file()]
    files += [file for file in (ROOT / "assets").iterdir() if file.suffix in {".css", ".html", ".js"}]
    needed = [file.relative_to(ROOT).as_posix() for file in files if "__pycache__" not in file.parts]
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert sorted(names) == sorted(f"kuaihl/{name}" if name.startswith("assets/") else name for name in needed)


def test_commands_work_from_another_folder(
    command: Path, environment: dict[str, str], short_recording: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run("--version") == f"kuaihl {kuaihl.__version__}\n"
    assert str(command.parents[1]) in "".join(run("info").split())
    run("predict", str(short_recording), "--sources", "pictures")
    prediction = json.loads((tmp_path / "short-kuaihl" / "prediction.json").read_text())
    assert len(prediction["segments"]) == 5


def test_demo_serves_its_page_and_the_example(command: Path, environment: dict[str, str], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    environment |= {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    with subprocess.Popen([command, "demo"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + START_S
            while not answers(url):
                assert process.poll() is None, process.stderr.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            (example,) = command.parents[1].rglob("kuaihl/assets/example/recording.mp4")
            with urllib.request.urlopen(f"{url}/gradio_api/file={example}", timeout=60) as response:  # noqa: S310
                assert response.read() == example.read_bytes()
        finally:
            process.terminate()
