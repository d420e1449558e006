"""HTML of the page: the numbers in it, and that text of visitors' files never becomes markup."""

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest

from kuaihl.attribution import Influence, TextCount
from kuaihl.comments.timing import Mismatch
from kuaihl.demo import panels
from kuaihl.export.cards import summary_html
from kuaihl.model.config import Target
from kuaihl.records import Comment, CommentLog, RecordingInfo, Segment
from kuaihl.sync import Lag, check_log
from tests.fixtures.predictions import made_up

LVTR = Target("lvtr", "simulated rooms")
PARTICIPATION = Target("participation", "real <chat>", excluded_inputs=("pictures", "speech", "text"))


def parse(html: str) -> ET.Element:
    """Read it strictly: an element that is not closed fails the test."""
    closed = re.sub(r"(<img [^>]*)>", r"\1/>", html)  # the one element without an end tag
    return ET.fromstring(f"<div>{closed}</div>")  # noqa: S314 - made here


def text_of(html: str) -> str:
    return " ".join("".join(parse(html).itertext()).split())


def test_the_model_is_described_with_its_target_and_the_others() -> None:
    text = text_of(panels.model_html(None, [LVTR, PARTICIPATION], PARTICIPATION))
    assert "predicts participation, the share of" in text
    assert "trained on real <chat>." in text
    assert "LVTR" in text
    assert "LVTR" not in text_of(panels.model_html("mine", [PARTICIPATION], PARTICIPATION))
    assert "participation" in panels.target_help(LVTR, without_log=[PARTICIPATION])


def test_streamers_without_a_name_are_channels() -> None:
    assert [panels.streamer_name(name) for name in ("3", "Cleo Fox")] == ["Channel 3", "Cleo Fox"]


def test_the_summary_has_mean_highest_and_next_score_and_names_as_text() -> None:
    prediction = made_up()
    scores = [score for score in prediction.curve if score is not None]
    text = text_of(summary_html(prediction))
    for number in (sum(scores) / len(scores), max(scores), prediction.next_score):
        assert f"{number:.1%}" in text
    info = dataclasses.replace(prediction.recording, name="<script>x</script>.mp4")
    html = summary_html(dataclasses.replace(prediction, recording=info, target="<b>"))
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<script>x</script>.mp4" in text_of(html)


def test_highlights_are_buttons_with_rank_picture_and_evidence() -> None:
    best, *others = made_up().highlights
    prediction = dataclasses.replace(made_up(), highlights=(dataclasses.replace(best, why="<i>LUL</i> × 9"), *others))
    stills = ["data:image/jpeg;base64,AA==" for _ in prediction.highlights]
    html = panels.highlights_html(prediction, stills)
    buttons = parse(html).findall(".//button")
    assert [b.get("data-rank") for b in buttons] == [str(h.rank) for h in prediction.highlights]
    assert [b.get("aria-pressed") for b in buttons] == ["true"] + ["false"] * (len(buttons) - 1)
    assert all(b.find("img").get("src") == stills[0] for b in buttons)
    assert f"{best.strength}<i>LUL</i> × 9" in text_of(html)
    assert not parse(panels.highlights_html(dataclasses.replace(prediction, highlights=()), [])).findall(".//button")


def test_an_explanation_has_contributions_in_points_and_quotes_as_text() -> None:
    comments = (TextCount("<i>wow</i>", 2), TextCount("hm", 1), *(TextCount(f"la {k}", 1) for k in range(100)))
    segment = Segment(4, 120.0, 150.0)
    influence = Influence(segment, {"pictures": -0.001, "comments": 0.021}, "so & so", 103, comments)
    html = panels.explanation_html("at 0:04:30", 0.412, {"pictures": 0.03, "speech": -0.06}, [influence])
    text = text_of(html)
    for part in ("41.2% at 0:04:30", "pictures+3.0", "speech−6.0", "0:02:00 pictures −0.1 comments +2.1"):
        assert part in text
    assert "so & so" in text
    assert "<i>wow</i> × 2 · hm · la 0" in text
    assert text.endswith("…")
    widths = {bar.get("class"): bar.get("style") for bar in parse(html).findall(".//td/i")}
    assert widths == {"up": "width:25%", "down": "width:50%"}


def test_the_live_replay_shows_what_was_predicted_for_the_last_segment() -> None:
    second, first = made_up(segments=2), made_up(segments=2, comments=False)
    first = dataclasses.replace(first, segments=first.segments[:1])
    texts = [text_of(panels.live_html(prediction)) for prediction in (second, first)]
    assert texts[0].startswith("0:00:30 – 0:00:47: predicted 40.0%, ")
    assert "42.1%" in texts[0]
    assert "comment" not in texts[1]


@pytest.mark.parametrize("still", ["", "data:image/jpeg;base64,AA=="])
def test_the_still_names_what_browsers_cannot_play(still: str) -> None:
    info = RecordingInfo("a.mkv", 60.0, "matroska", "mpeg4", "aac", 320, 180)
    html = panels.still_html(info, still, start_s=90.0)
    assert "mpeg4 in matroska" in html
    assert ("at 0:01:30" in html) == bool(still)


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
