"""Shared fixtures. Tests that need a tool which is not installed are skipped, or fail in continuous integration."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from kuaihl.predictor import Predictor

ROOT = Path(__file__).parent.parent


def missing_tool(marker: str) -> str | None:
    """Return what the tests of a marker need and this machine lacks, or None."""
    if marker == "browser":
        from tests.fixtures.serving import find_chromium

        return None if find_chromium() else "chromium is not installed"
    if marker == "speaker":
        return None if shutil.which("espeak-ng") else "espeak-ng is not installed"
    import torch

    return None if torch.cuda.is_available() else "there is no CUDA device"


def pytest_configure() -> None:
    """Handle Ctrl-C here and in child processes, also in a background job, where the shell ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in ("browser", "speaker", "gpu"):
        if item.get_closest_marker(marker) and (missing := missing_tool(marker)):
            if marker != "gpu" and "KUAIHL_NO_SKIPS" in os.environ:  # continuous integration installs the tools
                pytest.fail(f"{missing}, and no test may be skipped here")
            pytest.skip(missing)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread: a tiny model gains nothing from more, and sums must not depend on them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def chromium() -> str:
    from tests.fixtures.serving import find_chromium

    return find_chromium() or pytest.skip("chromium is not installed")


@pytest.fixture(scope="module")
def browser(chromium: str) -> "Iterator[Browser]":
    from tests.fixtures.serving import browse

    with browse(chromium) as browser:
        yield browser


@pytest.fixture(scope="session")
def example() -> Path:
    """Return the folder of the example: recording.mp4 and comments.json."""
    return ROOT / "assets" / "example"


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of the running app; one process serves all tests."""
    from tests.fixtures.serving import serve

    with serve(tmp_path_factory.mktemp("app")) as url:
        yield url


@pytest.fixture(scope="session")
def predictor() -> "Predictor":
    """The shipped checkpoint on the CPU. Tests that change it work on a copy."""
    from kuaihl.predictor import Predictor

    return Predictor.from_pretrained(device="cpu")


@pytest.fixture(scope="session")
def short_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of five segments, the last 20 s long, whose frames encode their time."""
    from tests.fixtures.videos import write_recording

    return write_recording(tmp_path_factory.mktemp("recording") / "short.mp4", duration_s=140.0, fps=5)


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the recordings that tests make."""
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="session")
def make_recording(media_folder: Path) -> Callable[..., Path]:
    """Return a function that writes a recording of 36 s, each once."""
    from tests.fixtures.videos import write_recording

    def written(name: str, video: str | None = "libx264", audio: str | None = "aac") -> Path:
        path = media_folder / name
        if not path.exists():
            write_recording(path, duration_s=36, video=video, audio=audio, keyframe_every=16)
        return path

    return written


COMMENT_TIMES_S = (1.0, 2.0, 35.0, 61.0, 62.0, 63.0, 125.0)
COMMENTS_PER_SEGMENT = [2, 1, 3, 0, 1]


@pytest.fixture(scope="session")
def short_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the comment log of the short recording: 2, 1, 3, 0 and 1 comments in its segments."""
    path = tmp_path_factory.mktemp("log") / "chat.csv"
    rows = [f"{time_s},viewer{number},what a nice pan" for number, time_s in enumerate(COMMENT_TIMES_S)]
    path.write_text("\n".join(["time,user,text", *rows]) + "\n", encoding="utf-8")
    return path
