"""The alignment of comments, speech and pictures around one segment."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kuaihl.plots.style import apply_style, clock, dates, time_axis
from kuaihl.records import Alignment, Prediction, Segment

ALIGNMENT_SEGMENTS = 20
"""Segments on each axis: the model's window."""
_SUBTITLE = "Line: best match (DTW). Above the diagonal: comes later. On it: no lag, or too little in common"


def plot_alignment(prediction: Prediction, *, around: int, dark: bool = False) -> go.Figure:
    """Plot the cost of matching comments, speech and pictures in the 20 segments around one, and the cheapest paths.

    There is a panel for each pair of sources. Without an alignment the figure says so.

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
    title = f"What belongs together around {clock(prediction.segments[around].segment.start_s)}"
    if not prediction.alignments:
        figure = go.Figure()
        figure.add_annotation(text="No alignment: it needs two of pictures, speech and comments.", showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        apply_style(figure, title=title, subtitle="", dark=dark)
        return figure.update_layout(height=200)

    first = max(0, min(around - ALIGNMENT_SEGMENTS // 2, len(prediction.segments) - ALIGNMENT_SEGMENTS))
    segments = [s.segment for s in prediction.segments[first : first + ALIGNMENT_SEGMENTS]]
    names = [f"{alignment.source}: {_lag(alignment)}" for alignment in prediction.alignments]
    figure = make_subplots(cols=len(names), subplot_titles=names, horizontal_spacing=0.1)
    axis = {**time_axis(segments[-1].end_s), "constrain": "domain", "showgrid": False}
    for column, alignment in enumerate(prediction.alignments, 1):
        _add_panel(figure, alignment, segments, column=column)
        figure.update_xaxes(axis, col=column, title=f"{alignment.other} at", constraintoward="left", nticks=4)
        anchor = "x" if column == 1 else f"x{column}"
        title_y = f"{alignment.source} at"
        figure.update_yaxes(axis, col=column, title=title_y, constraintoward="top", nticks=5, scaleanchor=anchor)
    top = apply_style(figure, title=title, subtitle=_SUBTITLE, dark=dark)
    figure.update_annotations(font_size=12)
    bar = {
        "title": {"text": "cost (1 − cosine)", "side": "top"},
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": -0.45,
        "yanchor": "top",
        "lenmode": "pixels",
        "len": 250,
        "thickness": 10,
        "nticks": 6,
        "outlinewidth": 0,
    }
    return figure.update_layout(
        height=440, margin_t=top + 24, margin_b=112, coloraxis={"colorscale": "Cividis", "colorbar": bar}
    )


def _lag(alignment: Alignment) -> str:
    """Say how much later the source comes than what it matches."""
    lag = alignment.lag
    if not lag:
        return f"as {alignment.other}"
    return f"{abs(lag):g} segment{'s' * (abs(lag) != 1)} {'after' if lag > 0 else 'before'} {alignment.other}"


def _add_panel(figure: go.Figure, alignment: Alignment, segments: Sequence[Segment], *, column: int) -> None:
    """Add the costs, the diagonal and the path of a pair of sources."""
    first, last = segments[0].index, segments[-1].index
    edges = dates([*(s.start_s for s in segments), segments[-1].end_s])
    names = [f"{clock(s.start_s)}–{clock(s.end_s)}" for s in segments]
    figure.add_heatmap(
        x=edges,
        y=edges,
        z=_square(alignment, segments),
        customdata=[[(row, other) for other in names] for row in names],
        hovertemplate=f"{alignment.source} %{{customdata[0]}}<br>{alignment.other} %{{customdata[1]}}<br>"
        "cost %{z:.2f}<extra></extra>",
        hoverongaps=False,
        coloraxis="coloraxis",
        row=1,
        col=column,
    )
    middles = dates((s.start_s + s.end_s) / 2 for s in segments)
    path = [(i - first, j - first) for i, j in alignment.path if first <= min(i, j) and max(i, j) <= last]
    rows, columns = ([pair[k] for pair in path] for k in (0, 1))
    # A black line under the white one keeps the path visible on every colour of the scale.
    for name, x, y, line in (
        ("same time", middles, middles, {"color": "white", "width": 1, "dash": "dot"}),
        ("best match (DTW)", middles[columns], middles[rows], {"color": "black", "width": 5}),
        ("best match (DTW)", middles[columns], middles[rows], {"color": "white", "width": 2}),
    ):
        figure.add_scatter(
            x=x, y=y, mode="lines", line=line, name=name, showlegend=False, hoverinfo="skip", row=1, col=column
        )


def _square(alignment: Alignment, segments: Sequence[Segment]) -> np.ndarray:
    """Return the banded cost of consecutive segments as (source, other), NaN outside the band."""
    rows = np.array([s.index for s in segments])
    columns = rows[None, :] - rows[:, None] + alignment.band
    inside = (columns >= 0) & (columns <= 2 * alignment.band)
    return np.where(inside, alignment.cost[rows[:, None], np.where(inside, columns, 0)], np.nan)
