"""The page as a visitor sees it, in headless Chromium: a recording in, a result out, and what can be done with it."""

import json
import re
import zipfile

import pytest
from playwright.sync_api import expect

from kuaihl.demo.jobs import STAGES
from kuaihl.demo.layout import EXAMPLE_LABEL
from tests.demo.conftest import rank_by_reaction
from tests.fixtures.cheering_stream import write_stream
from tests.fixtures.videos import write_recording
from tests.fixtures.visitor import RUN_MS, assert_fits, choose, options, run, seconds, turn_to, unfold, upload

pytestmark = pytest.mark.browser
CURVE = "document.querySelector('#curve .js-plotly-plot')._fullData[0].y"
COUNTS = "document.querySelector('#curve .js-plotly-plot')?._fullData?.find(t => t.type === 'bar').y.join()"


def player_is_at(page, time_s):
    page.wait_for_function(f"Math.abs(document.querySelector('#player video').currentTime - {time_s}) < 1")


def download(page, name):
    with page.expect_download() as download:
        page.locator("#downloads button", has_text=name).click()
    return download.value.path()


def encoding_times(page):
    """Return how long looking and listening took for the offered result: they would change if done again."""
    timings_s = json.loads(download(page, "prediction.json").read_text(encoding="utf-8"))["timings_s"]
    return timings_s["looking"], timings_s["listening"]


def test_a_highlight_seeks_the_player(result):
    expect(result.locator("#status")).to_contain_text("0:02:20")  # its length
    row = result.locator("#highlights button").last
    start_s = seconds(re.search(r"\d+:\d\d:\d\d", row.inner_text())[0])
    result.wait_for_function("document.querySelector('#player video').readyState >= 1")
    result.evaluate("document.querySelector('#player video').currentTime = 3")
    player_is_at(result, 3)
    row.focus()
    result.keyboard.press("Enter")
    player_is_at(result, start_s)
    expect(row).to_have_attribute("aria-pressed", "true")


def test_files_and_clips_can_be_downloaded(result):
    assert download(result, "segments.csv").read_text(encoding="utf-8").startswith("index,")
    expect(result.locator("#clips")).not_to_be_visible()
    result.locator("#cut").click()
    expect(result.locator("#clips")).to_be_visible()
    with zipfile.ZipFile(download(result, "clips.zip")) as clips:
        assert len(clips.namelist()) == result.locator("#highlights button").count()
        assert clips.testzip() is None


def test_every_segment_and_the_next_score_are_explained(result):
    turn_to(result, "Why")
    offered = options(result, "#segment")
    assert [option.split()[0] for option in offered] == ["0:00:30", "0:01:00", "0:01:30", "0:02:00", "Next"]
    choose(result, "#segment", offered[1])
    expect(result.locator("#explanation h3").first).to_contain_text("0:01:00")
    player_is_at(result, 60)
    expect(result.locator("#explanation li")).to_have_count(2)
    expect(result.locator("#explanation li", has_text="0:00:30")).to_contain_text("what a nice pan")
    choose(result, "#segment", offered[-1])
    expect(result.locator("#explanation li")).to_have_count(5)
    expect(result.locator("#explanation li", has_text="0:01:00")).to_contain_text("what a nice pan × 3")
    turn_to(result, "Segments")
    result.get_by_role("gridcell", name="0:01:30").click()
    player_is_at(result, 90)
    turn_to(result, "Why")
    expect(result.locator("#segment input")).to_have_value(offered[2])
    turn_to(result, "Alignment")
    expect(result.locator("#alignment .js-plotly-plot")).to_be_visible()


WATCH_REPLAY = """() => {
    window.seen = [];
    setInterval(() => {
        const traces = document.querySelector('#live-curve .js-plotly-plot')?._fullData;
        const next = traces?.find((trace) => trace.name.startsWith('next'));
        const now = traces && JSON.stringify([Array.from(traces[0].y), Array.from(next.y), Array.from(next.x)]);
        if (now && now !== window.seen.at(-1)) window.seen.push(now);
    }, 20);
}"""


