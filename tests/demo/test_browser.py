"""The page as a visitor sees it, in headless Chromium: the example, a recording in, a result out, clips kept."""

import csv
import io
import json
import re
import zipfile

import av
import pytest
from playwright.sync_api import expect

from kuaihl.demo.jobs import STAGES
from tests.demo.conftest import LAPTOP, PHONE, rank_by_reaction, visiting
from tests.fixtures.cheering_stream import write_stream
from tests.fixtures.videos import write_recording
from tests.fixtures.visitor import (
    RUN_MS,
    assert_fits,
    choose,
    options,
    plays_at,
    result_of,
    run,
    seconds,
    time_of_player,
    turn_to,
    unfold,
    upload,
)

pytestmark = pytest.mark.browser
LENGTH_S = 630.0
"""Of the example."""


@pytest.fixture(scope="module", params=["laptop", "phone"])
def example_page(request, browser, app_url):
    viewport, theme = {"laptop": (LAPTOP, "light"), "phone": (PHONE, "dark")}[request.param]
    with visiting(browser, app_url, viewport=viewport, theme=theme) as page:
        result_of(page, "recording.mp4")
        page.wait_for_function("document.querySelector('.stage video').readyState >= 1")
        yield page


@pytest.fixture(autouse=True)
def _paused(request):
    yield
    for name in ("example_page", "result"):
        if name in request.fixturenames:
            request.getfixturevalue(name).evaluate("document.querySelector('.stage video').pause()")


def span_of(card):
    return [seconds(time) for time in card.locator(".span").inner_text().split("–")]


def download(page, name):
    with page.expect_download(timeout=RUN_MS) as download:
        page.locator(f'[data-export="{name}"]').click()
    return download.value.path()


def lengths_of(archive):
    """Return the length in seconds of each clip in a zip file."""
    lengths = []
    with zipfile.ZipFile(archive) as clips:
        for name in clips.namelist():
            with av.open(io.BytesIO(clips.read(name))) as clip:
                lengths.append(clip.duration / av.time_base)
    return lengths


def test_a_new_visitor_sees_the_example_and_plays_its_moments(example_page):
    expect(example_page.locator(".banner")).to_contain_text("Example")
    assert_fits(example_page)
    for card in example_page.locator(".cards li[data-rank]").all():
        card.locator(".play").click()
        plays_at(example_page, span_of(card)[0])
        expect(card).to_have_class(re.compile("selected"))


def test_on_a_phone_the_player_stays_in_sight(example_page):
    if example_page.viewport_size == PHONE:
        example_page.evaluate("scrollTo(0, 700)")
        top = example_page.locator(".stage").evaluate("stage => stage.getBoundingClientRect().top")
        assert top == pytest.approx(0, abs=1)
        example_page.evaluate("scrollTo(0, 0)")


def test_a_click_on_the_curve_plays_from_there(example_page):
    seek = example_page.locator(".seek")
    box = seek.bounding_box()
    for share in (0.5, 0.85):  # beside the handles
        seek.click(position={"x": share * box["width"], "y": box["height"] - 8})
        plays_at(example_page, share * LENGTH_S - 2, within_s=5)
    example_page.evaluate("document.querySelector('.stage video').pause()")
    before_s = time_of_player(example_page)
    seek.focus()
    example_page.keyboard.press("ArrowRight")
    assert time_of_player(example_page) == pytest.approx(before_s + 5, abs=0.2)
    assert example_page.evaluate("document.querySelector('.stage video').paused"), "arrow keys only seek"
    left = example_page.locator(".playhead").evaluate("head => parseFloat(head.style.left)")
    assert left == pytest.approx(100 * (before_s + 5) / LENGTH_S, abs=0.5)


def test_a_loop_plays_a_moment_again(example_page):
    card = example_page.locator(".cards li[data-rank]").first
    start_s, end_s = span_of(card)
    card.locator(".loop").click()
    plays_at(example_page, start_s)
    example_page.evaluate(f"document.querySelector('.stage video').currentTime = {end_s} - 0.3")
    plays_at(example_page, start_s, within_s=5)
    card.locator(".loop").click()
    expect(card.locator(".loop")).to_have_attribute("aria-pressed", "false")


