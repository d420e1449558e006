"""Draws how predicted percentages compare with what came true (DeGroot and Fienberg, 1983)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kuaihl.errors import LabelError
from kuaihl.plots.style import target_name
from train.experiments.drawing import BLUE, GREY, panels


def draw(report: dict[str, Any]) -> Figure:
    """Draw predicted against true means in bins of equally many segments, from a report of `train.evaluate`."""
    found, name = report["calibration"], target_name(report["target"])
    predicted, true = ([row[name] for row in found["bins"]] for name in ("predicted", "true"))
    figure, axes = panels(1, 1, size=(4.2, 4.4))
    axis = axes[0, 0]
    low, high = min(predicted + true) - 0.03, max(predicted + true) + 0.03
    axis.plot([low, high], [low, high], color=GREY, lw=1, ls="--", label="as predicted")
    axis.plot(predicted, true, color=BLUE, marker="o", ms=5, label=f"{report['split']} split")
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.yaxis.set_major_formatter("{x:.0%}")
    axis.set_xlabel(f"predicted {name}, mean of a bin")
    axis.set_ylabel(f"true {name}, mean of a bin")
    segments = sum(row["segments"] for row in found["bins"])
    title = f"{segments:,} segments of {report['rooms']} rooms; expected error {found['expected_error']:.3f}"
    axis.set_title(title, fontsize=9)
    axis.legend(frameon=False, loc="upper left")
    return figure


@dataclass(frozen=True)
class Reliability:
    """Predicted against true percentages, from the report that train.evaluate wrote."""

    evaluation: Path
    """evaluation.json of a checkpoint."""
    out: Path
    """PNG, PDF or SVG file to write."""

    def draw(self) -> Figure:
        """Draw it."""
        try:
            report = json.loads(self.evaluation.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LabelError(f"{self.evaluation} cannot be read: {error}") from error
        if not (isinstance(report, dict) and report.get("calibration", {}).get("bins")):
            raise LabelError(f"{self.evaluation} has no calibration: write it with train.evaluate --out.")
        return draw(report)
