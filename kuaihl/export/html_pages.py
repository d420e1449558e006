"""Figures of a prediction as HTML pages that open offline."""

import html
from collections.abc import Iterable

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from kuaihl.plots.alignment import plot_alignment
from kuaihl.plots.curves import plot_curve
from kuaihl.records import SEGMENT_S, Prediction

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0 auto; max-width: 1200px; background: white; }}</style>
<script>{plotlyjs}</script>
</head>
<body>
{figures}
</body>
</html>
"""


def curve_page(prediction: Prediction) -> str:
    """Return a page with the curve."""
    return _page(f"{prediction.recording.name}: predicted {prediction.target}", [plot_curve(prediction)])


def alignment_page(prediction: Prediction) -> str:
    """Return a page with the alignment around each highlight, or around the middle if there is none."""
    centres = [int(highlight.peak_s // SEGMENT_S) for highlight in prediction.highlights]
    if not (prediction.alignments and centres):
        centres = [len(prediction.segments) // 2]
    figures = [plot_alignment(prediction, around=centre) for centre in centres]
    return _page(f"{prediction.recording.name}: what belongs together", figures)


def _page(title: str, figures: Iterable[go.Figure]) -> str:
    """Return a page with figures below each other and one copy of plotly.js."""
    divs = [
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"figure-{number}",
            default_height=f"{figure['layout']['height']}px",
            config={"responsive": True, "displaylogo": False},
        )
        for number, figure in enumerate(figures, 1)
    ]
    return _PAGE.format(title=html.escape(title), plotlyjs=get_plotlyjs(), figures="\n".join(divs))
