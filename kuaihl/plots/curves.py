"""The curve: the predicted score over a recording, its highlights, the next score and the comments."""

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kuaihl.features.chat import chat_spikes
from kuaihl.plots import style
from kuaihl.plots.style import apply_style, clock, dates, percent, strength_and_why, target_name, time_axis, wrap
from kuaihl.records import SEGMENT_S, Highlight, Prediction, ReactionCurve, SegmentPrediction

CHAT_SPIKE = 2.0
"""A segment is a spike from this many standard deviations above the comments before it."""
# Letters per line and lines of a hover text, so that it fits a page 390 pixels wide.
_HOVER_WIDTH, _HOVER_LINES = 30, 5
# Up to this many segments, values are drawn as dots too.
_MAX_DOTS = 120
# Up to this share of the recording, a live figure has room for a label right of the last value.
_LABEL_ROOM = 0.6


def plot_curve(
    prediction: Prediction, *, dark: bool = False, true: Sequence[float | None] | None = None, live: bool = False
) -> go.Figure:
    """Plot the predicted score over the recording, its highlights, the next score, and the comments below.

    Parameters
    ----------
    dark
        Whether the page behind the transparent figure is dark.
    true
        Measured score of each segment (segments,), None where unknown.
    live
        Whether more segments follow. The axes then span the whole recording from the start, and the title is omitted.
    """
    rows = 2 if prediction.modalities.comments else 1
    figure = make_subplots(
        rows=rows,
        shared_xaxes=True,
        vertical_spacing=0.07,
        row_heights=[0.72, 0.28] if rows == 2 else None,
        specs=[[{"secondary_y": True}]] + [[{}]] * (rows - 1),
    )
    segments = [s.segment for s in prediction.segments]
    middles = dates((s.start_s + s.end_s) / 2 for s in segments)
    scores = [math.nan if score is None else score for score in prediction.curve]
    hover = [_hover(s, prediction) for s in prediction.segments]
    name = html.escape(target_name(prediction.target))
    figure.add_scatter(
        x=middles,
        y=scores,
        customdata=hover,
        name=f"predicted {name}",
        mode="lines+markers",
        line={"color": style.SKY_BLUE if dark else style.BLUE, "width": 2},
        marker={"size": 5 if len(segments) <= _MAX_DOTS else 2},
        hovertemplate="%{customdata}<extra></extra>",
        row=1,
        col=1,
    )
    measured = [math.nan if score is None else score for score in true or ()]
    if measured:
        figure.add_scatter(
            x=middles,
            y=measured,
            name=f"true {name}",
            mode="lines",
            line={"color": style.GREY, "width": 2, "dash": "dot"},
            hovertemplate="true %{y:.1%}<extra></extra>",
            row=1,
            col=1,
        )
    if prediction.reaction is not None and not live:
        _add_reaction(figure, prediction.reaction, dark=dark)
    _add_next_score(figure, prediction, middles, scores, live=live)
    for highlight in prediction.highlights:
        _add_highlight(figure, highlight)
    if rows == 2:
        _add_comments(figure, prediction, middles, hover)
        figure.update_yaxes(title="comments", rangemode="tozero", nticks=4, row=2, col=1)

    end_s = (segments[-1].end_s if segments else 0.0) + SEGMENT_S
    if live:
        end_s = max(end_s, prediction.recording.duration_s + SEGMENT_S)
    # Room at the right, so that the marker of the next score is not cut off.
    figure.update_xaxes(time_axis(end_s * 1.02), range=dates([0.0, end_s * 1.02]))
    figure.update_xaxes(title="time in the recording", row=rows, col=1)
    score_range = (0.0, 1.0) if live else _range([*scores, *measured, prediction.next_score])
    figure.update_yaxes(
        title=f"predicted {name}", range=score_range, tickformat=".1~%", row=1, col=1, secondary_y=False
    )
    top = apply_style(
        figure,
        title="" if live else f"Predicted {name} of {prediction.recording.name}",
        subtitle="" if live else f"Learned from: {prediction.trained_on.partition(':')[0]}",
        dark=dark,
    )
    # The ranks of the highlights are between title and curve.
    height, above = (290, 12) if live else (380 if rows == 1 else 440, top + 20)
    figure.update_layout(height=height, hovermode="x", margin_t=above, margin_b=96)
    legend = {"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "yanchor": "bottom"}
    return figure.update_layout(legend=legend | {"font": {"size": 11}})


def _add_reaction(figure: go.Figure, reaction: ReactionCurve, *, dark: bool) -> None:
    """Plot the reaction on an axis of its own, without a scale: its unit means nothing to a reader."""
    figure.add_scatter(
        x=dates((i + 0.5) * reaction.bin_s for i in range(len(reaction.scores))),
        y=reaction.scores,
        name="reaction of the chat" + (" (too little chat)" if reaction.too_little else ""),
        mode="lines",
        line={"color": style.GREEN, "width": 1.2},
        opacity=0.8 if dark else 0.7,
        hoverinfo="skip",
        row=1,
        col=1,
        secondary_y=True,
    )
    figure.update_yaxes(showgrid=False, showticklabels=False, zeroline=False, row=1, col=1, secondary_y=True)


def _range(scores: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the score axis: all scores with some margin, and no magnified flat curve."""
    known = [score for score in scores if math.isfinite(score)] or [0.0, 1.0]
    margin = max(0.12 * (max(known) - min(known)), 0.025)
    return max(0.0, min(known) - margin), min(1.0, max(known) + margin)


def _hover(segment: SegmentPrediction, prediction: Prediction) -> str:
    """Return a segment's time, score, comments and speech, in the few tags that plotly knows."""
    lines = [f"<b>{clock(segment.segment.start_s)}–{clock(segment.segment.end_s)}</b>"]
    if segment.score is None:
        lines.append("no prediction: nothing came before")
    else:
        lines.append(f"predicted {html.escape(target_name(prediction.target))} <b>{percent(segment.score)}</b>")
    if prediction.modalities.comments:
        lines.append(f"{segment.comments} comment{'' if segment.comments == 1 else 's'}")
    speech = wrap(segment.speech, _HOVER_WIDTH, max_lines=_HOVER_LINES)
    return "<br>".join([*lines, *(f"<i>{html.escape(line)}</i>" for line in speech)])


def _add_comments(figure: go.Figure, prediction: Prediction, middles: np.ndarray, hover: Sequence[str]) -> None:
    """Add the number of comments of each segment as bars, spikes in another colour."""
    counts = np.array([s.comments for s in prediction.segments])
    widths = np.array([(s.segment.end_s - s.segment.start_s) * 1000 for s in prediction.segments])
    figure.add_bar(
        x=middles,
        y=counts,
        width=widths,
        customdata=hover,
        name="comments in 30 s",
        marker={"color": style.GREEN, "line": {"width": 0}},
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
        marker={"color": style.PURPLE, "line": {"width": 0}},
        hoverinfo="skip",
        row=2,
        col=1,
    )
    figure.update_layout(barmode="overlay")


def _add_next_score(
    figure: go.Figure, prediction: Prediction, middles: np.ndarray, scores: Sequence[float], *, live: bool
) -> None:
    """Add a dotted line from the last score to a hollow marker for the segment after it."""
    if not math.isfinite(prediction.next_score):
        return
    end_s = prediction.segments[-1].segment.end_s if prediction.segments else 0.0
    next_date = dates([end_s + SEGMENT_S / 2])[0]
    text = f"next 30 s: {percent(prediction.next_score)}"
    figure.add_scatter(
        x=[middles[-1], next_date] if scores else [next_date],
        y=[scores[-1], prediction.next_score] if scores else [prediction.next_score],
        name="next 30 s",
        mode="lines+markers",
        line={"color": style.VERMILION, "width": 2, "dash": "dot"},
        marker={"size": [0, 11] if scores else 11, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate=f"<b>{clock(end_s)}–{clock(end_s + SEGMENT_S)}</b><br>{text}<extra></extra>",
        row=1,
        col=1,
    )
    # An annotation, since the text of a trace is cut off at the right edge.
    label = {"x": next_date, "xref": "x", "text": text, "showarrow": False}
    if live and end_s < _LABEL_ROOM * prediction.recording.duration_s:
        figure.add_annotation(label, y=prediction.next_score, yref="y", xanchor="left", yanchor="middle", xshift=10)
        return
    # At the edge that is farther from the marker.
    low, high = _range([*scores, prediction.next_score])
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
        fillcolor=style.ORANGE,
        opacity=0.35,
        # The outline keeps a short highlight of a long recording visible.
        line={"color": style.ORANGE, "width": 1},
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
        hovertext=f"highlight {highlight.rank}: {clock(highlight.start_s)}–{clock(highlight.end_s)}<br>"
        f"{html.escape(strength_and_why(highlight))}",
        showarrow=False,
        bgcolor=style.ORANGE,
        borderpad=2,
        font={"color": "black", "size": 11},
    )
