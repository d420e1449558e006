"""How many viewers see each segment, and how long they stay."""

from dataclasses import dataclass

import numpy as np

from kuaihl.records import SEGMENT_S
from train.simulator.settings import SimulatorConfig


@dataclass(frozen=True, slots=True)
class Impressions:
    """A log of impressions by start time. All (impressions,): start (s), segment index, and view time (s)."""

    time_s: np.ndarray
    segment: np.ndarray
    view_s: np.ndarray

    def count(self, segments: int, *, long_view_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Count the impressions and the long views of each segment, both (segments,)."""
        long = self.view_s >= long_view_s
        return np.bincount(self.segment, minlength=segments), np.bincount(self.segment[long], minlength=segments)


def simulate_impressions(config: SimulatorConfig, appeal: np.ndarray, *, rng: np.random.Generator) -> Impressions:
    """Draw the impressions of a room; ``appeal`` (segments,) is the chance of a long view.

    View times are Weibull, scaled so that they exceed ``long_view_s`` with that chance.
    """
    size = np.clip(config.audience_median * np.exp(rng.normal(0.0, config.audience_sd)), 20.0, 2000.0)
    spread = config.audience_dispersion
    # At least one, since the ratio of zero impressions is undefined.
    count = 1 + rng.negative_binomial(spread, spread / (spread + size - 1.0), len(appeal))
    segment = np.repeat(np.arange(len(appeal)), count)
    scale_s = config.long_view_s / (-np.log(appeal)) ** (1.0 / config.view_shape)
    view_s = scale_s[segment] * rng.weibull(config.view_shape, len(segment))
    time_s = (segment + rng.random(len(segment))) * SEGMENT_S
    order = np.argsort(time_s, kind="stable")
    return Impressions(time_s=time_s[order], segment=segment[order], view_s=view_s[order])
