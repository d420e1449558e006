"""HTML of the page: the model and the timing of a log."""

import dataclasses
import xml.etree.ElementTree as ET

from kuaihl.comments.timing import Mismatch
from kuaihl.demo import panels
from kuaihl.model.config import Target
from kuaihl.records import Comment, CommentLog
from kuaihl.sync import Lag, check_log

LVTR = Target("lvtr", "simulated rooms")
PARTICIPATION = Target("participation", "real <chat>", excluded_inputs=("pictures", "speech", "text"))


def parse(html: str) -> ET.Element:
    """Read it strictly: an element that is not closed fails the test."""
    return ET.fromstring(f"<div>{html}</div>")  # noqa: S314 - made here


def text_of(html: str) -> str:
    return " ".join("".join(parse(html).itertext()).split())


def test_the_model_is_described_with_its_target_and_the_others() -> None:
    text = text_of(panels.model_html(None, [LVTR, PARTICIPATION], PARTICIPATION))
    assert "participation, the share of" in text
    assert "real <chat>." in text
    assert "LVTR" in text
    assert "LVTR" not in text_of(panels.model_html("mine", [PARTICIPATION], PARTICIPATION))
    assert "participation" in panels.target_help(LVTR, without_log=[PARTICIPATION])


def test_streamers_are_offered_by_their_real_names_only() -> None:
    assert panels.streamer_names(PARTICIPATION, ["3", "Ann"]) == ["Ann"]
    assert panels.streamer_names(LVTR, ["Cleo Fox"]) == []


def test_the_timing_of_a_log_names_the_total_offset() -> None:
    check = dataclasses.replace(
        check_log("log", CommentLog("made up", (Comment(1.0, "hi"), Comment(9.0, "ho")))),
        mismatch=Mismatch("<b>far</b> off.", 5.0),
        lag=Lag(-45.0, 7.4, -45.0),
    )
    html = panels.timing_html(check, offset_s=5.0)
    assert "2 comments" in html
    assert "&lt;b&gt;far&lt;/b&gt; off." in html
    assert "-40 s" in html
