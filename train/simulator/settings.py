"""Parameters of KLive-Sim, and constants that its parts share."""

from dataclasses import dataclass
from typing import Literal

TALENTS = ("chatting", "singing", "dancing", "pk", "gaming", "eating", "outdoors", "selling")
"""What a streamer can do."""
CALENDAR_DAYS = 90
TRAIN_DAYS = range(70)
VALIDATION_DAYS = range(70, 80)
TEST_DAYS = range(80, CALENDAR_DAYS)
PICTURE_SLOT_S = 10.0
"""A third of a segment: it has one state (steady, stuck, transition) and one picture, in its middle."""

Split = Literal["train", "validation", "test"]
SizeName = Literal["tiny", "small", "base", "large"]


@dataclass(frozen=True, slots=True)
class Size:
    """Number of rooms per split, and of streamers. ``more`` training rooms are numbered after all others."""

    train: int
    validation: int
    test: int
    streamers: int
    more: int = 0


SIZES = {
    "tiny": Size(train=4, validation=2, test=2, streamers=4),
    "small": Size(train=80, validation=10, test=10, streamers=20),
    "base": Size(train=600, validation=75, test=75, streamers=80),
    "large": Size(train=600, validation=75, test=75, streamers=80, more=1800),
}


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Parameters of the simulation.

    The defaults give plausible distributions. Those of hype and noise were chosen so that gradient boosting on the
    visible truth can predict LVTR; none was chosen by a score of KuaiHL or by an ablation.

    Attributes
    ----------
    size, seed
        Number of rooms and streamers, see `SIZES`. The same seed gives the same bytes.
    min_segments, max_segments
        Length of a room, uniform, both ends included.
    talent_concentration
        Dirichlet parameter of a streamer's mix of talents: small values make specialists.
    taste_sd
        Spread of how much the audience of a streamer likes each talent (logits).
    popularity_step_sd
        Daily step of the popularity of each talent, a random walk (logits).
    base_mean, base_sd
        Base appeal over streamers (logits).
    intensity_gain, interaction_gain, fatigue_cost
        Weights in the appeal (logits).
    noise_sd, noise_memory
        Standard deviation (logits) and lag-one correlation of the AR(1) noise of the appeal.
    hype_slope, hype_middle
        Hype is ``expit(slope * (appeal - middle))`` of the appeal in logits: what the audience shows of it.
    fatigue_after, fatigue_scale
        Segments of one talent before viewers tire, and scale of the exponential after that.
    mean_episode
        Mean length of an episode in segments, before clipping to 2-20.
    idle_rate
        Chance of an idle stretch (1-3 segments) between two episodes.
    audience_median, audience_sd
        Lognormal mean number of impressions per segment, over rooms; clipped to 20-2,000.
    audience_dispersion
        Dispersion of the negative binomial number of impressions: small values are bursty.
    view_shape, long_view_s
        Shape of the Weibull view time, and the duration of a long view.
    announce_rate, explain_rate
        Chance that an episode is announced, 0-2 segments ahead, and that it is explained afterwards.
    comments_median, comments_sd
        Lognormal number of comments per segment at zero hype, over streamers.
    comments_gain, comments_noise_sd
        Comments are multiplied by ``exp(gain * hype)``, and by lognormal noise per segment.
    max_lag
        Comments follow the hype by 0 to this many segments.
    max_comments
        Largest number of comments per segment.
    bank_share
        With a comment bank, the share of comments from it.
    stuck_rate, stuck_pk_factor
        Share of pictures stuck by a bad network, and the factor in a PK.
    transition_rate
        Share of pictures between two shots.
    scenes_rate
        With photos, the share of rooms that show photos.
    unseen_streamers, unseen_rooms
        Share of streamers in test only, and of test rooms that are theirs.
    """

    size: SizeName = "small"
    seed: int = 0
    min_segments: int = 40
    max_segments: int = 120
    talent_concentration: float = 0.5
    taste_sd: float = 0.4
    popularity_step_sd: float = 0.06
    base_mean: float = -1.1
    base_sd: float = 0.6
    intensity_gain: float = 1.5
    interaction_gain: float = 0.5
    fatigue_cost: float = 0.6
    noise_sd: float = 0.2
    noise_memory: float = 0.85
    hype_slope: float = 2.0
    hype_middle: float = -0.7
    fatigue_after: float = 6.0
    fatigue_scale: float = 5.0
    mean_episode: float = 8.0
    idle_rate: float = 0.3
    audience_median: float = 300.0
    audience_sd: float = 1.0
    audience_dispersion: float = 8.0
    view_shape: float = 0.7
    long_view_s: float = 60.0
    announce_rate: float = 0.5
    explain_rate: float = 0.6
    comments_median: float = 12.0
    comments_sd: float = 0.6
    comments_gain: float = 2.0
    comments_noise_sd: float = 0.35
    max_lag: int = 2
    max_comments: int = 400
    bank_share: float = 0.8
    stuck_rate: float = 0.05
    stuck_pk_factor: float = 3.0
    transition_rate: float = 0.05
    scenes_rate: float = 0.5
    unseen_streamers: float = 0.1
    unseen_rooms: float = 0.2

    @property
    def rooms(self) -> Size:
        """Number of rooms and streamers."""
        return SIZES[self.size]
