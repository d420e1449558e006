import dataclasses
import re
from datetime import datetime, timedelta

import numpy as np
import pytest

from kuaihl.plots import alignment, curves, offset, style
from kuaihl.records import Modalities, ReactionCurve
from tests.fixtures.predictions import made_up

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - plotly's dates know no zone


def seconds(dates):
    """Turn dates of a figure, of whichever type, back into seconds of the recording."""
    return [(datetime.fromisoformat(str(date)) - EPOCH) / timedelta(seconds=1) for date in dates]


def traces(figure):
    return {trace.name: trace for trace in figure.data}


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0:00:00"),
        (59.4, "0:00:59"),
        (59.6, "0:01:00"),
        (3599.9, "1:00:00"),
        (43_200, "12:00:00"),
        (90_061, "25:01:01"),
    ],
)
def test_clock(time_s, text):
    assert style.clock(time_s) == text


def test_curve_has_every_value_at_the_middle_of_its_segment():
    prediction = made_up()
    line = traces(curves.plot_curve(prediction))["predicted LVTR"]
    assert seconds(line.x) == [(s.segment.start_s + s.segment.end_s) / 2 for s in prediction.segments]
    assert np.isnan(line.y[0])
    assert list(line.y[1:]) == list(prediction.curve[1:])


def test_truth_is_drawn_beside_the_prediction_and_fits_the_axis():
    prediction = made_up()
    true = [0.97, None, *[0.02] * (len(prediction.segments) - 2)]
    figure = curves.plot_curve(prediction, true=true)
    drawn = next(trace for trace in figure.data if trace.name == "true LVTR")
    np.testing.assert_array_equal(drawn.y, [0.97, np.nan, *true[2:]])
    np.testing.assert_array_equal(drawn.x, figure.data[0].x)
    assert figure.layout.yaxis.range[0] <= 0.02
    assert figure.layout.yaxis.range[1] >= 0.97
    assert not any(trace.name.startswith("true") for trace in curves.plot_curve(prediction).data)


def test_the_next_score_is_after_the_last_segment():
    prediction = made_up()
    figure = curves.plot_curve(prediction)
    next_score = traces(figure)["next 30 s"]
    end_s = prediction.segments[-1].segment.end_s
    assert seconds(next_score.x)[-1] == end_s + 15
    assert list(next_score.y) == [prediction.curve[-1], 0.421]
    assert next_score.line.dash == "dot"
    assert next_score.marker.symbol == "circle-open"
    assert any(note.text.endswith("42.1%") for note in figure.layout.annotations)
    assert seconds(figure.layout.xaxis.range)[1] > end_s + 15


def test_comments_are_bars_under_the_curve_on_the_same_axis():
    prediction = made_up()
    figure = curves.plot_curve(prediction)
    bars, spikes = figure.data[-2:]
    assert bars.type == spikes.type == "bar"
    assert list(bars.y) == [s.comments for s in prediction.segments]
    assert list(bars.width) == [(s.segment.end_s - s.segment.start_s) * 1000 for s in prediction.segments]
    assert bars.yaxis == spikes.yaxis
    counts = np.array([s.comments for s in prediction.segments])
    above = [t for t in range(2, len(counts)) if counts[t] - counts[:t].mean() >= 2 * (counts[:t].std() or 1)]
    assert list(spikes.x) == [bars.x[t] for t in above]
    assert figure.layout[bars.yaxis.replace("y", "yaxis")].domain[1] < figure.layout.yaxis.domain[0]
    assert figure.layout.xaxis.matches == "x2"
    assert figure.layout.xaxis2.tickformat == "%-H:%M:%S"
    assert figure.layout.xaxis2.type == "date"


def test_without_comments_there_is_no_second_row():
    figure = curves.plot_curve(made_up(comments=False))
    assert not any(trace.type == "bar" for trace in figure.data)
    assert "comment" not in figure.data[0].customdata[1]


def test_the_reaction_has_an_axis_of_its_own():
    prediction = dataclasses.replace(made_up(), reaction=ReactionCurve(10.0, (0.0, 2.5, 1.0), 0.9, None))
    figure = curves.plot_curve(prediction)
    (line,) = (trace for trace in figure.data if trace.name.startswith("reaction"))
    assert (seconds(line.x), list(line.y)) == ([5, 15, 25], [0.0, 2.5, 1.0])
    assert line.yaxis not in {figure.data[0].yaxis, figure.data[-1].yaxis}
    assert not any(trace.name.startswith("reaction") for trace in curves.plot_curve(made_up()).data)


