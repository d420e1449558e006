"""Shared by all figures: time axes, names, line breaks, titles, page colours."""

import html
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from kuaihl.records import Highlight

# Okabe and Ito's palette. Vermilion and green have a contrast of 3 or more on white and on near-black.
BLUE, SKY_BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
GREY = "#808080"

_CLOCK, _DAY_S = "%-H:%M:%S", 86_400
# Invisible text before the time. It tells labels of the second day from those of the first.
_DAY = '<span style="font-size:0px">{}</span>'
# Letters per title line, so that titles fit a page 390 pixels wide.
_TITLE_WIDTH = 50
_GRID = "rgba(128, 128, 128, 0.25)"


def clock(time_s: float) -> str:
    """Format a time or a duration as h:mm:ss, rounded to the second."""
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def time_axis(end_s: float) -> dict[str, Any]:
    """Return the settings of an axis that shows times up to ``end_s`` as h:mm:ss.

    The clock of plotly's dates restarts after 24 hours; later labels are replaced, one per minute.
    """
    axis: dict[str, Any] = {"type": "date", "tickformat": _CLOCK, "hoverformat": _CLOCK}
    if end_s < _DAY_S:
        return axis
    labels = {}
    for time_s in range(_DAY_S, int(end_s) + 1, 60):
        day, minute = divmod(time_s // 60, 24 * 60)
        labels[f"{_DAY.format(day + 1)}{minute // 60}:{minute % 60:02}:00"] = clock(time_s)
    return axis | {"tickformat": _DAY.format("%-d") + _CLOCK, "labelalias": labels}


def target_name(target: str) -> str:
    """Return the display name of a target."""
    return {"lvtr": "LVTR"}.get(target, target)


def percent(score: float | None) -> str:
    """Format a score, or a dash where there is none."""
    return "–" if score is None else f"{score:.1%}"


def strength_and_why(highlight: Highlight) -> str:
    """Return how much a highlight stands out, and the evidence."""
    return f"{highlight.strength}: {highlight.why}" if highlight.why else highlight.strength


def dates(times_s: Iterable[float]) -> np.ndarray:
    """Convert times to dates on 1 January 1970, since plotly labels and zooms only dates as h:mm:ss."""
    return np.round(np.fromiter(times_s, dtype=np.float64) * 1000).astype("datetime64[ms]")


def wrap(text: str, width: int, *, max_lines: int | None = None) -> list[str]:
    """Break a text into lines of ``width`` letters, or of half as many in scripts with wide letters."""
    text = text.encode("utf-8", errors="replace").decode()  # a file name may not be Unicode
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return textwrap.wrap(text, width // 2 if 2 * wide > len(text) else width, max_lines=max_lines, placeholder=" …")


def apply_style(figure: go.Figure, *, title: str, subtitle: str, dark: bool) -> int:
    """Set title, colours and margins, which leave a narrow page most of its width; return the top margin in pixels."""
    heads = wrap(title, _TITLE_WIDTH - 8)
    # Lines of the title: plotly's own subtitle overlaps it when the figure is resized on a hidden tab.
    subs = [f'<span style="font-size:12px">{html.escape(line)}</span>' for line in wrap(subtitle, _TITLE_WIDTH)]
    lines = [*map(html.escape, heads), *subs]
    above = 19 if len(lines) > 1 else 8  # plotly places the first of several lines higher than a single line
    top = 16 + above + 20 * len(lines)
    ink = "#e5e7eb" if dark else "#1f2937"
    figure.update_layout(
        template="plotly_dark" if dark else "plotly_white",
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"color": ink, "size": 12, "family": "system-ui, sans-serif"},
        hoverlabel={"bgcolor": "#1f2937" if dark else "white", "font": {"color": ink, "size": 12}, "align": "left"},
        title={
            "text": "<br>".join(lines),
            "font": {"size": 15, "color": ink},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 8, "t": above},
        },
        margin={"l": 64, "r": 16, "t": top, "b": 48},
    )
    axes = {"gridcolor": _GRID, "zerolinecolor": _GRID, "title_standoff": 8, "ticks": "outside", "ticklen": 4}
    figure.update_xaxes(axes, tickcolor=_GRID)
    figure.update_yaxes(axes, tickcolor=_GRID)
    return top
