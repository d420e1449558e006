"""What a visitor can set, in Chromium without a window: the page predicts again, and encodes nothing again."""

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.fixtures.cheering_stream import write_stream
from tests.fixtures.serving import ROOT
from tests.fixtures.visitor import RUN_MS, choose, options, run, seconds, turn_to, unfold, upload

pytestmark = pytest.mark.browser


def encoded_once(page):
    """How long the looking and the listening took behind what the page offers: anew, each would take another time."""
    with page.expect_download() as download:
        page.locator("#downloads button", has_text="prediction.json").click()
    timings_s = json.loads(download.value.path().read_text(encoding="utf-8"))["timings_s"]
    return timings_s["looking"], timings_s["listening"]


def test_settings_predict_again_without_encoding(page, short_recording, short_log):
    run(page, short_recording, short_log)
    turn_to(page, "Why")
    expect(page.locator("#why")).to_contain_text("comments")
    encoded = encoded_once(page)
    before = page.locator("#highlights").inner_text()
    unfold(page, "#settings")
    page.get_by_label("Comments", exact=True).uncheck()
    expect(page.locator("#status")).to_contain_text("no comments")
    expect(page.locator("#why table")).not_to_contain_text("comments")
    assert page.locator("#highlights").inner_text() != before
    assert encoded_once(page) == encoded
    page.get_by_label("Comments", exact=True).check()
    expect(page.locator("#highlights")).to_contain_text(before.splitlines()[-1])


def test_what_to_predict_is_a_choice_that_the_page_names(page, short_recording, short_log):
    run(page, short_recording, short_log)
    drawn = "JSON.stringify(document.querySelector('#curve .js-plotly-plot')._fullData[0].y)"
    before = page.evaluate(drawn)
    expect(page.locator("#curve")).to_contain_text("Predicted LVTR of short.mp4")
    unfold(page, "#settings")
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
    unfold(page, "#settings")
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
    unfold(page, "#settings")
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
    encoded = encoded_once(page)
    unfold(page, "#comment-settings")
    page.get_by_label("Comment offset").fill("30")
    page.wait_for_function(f"{counts} == '0,2,1,3,0'")
    assert encoded_once(page) == encoded
    page.get_by_label("Messages", exact=True).uncheck()
    page.wait_for_function(f"{counts} == '0,0,0,0,0'")
    assert encoded_once(page) == encoded


def test_a_late_log_is_moved_to_where_its_sound_is(page, tmp_path):
    upload(page, *write_stream(tmp_path, late_s=45.0))
    unfold(page, "#comment-settings")
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


def close(page):
    """Close a message, and wait until it has faded: a new one of its kind would fade with it."""
    page.locator(".toast-close").click()
    expect(page.locator(".toast-body")).to_have_count(0)


def test_a_log_by_the_wall_clock_asks_when_the_stream_started(page, tmp_path, short_recording):
    (log := tmp_path / "clock.csv").write_text(
        "time,user,text\n" + "".join(f"2024-05-01 20:00:{s:02},viewer,hi there\n" for s in range(5, 25))
    )
    upload(page, short_recording, log)
    page.locator("#run").click()
    told = page.locator(".toast-message-item")  # one a message, while those of a kind share what can be closed
    expect(told).to_contain_text("tell when the recording starts, with the time zone, as in 2024-", timeout=RUN_MS)
    expect(told).to_contain_text("(“Stream start”, under “Comments”; for programs stream_start)")
    close(page)
    expect(page.locator("#comment-settings button").first).to_contain_text("Comments")
    unfold(page, "#comment-settings")
    start = page.locator("#comment-settings").get_by_label("Stream start")
    start.fill("2024-05-01T20:00:00")
    page.locator("#run").click()
    expect(told).to_contain_text("has no time zone", timeout=RUN_MS)
    close(page)
    start.fill("2024-05-01T20:00:00Z")
    page.locator("#run").click()
    expect(page.locator("#highlights button").first).to_be_visible(timeout=RUN_MS)


def test_another_model_predicts_from_what_is_encoded(page, tmp_path, short_recording, short_log):
    mine = Path(shutil.copytree(ROOT / "assets" / "checkpoint", tmp_path / "mine"))
    config = json.loads((mine / "config.json").read_text(encoding="utf-8"))
    config["targets"][0]["trained_on"] = "what I say"
    (mine / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run(page, short_recording, short_log)
    unfold(page, "#more")
    model = page.get_by_label("Model", exact=True)
    model.fill(str(mine))
    model.press("Enter")
    expect(page.locator("#head .model")).to_contain_text("mine predicts LVTR", timeout=RUN_MS)
    expect(page.locator("#head .model")).to_contain_text("trained on what I say")
    expect(page.locator("#curve")).to_contain_text("what I say")
    model.fill("no/such")
    model.press("Enter")
    expect(page.locator("#head .model.wrong")).to_contain_text("no/such", timeout=RUN_MS)


def test_a_keyboard_moves_the_sliders_of_the_highlights(page, short_recording, short_log):
    run(page, short_recording, short_log)
    first = page.locator("#highlights .when").first
    before = seconds(first.inner_text().split(" – ")[0])
    unfold(page, "#settings")
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