def test_chat_and_transcript_follow_the_player_and_seek(example_page):
    turn_to(example_page, "Chat")
    example_page.evaluate("document.querySelector('.stage video').currentTime = 100")
    last = example_page.locator(".chat li").last
    expect(last.locator(".at")).to_have_text(re.compile(r"^1:3\d|1:40$"))
    example_page.evaluate("document.querySelector('.stage video').currentTime = 500")
    expect(last.locator(".at")).to_have_text(re.compile(r"^8:1\d|8:20$"))
    time_s = seconds(last.locator(".at").inner_text())
    last.click()
    plays_at(example_page, time_s - 1, within_s=3)
    turn_to(example_page, "Transcript")
    line = example_page.locator(".transcript li").nth(3)
    line.locator(".time").click()
    plays_at(example_page, seconds(line.locator(".time").inner_text()) - 1, within_s=3)
    expect(line).to_have_class("now")


def test_an_explanation_adds_up(example_page):
    turn_to(example_page, "Why")
    for card in example_page.locator(".cards li[data-rank]").all():
        card.locator(".play").click()
        expect(example_page.locator(".why h3").first).to_contain_text(f"Moment {card.get_attribute('data-rank')}")
        usual, *steps, value = [
            float(cell.replace("−", "-"))
            for cell in example_page.locator(".waterfall td:nth-child(2)").all_inner_texts()
        ]
        assert len(steps) >= 3
        assert usual + sum(steps) == pytest.approx(value, abs=0.001)
        start = example_page.locator(".earlier .time").first
        start_s = seconds(start.inner_text())
        start.click()
        plays_at(example_page, start_s)
    turn_to(example_page, "Chat")


def test_the_data_can_be_downloaded(example_page):
    turn_to(example_page, "Data")
    assert example_page.locator(".numbers tbody tr").count() == 21
    expect(example_page.locator(".alignment canvas").first).to_be_visible()
    with example_page.expect_download() as table:
        example_page.get_by_role("button", name="contributions.csv").click()
    rows = list(csv.DictReader(io.StringIO(table.value.path().read_text(encoding="utf-8"))))
    assert len(rows) == 21
    for row in rows[1:]:
        parts = [float(row[name]) for name in ("usual", "pictures", "speech", "comments", "other")]
        assert sum(parts) == pytest.approx(float(row["score"]), abs=1e-3)
    turn_to(example_page, "Chat")


def test_a_live_replay_shows_nothing_before_its_time(example_page):
    example_page.locator(".live button").click()
    example_page.wait_for_function("!document.querySelector('.stage video').paused")
    example_page.evaluate("document.querySelector('.stage video').currentTime = 65")
    expect(example_page.locator(".live-text")).to_contain_text("forecast until 1:30")
    expect(example_page.locator(".band").first).not_to_be_visible()
    expect(example_page.locator(".chat li .at").last).to_have_text(re.compile(r"^1:0\d"))
    shown = example_page.evaluate(
        "[...document.querySelectorAll('.curve svg')].map(svg => svg.style.clipPath.match(/[\\d.]+%/)[0])"
    )
    hidden = [1 - float(share[:-1]) / 100 for share in shown]
    assert hidden[0] * LENGTH_S == pytest.approx(66, abs=3), "what was measured, until now"
    assert hidden[1] * LENGTH_S == pytest.approx(90, abs=0.1), "the forecast, until the end of the segment"
    example_page.locator(".live button").click()
    expect(example_page.locator(".band").first).to_be_visible()


def test_what_is_kept_is_exported(browser, app_url):
    with visiting(browser, app_url) as page:
        result_of(page, "recording.mp4")
        first, *others = page.locator(".cards li[data-rank]").all()
        spans = [span_of(card) for card in (first, *others)]
        lengths = [end_s - start_s for start_s, end_s in spans]
        assert lengths_of(download(page, "clips")) == pytest.approx(lengths, abs=5), "from the keyframes before"

        for card in others:
            card.get_by_role("checkbox").uncheck()
        handle = page.locator(".band").first.locator(".handle.end")
        handle.focus()
        for _ in range(4):
            page.keyboard.press("PageDown")
        assert span_of(first)[1] == spans[0][1] - 40
        box, curve = handle.bounding_box(), page.locator(".curve").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + curve["width"] * 10 / LENGTH_S, box["y"] + 60, steps=4)
        page.mouse.up()
        assert span_of(first)[1] == pytest.approx(spans[0][1] - 30, abs=1)
        (length_s,) = lengths_of(download(page, "clips"))
        assert length_s == pytest.approx(lengths[0] - 30, abs=5)
        document = json.loads(download(page, "prediction.json").read_text(encoding="utf-8"))
        assert [highlight["rank"] for highlight in document["highlights"]] == [1]
        assert document["highlights"][0]["end_s"] == pytest.approx(spans[0][1] - 30, abs=1.5)
        assert "Highlight 2" not in download(page, "highlights.edl").read_text(encoding="utf-8")
        assert download(page, "segments.csv").read_text(encoding="utf-8").startswith("index,")

        page.reload()
        result_of(page, "recording.mp4")
        expect(page.locator(".cards li[data-rank]").last.get_by_role("checkbox")).not_to_be_checked()
        page.locator(".budget input").focus()
        page.keyboard.press("End")
        expect(page.locator(".cards li[data-rank]").last.get_by_role("checkbox")).to_be_checked()
        page.keyboard.press("Home")
        expect(page.locator('[data-export="clips"]')).to_be_disabled()


