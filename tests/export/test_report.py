"""The report: whole without a network, on a laptop, a telephone and paper, in light and dark."""

import base64
import dataclasses
import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from kuaihl.export.report import report_page, still
from kuaihl.export.view import view_of
from kuaihl.media.recording import open_recording
from tests.fixtures.predictions import made_up
from tests.fixtures.videos import time_of

DATA = re.compile(r'<script id="prediction" type="application/json">(.*?)</script>', re.DOTALL)


def test_it_has_all_of_the_prediction():
    prediction = made_up()
    page = report_page(prediction, stills=["data:image/jpeg;base64,AA=="] * 2)
    data = json.loads(DATA.search(page)[1])
    assert data["forecast"][1:] == pytest.approx(prediction.curve[1:], abs=1e-5)
    assert data["messages"] == [s.comments for s in prediction.segments]
    assert [text for *_, text in data["transcript"]] == [s.speech for s in prediction.segments if s.speech]
    for card, highlight in zip(data["cards"], prediction.highlights, strict=True):
        for name, value in dataclasses.asdict(highlight).items():
            assert card[name] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value)
        assert card["still"] == "data:image/jpeg;base64,AA=="
    (alignment, *_), expected = data["alignments"], prediction.alignments[0]
    assert (alignment["source"], alignment["other"]) == (expected.source, expected.other)
    cost = np.frombuffer(base64.b64decode(alignment["cost"]), np.uint8).reshape(expected.cost.shape)
    restored = alignment["low"] + cost / 254 * (alignment["high"] - alignment["low"])
    np.testing.assert_array_equal(cost == 255, np.isnan(expected.cost))
    np.testing.assert_allclose(restored[cost < 255], expected.cost[cost < 255], atol=0.003)
    assert prediction.trained_on in page


def test_no_words_break_out_and_numbers_are_strict():
    prediction = made_up()
    wicked = dataclasses.replace(
        prediction.segments[2], speech='"></script><script>alert(1)</script><!--', score=math.nan
    )
    prediction = dataclasses.replace(prediction, segments=(*prediction.segments[:2], wicked, *prediction.segments[3:]))
    page = report_page(prediction)
    assert "<script>alert" not in page
    assert json.loads(DATA.search(page)[1])["forecast"][2] is None


def test_a_still_is_a_picture_of_its_time(short_recording):
    data = still(open_recording(short_recording), 61.0)
    image = Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))
    assert image.width == 480
    assert time_of(np.asarray(image)) == pytest.approx(61.0, abs=2.1), "the nearest keyframe"


def test_sound_has_no_stills(make_recording):
    assert still(open_recording(make_recording("sound.m4a", video=None)), 10.0) == ""


def test_usual_is_the_mean_of_what_is_known():
    prediction = made_up()
    assert view_of(prediction)["usual"] == pytest.approx(np.mean(prediction.curve[1:]))
    single = dataclasses.replace(prediction, segments=prediction.segments[:1], highlights=(), alignments=())
    assert view_of(single)["usual"] is None


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_offline_and_fits(tmp_path, browser, scheme):
    path = tmp_path / "report.html"
    path.write_text(report_page(made_up()), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme)
    problems = []
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else problems.append(request.url),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator(".cards li[data-rank]").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        paper = brightness(page, "body", "backgroundColor")
        assert (paper > 128) is (scheme == "light")
        for part in ("h1", "h2", ".said", "footer", ".axis", ".legend"):
            assert abs(brightness(page, part, "color") - paper) > 90
    page.emulate_media(media="print", color_scheme=scheme)
    assert brightness(page, "body", "backgroundColor") > 250
    assert brightness(page, "h2", "color") < 90
    page.close()
    assert problems == []


def brightness(page, selector, style):
    """Mean of red, green and blue, 0 to 255."""
    colour = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{style}")
    return sum(float(number) for number in colour.split("(")[1].rstrip(")").split(",")[:3]) / 3
