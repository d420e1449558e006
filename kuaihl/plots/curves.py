"""The curve: predicted LVTR over a recording, its highlights and its forecast."""

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kuaihl.features.chat import chat_spikes
from kuaihl.plots.style import clock, dates, style, target_name, time_axis, wrap
from kuaihl.records import SEGMENT_S, Highlight, Prediction, SegmentPrediction

# Okabe and Ito's palette. Vermilion and green have a contrast of 3 or more on white and on near-black alike; the curve
# is blue on the one and sky blue on the other; the orange is an area with a black number over it.
_BLUE, _VERMILION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
_SKY_BLUE = "#56B4E9"
_GREY, _PURPLE = "#808080", "#CC79A7"
CHAT_SPIKE = 2.0
"""From how many standard deviations above the comments before it a segment counts as a spike."""
# Hover text breaks at so many letters, so that it fits a page 390 pixels wide.
_HOVER_WIDTH, _HOVER_LINES = 30, 5
# Up to this many segments each value is drawn as a dot too.
_DOTTED_SEGMENTS = 120
# In a live figure the forecast's label stands right of it up to this share of the recording.
_ROOM = 0.6


def curve(
    prediction: Prediction,
    *,
    dark: bool = False,
    true: Sequence[float | None] | None = None,
    live: bool = False,
) -> go.Figure:
    """Draw the predicted LVTR over the recording, its highlights, the forecast, and the comments under it.

    Parameters
    ----------
    dark
        Whether the page behind the figure, whose background is transparent, is dark.
    true
        What the LVTR of each segment turned out to be (segments,), ``None`` where unknown; drawn beside the prediction.
    live
        Whether more segments are to come: then the axes are those of the whole recording from the start, and the title
        is left to the page.
    """
    rows = 2 if prediction.modalities.comments else 1
    figure = make_subplots(
        rows=rows, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.72, 0.28] if rows == 2 else None
    )
    segments = [s.segment for s in prediction.segments]
    middles = dates((s.start_s + s.end_s) / 2 for s in segments)
    values = [math.nan if value is None else value for value in prediction.curve]
    hover = [_hover(s, prediction) for s in prediction.segments]
    figure.add_scatter(
        x=middles,
        y=values,
        customdata=hover,
        name=f"predicted {_target(prediction)}",
        mode="lines+markers",
        line={"color": _SKY_BLUE if dark else _BLUE, "width": 2},
        marker={"size": 5 if len(segments) <= _DOTTED_SEGMENTS else 2},
        hovertemplate="%{customdata}<extra></extra>",
        row=1,
        col=1,
    )
    known = [] if true is None else [math.nan if value is None else value for value in true]
    if known:
        figure.add_scatter(
            x=middles,
            y=known,
            name=f"true {_target(prediction)}",
            mode="lines",
            line={"color": _GREY, "width": 2, "dash": "dot"},
            hovertemplate="true %{y:.1%}<extra></extra>",
            row=1,
            col=1,
        )
    _add_forecast(figure, prediction, middles, values, live=live)
    for highlight in prediction.highlights:
        _add_highlight(figure, highlight)
    if rows == 2:
        _add_comments(figure, prediction, middles, hover)
        figure.update_yaxes(title="comments", rangemode="tozero", nticks=4, row=2, col=1)

    end_s = (segments[-1].end_s if segments else 0.0) + SEGMENT_S
    if live:
        end_s = max(end_s, prediction.recording.duration_s + SEGMENT_S)
    rates = (0.0, 1.0) if live else _span([*values, *known, prediction.next_score])
    # Room at the right for the forecast's marker, which would be cut in half.
    figure.update_xaxes(range=dates([0.0, end_s * 1.02]), **time_axis(end_s * 1.02))
    figure.update_xaxes(title="time in the recording", row=rows, col=1)
    figure.update_yaxes(title=f"predicted {_target(prediction)}", range=rates, tickformat=".1~%", row=1)
    style(
        figure,
        title="" if live else f"Predicted {_target(prediction)} of {prediction.recording.name}",
        subtitle="" if live else f"Learned from: {prediction.trained_on.partition(':')[0]}",
        dark=dark,
    )
    # Rank labels stand between title and curve.
    height, above = (290, 12) if live else (380 if rows == 1 else 440, figure.layout.margin.t + 20)
    figure.update_layout(height=height, hovermode="x", margin_t=above)
    legend = {"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "yanchor": "bottom"}
    return figure.update_layout(legend=legend | {"font": {"size": 11}}, margin_b=96)


def _target(prediction: Prediction) -> str:
    return html.escape(target_name(prediction.target))


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Choose the ends of the axis for rates: all of them with some air, and no magnifying of a nearly flat curve."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    air = max(0.12 * (max(known) - min(known)), 0.025)
    return max(0.0, min(known) - air), min(1.0, max(known) + air)


def _hover(found: SegmentPrediction, prediction: Prediction) -> str:
    """Tell a segment's time, value, words and comments, as the few tags plotly knows."""
    segment = found.segment
    lines = [f"<b>{clock(segment.start_s)}–{clock(segment.end_s)}</b>"]
    if found.score is None:
        lines.append("no prediction: nothing came before")
    else:
        lines.append(f"predicted {_target(prediction)} <b>{found.score:.1%}</b>")
    if prediction.modalities.comments:
        lines.append(f"{found.comments} comment{'' if found.comments == 1 else 's'}")
    said = wrap(found.speech, _HOVER_WIDTH, max_lines=_HOVER_LINES)
    return "<br>".join([*lines, *(f"<i>{html.escape(line)}</i>" for line in said)])


def _add_comments(figure: go.Figure, prediction: Prediction, middles: np.ndarray, hover: Sequence[str]) -> None:
    """Draw the comments of each segment as bars; those that the usual rule takes for a spike in another colour."""
    counts = np.array([s.comments for s in prediction.segments])
    widths = np.array([(s.segment.end_s - s.segment.start_s) * 1000 for s in prediction.segments])
    figure.add_bar(
        x=middles,
        y=counts,
        width=widths,
        customdata=hover,
        name="comments in 30 s",
        marker={"color": _GREEN, "line": {"width": 0}},
        hovertemplate="%{customdata}<extra></extra>",
        row=2,
        col=1,
    )
    spikes = chat_spikes(counts) >= CHAT_SPIKE
    figure.add_bar(
        x=middles[spikes],
        y=counts[spikes],
        width=widths[spikes],
        name=f"chat spike (z ≥ {CHAT_SPIKE:g})",
        marker={"color": _PURPLE, "line": {"width": 0}},
        hoverinfo="skip",
        row=2,
        col=1,
    )
    figure.update_layout(barmode="overlay")


def _add_forecast(
    figure: go.Figure, prediction: Prediction, middles: np.ndarray, values: Sequence[float], *, live: bool
) -> None:
    """Continue the curve by a dashed line to a hollow marker: the segment after the last."""
    if not math.isfinite(prediction.next_score):
        return
    end_s = prediction.segments[-1].segment.end_s if prediction.segments else 0.0
    ahead = dates([end_s + SEGMENT_S / 2])[0]
    text = f"forecast {prediction.next_score:.1%}"
    figure.add_scatter(
        x=[middles[-1], ahead] if values else [ahead],
        y=[values[-1], prediction.next_score] if values else [prediction.next_score],
        name="forecast",
        mode="lines+markers",
        line={"color": _VERMILION, "width": 2, "dash": "dot"},
        marker={"size": [0, 11] if values else 11, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate=f"<b>{clock(end_s)}–{clock(end_s + SEGMENT_S)}</b><br>{text}<extra></extra>",
        row=1,
        col=1,
    )
    # An annotation, since a trace's text would be cut off at the right edge.
    label = {"x": ahead, "xref": "x", "text": text, "showarrow": False}
    if live and end_s < _ROOM * prediction.recording.duration_s:  # beside the marker, while there is room
        figure.add_annotation(label, y=prediction.next_score, yref="y", xanchor="left", yanchor="middle", xshift=10)
        return
    # At the edge that is further away from the curve.
    low, high = _span([*values, prediction.next_score])
    below = prediction.next_score > (low + high) / 2
    figure.add_annotation(
        label, y=0.02 if below else 0.98, yref="y domain", xanchor="right", yanchor="bottom" if below else "top"
    )


def _add_highlight(figure: go.Figure, highlight: Highlight) -> None:
    """Shade a highlight over all rows, with its rank above."""
    start, end = dates([highlight.start_s, highlight.end_s])
    figure.add_shape(
        type="rect",
        x0=start,
        x1=end,
        y0=0,
        y1=1,
        xref="x",
        yref="paper",
        layer="below",
        fillcolor=_ORANGE,
        opacity=0.35,
        # The outline keeps a short highlight of a long recording visible.
        line={"color": _ORANGE, "width": 1},
        name="highlight",
        legendgroup="highlights",
        showlegend=highlight.rank == 1,
    )
    figure.add_annotation(
        x=dates([highlight.peak_s])[0],
        xref="x",
        y=1,
        yref="paper",
        yanchor="bottom",
        yshift=2,
        text=f"<b>{highlight.rank}</b>",
        hovertext=f"highlight {highlight.rank}: {clock(highlight.start_s)}–{clock(highlight.end_s)}, "
        f"{highlight.score:.1%}",
        showarrow=False,
        bgcolor=_ORANGE,
        borderpad=2,
        font={"color": "black", "size": 11},
    )
