"""When a forecast means that a highlight is about to come: known from the past alone."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RAISE_QUANTILE, LOWER_QUANTILE = 0.9, 0.75
WARM_UP, REMEMBERED = 20, 240
"""Forecasts before there is a first threshold, ten minutes of them, and how many make one, two hours."""
SLACK = 0.05
"""A highlight ends when the forecast is below a given threshold by more than this part of it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What a forecast means: whether it is in a highlight, and whether that begins with it.

    ``threshold`` is what it would have to exceed for one to begin; None as long as there is none.
    """

    threshold: float | None
    highlight: bool
    begins: bool


class Alarm:
    """Raises a highlight once when the forecast crosses a threshold, and again only after it was clearly lower.

    A given threshold must be exceeded, and left by `SLACK`. By default it is the 0.9 quantile of the last `REMEMBERED`
    forecasts before this one, and a highlight ends below their 0.75 quantile; the first `WARM_UP` forecasts raise none.

    Parameters
    ----------
    threshold
        Of the forecast; by default from its past.
    past, highlight
        The `state` of another alarm, to go on from there.
    """

    def __init__(self, threshold: float | None = None, *, past: Sequence[float] = (), highlight: bool = False) -> None:
        self._threshold = threshold
        self._past = deque(past, maxlen=REMEMBERED)
        self._highlight = highlight

    @property
    def told(self) -> str:
        """When a highlight is raised."""
        if self._threshold is not None:
            return f"raised above {self._threshold:.1%}"
        return f"raised above nine tenths of the last two hours' forecasts, from the {WARM_UP + 1}st on"

    @property
    def state(self) -> dict[str, Any]:
        """Keyword arguments, fit for JSON, for an alarm that goes on from here."""
        return {"past": list(self._past), "highlight": self._highlight}

    def hear(self, forecast: float) -> Alert:
        """Take the next forecast."""
        raised = lowered = None
        if self._threshold is not None:
            raised, lowered = self._threshold, self._threshold - SLACK * abs(self._threshold)
        elif len(self._past) >= WARM_UP:
            raised, lowered = (float(q) for q in np.quantile(self._past, (RAISE_QUANTILE, LOWER_QUANTILE)))
        self._past.append(forecast)
        before = self._highlight
        self._highlight = raised is not None and (forecast >= lowered if before else forecast > raised)
        return Alert(raised, self._highlight, begins=self._highlight and not before)
