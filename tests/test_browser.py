"""The app as a visitor sees it, in Chromium without a window."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.cheers import write_stream
from tests.serving import ROOT, browse

pytestmark = pytest.mark.browser
RUN_MS = 180_000
expect.set_options(timeout=90_000)  # a busy machine takes its time to draw


@pytest.fixture(scope="module")
def browser(chromium):
    with browse(chromium) as browser:
        yield browser


@pytest.fixture
def page(browser, app_url):
    """A visitor with a fresh browser on a laptop; asking any other host for anything fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    strangers = []
    context.on("request", lambda request: strangers.append(request.url) if is_strange(request.url, app_url) else None)
    page = context.new_page()
    page.goto(app_url)
    page.wait_for_selector("#run")
    yield page
    context.close()
    assert strangers == []


def is_strange(url, app_url):
    return not url.startswith((app_url, "data:", "blob:"))


def upload(page, recording, log=None):
    for field, file in (("recording", recording), ("comments", log)):
        if file:
            page.locator(f"#{field} input[type=file]").set_input_files(file)
            expect(page.locator(f"#{field}")).to_contain_text(file.stem)


def run(page, recording, log=None):
    upload(page, recording, log)
    page.locator("#run").click()
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)
    expect(page.locator("#curve .js-plotly-plot")).to_be_visible()


def turn_to(page, tab):
    page.get_by_role("tab", name=tab).click()


def seconds(clock):
    hours, minutes, second = map(int, clock.split(":"))
    return 3600 * hours + 60 * minutes + second


def assert_fits(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_upload_run_and_click_a_highlight(page, short_recording, short_log):
    expect(page.locator("#head .model")).to_contain_text("rained on", timeout=RUN_MS)
    run(page, short_recording, short_log)
    expect(page.locator("#status")).to_contain_text("0:02:20")  # its length
    turn_to(page, "Alignment")
    expect(page.locator("#alignment .js-plotly-plot")).to_be_visible()
    turn_to(page, "Segments")
    expect(page.locator("#table")).to_contain_text("0:01:30")

    row = page.locator("#highlights button").last
    start_s = seconds(re.search(r"\d+:\d\d:\d\d", row.inner_text())[0])
    page.wait_for_function("document.querySelector('#player video').readyState >= 1")
    page.evaluate("document.querySelector('#player video').currentTime = 3")
    page.wait_for_function("Math.abs(document.querySelector('#player video').currentTime - 3) < 0.5")
    row.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"Math.abs(document.querySelector('#player video').currentTime - {start_s}) < 1")
    expect(row).to_have_attribute("aria-pressed", "true")

    with page.expect_download() as download:
        page.locator("#downloads button", has_text="segments.csv").click()
    assert download.value.path().read_text(encoding="utf-8").startswith("index,")


def test_settings_predict_again_without_encoding(page, short_recording, short_log):
    run(page, short_recording, short_log)
    turn_to(page, "Why")
    expect(page.locator("#why")).to_contain_text("comments")
    before = page.locator("#highlights").inner_text()
    page.get_by_text("Settings", exact=True).first.click()
    page.get_by_label("Comments", exact=True).uncheck()
    expect(page.locator("#status")).to_contain_text("no comments")
    expect(page.locator("#why table")).not_to_contain_text("comments")
    assert page.locator("#highlights").inner_text() != before
    page.get_by_label("Comments", exact=True).check()
    expect(page.locator("#highlights")).to_contain_text(before.splitlines()[-1])