def test_a_replay_never_changes_earlier_scores(result):
    turn_to(result, "Curve")
    whole = result.evaluate(f"Array.from({CURVE})")
    turn_to(result, "Live")
    result.evaluate(WATCH_REPLAY)
    result.locator("#replay").click()
    expect(result.locator("#live-text")).to_contain_text("0:02:00 – 0:02:20", timeout=RUN_MS)
    result.wait_for_function("JSON.parse(window.seen.at(-1) ?? '[[]]')[0].length === 5")
    seen = [json.loads(drawn) for drawn in result.evaluate("window.seen")]
    assert len(seen) >= 3, "it was drawn while it grew"
    assert seen[-1][0] == whole
    for scores, next_scores, times in seen:
        assert scores == whole[: len(scores)]
        assert next_scores[0] == scores[-1]
        assert times == sorted(times)
        if len(scores) < len(whole):
            assert next_scores[1] == pytest.approx(whole[len(scores)], abs=1e-9)
    turn_to(result, "Curve")


def test_settings_predict_again_without_encoding(result):
    turn_to(result, "Why")
    encoded, before = encoding_times(result), result.locator("#status").inner_text()
    result.get_by_label("Comments", exact=True).uncheck()
    expect(result.locator(".toast-body")).to_contain_text("reaction")  # which needs comments
    result.locator(".toast-close").click()
    result.get_by_label("Auto", exact=True).check()
    expect(result.locator("#status")).to_contain_text("no comments")
    expect(result.locator("#explanation table")).not_to_contain_text("comments")
    assert encoding_times(result) == encoded
    result.get_by_label("Comments", exact=True).check()
    expect(result.locator("#status")).not_to_contain_text("no comments")
    assert result.locator("#status").inner_text() == before
    rank_by_reaction(result)
    turn_to(result, "Curve")


def test_a_target_changes_curve_and_description(result):
    before = result.evaluate(f"JSON.stringify({CURVE})")
    choose(result, "#target", "Participation")
    for part in ("#curve", "#head .model", "#status"):
        expect(result.locator(part)).to_contain_text("participation")
    assert result.evaluate(f"JSON.stringify({CURVE})") != before
    choose(result, "#target", "LVTR")
    result.wait_for_function(f"before => JSON.stringify({CURVE}) == before", arg=before)
    expect(result.locator("#head .model")).to_contain_text("predicts LVTR")


def test_a_known_streamer_contributes(result):
    unknown, known, *_ = options(result, "#streamer")
    turn_to(result, "Why")
    expect(result.locator("#explanation table")).not_to_contain_text("streamer")
    choose(result, "#streamer", known)
    expect(result.locator("#explanation table")).to_contain_text("streamer")
    choose(result, "#streamer", unknown)
    expect(result.locator("#explanation table")).not_to_contain_text("streamer")
    turn_to(result, "Curve")


def test_sliders_work_with_a_keyboard(result):
    first = result.locator("#highlights .when").first
    before_s = seconds(first.inner_text().split(" – ")[0])
    for slider, key, start_s in (("Padding", "ArrowRight", before_s - 5), ("Padding", "Home", before_s)):
        result.get_by_role("slider", name=slider).focus()
        result.keyboard.press(key)
        expect(first).to_contain_text(f"0:0{start_s // 60}:{start_s % 60:02} – ")


def test_comments_are_shifted_and_selected_without_encoding(result):
    encoded = encoding_times(result)
    result.wait_for_function(f"{COUNTS} == '2,1,3,0,1'")
    unfold(result, "#comment-settings")
    result.get_by_label("Comment offset").fill("30")
    result.wait_for_function(f"{COUNTS} == '0,2,1,3,0'")
    result.get_by_label("Messages", exact=True).uncheck()
    result.wait_for_function(f"{COUNTS} == '0,0,0,0,0'")
    assert encoding_times(result) == encoded


def test_before_a_run_settings_and_mistakes_leave_the_page_usable(page, tmp_path, short_log):
    unfold(page, "#settings")
    page.get_by_role("slider", name="Padding").focus()
    page.keyboard.press("ArrowRight")  # the page fixture fails on a server error
    page.get_by_label("Speech", exact=True).uncheck()
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("Choose a recording")
    page.locator(".toast-close").click()
    expect(page.locator(".toast-body")).to_have_count(0)
    (notes := tmp_path / "notes.mp4").write_text("not a recording\n" * 50)
    upload(page, notes)
    expect(page.locator("#target")).to_contain_text("add a comment log", timeout=RUN_MS)
    assert options(page, "#target") == ["LVTR"]
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text("notes.mp4", timeout=RUN_MS)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).not_to_be_visible()
    page.locator("#comments input[type=file]").set_input_files(short_log)
    expect(page.locator("#target")).not_to_contain_text("add a comment log")
    assert options(page, "#target") == ["LVTR", "Participation"]


