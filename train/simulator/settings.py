"""Parameters of KLive-Sim, and constants that its parts share."""

from dataclasses import dataclass
from typing import Literal

VERSION = 2
"""Rooms of different versions are not comparable."""
TALENTS = ("chatting", "singing", "dancing", "pk", "gaming", "eating", "outdoors", "selling")
"""What a streamer can do."""
CALENDAR_DAYS = 90
TRAIN_DAYS = range(70)
VALIDATION_DAYS = range(70, 80)
TEST_DAYS = range(80, CALENDAR_DAYS)
PICTURE_SLOT_S = 10.0
"""A third of a segment: it has one state (steady, stuck, transition) and one picture, in its middle."""
SLOTS_PER_SEGMENT = 3

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
    "tiny": Size(train=4, validation=2, test=2, streamers=3),
    "small": Size(train=80, validation=10, test=10, streamers=10),
    "base": Size(train=600, validation=75, test=75, streamers=80),
    "large": Size(train=600, validation=75, test=75, streamers=80, more=1800),
}


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Parameters of the simulation.

    The defaults were calibrated once, with gradient boosting on the visible truth (`train.experiments.oracle`): levels,
    noise and gains for the profile over Delta of the paper's Table I and the order of its Table III. None was chosen by
    a score of KuaiHL.

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
    popularity_range, popularity_step_sd
        The popularity of the talents lies evenly between -range and range on the first day, and then is a random walk
        with this daily step (logits).
    base_mean, base_sd
        Base appeal over streamers (logits).
    intensity_gain, interaction_gain, fatigue_cost
        Weights in the appeal (logits).
    mood_sd, mood_memory
        Standard deviation (logits) and lag-one correlation of the AR(1) mood of the audience, part of the appeal.
    calm_noise_sd, noise_memory
        Standard deviation (logits) in dull moments, and lag-one correlation, of AR(1) noise in the appeal that nothing
        shows. It falls to 0 at full intensity: climaxes hold viewers for sure.
    excitement_slope, excitement_middle, excitement_noise_sd, excitement_memory
        Excitement of those who write is ``expit(slope * (feeling + noise - middle))``, where feeling is the appeal
        without the streamer's base and without noise, and the AR(1) noise is their own.
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
    givers_mean, giver_stay, giver_rate
        Poisson number of viewers in a room who send gifts, how many segments they stay (exponential), and how many
        gifts they send per segment in moments of full intensity.
    comments_median, comments_sd
        Lognormal number of comments per segment at zero excitement, over streamers.
    comments_gain, comments_noise_sd
        Comments are multiplied by ``exp(gain * excitement)``, and by lognormal noise per segment.
    max_lag, lag_share
        Comments follow the excitement by 0 to this many segments: with this chance by the lag of the room, else by one
        of the viewer's own.
    max_comments
        Largest number of comments per segment.
    bank_share
        With a comment bank, the share of comments from it.
    stuck_rate, stuck_pk_factor
        Share of pictures stuck by a bad network, and the factor in a PK.
    transition_rate
        Share of pictures between two shots.
    photo_rate, camera_rate
        With photos, the share of shots that show a photo instead of a drawing, and of shots that show a photo with the
        drawing in a corner. They do not depend on anything else.
    unseen_streamers, unseen_rooms
        Share of streamers in test only, and of test rooms that are theirs.
    """

    size: SizeName = "small"
    seed: int = 0
    min_segments: int = 40
    max_segments: int = 120
    talent_concentration: float = 0.5
    taste_sd: float = 0.3
    popularity_range: float = 0.85
    popularity_step_sd: float = 0.03
    base_mean: float = 0.25
    base_sd: float = 0.4
    intensity_gain: float = 3.5
    interaction_gain: float = 1.0
    fatigue_cost: float = 0.6
    mood_sd: float = 0.5
    mood_memory: float = 0.95
    calm_noise_sd: float = 0.15
    noise_memory: float = 0.3
    excitement_slope: float = 2.0
    excitement_middle: float = 1.9
    excitement_noise_sd: float = 1.1
    excitement_memory: float = 0.3
    givers_mean: float = 5.0
    giver_stay: float = 15.0
    giver_rate: float = 0.35
    fatigue_after: float = 6.0
    fatigue_scale: float = 5.0
    mean_episode: float = 12.0
    idle_rate: float = 0.3
    audience_median: float = 500.0
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
    lag_share: float = 0.6
    max_comments: int = 400
    bank_share: float = 0.8
    stuck_rate: float = 0.05
    stuck_pk_factor: float = 3.0
    transition_rate: float = 0.05
    photo_rate: float = 0.25
    camera_rate: float = 0.25
    unseen_streamers: float = 0.1
    unseen_rooms: float = 0.2

    @property
    def rooms(self) -> Size:
        """Number of rooms and streamers."""
        return SIZES[self.size]
