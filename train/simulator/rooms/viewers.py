"""How many people see each segment, how long they stay, and how well the best possible prediction could do."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from kuaihl.records import SEGMENT_S
from train.simulator.settings import SimulatorConfig


@dataclass(frozen=True, slots=True)
class Impressions:
    """A log of impressions in order of time: when each began (s), its segment, and how long the viewer stayed (s)."""

    time_s: np.ndarray
    segment: np.ndarray
    view_s: np.ndarray

    def per_segment(self, segments: int, *, long_view_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Impressions and long views of each segment, both (segments,)."""
        long = self.view_s >= long_view_s
        return np.bincount(self.segment, minlength=segments), np.bincount(self.segment[long], minlength=segments)


def watch(config: SimulatorConfig, appeal: np.ndarray, *, rng: np.random.Generator) -> Impressions:
    """Draw the impressions of a room whose segments hold a viewer with chances ``appeal`` (segments,).

    A view time is Weibull, its scale such that it exceeds ``long_view_s`` with the segment's chance.
    """
    size = np.clip(config.audience_median * np.exp(rng.normal(0.0, config.audience_sd)), 20.0, 2000.0)
    spread = config.audience_dispersion
    # one at least, since a ratio of nothing is undefined
    count = 1 + rng.negative_binomial(spread, spread / (spread + size - 1.0), len(appeal))
    segment = np.repeat(np.arange(len(appeal)), count)
    scale_s = config.long_view_s / (-np.log(appeal)) ** (1.0 / config.view_shape)
    view_s = scale_s[segment] * rng.weibull(config.view_shape, len(segment))
    time_s = (segment + rng.random(len(segment))) * SEGMENT_S
    order = np.argsort(time_s, kind="stable")
    return Impressions(time_s=time_s[order], segment=segment[order], view_s=view_s[order])


def ceiling(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Kendall's tau-b between appeal and observed LVTR, pooled over rooms: what a perfect model would score.

    ``pairs`` holds (appeal, lvtr) of each room, both (segments,).
    """
    appeal, lvtr = zip(*pairs, strict=True)
    return float(kendalltau(np.concatenate(appeal), np.concatenate(lvtr)).statistic)
