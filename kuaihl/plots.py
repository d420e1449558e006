"""Interactive figures of a prediction (plotly): the curve with its highlights, and text aligned with pictures."""

import html
import math
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kuaihl.records import SEGMENT_S, Highlight, Prediction, Segment, SegmentPrediction

ALIGNMENT_SEGMENTS = 20
"""Segments on each side of an alignment figure: the model's window."""

# Okabe and Ito's palette. Vermilion and green have a contrast of 3 or more on white and on near-black alike; the curve
# is blue on the one and sky blue on the other; the orange is an area with a black number over it.
_BLUE, _VERMILION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
_SKY_BLUE = "#56B4E9"
_GRID = "rgba(128, 128, 128, 0.25)"
# Titles and hover text break at so many letters, so that both fit a page 390 pixels wide.
_TITLE_WIDTH, _HOVER_WIDTH, _HOVER_LINES = 50, 30, 5
# Up to this many segments each value is drawn as a dot too.
_DOTTED_SEGMENTS = 120


def clock(time_s: float) -> str:
    """Write a time or a length as h:mm:ss, rounded to the second."""
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def curve(prediction: Prediction, *, dark: bool = False) -> go.Figure:
    """Draw the predicted LVTR over the recording, its highlights, the forecast, and the comments under it.

    Times on the axis start again after 24 hours (those shown on hovering do not).

    Parameters
    ----------
    dark
        Whether the page behind the figure, whose background is transparent, is dark.
    """
    rows = 2 if prediction.modalities.comments else 1
    figure = make_subplots(
        rows=rows, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.72, 0.28] if rows == 2 else None
    )
    segments = [s.segment for s in prediction.segments]
    middles = _dates((s.start_s + s.end_s) / 2 for s in segments)
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
    _add_forecast(figure, prediction, middles, values, dark=dark)
    for highlight in prediction.highlights:
        _add_highlight(figure, highlight)
    if rows == 2:
        figure.add_bar(
            x=middles,
            y=[s.comments for s in prediction.segments],
            width=[(s.end_s - s.start_s) * 1000 for s in segments],
            customdata=hover,
            name="comments in a segment of 30 s",
            marker={"color": _GREEN, "line": {"width": 0}},
            hovertemplate="%{customdata}<extra></extra>",
            row=2,
            col=1,
        )
        figure.update_yaxes(title="comments", rangemode="tozero", nticks=4, row=2, col=1)

    end_s = (segments[-1].end_s if segments else 0.0) + SEGMENT_S
    # Room at the right for the forecast's marker, which would be cut in half.
    figure.update_xaxes(range=_dates([0.0, end_s * 1.02]), **_TIME_AXIS)
    figure.update_xaxes(title="time in the recording", row=rows, col=1)
    figure.update_yaxes(
        title=f"predicted {_target(prediction)}", range=_span([*values, prediction.forecast]), tickformat=".1~%", row=1
    )
    _style(
        figure,
        title=f"Predicted {_target(prediction)} of {prediction.recording.name}",
        subtitle=f"Learned from: {prediction.trained_on}",
        dark=dark,
    )
    # Rank labels stand between title and curve.
    figure.update_layout(height=460 if rows == 1 else 540, hovermode="x", margin_t=figure.layout.margin.t + 24)
    return figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": -0.24 if rows == 1 else -0.18, "yanchor": "top"}
    )


