"""What figures share: times on axes, names, line breaks, titles, colours of the page."""

import html
import textwrap
import unicodedata
from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

_CLOCK, _DAY_S = "%-H:%M:%S", 86_400
# In front of the time, unseen: by it labels of the second day can be told from those of the first.
_DAY = '<span style="font-size:0px">{}</span>'
# Titles break at so many letters, so that they fit a page 390 pixels wide.
_TITLE_WIDTH = 50
_GRID = "rgba(128, 128, 128, 0.25)"


def clock(time_s: float) -> str:
    """Write a time or a length as h:mm:ss, rounded to the second."""
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def time_axis(end_s: float) -> dict[str, object]:
    """Settings of an axis whose dates are times up to ``end_s``.

    The clocks of plotly's dates start again after 24 hours; what they would write there, to the minute, is replaced.
    """
    axis = {"type": "date", "tickformat": _CLOCK, "hoverformat": _CLOCK}
    if end_s < _DAY_S:
        return axis
    beyond = {}
    for time_s in range(_DAY_S, int(end_s) + 1, 60):
        day, minute = divmod(time_s // 60, 24 * 60)
        beyond[f"{_DAY.format(day + 1)}{minute // 60}:{minute % 60:02}:00"] = clock(time_s)
    return axis | {"tickformat": _DAY.format("%-d") + _CLOCK, "labelalias": beyond}


def target_name(target: str) -> str:
    """Write what a checkpoint predicts as readers know it."""
    return {"lvtr": "LVTR"}.get(target, target)


def dates(times_s: Iterable[float]) -> np.ndarray:
    """Turn times into dates of the first of January 1970: plotly labels and zooms only dates in h:mm:ss."""
    return np.round(np.fromiter(times_s, dtype=np.float64) * 1000).astype("datetime64[ms]")


def wrap(text: str, width: int, *, max_lines: int | None = None) -> list[str]:
    """Break a text into lines of ``width`` letters, or half as many where the script is one of wide letters."""
    text = text.encode("utf-8", errors="replace").decode()  # a file name need not be Unicode, but figures have to
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return textwrap.wrap(text, width // 2 if 2 * wide > len(text) else width, max_lines=max_lines, placeholder=" …")


def style(figure: go.Figure, *, title: str, subtitle: str, dark: bool) -> None:
    """Give a figure its title, its colours, and margins that leave a narrow page most of its width."""
    heads = wrap(title, _TITLE_WIDTH - 8)
    # lines of the title: plotly's own subtitle is put upon it where the figure is resized unseen, as on another tab
    subs = [f'<span style="font-size:12px">{html.escape(line)}</span>' for line in wrap(subtitle, _TITLE_WIDTH)]
    lines = [*map(html.escape, heads), *subs]
    above = 19 if len(lines) > 1 else 8  # plotly puts the first of several lines higher than a line alone
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
        margin={"l": 64, "r": 16, "t": 16 + above + 20 * len(lines), "b": 48},
    )
    ticks = {"ticks": "outside", "ticklen": 4, "tickcolor": _GRID}
    figure.update_xaxes(gridcolor=_GRID, zerolinecolor=_GRID, title_standoff=8, **ticks)
    figure.update_yaxes(gridcolor=_GRID, zerolinecolor=_GRID, title_standoff=8, **ticks)