def test_the_example_is_one_click_away_and_can_be_cancelled(page):
    page.get_by_text(EXAMPLE_LABEL).click()
    expect(page.locator("#recording")).to_contain_text("recording")
    expect(page.locator("#comments")).to_contain_text("comments")
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text(STAGES["listening"], timeout=RUN_MS)
    page.locator("#cancel").click()
    expect(page.locator("#run")).to_be_enabled()
    page.wait_for_timeout(1000)
    expect(page.locator("#highlights button")).to_have_count(0)
    page.route("**/gradio_api/**", lambda _: None)  # the server never answers, and still
    page.locator("#run").click()
    expect(page.locator("#run")).to_be_disabled()
    expect(page.locator("#cancel")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")


def test_a_path_on_the_machine_itself_and_a_log_with_dates(page, tmp_path, short_recording):
    (log := tmp_path / "clock.csv").write_text(
        "time,user,text\n" + "".join(f"2024-05-01 20:00:{s:02},viewer,hi there\n" for s in range(5, 25))
    )
    page.get_by_label("Path of the recording").fill(f'"{short_recording}"')
    page.locator("#comments input[type=file]").set_input_files(log)
    expect(page.locator("#comments").get_by_test_id("download-link")).to_be_visible()
    unfold(page, "#comment-settings")
    start = page.locator("#comment-settings").get_by_label("Stream start")
    message = page.locator(".toast-message-item")
    for text, wrong in (("", "Stream start"), ("2024-05-01T20:00:00", "time zone")):
        start.fill(text)
        page.locator("#run").click()
        expect(message).to_contain_text(wrong, timeout=RUN_MS)
        page.locator(".toast-close").click()
        expect(message).to_have_count(0)  # a new message of its kind would fade with it
    start.fill("2024-05-01T20:00:00Z")
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text("short.mp4", timeout=RUN_MS)
    page.wait_for_function(f"{COUNTS} == '20,0,0,0,0'")


def test_a_late_log_is_moved_to_its_sound(page, tmp_path):
    upload(page, *write_stream(tmp_path, late_s=45.0))
    unfold(page, "#comment-settings")
    page.locator("#check-timing").click()
    expect(page.locator("#timing-figure .js-plotly-plot")).to_be_visible(timeout=RUN_MS)
    comments = "JSON.stringify(document.querySelector('#timing-figure .js-plotly-plot')._fullData[1].y)"
    before = page.evaluate(comments)
    page.locator("#apply-offset").click()
    expect(page.get_by_label("Comment offset")).to_have_value(re.compile("-4[0-9]"))
    page.wait_for_function(f"before => {comments} != before", arg=before)
    expect(page.locator("#apply-offset")).not_to_be_visible()
    page.get_by_label("Comment offset").fill("100000")
    expect(page.locator("#timing-text")).to_contain_text("outside the recording")


def test_a_phone_needs_no_sideways_scrolling_and_follows_a_rotation(phone, short_recording):
    assert_fits(phone)
    run(phone, short_recording)
    assert_fits(phone)
    turn_to(phone, "Why")
    phone.set_viewport_size({"width": 844, "height": 390})
    turn_to(phone, "Curve")
    phone.wait_for_function(
        "() => { const width = (part) => document.querySelector(part).getBoundingClientRect().width;"
        " return width('#curve') > 400 && width('#curve .main-svg') > 0.9 * width('#curve'); }"
    )
    assert_fits(phone)


def test_stills_replace_a_recording_that_browsers_cannot_play(page, tmp_path):
    run(page, write_recording(tmp_path / "old.mkv", duration_s=70.0, fps=5, video="mpeg4"))
    expect(page.locator("#still img")).to_be_visible()
    expect(page.locator("#still")).to_contain_text("mpeg4")
    expect(page.locator("#player")).not_to_be_visible()