def alignment(prediction: Prediction, *, around: int, dark: bool = False) -> go.Figure:
    """Draw the cost of matching text with pictures in the 20 segments around one, and the cheapest path through it.

    A prediction without an alignment (no text or no pictures) gives a figure that says so.

    Parameters
    ----------
    around
        Index of the segment in the middle.

    Raises
    ------
    ValueError
        No segment has this index.
    """
    if not 0 <= around < len(prediction.segments):
        raise ValueError(f"around must be in 0..{len(prediction.segments) - 1}, not {around}")
    title = f"Text against pictures around {clock(prediction.segments[around].segment.start_s)}"
    figure = go.Figure()
    if prediction.alignment is None:
        figure.add_annotation(
            text="No alignment: it needs text and pictures,<br>and this recording lacks one of them.", showarrow=False
        )
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        _style(figure, title=title, subtitle="", dark=dark)
        return figure.update_layout(height=200)

    first = max(0, min(around - ALIGNMENT_SEGMENTS // 2, len(prediction.segments) - ALIGNMENT_SEGMENTS))
    segments = [s.segment for s in prediction.segments[first : first + ALIGNMENT_SEGMENTS]]
    edges = _dates([*(s.start_s for s in segments), segments[-1].end_s])
    names = [f"{clock(s.start_s)}–{clock(s.end_s)}" for s in segments]
    figure.add_heatmap(
        x=edges,
        y=edges,
        z=_square(prediction, segments),
        customdata=[[(text, pictures) for pictures in names] for text in names],
        hovertemplate="text %{customdata[0]}<br>pictures %{customdata[1]}<br>cost %{z:.2f}<extra></extra>",
        hoverongaps=False,
        colorscale="Cividis",
        colorbar={
            "title": {"text": "cost (1 − cosine)", "side": "top"},
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.22,
            "yanchor": "top",
            "lenmode": "pixels",
            "len": 250,
            "thickness": 10,
            "nticks": 6,
            "outlinewidth": 0,
        },
    )
    inside = range(first, first + len(segments))
    path = [(text, pictures) for text, pictures in prediction.alignment.path if text in inside and pictures in inside]
    middles = _dates((s.start_s + s.end_s) / 2 for s in segments)
    # A dark line under the white one: between them they can be told from every colour of the scale.
    for colour, width in (("black", 5), ("white", 2)):
        figure.add_scatter(
            x=[middles[pictures - first] for _, pictures in path],
            y=[middles[text - first] for text, _ in path],
            mode="lines",
            line={"color": colour, "width": width},
            name="best match (DTW)",
            showlegend=False,
            hoverinfo="skip",
        )
    figure.update_xaxes(title="pictures at", constraintoward="left", nticks=5)
    figure.update_yaxes(title="text at", constraintoward="top", nticks=6, scaleanchor="x")
    _style(
        figure,
        title=title,
        subtitle="Line: which text goes with which pictures (DTW). Low cost, in dark: they match",
        dark=dark,
    )
    figure.update_xaxes(constrain="domain", showgrid=False, **_TIME_AXIS)
    figure.update_yaxes(constrain="domain", showgrid=False, **_TIME_AXIS)
    return figure.update_layout(height=560, margin_b=110)


_TIME_AXIS = {"type": "date", "tickformat": "%-H:%M:%S", "hoverformat": "%-H:%M:%S"}


def _dates(times_s: Iterable[float]) -> np.ndarray:
    """Turn times into dates of the first of January 1970: plotly labels and zooms only dates in h:mm:ss."""
    return np.round(np.fromiter(times_s, dtype=np.float64) * 1000).astype("datetime64[ms]")


def _target(prediction: Prediction) -> str:
    return "LVTR" if prediction.target == "lvtr" else html.escape(prediction.target)


def _wrap(text: str, width: int, *, max_lines: int | None = None) -> list[str]:
    """Break a text into lines of ``width`` letters, or half as many where the script is one of wide letters."""
    text = text.encode("utf-8", errors="replace").decode()  # a file name need not be Unicode, but figures have to
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return textwrap.wrap(text, width // 2 if 2 * wide > len(text) else width, max_lines=max_lines, placeholder=" …")


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Choose the ends of the axis for rates: all of them with some air, and no magnifying of a nearly flat curve."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    air = max(0.12 * (max(known) - min(known)), 0.025)
    return max(0.0, min(known) - air), min(1.0, max(known) + air)


def _hover(found: SegmentPrediction, prediction: Prediction) -> str:
    """Tell a segment's time, value, words and comments, as the few tags plotly knows."""
    segment = found.segment
    lines = [f"<b>{clock(segment.start_s)}–{clock(segment.end_s)}</b>"]
    if found.lvtr is None:
        lines.append("no prediction: nothing came before")
    else:
        lines.append(f"predicted {_target(prediction)} <b>{found.lvtr:.1%}</b>")
    if prediction.modalities.comments:
        lines.append(f"{found.comments} comment{'' if found.comments == 1 else 's'}")
    said = _wrap(found.speech, _HOVER_WIDTH, max_lines=_HOVER_LINES)
    return "<br>".join([*lines, *(f"<i>{html.escape(line)}</i>" for line in said)])


def _add_forecast(
    figure: go.Figure, prediction: Prediction, middles: np.ndarray, values: Sequence[float], *, dark: bool
) -> None:
    """Continue the curve by a dashed line to a hollow marker: the segment after the last."""
    if not math.isfinite(prediction.forecast):
        return
    end_s = prediction.segments[-1].segment.end_s if prediction.segments else 0.0
    ahead = _dates([end_s + SEGMENT_S / 2])[0]
    text = f"forecast {prediction.forecast:.1%}"
    figure.add_scatter(
        x=[middles[-1], ahead] if values else [ahead],
        y=[values[-1], prediction.forecast] if values else [prediction.forecast],
        name="forecast: the next 30 s",
        mode="lines+markers",
        line={"color": _VERMILION, "width": 2, "dash": "dot"},
        marker={"size": [0, 11] if values else 11, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate=f"<b>{clock(end_s)}–{clock(end_s + SEGMENT_S)}</b><br>{text}<extra></extra>",
        row=1,
        col=1,
    )
    # An annotation, since a trace's text would be cut off at the right edge; on the side away from the dashed line.
    rises = bool(values) and prediction.forecast >= values[-1]
    figure.add_annotation(
        x=ahead,
        y=prediction.forecast,
        text=text,
        showarrow=False,
        xanchor="right",
        yanchor="bottom" if rises else "top",
        yshift=6 if rises else -6,
        font={"color": _VERMILION},
        bgcolor="rgba(17, 24, 39, 0.7)" if dark else "rgba(255, 255, 255, 0.7)",
        row=1,
        col=1,
    )


def _add_highlight(figure: go.Figure, highlight: Highlight) -> None:
    """Shade a highlight over all rows, with its rank above."""
    start, end = _dates([highlight.start_s, highlight.end_s])
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
        name="highlight, with its rank",
        legendgroup="highlights",
        showlegend=highlight.rank == 1,
    )
    figure.add_annotation(
        x=_dates([highlight.peak_s])[0],
        xref="x",
        y=1,
        yref="paper",
        yanchor="bottom",
        yshift=2,
        text=f"<b>{highlight.rank}</b>",
        hovertext=f"highlight {highlight.rank}: {clock(highlight.start_s)}–{clock(highlight.end_s)}, "
        f"{highlight.lvtr:.1%}",
        showarrow=False,
        bgcolor=_ORANGE,
        borderpad=2,
        font={"color": "black", "size": 11},
    )


def _square(prediction: Prediction, segments: Sequence[Segment]) -> np.ndarray:
    """Unroll the banded cost of some consecutive segments to (text, pictures); NaN outside the band."""
    found = prediction.alignment
    rows = np.array([s.index for s in segments])
    columns = rows[None, :] - rows[:, None] + found.band
    inside = (columns >= 0) & (columns <= 2 * found.band)
    return np.where(inside, found.cost[rows[:, None], np.where(inside, columns, 0)], np.nan)


def _style(figure: go.Figure, *, title: str, subtitle: str, dark: bool) -> None:
    """Give a figure its title, its colours, and margins that leave a narrow page most of its width."""
    heads = _wrap(title, _TITLE_WIDTH - 8)
    subs = _wrap(subtitle, _TITLE_WIDTH)
    ink = "#e5e7eb" if dark else "#1f2937"
    figure.update_layout(
        template="plotly_dark" if dark else "plotly_white",
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"color": ink, "size": 12},
        hoverlabel={"bgcolor": "#1f2937" if dark else "white", "font": {"color": ink, "size": 12}, "align": "left"},
        title={
            "text": "<br>".join(html.escape(line) for line in heads),
            "subtitle": {"text": "<br>".join(html.escape(line) for line in subs), "font": {"size": 12, "color": ink}},
            "font": {"size": 15, "color": ink},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 8, "t": 8},
        },
        margin={"l": 64, "r": 16, "t": 24 + 20 * len(heads) + 16 * len(subs), "b": 48},
    )
    ticks = {"ticks": "outside", "ticklen": 4, "tickcolor": _GRID}
    figure.update_xaxes(gridcolor=_GRID, zerolinecolor=_GRID, title_standoff=8, **ticks)
    figure.update_yaxes(gridcolor=_GRID, zerolinecolor=_GRID, title_standoff=8, **ticks)