def choose(page, part, option):
    page.locator(f"{part} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def options(page, part):
    """What a list offers."""
    page.locator(f"{part} input").click()
    expect(page.get_by_role("option").first).to_be_visible()
    offered = page.get_by_role("option").all_inner_texts()
    page.locator(f"{part} input").blur()
    return [option.removeprefix("✓").strip() for option in offered]


def test_what_to_predict_is_a_choice_that_the_page_names(page, short_recording, short_log):
    run(page, short_recording, short_log)
    drawn = "JSON.stringify(document.querySelector('#curve .js-plotly-plot')._fullData[0].y)"
    before = page.evaluate(drawn)
    expect(page.locator("#curve")).to_contain_text("Predicted LVTR of short.mp4")
    page.locator("#settings button").first.click()
    choose(page, "#target", "Participation")
    expect(page.locator("#curve")).to_contain_text("Predicted participation of short.mp4")
    expect(page.locator("#curve")).to_contain_text("Learned from: real chat")
    expect(page.locator("#head .model")).to_contain_text("predicts participation, the share of chatters")
    expect(page.locator("#head .model")).to_contain_text("trained on real chat")
    expect(page.locator("#status")).to_contain_text("Mean participation")
    expect(page.locator("#highlights")).to_contain_text("predicted participation")
    assert page.evaluate(drawn) != before
    choose(page, "#target", "LVTR")
    page.wait_for_function(f"before => {drawn} == before", arg=before)
    expect(page.locator("#head .model")).to_contain_text("trained on simulated rooms")


def test_without_a_comment_log_participation_is_not_offered_and_the_page_says_why(page, short_recording, short_log):
    upload(page, short_recording)
    page.locator("#settings button").first.click()
    expect(page.locator("#target")).to_contain_text("For participation, add a comment log", timeout=RUN_MS)
    assert options(page, "#target") == ["LVTR"]
    page.locator("#comments input[type=file]").set_input_files(short_log)
    expect(page.locator("#target")).not_to_contain_text("add a comment log")
    assert options(page, "#target") == ["LVTR", "Participation"]
    choose(page, "#target", "Participation")
    expect(page.locator("#head .model")).to_contain_text("predicts participation")
    page.locator("#comments").get_by_role("button", name="Clear").click()
    expect(page.locator("#target")).to_contain_text("For participation, add a comment log")
    expect(page.locator("#target input")).to_have_value("LVTR")


def test_a_known_streamer_has_an_effect_of_their_own(page, short_recording, short_log):
    run(page, short_recording, short_log)
    page.locator("#settings button").first.click()
    new, known, *_ = options(page, "#streamer")
    assert new == "Somebody new"
    turn_to(page, "Why")
    expect(page.locator("#why table")).not_to_contain_text("streamer")
    choose(page, "#streamer", known)
    expect(page.locator("#why table")).to_contain_text("streamer")


def test_comments_are_moved_without_encoding_again(page, short_recording, short_log):
    run(page, short_recording, short_log)
    bars = "document.querySelector('#curve .js-plotly-plot')._fullData.find(d => d.name.startsWith('comments')).y"
    counts = f"Array.from({bars}).join()"
    page.wait_for_function(f"{counts} == '2,1,3,0,1'")
    page.locator("#comment-settings button").first.click()
    page.get_by_label("Comment offset").fill("30")
    page.wait_for_function(f"{counts} == '0,2,1,3,0'")
    page.get_by_label("Messages", exact=True).uncheck()
    page.wait_for_function(f"{counts} == '0,0,0,0,0'")


def test_a_late_log_is_moved_to_where_its_sound_is(page, tmp_path):
    upload(page, *write_stream(tmp_path, late_s=45.0))
    page.locator("#comment-settings button").first.click()
    page.locator("#check").click()
    expect(page.locator("#fit")).to_contain_text("best with an offset of -4", timeout=RUN_MS)
    expect(page.locator("#fit-figure .js-plotly-plot")).to_be_visible()
    drawn = "JSON.stringify(document.querySelector('#fit-figure .js-plotly-plot')._fullData[1].y)"
    before = page.evaluate(drawn)
    page.get_by_role("button", name="Use an offset of -4").click()
    expect(page.get_by_label("Comment offset")).to_have_value(re.compile("-4[0-9]"))
    expect(page.locator("#fit")).to_contain_text("as they should")
    page.wait_for_function(f"before => {drawn} != before", arg=before)
    page.get_by_label("Comment offset").fill("100000")
    expect(page.locator("#fit")).to_contain_text("outside the recording")


def test_a_log_by_the_wall_clock_asks_when_the_stream_started(page, tmp_path, short_recording):
    (log := tmp_path / "clock.csv").write_text(
        "time,user,text\n" + "".join(f"2024-05-01 20:00:{s:02},viewer,hi there\n" for s in range(5, 25))
    )
    upload(page, short_recording, log)
    page.locator("#run").click()
    toast = page.locator(".toast-body")
    expect(toast).to_contain_text("tell when the recording starts, with the time zone, as in 2024-", timeout=RUN_MS)
    toast.get_by_role("button").last.click()
    expect(toast).to_have_count(0)
    page.locator("#comment-settings button").first.click()
    start = page.get_by_label("Stream start")
    start.fill("2024-05-01T20:00:00")
    start.blur()
    page.locator("#run").click()
    expect(toast).to_contain_text("has no time zone")
    toast.get_by_role("button").last.click()
    start.fill("2024-05-01T20:00:00Z")
    page.locator("#run").click()
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)