@pytest.mark.parametrize("with_log", [True, False])
def test_a_run_starts_by_itself_and_shows_the_player_before_the_result(page, short_recording, short_log, with_log):
    upload(page, short_recording, short_log if with_log else None)
    expect(page.locator("#cancel")).to_be_visible()
    expect(page.locator('.kuaihl[data-recording="short.mp4"]')).to_be_visible(timeout=RUN_MS)
    result_of(page, "short.mp4")
    expect(page.locator("#cancel")).not_to_be_visible()
    expect(page.locator("#inputs")).not_to_be_visible()
    turn_to(page, "Data")
    counts = page.locator(".numbers td:nth-child(4)").all_inner_texts()
    assert counts == (["2", "1", "3", "0", "1"] if with_log else ["–"] * 5)


def test_files_can_be_dropped_anywhere(page, short_recording, short_log):
    data = {file.name: list(file.read_bytes()) for file in (short_recording, short_log)}
    page.evaluate(
        """(data) => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of Object.entries(data))
                transfer.items.add(new File([new Uint8Array(bytes)], name));
            const drop = new DragEvent('drop', {dataTransfer: transfer, bubbles: true});
            document.querySelector('.curve').dispatchEvent(drop);
        }""",
        data,
    )
    result_of(page, "short.mp4")
    turn_to(page, "Data")
    assert page.locator(".numbers td:nth-child(4)").all_inner_texts() == ["2", "1", "3", "0", "1"]


def numbers(page):
    turn_to(page, "Data")
    return page.locator(".numbers td:nth-child(4)").all_inner_texts()


def expect_numbers(page, expected):
    turn_to(page, "Data")
    page.wait_for_function(
        "expected => [...document.querySelectorAll('.numbers td:nth-child(4)')].map(c => c.textContent).join() =="
        " expected",
        arg=",".join(expected),
    )


def encoding_times(page):
    """Return how long looking and listening took for the result: they would change if done again."""
    timings_s = json.loads(download(page, "prediction.json").read_text(encoding="utf-8"))["timings_s"]
    return timings_s["looking"], timings_s["listening"]


def test_settings_predict_again_without_encoding(result):
    encoded = encoding_times(result)
    result.get_by_label("Comments", exact=True).uncheck()
    expect(result.locator(".toast-body")).to_contain_text("reaction")  # which needs comments
    result.locator(".toast-close").click()
    result.get_by_label("Auto", exact=True).check()
    expect_numbers(result, ["–"] * 5)
    assert encoding_times(result) == encoded
    result.get_by_label("Comments", exact=True).check()
    expect_numbers(result, ["2", "1", "24", "0", "1"])
    rank_by_reaction(result)


def test_a_target_changes_curve_and_description(result):
    forecast = result.locator("svg .forecast")
    before = forecast.get_attribute("d")
    choose(result, "#target", "Participation")
    for part in ("#about", ".legend"):
        expect(result.locator(part)).to_contain_text("articipation")
    assert forecast.get_attribute("d") != before
    choose(result, "#target", "LVTR")
    expect(forecast).to_have_attribute("d", before)


def test_comments_are_shifted_and_selected_without_encoding(result):
    encoded = encoding_times(result)
    expect_numbers(result, ["2", "1", "24", "0", "1"])
    result.get_by_label("Chat offset").fill("30")
    expect_numbers(result, ["0", "2", "1", "24", "0"])
    result.get_by_label("Messages", exact=True).uncheck()
    expect_numbers(result, ["0"] * 5)
    assert encoding_times(result) == encoded


