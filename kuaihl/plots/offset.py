"""A comment log beside the sound of its recording: two curves that should rise together."""

import numpy as np
import plotly.graph_objects as go

from kuaihl.plots.style import dates, style, time_axis

# Okabe and Ito's blue (on a dark page sky blue) and vermilion, as in the other figures.
_BLUE, _SKY_BLUE, _VERMILION = "#0072B2", "#56B4E9", "#D55E00"
_POINTS, _LEAST_BINS = 200, 3


def fit(level_db: np.ndarray, rate: np.ndarray, *, bin_s: float, dark: bool = False) -> go.Figure:
    """Draw loudness and rate of comments, both (bins,) of ``bin_s`` seconds, each from its least to its most."""
    width = max(-(-len(rate) // _POINTS), _LEAST_BINS)
    figure = go.Figure()
    for name, values, colour in (
        ("sound", level_db, _SKY_BLUE if dark else _BLUE),
        ("comments", rate, _VERMILION),
    ):
        means = _means(np.asarray(values, np.float64), width)
        figure.add_scatter(
            x=dates((np.arange(len(means)) + 0.5) * width * bin_s),
            y=(means - means.min(initial=np.inf)) / max(np.ptp(means) if len(means) else 0.0, 1e-9),
            name=name,
            mode="lines",
            line={"color": colour, "width": 1.5},
            hovertemplate=name + " %{x}<extra></extra>",
        )
    style(figure, title="", subtitle="", dark=dark)
    end_s = len(rate) * bin_s
    figure.update_xaxes(range=dates([0.0, end_s]), nticks=4, **time_axis(end_s))
    figure.update_yaxes(visible=False)
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
    return figure.update_layout(height=200, margin={"l": 4, "r": 4, "t": 28, "b": 28}, legend=legend)


def _means(values: np.ndarray, width: int) -> np.ndarray:
    """Average so many neighbours each; those at the end that do not fill one are left out."""
    return values[: len(values) // width * width].reshape(-1, width).mean(1)