def test_a_path_on_ones_own_machine(page, short_recording):
    page.get_by_label("Path of the recording").fill(f'"{short_recording}"')
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text("short.mp4", timeout=RUN_MS)
    expect(page.locator("#status")).to_contain_text("no comments")


def test_another_model_predicts_from_what_is_encoded(page, tmp_path, short_recording, short_log):
    mine = Path(shutil.copytree(ROOT / "assets" / "checkpoint", tmp_path / "mine"))
    config = json.loads((mine / "config.json").read_text(encoding="utf-8"))
    config["targets"][0]["trained_on"] = "what I say"
    (mine / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run(page, short_recording, short_log)
    page.locator("#more button").first.click()
    model = page.get_by_label("Model", exact=True)
    model.fill(str(mine))
    model.press("Enter")
    expect(page.locator("#head .model")).to_contain_text("mine predicts LVTR", timeout=RUN_MS)
    expect(page.locator("#head .model")).to_contain_text("trained on what I say")
    expect(page.locator("#curve")).to_contain_text("what I say")
    model.fill("no/such")
    model.press("Enter")
    expect(page.locator("#head .model.wrong")).to_contain_text("no/such", timeout=RUN_MS)


WATCH_THE_LIVE_CURVE = """() => {
    window.seen = [];
    setInterval(() => {
        const drawn = document.querySelector('#live-curve .js-plotly-plot')?._fullData;
        const forecast = drawn?.find((trace) => trace.name.startsWith('forecast'));
        const now = drawn && JSON.stringify([Array.from(drawn[0].y), Array.from(forecast.y), Array.from(forecast.x)]);
        if (now && now !== window.seen.at(-1)) window.seen.push(now);
    }, 20);
}"""


def test_live_the_past_never_moves_and_the_forecast_stands_at_the_end(page, short_recording, short_log):
    run(page, short_recording, short_log)
    whole = page.evaluate("Array.from(document.querySelector('#curve .js-plotly-plot')._fullData[0].y)")
    forecast = page.locator("#curve .annotation-text", has_text="forecast").first.text_content()
    turn_to(page, "Live")
    page.evaluate(WATCH_THE_LIVE_CURVE)
    page.locator("#play").click()
    expect(page.locator("#arrived")).to_contain_text("0:02:00 – 0:02:20 has come", timeout=RUN_MS)
    expect(page.locator("#live-curve .annotation-text", has_text="forecast").first).to_have_text(forecast)
    expect(page.locator("#arrived")).to_contain_text(forecast.split()[-1])
    page.wait_for_function("JSON.parse(window.seen.at(-1) ?? '[[]]')[0].length === 5")
    seen = [json.loads(drawn) for drawn in page.evaluate("window.seen")]
    assert len(seen) >= 3, "it was drawn while it grew"
    assert seen[-1][0] == whole
    for values, ahead, at in seen:
        assert values == whole[: len(values)]
        assert ahead[0] == values[-1]
        assert at == sorted(at), "the forecast is after the last value"
        if len(values) < len(whole):
            assert ahead[1] == pytest.approx(whole[len(values)], abs=1e-9)


def test_why_is_told_of_every_segment_and_of_the_forecast(page, short_recording, short_log):
    run(page, short_recording, short_log)
    turn_to(page, "Why")
    offered = options(page, "#which")
    assert [option.split()[0] for option in offered] == ["0:00:30", "0:01:00", "0:01:30", "0:02:00", "Forecast,"]
    choose(page, "#which", offered[1])
    expect(page.locator("#why h3").first).to_contain_text("at 0:01:00")
    page.wait_for_function("Math.abs(document.querySelector('#player video').currentTime - 60) < 1")
    expect(page.locator("#why li")).to_have_count(2)
    expect(page.locator("#why li", has_text="0:00:30")).to_contain_text("what a nice pan")
    choose(page, "#which", offered[-1])
    expect(page.locator("#why h3").first).to_contain_text("for the next 30 s, the forecast")
    expect(page.locator("#why li", has_text="0:01:00")).to_contain_text("what a nice pan × 3")
    turn_to(page, "Segments")
    page.get_by_role("gridcell", name="0:01:30").click()
    page.wait_for_function("Math.abs(document.querySelector('#player video').currentTime - 90) < 1")
    turn_to(page, "Why")
    expect(page.locator("#which input")).to_have_value(offered[2])


def test_a_keyboard_moves_the_sliders_of_the_highlights(page, short_recording, short_log):
    run(page, short_recording, short_log)
    first = page.locator("#highlights .when").first
    before = seconds(first.inner_text().split(" – ")[0])
    page.locator("#settings button").first.click()
    page.get_by_role("slider", name="Seconds added at both ends").focus()
    page.keyboard.press("ArrowRight")
    expect(first).not_to_contain_text(f"0:{before // 60:02}:{before % 60:02} –")
    assert seconds(first.inner_text().split(" – ")[0]) == before - 5
    page.get_by_role("slider", name="Seconds long at most").focus()
    page.keyboard.press("Home")
    expect(first).to_contain_text(re.compile(r"0:0\d:\d5 – "))
    page.get_by_role("slider", name="Highlights at most").focus()
    page.keyboard.press("Home")
    expect(page.locator("#highlights button")).to_have_count(1)


def test_clips_of_the_highlights_come_as_a_zip(page, short_recording, short_log):
    run(page, short_recording, short_log)
    expect(page.locator("#clips")).not_to_be_visible()
    page.locator("#cut").click()
    expect(page.locator("#clips")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#clips").click()
    with zipfile.ZipFile(download.value.path()) as clips:
        assert len(clips.namelist()) == page.locator("#highlights button").count()
        assert clips.testzip() is None


def test_refused_input_says_why_and_the_page_goes_on(page, tmp_path, short_recording):
    (notes := tmp_path / "notes.mp4").write_text("not a recording\n" * 50)
    upload(page, notes)
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("notes.mp4", timeout=RUN_MS)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).not_to_be_visible()


def test_run_without_a_recording(page):
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("Choose a recording first")
    expect(page.locator("#run")).to_be_enabled()


def test_the_example_is_one_click_away(page):
    page.get_by_text("A simulated stream and its chat").click()
    expect(page.locator("#recording")).to_contain_text("recording")
    expect(page.locator("#comments")).to_contain_text("comments")


def test_cancel(page):
    page.get_by_text("A simulated stream and its chat").click()
    expect(page.locator("#comments")).to_contain_text("comments")
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text(re.compile(r"\(\d of \d\)"), timeout=RUN_MS)
    page.locator("#cancel").click()
    expect(page.locator("#run")).to_be_enabled()
    page.wait_for_timeout(1000)
    expect(page.locator("#highlights button")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page, app_url, theme, short_recording):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{app_url}/?__theme={theme}")
    page.wait_for_selector("#run")
    assert_fits(page)
    run(page, short_recording)
    expect(page.locator("#status")).to_contain_text("no comments")
    assert_fits(page)


def test_what_browsers_cannot_play_is_shown_as_stills(page, tmp_path):
    from tests.media import write_recording

    run(page, write_recording(tmp_path / "old.mkv", duration_s=70.0, fps=5, video="mpeg4"))
    expect(page.locator("#still img")).to_be_visible()
    expect(page.locator("#still")).to_contain_text("Browsers do not play mpeg4")
    expect(page.locator("#player")).not_to_be_visible()
