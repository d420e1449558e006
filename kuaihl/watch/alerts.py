"""Decide from past forecasts when a forecast announces a highlight."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

START_QUANTILE, END_QUANTILE = 0.9, 0.75
WARM_UP, HISTORY = 20, 240
"""Forecasts before the first threshold (10 min), and forecasts that determine the threshold (2 h)."""
END_MARGIN = 0.05
"""With a fixed threshold, a highlight ends when the forecast is lower by more than this fraction."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Whether the next segment is part of a highlight, and whether the highlight begins there.

    ``threshold`` is what the forecast must exceed for a highlight to begin; None during warm-up.
    """

    threshold: float | None
    highlight: bool
    begins: bool


class Alarm:
    """Start a highlight when the forecast exceeds a threshold, and end it when the forecast is clearly lower.

    With a fixed threshold, `END_MARGIN` defines the end. Otherwise the threshold is the 0.9 quantile of the last
    `HISTORY` forecasts before this one, and a highlight ends below their 0.75 quantile; no highlight begins during the
    first `WARM_UP` forecasts.

    Parameters
    ----------
    threshold
        Fixed threshold.
    past, highlight
        The `state` of an alarm to continue.
    """

    def __init__(self, threshold: float | None = None, *, past: Sequence[float] = (), highlight: bool = False) -> None:
        self._threshold = threshold
        self._past = deque(past, maxlen=HISTORY)
        self._highlight = highlight

    @property
    def state(self) -> dict[str, Any]:
        """Keyword arguments, serialisable as JSON, of an alarm that continues this one."""
        return {"past": list(self._past), "highlight": self._highlight}

    def update(self, forecast: float) -> Alert:
        """Add the next forecast."""
        start, end = self._thresholds()
        self._past.append(forecast)
        was_highlight = self._highlight
        self._highlight = start is not None and (forecast >= end if was_highlight else forecast > start)
        return Alert(start, self._highlight, begins=self._highlight and not was_highlight)

    def _thresholds(self) -> tuple[float | None, float]:
        """Return the forecast that starts a highlight, and the one that ends it."""
        if self._threshold is not None:
            return self._threshold, self._threshold - END_MARGIN * abs(self._threshold)
        if len(self._past) < WARM_UP:
            return None, 0.0
        start, end = np.quantile(self._past, (START_QUANTILE, END_QUANTILE))
        return float(start), float(end)