def test_highlights_are_shaded_and_carry_their_rank():
    prediction = made_up()
    figure = curves.plot_curve(prediction)
    spans = [tuple(seconds([shape.x0, shape.x1])) for shape in figure.layout.shapes]
    assert spans == [(h.start_s, h.end_s) for h in prediction.highlights]
    labels = [note for note in figure.layout.annotations if note.yref == "paper"]
    assert [note.text for note in labels] == ["<b>1</b>", "<b>2</b>"]
    assert seconds(note.x for note in labels) == [h.peak_s for h in prediction.highlights]


def test_hover_tells_time_value_comments_and_words_without_markup_of_theirs():
    prediction = made_up()
    at = next(i for i, s in enumerate(prediction.segments) if i and "<b>" in s.speech and s.comments > 1)
    found = prediction.segments[at]
    text = curves.plot_curve(prediction).data[0].customdata[at]
    assert f"{style.clock(found.segment.start_s)}–{style.clock(found.segment.end_s)}" in text
    assert f"{found.score:.1%}" in text
    assert f"{found.comments} comments" in text
    said = text.split("<i>", 1)[1]
    assert "<b>" not in said
    assert max(len(line) for line in said.replace("&lt;", "<").replace("&gt;", ">").split("<br>")) < 50
    assert "no prediction" in curves.plot_curve(prediction).data[0].customdata[0]


def test_hover_breaks_text_without_spaces():
    prediction = made_up()
    talkative = dataclasses.replace(prediction.segments[1], speech="大家好" * 100)
    prediction = dataclasses.replace(prediction, segments=(prediction.segments[0], talkative, *prediction.segments[2:]))
    lines = curves.plot_curve(prediction).data[0].customdata[1].split("<br>")
    assert max(len(line.removeprefix("<i>").removesuffix("</i>")) for line in lines if "大" in line) <= 15
    assert lines[-1].endswith("…</i>")


def test_titles_say_what_was_learned_and_from_what():
    title = re.sub("<[^>]*>", " ", curves.plot_curve(made_up()).layout.title.text)
    assert title.startswith("Predicted LVTR of my &lt;stream&gt;.mp4")
    assert "3,000 simulated rooms" in " ".join(title.split())
    other = curves.plot_curve(dataclasses.replace(made_up(), target="participation"))
    assert other.layout.title.text.startswith("Predicted participation")
    assert other.layout.yaxis.title.text == "predicted participation"


def test_axis_of_values_neither_cuts_nor_magnifies():
    prediction = made_up()
    low, high = curves.plot_curve(prediction).layout.yaxis.range
    assert 0 <= low < min(prediction.curve[1:])
    assert max(prediction.curve[1:]) < high <= 1
    flat = tuple(dataclasses.replace(s, score=s.score and 0.42) for s in prediction.segments)
    low, high = curves.plot_curve(dataclasses.replace(prediction, segments=flat)).layout.yaxis.range
    assert high - low >= 0.05


@pytest.mark.parametrize("segments", [1, 2])
def test_shortest_curves(segments):
    prediction = dataclasses.replace(made_up(segments=2), highlights=())
    prediction = dataclasses.replace(prediction, segments=prediction.segments[:segments])
    assert len(curves.plot_curve(prediction).data[0].x) == segments


def contrast(colour, background):
    """WCAG's contrast ratio of two colours written as #rrggbb."""

    def luminance(code):
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return np.dot(parts, [0.2126, 0.7152, 0.0722])

    light, dim = sorted((luminance(colour), luminance(background)), reverse=True)
    return (light + 0.05) / (dim + 0.05)


@pytest.mark.parametrize(("dark", "page"), [(False, "#ffffff"), (True, "#0b0f19"), (True, "#1f2937")])
def test_colours_can_be_told_from_the_page(dark, page):
    figure = curves.plot_curve(made_up(), dark=dark)
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert contrast(figure.layout.font.color, page) >= 4.5
    found = traces(figure)
    colours = [
        found["predicted LVTR"].line.color,
        found["next 30 s"].line.color,
        found["comments in 30 s"].marker.color,
    ]
    assert len(set(colours)) == 3
    assert all(contrast(colour, page) >= 3 for colour in colours)


