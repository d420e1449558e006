"""Frame rates: what a recording's is, and on which timecode an editor counts it."""

from fractions import Fraction

import numpy as np

from kuaihl.media.frames import FrameIndex

RATES_HZ = tuple(Fraction(*rate) for rate in (
    (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1)
))  # fmt: skip
"""The rates that have a timecode (SMPTE ST 12)."""
USUAL_HZ = Fraction(30)
"""For what has no frames, or no rate that a timecode counts."""
_NEAR = 3e-4
"""So near are two rates the same: a third of what lies between 29.97 and 30."""


def frame_rate(index: FrameIndex | None) -> Fraction:
    """Measure the frame rate of a recording: that of its usual frames, so that pauses and lost frames do not count.

    A rate that is nearly a timecode's, or a whole number, is that.
    """
    if index is None or len(index.shown) < 2:
        return USUAL_HZ
    steps_s = np.diff(index.shown_s)
    steps_s = steps_s[steps_s > 0]
    steps_s = steps_s[np.abs(steps_s - np.median(steps_s)) < np.median(steps_s) / 2]
    if not len(steps_s):
        return USUAL_HZ
    rate_hz = 1 / float(steps_s.mean())
    for known in (*RATES_HZ, Fraction(max(round(rate_hz), 1))):
        if abs(rate_hz / float(known) - 1) < _NEAR:
            return known
    return Fraction(rate_hz).limit_denominator(1000)


def timecode_rate(rate_hz: Fraction) -> Fraction:
    """Choose the timecode to count frames of a rate by: the lowest that has a number for each of them.

    For 6 frames a second that is 24, for 10 it is 30, for 29.97 itself; where there is none, `USUAL_HZ`.
    """
    return next((known for known in RATES_HZ if (known / rate_hz).denominator == 1), USUAL_HZ)
