"""Interactive figures of a prediction (plotly): the curve with its highlights, and text aligned with pictures."""

from kuaihl.plots.alignments import ALIGNMENT_SEGMENTS, alignment
from kuaihl.plots.curves import curve
from kuaihl.plots.fits import fit
from kuaihl.plots.style import clock, target_name

__all__ = ["ALIGNMENT_SEGMENTS", "alignment", "clock", "curve", "fit", "target_name"]
