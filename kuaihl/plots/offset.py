"""Comment rate and loudness of the recording over time: two curves that should rise together."""

import numpy as np
import plotly.graph_objects as go

from kuaihl.plots.style import BLUE, SKY_BLUE, VERMILION, apply_style, dates, time_axis

_MAX_POINTS, _MIN_BINS = 200, 3


def plot_offset(level_db: np.ndarray, rate: np.ndarray, *, bin_s: float, dark: bool = False) -> go.Figure:
    """Plot loudness and comment rate, both (bins,) with ``bin_s`` seconds per bin, each scaled to 0..1."""
    width = max(-(-len(rate) // _MAX_POINTS), _MIN_BINS)
    figure = go.Figure()
    for name, values, colour in (("sound", level_db, SKY_BLUE if dark else BLUE), ("comments", rate, VERMILION)):
        means = _means(np.asarray(values, np.float64), width)
        figure.add_scatter(
            x=dates((np.arange(len(means)) + 0.5) * width * bin_s),
            y=(means - means.min(initial=np.inf)) / max(np.ptp(means) if len(means) else 0.0, 1e-9),
            name=name,
            mode="lines",
            line={"color": colour, "width": 1.5},
            hovertemplate=name + " %{x}<extra></extra>",
        )
    apply_style(figure, title="", subtitle="", dark=dark)
    end_s = len(rate) * bin_s
    figure.update_xaxes(time_axis(end_s), range=dates([0.0, end_s]), nticks=4)
    figure.update_yaxes(visible=False)
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
    return figure.update_layout(height=200, margin={"l": 4, "r": 4, "t": 28, "b": 28}, legend=legend)


def _means(values: np.ndarray, width: int) -> np.ndarray:
    """Average each ``width`` neighbours; an incomplete group at the end is dropped."""
    return values[: len(values) // width * width].reshape(-1, width).mean(1)
