"""The page's HTML: what it says, and that nothing of a visitor's file becomes markup."""

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest

from kuaihl.attribution import Influence, TextCount
from kuaihl.demo import panels
from kuaihl.model.config import Target
from kuaihl.records import RecordingInfo, Segment
from tests.fixtures.predictions import made_up


def parse(html: str) -> ET.Element:
    """Read it strictly: an element that is not closed fails the test."""
    closed = re.sub(r"(<img [^>]*)>", r"\1/>", html)  # the one element that HTML leaves open
    return ET.fromstring(f"<div>{closed}</div>")  # noqa: S314 - made here


LVTR = Target("lvtr", "simulated rooms")
PARTICIPATION = Target("participation", "real <chat>", excluded_inputs=("pictures", "speech", "text"))


def test_the_model_is_told_with_what_is_chosen_and_what_else_it_can() -> None:
    told = panels.about(None, [LVTR, PARTICIPATION], PARTICIPATION)
    text = "".join(parse(told).itertext())
    assert text.startswith("The shipped model predicts participation, the share of chatters present who write,")
    assert "trained on real <chat>." in text
    assert text.endswith("It can predict LVTR too: see Settings.")
    assert "too" not in panels.about("mine", [LVTR], LVTR)


def test_a_target_that_lacks_a_comment_log_is_told_of() -> None:
    assert panels.explained(LVTR, lacking=[]) == "The share of viewers who stay long."
    assert "For participation, add a comment log" in panels.explained(LVTR, lacking=[PARTICIPATION])


def test_streamers_without_a_name_are_channels() -> None:
    assert [panels.streamer(name) for name in ("3", "Cleo Fox")] == ["Channel 3", "Cleo Fox"]


def test_summary_tells_length_mean_and_highest_value() -> None:
    prediction = made_up()
    scored = [s for s in prediction.segments if s.score is not None]
    told = "".join(parse(panels.summary(prediction)).itertext())
    assert f"{sum(s.score for s in scored) / len(scored):.1%}" in told
    assert f"{max(s.score for s in scored):.1%}" in told
    assert f"{prediction.next_score:.1%}" in told


def test_names_are_text_not_markup() -> None:
    prediction = made_up()
    info = dataclasses.replace(prediction.recording, name="<script>x</script>.mp4")
    html = panels.summary(dataclasses.replace(prediction, recording=info, target="<b>"))
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<script>x</script>.mp4" in "".join(parse(html).itertext())


def test_highlights_are_buttons_with_their_rank_and_picture() -> None:
    prediction = made_up()
    stills = ["data:image/jpeg;base64,AA==" for _ in prediction.highlights]
    buttons = parse(panels.highlights(prediction, stills)).findall(".//button")
    assert [b.get("data-rank") for b in buttons] == [str(h.rank) for h in prediction.highlights]
    assert [b.get("aria-pressed") for b in buttons] == ["true"] + ["false"] * (len(buttons) - 1)
    assert all(b.find("img").get("src") == stills[0] for b in buttons)
    assert "No stretch stands out" in panels.highlights(dataclasses.replace(prediction, highlights=()), [])


def test_why_lists_sources_by_points_and_quotes_as_text() -> None:
    comments = (TextCount("<i>wow</i>", 2), TextCount("hm", 1), *(TextCount(f"la {k}", 1) for k in range(100)))
    moment = Influence(Segment(4, 120.0, 150.0), {"pictures": -0.001, "comments": 0.021}, "so & so", 103, comments)
    tree = parse(panels.why("at 0:04:30", 0.412, {"pictures": 0.03, "speech": -0.06}, [moment]))
    told = " ".join("".join(tree.itertext()).split())
    assert "Why 41.2% at 0:04:30" in told
    assert "pictures+3.0" in told
    assert "speech−6.0" in told
    assert "0:02:00 pictures −0.1 comments +2.1speech so & socomments <i>wow</i> × 2 · hm · la 0" in told
    assert told.endswith("…")
    widths = {bar.get("class"): bar.get("style") for bar in tree.findall(".//td/i")}
    assert widths == {"up": "width:25%", "down": "width:50%"}


def test_what_arrives_live_is_told_with_what_was_expected_of_it() -> None:
    second, first = made_up(segments=2), made_up(segments=2, comments=False)
    first = dataclasses.replace(first, segments=first.segments[:1])
    told = ["".join(parse(panels.arrived(prediction)).itertext()) for prediction in (second, first)]
    assert told[0].startswith("0:00:30 – 0:00:47 has come: expected was 40.0%, ")
    assert f"Forecast for the next 30 s: 42.1%{second.segments[1].speech}" in told[0]
    assert "nothing was expected of it" in told[1]
    assert "comment" not in told[1].partition(".")[0]


@pytest.mark.parametrize("still", ["", "data:image/jpeg;base64,AA=="])
def test_the_stand_in_names_what_browsers_cannot_play(still: str) -> None:
    html = panels.stand_in(RecordingInfo("a.mkv", 60.0, "matroska", "mpeg4", "aac", 320, 180), still, start_s=90.0)
    assert "mpeg4 in matroska" in html
    assert ("at 0:01:30" in html) == bool(still)
