"""What visitors may expect of a server they share: Cancel, limits, privacy, and results that outlive a reload."""

import time
import urllib.error
import urllib.request
import wave
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from tests.fixtures.serving import ROOT, serve, served
from tests.fixtures.videos import write_recording
from tests.fixtures.visitor import unfold

pytestmark = pytest.mark.browser
RUN_MS = 240_000
STOPPED_S, GAVE_UP_S = 2.0, 30.0
"""The promise, of a machine that does nothing else: so it is held against what the server computes from then on."""
KEPT_S = 20
"""Shorter, and a busy machine would not finish a run in time."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("manners")


@pytest.fixture(scope="module")
def server(folder):
    """A server that lets one visitor wait."""
    with served(folder, KUAIHL_MAX_WAITING="1") as server:
        yield server


@pytest.fixture(scope="module")
def url(server):
    return server.url


@pytest.fixture
def visit(browser, url):
    """Open the page as somebody new, as often as it is called."""
    contexts = []

    def arrive(address=url):
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 900}))
        contexts[-1].set_default_timeout(RUN_MS)
        page = contexts[-1].new_page()
        page.goto(address)
        page.wait_for_selector("#run")
        return page

    yield arrive
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def talk(folder, example):
    """Half an hour of somebody talking: the example's sound, three times."""
    from kuaihl.media.recording import open_recording

    sound = np.concatenate([samples for _, samples in open_recording(example / "recording.mp4").sound()])
    with wave.open(str(path := folder / "talk.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(3):
            file.writeframes((sound * 32_767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def slides(folder):
    """Six hours without sound, of a picture every ten seconds."""
    times_s = [10.0 * number for number in range(2160)]
    return write_recording(folder / "slides.mp4", duration_s=21_600, times_s=times_s, audio=None, keyframe_every=1)


def write_still(path):
    times_s = [1800.0 * number for number in range(13)]  # a longer break would be taken for a jump of the clock
    return write_recording(path, duration_s=21_600, times_s=times_s, audio=None, keyframe_every=1)


@pytest.fixture(scope="module")
def talkative(folder):
    """Six hours without sound, of a picture every half hour, but a chat: 24 comments a segment, none like another."""
    path = write_still(folder / "talkative.mp4")
    said = ["what", "a", "great", "run", "how", "did", "that", "happen", "nice", "song"]
    words = np.random.default_rng(0).choice(said, (17_280, 9))
    rows = [f"{1.25 * number},viewer,{number} {' '.join(some)}" for number, some in enumerate(words)]
    path.with_suffix(".csv").write_text("\n".join(["time,user,text", *rows]))
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nwelcome back everyone\n")
    return path


@pytest.fixture(scope="module")
def crowded(folder):
    """Six hours like those, with 300,000 comments: the same ones in every segment, which are encoded once."""
    path = write_still(folder / "crowded.mp4")
    rows = [f"{number / 14:.3f},viewer{number % 5000},what a run that was {number % 7}" for number in range(302_400)]
    path.with_suffix(".csv").write_text("\n".join(["time,user,text", *rows]))
    path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nwelcome back everyone\n")
    return path


def start(page, recording):
    log, transcript = recording.with_suffix(".csv"), recording.with_suffix(".srt")
    if log.exists():
        page.locator("#comments input[type=file]").set_input_files(log)
        expect(page.locator("#comments")).to_contain_text(log.stem)
    if transcript.exists():
        unfold(page, "#more")
        page.locator("#transcript input[type=file]").set_input_files(transcript)
        expect(page.locator("#transcript")).to_contain_text(transcript.stem)
    page.locator("#path textarea").fill(str(recording))
    page.locator("#run").click()


def result_of(page):
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)
    return page.locator("#status").inner_text()


def runs_of(folder):
    return set((folder / "gradio").glob("run-*"))


def computed_s(server):
    """Seconds that the server has computed on one core, or two for half as long; its children included."""
    process = psutil.Process(server.pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def cancel(page, folder, server, before):
    """Press Cancel; the folder of a run is removed when its thread has ended."""
    page.locator("#cancel").click()
    began_s, deadline = computed_s(server), time.monotonic() + GAVE_UP_S
    while runs_of(folder) != before:
        assert time.monotonic() < deadline, "the work goes on"
        time.sleep(0.05)
    assert computed_s(server) - began_s < STOPPED_S
    assert_idle(page)


def assert_idle(page):
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).not_to_be_visible()


@pytest.mark.parametrize(
    ("recording", "stage"),
    [
        ("crowded", "Opening"),
        ("talk", "Listening"),
        ("slides", "Looking"),
        ("talkative", "Reading"),
        ("crowded", "Predicting"),
    ],
)
def test_cancel_ends_the_work_and_removes_its_files(visit, folder, server, request, recording, stage):
    page, before = visit(), runs_of(folder)
    start(page, request.getfixturevalue(recording))
    expect(page.locator("#status")).to_contain_text(stage, timeout=RUN_MS)
    assert len(runs_of(folder) - before) == 1
    cancel(page, folder, server, before)


def test_a_run_goes_on_when_the_page_is_loaded_again_and_can_be_cancelled(visit, folder, server, talk):
    page, before = visit(), runs_of(folder)
    start(page, talk)
    expect(page.locator("#status")).to_contain_text("Listening", timeout=RUN_MS)
    page.reload()
    expect(page.locator("#status")).to_contain_text("Listening")
    expect(page.locator("#run")).to_be_disabled()
    cancel(page, folder, server, before)


def test_a_result_is_found_again_by_its_own_visitor_alone(visit, folder, short_recording, tmp_path):
    """Two browsers at once, which also wait for each other's turn."""
    other = tmp_path / "other.mp4"
    other.write_bytes(short_recording.read_bytes())
    visitors = {"short.mp4": visit(), "other.mp4": visit()}
    for page, recording in zip(visitors.values(), (short_recording, other), strict=True):
        start(page, recording)
    shown = {name: result_of(page) for name, page in visitors.items()}
    for name, page in visitors.items():
        assert name in shown[name]
        page.reload()
        assert result_of(page) == shown[name]
        assert_idle(page)
    third = visit()
    expect(third.locator("#head .model b")).to_be_visible(timeout=RUN_MS)
    expect(third.locator("#status")).to_contain_text("Your result will stand here")


def test_a_result_is_found_again_with_its_settings(visit, short_recording):
    page = visit()
    start(page, short_recording)
    result_of(page)
    unfold(page, "#settings")
    page.get_by_label("Speech", exact=True).uncheck()
    expect(page.locator("#status .sources")).to_contain_text("no speech")
    page.reload()
    expect(page.locator("#status .sources")).to_contain_text("no speech")
    unfold(page, "#settings")
    expect(page.get_by_label("Speech", exact=True)).not_to_be_checked()
    expect(page.get_by_label("Pictures", exact=True)).to_be_checked()


def status_of(url, path):
    try:
        with urllib.request.urlopen(f"{url}/gradio_api/file={quote(str(path))}", timeout=30) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_files_that_were_handed_out_can_be_fetched(url, folder, example):
    (cache := folder / "gradio").mkdir(exist_ok=True)
    (secret := folder / "secret.txt").write_text("not for visitors")
    refused = [ROOT / "app.py", "/etc/passwd", secret, cache, f"{cache}/", f"{cache}/../secret.txt", example, folder]
    assert {str(path): status_of(url, path) for path in refused} == {str(path): 403 for path in refused}
    assert status_of(url, example / "recording.mp4") == 200


def test_an_upload_that_is_too_large_is_refused_in_words(visit, tmp_path):
    (large := tmp_path / "large.mp4").write_bytes(bytes(4_000_000))
    with serve(tmp_path, KUAIHL_MAX_UPLOAD="3mb") as url:
        page = visit(url)
        page.locator("#recording input[type=file]").set_input_files(large)
        expect(page.get_by_text("exceed").first).to_be_visible()


def test_who_finds_the_queue_full_is_told_to_come_back(visit, folder, server, talk):
    before = runs_of(folder)
    at_work, waiting, late = visit(), visit(), visit()
    start(at_work, talk)
    expect(at_work.locator("#status")).to_contain_text("Listening", timeout=RUN_MS)
    start(waiting, talk)
    expect(waiting.locator("#status")).to_contain_text("queue: 1/1")
    start(late, talk)
    expect(late.locator(".toast-body")).to_contain_text("currently busy. Please try again")
    assert_idle(late)
    waiting.locator("#cancel").click()
    assert_idle(waiting)
    cancel(at_work, folder, server, before)


def test_files_go_when_their_time_is_over(visit, tmp_path, short_recording):
    with serve(tmp_path, KUAIHL_KEEP_S=str(KEPT_S)) as url:
        page = visit(url)
        start(page, short_recording)
        result_of(page)
        page.locator("#recording input[type=file]").set_input_files(short_recording)
        expect(page.locator("#recording a[download]")).to_be_visible()
        uploads = list((tmp_path / "gradio").rglob("short.mp4"))
        assert uploads
        assert runs_of(tmp_path)
        deadline = time.monotonic() + 6 * KEPT_S
        while runs_of(tmp_path) or any(file.exists() for file in uploads):
            assert time.monotonic() < deadline, "files are kept"
            time.sleep(0.2)
        page.locator("#highlights button").first.click()
        expect(page.locator("#still")).to_contain_text("This result was removed")
