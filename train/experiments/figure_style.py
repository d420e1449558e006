"""Style of the figures, and how they are written."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kuaihl.errors import LabelError
from train.files import replacing

# Palette of Okabe and Ito, which colour-blind readers can distinguish.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6B6B6B"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def make_panels(
    rows: int, columns: int, *, size: tuple[float, float], sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    """Create a figure without a window, and its axes (rows, columns)."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=150)
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, sharey=sharey, squeeze=False)


def write_figure(figure: Figure, out: Path) -> None:
    """Write a figure as PNG, PDF or SVG by the extension of the file; LabelError for another extension."""
    extension = out.suffix.removeprefix(".")
    if extension not in {"png", "pdf", "svg"}:
        raise LabelError(f"{out.name} must end in .png, .pdf or .svg.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        figure.savefig(part, format=extension)
