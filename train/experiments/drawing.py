"""What the figures share: their look, and how they are written."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kuaihl.errors import LabelError

# Okabe and Ito's palette: told apart by every kind of eye, and drawn with other dashes besides.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6B6B6B"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def write(figure: Figure, out: Path) -> None:
    """Write a figure in the format that the file's name tells, whole or not at all; LabelError for another."""
    if out.suffix not in {".png", ".pdf", ".svg"}:
        raise LabelError(f"{out.name} must end in .png, .pdf or .svg.")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.stem}.part{out.suffix}")
    figure.savefig(part)
    part.replace(out)


def panels(rows: int, columns: int, *, size: tuple[float, float], sharey: bool = False) -> tuple[Figure, np.ndarray]:
    """Make a figure that no window system knows of, and its axes (rows, columns)."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=150)
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, sharey=sharey, squeeze=False)
