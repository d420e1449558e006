"""The report: whole without a network, on a laptop, a telephone and paper, in light and dark."""

import base64
import dataclasses
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kuaihl.export.report import report_page, still
from kuaihl.media.recording import open_recording
from tests.fixtures.predictions import made_up
from tests.fixtures.videos import time_of


class Texts(HTMLParser):
    """Collects the text of a page, without its scripts, and the tags that load something."""

    def __init__(self, page):
        super().__init__()
        self.inside, self.words, self.loads = [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.inside.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href"} and tag != "a"]

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside):
            self.words.append(data)


def test_it_has_all_of_the_prediction():
    prediction = made_up()
    page = Texts(report_page(prediction))
    assert page.loads == []
    assert "my <stream>.mp4" in page.text
    assert prediction.trained_on in page.text
    for highlight in prediction.highlights:
        assert f"{highlight.rank}. " in page.text
        assert highlight.strength in page.text
    for segment in prediction.segments:
        assert " ".join(segment.speech.split()) in page.text
    assert "0:11:30" in page.text


def test_it_carries_plotly_once_and_no_words_break_out():
    prediction = made_up()
    wicked = dataclasses.replace(prediction.segments[2], speech='"></script><script>alert(1)</script><!--')
    prediction = dataclasses.replace(prediction, segments=(*prediction.segments[:2], wicked, *prediction.segments[3:]))
    page = report_page(prediction)
    assert page.count("plotly.js v") == 1  # its licence
    assert "<script>alert" not in page
    assert page.count("</script>") == 2


def test_stills_are_pictures_of_the_recording(short_recording):
    recording = open_recording(short_recording)
    head, data = still(recording, 75.0).split(",")
    assert head == "data:image/jpeg;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape == (360, 480, 3)
    assert time_of(picture) == 75.0


def test_it_goes_without_highlights_alignment_and_pictures():
    prediction = made_up(aligned=False, comments=False)
    assert "<img" not in report_page(prediction)
    assert "<li>" not in report_page(dataclasses.replace(prediction, highlights=()))


def test_a_long_table_is_folded():
    assert "<details open>" in report_page(made_up(segments=120))
    assert "<details>" in report_page(made_up(segments=121))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_offline_on_any_screen(tmp_path, browser, scheme):
    path = tmp_path / "report.html"
    path.write_text(report_page(made_up()), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("document.querySelectorAll('.main-svg').length > 3")
        page.wait_for_function("document.querySelector('.main-svg').clientWidth <= innerWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        inks = [brightness(page, selector, "color") for selector in ("body", "small", "td", "footer", "li b")]
        inks += [brightness(page, f"#figure-{number} .gtitle", "fill") for number in range(2)]
        paper = brightness(page, "body", "backgroundColor")
        assert (paper > 128) is (scheme == "light")
        assert all(abs(ink - paper) > 90 for ink in inks)
    assert errors == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    page.close()


@pytest.mark.browser
def test_it_prints_light_and_within_the_paper(tmp_path, browser):
    path = tmp_path / "report.html"
    path.write_text(report_page(made_up()), encoding="utf-8")
    page = browser.new_page(color_scheme="dark")
    page.goto(path.as_uri())
    page.wait_for_selector("#figure-0 .main-svg")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("document.querySelector('#figure-0 .main-svg').clientWidth <= 680")
    assert brightness(page, "body", "backgroundColor") > 250
    assert brightness(page, "#figure-0 .gtitle", "fill") < 90
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function("document.querySelector('#figure-0 .main-svg').clientWidth > 680")
    assert brightness(page, "#figure-0 .gtitle", "fill") > 200
    page.close()


def brightness(page, selector, style):
    """Mean of red, green and blue, 0 to 255."""
    colour = page.eval_on_selector(selector, f"element => getComputedStyle(element).{style}")
    return sum(float(number) for number in colour.split("(")[1].rstrip(")").split(",")[:3]) / 3