def test_before_a_run_settings_and_mistakes_leave_the_page_usable(page, tmp_path, short_log):
    result_of(page, "recording.mp4")
    unfold(page, "#settings")
    page.get_by_role("slider", name="Minimum gap").focus()
    page.keyboard.press("ArrowRight")  # the page fixture fails on a server error
    unfold(page, "#inputs")
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("Choose a recording")
    page.locator(".toast-close").click()
    expect(page.locator(".toast-body")).to_have_count(0)
    (notes := tmp_path / "notes.mp4").write_text("not a recording\n" * 50)
    upload(page, notes)
    expect(page.locator(".toast-body")).to_contain_text("notes.mp4", timeout=RUN_MS)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).not_to_be_visible()
    expect(page.locator("#target")).to_contain_text("add a comment log")
    page.locator("#comments input[type=file]").set_input_files(short_log)
    expect(page.locator("#target")).not_to_contain_text("add a comment log")
    assert options(page, "#target") == ["LVTR", "Participation"]


def test_a_run_can_be_cancelled_and_the_earlier_result_comes_back(page, example, tmp_path):
    result_of(page, "recording.mp4")
    player = page.locator(".kuaihl")
    (other := tmp_path / "other.mp4").write_bytes((example / "recording.mp4").read_bytes() + b"\0")
    upload(page, other)
    page.locator("#run").dispatch_event("click")
    expect(page.locator("#status")).to_contain_text(STAGES["listening"], timeout=RUN_MS)
    expect(player).to_have_class(re.compile("partial"))
    page.locator("#cancel").click()
    expect(page.locator("#run")).to_be_enabled()
    expect(player).not_to_have_class(re.compile("partial"))


def test_a_path_on_the_machine_itself_and_a_log_with_dates(page, tmp_path, short_recording):
    (log := tmp_path / "clock.csv").write_text(
        "time,user,text\n" + "".join(f"2024-05-01 20:00:{s:02},viewer,hi there\n" for s in range(5, 25))
    )
    result_of(page, "recording.mp4")
    page.locator("#comments input[type=file]").set_input_files(log)
    expect(page.locator("#comments").get_by_test_id("download-link")).to_be_visible()
    unfold(page, "#settings")
    path = page.get_by_label("Path of the recording")
    path.fill(f'"{short_recording}"')
    start = page.get_by_label("Stream start")
    message = page.locator(".toast-message-item")
    for text, wrong in (("", "Stream start"), ("2024-05-01T20:00:00", "time zone")):
        start.fill(text)
        unfold(page, "#inputs")
        path.press("Enter")
        expect(message).to_contain_text(wrong, timeout=RUN_MS)
        page.locator(".toast-close").click()
        expect(message).to_have_count(0)  # a new message of its kind would fade with it
    start.fill("2024-05-01T20:00:00Z")
    unfold(page, "#inputs")
    path.press("Enter")
    result_of(page, "short.mp4")
    assert numbers(page) == ["20", "0", "0", "0", "0"]


def test_a_late_log_is_moved_to_its_sound(page, tmp_path):
    recording, log = write_stream(tmp_path, late_s=45.0)
    upload(page, recording, log)
    result_of(page, recording.name)
    unfold(page, "#settings")
    page.locator("#check-timing").click()
    expect(page.locator("#timing-figure .js-plotly-plot")).to_be_visible(timeout=RUN_MS)
    page.locator("#apply-offset").click()
    expect(page.get_by_label("Chat offset")).to_have_value(re.compile("-4[0-9]"))
    expect(page.locator("#apply-offset")).not_to_be_visible()
    page.get_by_label("Chat offset").fill("100000")
    expect(page.locator("#timing-text")).to_contain_text("outside the recording")
    expect(page.locator(".banner .warning")).to_contain_text("outside the recording")


def test_stills_replace_a_recording_that_browsers_cannot_play(page, tmp_path, burst_log):
    recording = write_recording(tmp_path / "old.mkv", duration_s=140.0, fps=5, video="mpeg4")
    run(page, recording, burst_log)
    rank_by_reaction(page)
    expect(page.locator(".stage img")).to_be_visible()
    expect(page.locator(".note")).to_contain_text("mpeg4")
    expect(page.locator(".stage video")).not_to_be_visible()
    card = page.locator(".cards li[data-rank]").first
    card.locator(".play").click()
    expect(page.locator(".seek")).to_have_attribute("aria-valuenow", str(span_of(card)[0]))