@pytest.mark.parametrize(("around", "first"), [(0, 0), (5, 0), (15, 5), (30, 20), (39, 20)])
def test_alignment_shows_twenty_segments_and_the_path_through_them(around, first):
    prediction = made_up(segments=40)
    figure = alignment.plot_alignment(prediction, around=around)
    starts = [s.segment.start_s for s in prediction.segments]
    ends = [s.segment.end_s for s in prediction.segments]
    assert len(figure.data) == 4 * 3
    for panel, shown in enumerate(prediction.alignments):
        heat, _, *lines = figure.data[4 * panel : 4 * panel + 4]
        assert heat.z.shape == (20, 20)
        for i in range(20):
            for j in range(20):
                assert heat.z[i][j] == shown.cost[first + i, shown.band + j - i]
        assert seconds(heat.x) == seconds(heat.y) == [*starts[first : first + 20], ends[first + 19]]
        inside = [(i, j) for i, j in shown.path if first <= i < first + 20 and first <= j < first + 20]
        assert len(inside) >= 20
        for line in lines:
            assert seconds(line.y) == [(starts[i] + ends[i]) / 2 for i, _ in inside]
            assert seconds(line.x) == [(starts[j] + ends[j]) / 2 for _, j in inside]
        assert {line.xaxis for line in lines} == {heat.xaxis}
        assert heat.customdata[3][4][0].startswith(style.clock(starts[first + 3]))
        assert heat.customdata[3][4][1].startswith(style.clock(starts[first + 4]))
    assert len({trace.xaxis for trace in figure.data}) == 3
    assert figure.layout.xaxis.tickformat == figure.layout.yaxis3.tickformat == "%-H:%M:%S"
    assert style.clock(starts[around]) in figure.layout.title.text


def test_the_lag_of_an_alignment_by_hand():
    whole = made_up(segments=5).alignments[0]
    late = dataclasses.replace(whole, path=((0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (4, 3), (4, 4)))
    assert late.lag == 1
    assert dataclasses.replace(late, path=tuple((j, i) for i, j in late.path)).lag == -1


def test_alignment_is_empty_outside_its_band():
    prediction = made_up(segments=30, band=4)
    z = alignment.plot_alignment(prediction, around=12).data[0].z
    assert all(np.isnan(z[i][j]) == (abs(i - j) > 4) for i in range(20) for j in range(20))
    assert z[7][9] == prediction.alignments[0].cost[9, 4 + 2]


def test_alignment_of_a_short_recording():
    assert alignment.plot_alignment(made_up(segments=3), around=2).data[0].z.shape == (3, 3)


def test_no_alignment_is_said():
    prediction = dataclasses.replace(
        made_up(aligned=False), modalities=Modalities(pictures=True, speech=False, comments=False)
    )
    figure = alignment.plot_alignment(prediction, around=0)
    assert not figure.data
    assert "No alignment" in figure.layout.annotations[0].text


@pytest.mark.parametrize("around", [-1, 24])
def test_alignment_around_no_segment(around):
    with pytest.raises(ValueError, match=r"0\.\.23"):
        alignment.plot_alignment(made_up(), around=around)


def test_twelve_hours_stay_small():
    prediction = made_up(segments=1440)
    assert len(curves.plot_curve(prediction).to_json()) < 2_000_000
    assert len(alignment.plot_alignment(prediction, around=700).to_json()) < 300_000


@pytest.fixture
def written(browser, tmp_path):
    """What stands at the ticks of a figure's axis of times, as a browser draws it, without what is not seen."""
    page = browser.new_page(viewport={"width": 900, "height": 500})

    def written(figure, *, shown_s=None):
        if shown_s:
            figure.update_xaxes(range=[str(np.datetime64(int(time_s), "s")) for time_s in shown_s])
        figure.write_html(tmp_path / "figure.html", include_plotlyjs=True)
        page.goto((tmp_path / "figure.html").as_uri())
        page.wait_for_selector(".cartesianlayer [class^=x][class$=tick] text", state="attached")
        seen = """ticks => ticks.map(tick => [...tick.childNodes].filter(part => getComputedStyle(part.tagName ?
            part : tick).fontSize != '0px').map(part => part.textContent).join(''))"""
        return page.locator(".cartesianlayer [class^=x][class$=tick] text").evaluate_all(seen)

    yield written
    page.close()


@pytest.mark.browser
def test_a_day_ends_at_24_hours(written):
    day, minutes = made_up(segments=2880), made_up()
    ticks = written(curves.plot_curve(day))
    assert (ticks[0], ticks[-1]) == ("0:00:00", "24:00:00")
    assert ticks == sorted(ticks, key=lambda tick: int(tick.split(":")[0]))
    assert "24:00:00" in written(curves.plot_curve(day), shown_s=(86_000, 86_500))
    end = written(alignment.plot_alignment(day, around=2879))
    assert end
    assert {tick[:4] for tick in end} <= {"23:5", "24:0"}, end
    fit = offset.plot_offset(np.arange(86_400.0), np.ones(86_400), bin_s=1.0)
    assert "24:00:00" in written(fit, shown_s=(86_000, 86_500))
    assert written(curves.plot_curve(minutes))[0] == "0:00:00"
