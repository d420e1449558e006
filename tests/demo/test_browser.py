"""The app as a visitor sees it, in Chromium without a window: a recording in, a result out, and what it shows."""

import json
import re
import zipfile

import pytest
from playwright.sync_api import expect

from tests.fixtures.visitor import RUN_MS, assert_fits, choose, options, run, seconds, turn_to, upload

pytestmark = pytest.mark.browser


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


def test_a_path_on_ones_own_machine(page, short_recording):
    page.get_by_label("Path of the recording").fill(f'"{short_recording}"')
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text("short.mp4", timeout=RUN_MS)
    expect(page.locator("#status")).to_contain_text("no comments")


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


def test_cancel_is_offered_before_the_server_answers(page):
    page.route("**/gradio_api/**", lambda _: None)  # nor ever will
    page.locator("#run").click()
    expect(page.locator("#run")).to_be_disabled()
    expect(page.locator("#cancel")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(page, app_url, theme, short_recording):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{app_url}/?__theme={theme}")
    page.wait_for_selector("#run")
    assert_fits(page)
    run(page, short_recording)
    expect(page.locator("#status")).to_contain_text("no comments")
    assert_fits(page)


def test_a_phone_that_is_turned_on_another_tab_finds_the_figure_as_wide_as_itself(page, short_recording):
    page.set_viewport_size({"width": 390, "height": 844})
    run(page, short_recording)
    turn_to(page, "Why")
    page.set_viewport_size({"width": 844, "height": 390})
    turn_to(page, "Curve")
    drawn = page.wait_for_function(
        "() => { const width = (part) => document.querySelector(part).getBoundingClientRect().width;"
        " const [figure, tab] = [width('#curve .main-svg'), width('#curve')];"
        " return tab > 400 && figure > 0.9 * tab && [figure, tab]; }"
    )
    figure, tab = drawn.json_value()
    assert 400 < tab < figure / 0.9


def test_what_browsers_cannot_play_is_shown_as_stills(page, tmp_path):
    from tests.fixtures.videos import write_recording

    run(page, write_recording(tmp_path / "old.mkv", duration_s=70.0, fps=5, video="mpeg4"))
    expect(page.locator("#still img")).to_be_visible()
    expect(page.locator("#still")).to_contain_text("Browsers do not play mpeg4")
    expect(page.locator("#player")).not_to_be_visible()
