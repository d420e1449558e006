"""A server that visitors share: Cancel, limits, privacy, and results that survive a reload of the page."""

import time
import urllib.error
import urllib.request
import wave
from contextlib import ExitStack
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from kuaihl.demo.jobs import STAGES
from tests.demo.conftest import visiting
from tests.fixtures.serving import ROOT, serve, served
from tests.fixtures.videos import write_recording
from tests.fixtures.visitor import RUN_MS, result_of, unfold

pytestmark = pytest.mark.browser
MAX_CPU_S, MAX_WAIT_S = 2.0, 30.0
"""How long the work may go on after Cancel: in seconds of CPU, since the machine may be busy, and of the clock."""
KEEP_S = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharing")


@pytest.fixture(scope="module")
def server(folder):
    """A server that lets one visitor wait."""
    with served(folder, KUAIHL_MAX_WAITING="1") as server:
        yield server


@pytest.fixture
def visit(browser, server):
    """Open the page as a new visitor, as often as it is called."""
    with ExitStack() as visitors:
        yield lambda url=server.url: visitors.enter_context(visiting(browser, url))


@pytest.fixture(scope="module")
def talk(folder, example):
    """Half an hour of speech: the sound of the example, three times."""
    from kuaihl.media.recording import open_recording

    sound = np.concatenate([samples for _, samples in open_recording(example / "recording.mp4").read_audio()])
    with wave.open(str(path := folder / "talk.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(3):
            file.writeframes((sound * 32_767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def slides(folder):
    """Six hours without sound, with a picture every ten seconds."""
    times_s = [10.0 * number for number in range(2160)]
    return write_recording(folder / "slides.mp4", duration_s=21_600, times_s=times_s, audio=None, keyframe_every=1)


def write_still(path):
    times_s = [40.0 * number for number in range(540)]  # with fewer the file is too small for its length
    return write_recording(path, duration_s=21_600, times_s=times_s, audio=None, keyframe_every=1)


@pytest.fixture(scope="module")
def talkative(folder):
    """Six hours without sound, with a picture every 40 s and 24 different comments per segment."""
    path = write_still(folder / "talkative.mp4")
    said = ["what", "a", "great", "run", "how", "did", "that", "happen", "nice", "song"]
    words = np.random.default_rng(0).choice(said, (17_280, 9))
    rows = [f"{1.25 * number},viewer,{number} {' '.join(some)}" for number, some in enumerate(words)]
    path.with_suffix(".csv").write_text("\n".join(["time,user,text", *rows]))
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nwelcome back everyone\n")
    return path


@pytest.fixture(scope="module")
def crowded(folder):
    """Such six hours with 150,000 comments, the same in every segment, so that they are encoded once."""
    path = write_still(folder / "crowded.mp4")
    rows = [f"{number / 7:.3f},viewer{number % 5000},what a run that was {number % 7}" for number in range(151_200)]
    path.with_suffix(".csv").write_text("\n".join(["time,user,text", *rows]))
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nwelcome back everyone\n")
    return path


def start(page, recording):
    result_of(page, "recording.mp4")  # the example
    log, transcript = recording.with_suffix(".csv"), recording.with_suffix(".srt")
    if log.exists():
        page.locator("#comments input[type=file]").set_input_files(log)
        expect(page.locator("#comments")).to_contain_text(log.stem)
    if transcript.exists():
        unfold(page, "#settings")
        page.locator("#transcript input[type=file]").set_input_files(transcript)
        expect(page.locator("#transcript")).to_contain_text(transcript.stem)
    path = page.locator("#path textarea")
    if log.exists():  # which opens the inputs
        expect(path).to_be_visible()
    unfold(page, "#inputs")
    path.fill(str(recording))
    page.locator("#run").click()


def runs_in(folder):
    return set((folder / "gradio").rglob("run-*"))


def cpu_s(server):
    """Return the CPU seconds of a server and its children."""
    process = psutil.Process(server.pid)
    return sum(sum(p.cpu_times()[:2]) for p in (process, *process.children(recursive=True)))


def cancel(page, folder, server, before):
    """Press Cancel. The folder of a run is removed when its thread has ended."""
    page.locator("#cancel").click()
    began_s, deadline = cpu_s(server), time.monotonic() + MAX_WAIT_S
    while runs_in(folder) != before:
        assert time.monotonic() < deadline, "the work goes on"
        time.sleep(0.05)
    assert cpu_s(server) - began_s < MAX_CPU_S
    assert_idle(page)


def assert_idle(page):
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).not_to_be_visible()


def at_stage(page, stage):
    expect(page.locator("#status")).to_contain_text(STAGES[stage], timeout=RUN_MS)


@pytest.mark.parametrize(
    ("recording", "stage"),
    [("crowded", "opening"), ("slides", "looking"), ("talkative", "reading"), ("crowded", "predicting")],
)
def test_cancel_ends_the_work_and_removes_its_files(visit, folder, server, request, recording, stage):
    page, before = visit(), runs_in(folder)
    start(page, request.getfixturevalue(recording))
    at_stage(page, stage)
    assert len(runs_in(folder) - before) == 1
    cancel(page, folder, server, before)


def test_a_run_survives_a_reload_and_a_full_queue_refuses_others(visit, folder, server, talk):
    before = runs_in(folder)
    running, waiting, refused = visit(), visit(), visit()
    start(running, talk)
    at_stage(running, "listening")
    running.reload()
    at_stage(running, "listening")
    expect(running.locator("#run")).to_be_disabled()
    start(waiting, talk)
    expect(waiting.locator("#status")).to_contain_text("queue: 1/1")
    start(refused, talk)
    expect(refused.locator(".toast-body")).to_be_visible()
    assert_idle(refused)
    waiting.locator("#cancel").click()
    assert_idle(waiting)
    cancel(running, folder, server, before)


def test_a_result_is_found_again_by_its_own_visitor_with_its_settings(visit, short_recording, tmp_path):
    """Two visitors at once, who also wait for each other."""
    (other := tmp_path / "other.mp4").write_bytes(short_recording.read_bytes())
    visitors = {"short.mp4": visit(), "other.mp4": visit()}
    for page, recording in zip(visitors.values(), (short_recording, other), strict=True):
        start(page, recording)
    forecasts = {name: forecast_of(page, name) for name, page in visitors.items()}
    for name, page in visitors.items():
        page.reload()
        assert forecast_of(page, name) == forecasts[name]
        assert_idle(page)
    unfold(page, "#settings")
    page.get_by_label("Speech", exact=True).uncheck()
    expect(page.locator("svg .forecast")).not_to_have_attribute("d", forecasts[name])
    page.reload()
    assert forecast_of(page, name) != forecasts[name]
    unfold(page, "#settings")
    expect(page.get_by_label("Speech", exact=True)).not_to_be_checked()
    expect(page.get_by_label("Pictures", exact=True)).to_be_checked()
    result_of(visit(), "recording.mp4")  # a third visitor sees the example


def forecast_of(page, name):
    result_of(page, name)
    return page.locator("svg .forecast").get_attribute("d")


def status_of(url, path):
    try:
        with urllib.request.urlopen(f"{url}/gradio_api/file={quote(str(path))}", timeout=30) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_files_of_the_page_can_be_fetched(server, folder, example):
    (cache := folder / "gradio").mkdir(exist_ok=True)
    (secret := folder / "secret.txt").write_text("not for visitors")
    refused = [ROOT / "app.py", "/etc/passwd", secret, cache, f"{cache}/", f"{cache}/../secret.txt", example, folder]
    assert {str(path): status_of(server.url, path) for path in refused} == {str(path): 403 for path in refused}
    assert status_of(server.url, example / "recording.mp4") == 200


def test_a_large_upload_is_refused_and_files_are_deleted_in_time(visit, tmp_path, short_recording):
    (large := tmp_path / "large.mp4").write_bytes(bytes(4_000_000))
    with serve(tmp_path, KUAIHL_KEEP_S=str(KEEP_S), KUAIHL_MAX_UPLOAD="3mb") as url:
        page = visit(url)
        page.locator("#recording input[type=file]").set_input_files(large)
        expect(page.get_by_text("exceed").first).to_be_visible()
        page.reload()
        start(page, short_recording)
        result_of(page, short_recording.name)
        page.locator("#comments input[type=file]").set_input_files(short_recording)
        expect(page.locator("#comments a[download]")).to_be_visible()
        uploads = list((tmp_path / "gradio").rglob("short.mp4"))
        assert uploads
        deadline = time.monotonic() + 100
        while runs_in(tmp_path) or any(file.exists() for file in uploads):
            assert time.monotonic() < deadline, "files are kept"
            time.sleep(0.2)
        page.locator('[data-export="report.html"]').click()
        expect(page.locator(".toast-body")).to_contain_text("expired")
