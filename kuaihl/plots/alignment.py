"""The alignment of text with pictures around one segment."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from kuaihl.plots.style import apply_style, clock, dates, time_axis
from kuaihl.records import Alignment, Prediction, Segment

ALIGNMENT_SEGMENTS = 20
"""Segments on each axis: the model's window."""


def plot_alignment(prediction: Prediction, *, around: int, dark: bool = False) -> go.Figure:
    """Plot the cost of matching text with pictures in the 20 segments around one, and the cheapest path.

    Without an alignment (no text or no pictures) the figure says so.

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
        figure.add_annotation(text="No alignment: it needs text and pictures.", showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        apply_style(figure, title=title, subtitle="", dark=dark)
        return figure.update_layout(height=200)

    first = max(0, min(around - ALIGNMENT_SEGMENTS // 2, len(prediction.segments) - ALIGNMENT_SEGMENTS))
    segments = [s.segment for s in prediction.segments[first : first + ALIGNMENT_SEGMENTS]]
    edges = dates([*(s.start_s for s in segments), segments[-1].end_s])
    names = [f"{clock(s.start_s)}–{clock(s.end_s)}" for s in segments]
    figure.add_heatmap(
        x=edges,
        y=edges,
        z=_square(prediction.alignment, segments),
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
    middles = dates((s.start_s + s.end_s) / 2 for s in segments)
    # A black line under the white one keeps the path visible on every colour of the scale.
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
    apply_style(
        figure,
        title=title,
        subtitle="Line: which text belongs to which pictures (DTW). Dark: low cost, they match",
        dark=dark,
    )
    axis = {**time_axis(segments[-1].end_s), "constrain": "domain", "showgrid": False}
    figure.update_xaxes(axis, title="pictures at", constraintoward="left", nticks=5)
    figure.update_yaxes(axis, title="text at", constraintoward="top", nticks=6, scaleanchor="x")
    return figure.update_layout(height=440, margin_b=104)


def _square(alignment: Alignment, segments: Sequence[Segment]) -> np.ndarray:
    """Return the banded cost of consecutive segments as (text, pictures), NaN outside the band."""
    rows = np.array([s.index for s in segments])
    columns = rows[None, :] - rows[:, None] + alignment.band
    inside = (columns >= 0) & (columns <= 2 * alignment.band)
    return np.where(inside, alignment.cost[rows[:, None], np.where(inside, columns, 0)], np.nan)
