"""What can be set about KLive-Sim, and the constants that its parts share."""

from dataclasses import dataclass
from typing import Literal

TALENTS = ("chatting", "singing", "dancing", "pk", "gaming", "eating", "outdoors", "selling")
"""What a streamer does; a segment's talent is an index into this."""
CALENDAR_DAYS = 90
TRAIN_DAYS = range(70)
VALIDATION_DAYS = range(70, 80)
TEST_DAYS = range(80, CALENDAR_DAYS)
PICTURE_SLOT_S = 10.0
"""Each third of a segment has its own state (steady, stuck, transition) and holds one picture, in its middle."""

Split = Literal["train", "validation", "test"]
SizeName = Literal["tiny", "small", "base", "large"]


@dataclass(frozen=True, slots=True)
class Size:
    """How many rooms each split has, and how many streamers there are in all.

    ``more`` rooms to train with are numbered after all others, which are the same without them.
    """

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
    """Every parameter of the simulation. Defaults were chosen so that distributions are plausible.

    Those of hype and of the noise were set by a gradient boosting that is told what can be seen and read (talent,
    intensity, fatigue, gifts, chat): the truth has to show, or no method could find it. None was chosen by looking at
    KuaiHL's score or at an ablation.

    Parameters
    ----------
    size : {"tiny", "small", "base", "large"}
        Number of rooms and streamers, see ``SIZES``.
    seed : int
        The same seed gives the same bytes.
    min_segments, max_segments : int
        Length of a room, uniform between the two, ends included.
    talent_concentration : float
        Dirichlet parameter of a streamer's talent mix: small makes specialists.
    taste_sd : float
        Spread of how much a streamer's audience likes each talent (logits).
    popularity_step_sd : float
        Daily step of each talent's popularity, a random walk (logits).
    base_mean, base_sd : float
        Base appeal over streamers (logits).
    intensity_gain, interaction_gain, fatigue_cost : float
        Weights of the three in the appeal (logits).
    noise_sd, noise_memory : float
        Standard deviation (logits) and lag-one correlation of the AR(1) noise on the appeal.
    hype_slope, hype_middle : float
        Hype, in [0, 1], is ``expit(slope * (appeal - middle))`` of the appeal in logits: what the audience shows of it.
    fatigue_after, fatigue_scale : float
        Segments of one talent before viewers tire, and segments until they mostly have.
    mean_episode : float
        Mean length of an episode in segments, before clipping to 2-20.
    idle_rate : float
        Chance of an idle stretch (1-3 segments) between two episodes.
    audience_median, audience_sd : float
        Lognormal mean number of impressions a segment, over rooms; clipped to 20-2,000.
    audience_dispersion : float
        Negative binomial number of impressions: smaller is burstier.
    view_shape, long_view_s : float
        Shape of the Weibull view time, and the seconds from which a view is long.
    announce_rate : float
        Chance that the next episode is announced, 0-2 segments ahead.
    explain_rate : float
        Chance that the streamer looks back on an episode after it.
    comments_median, comments_sd : float
        Lognormal number of comments a segment in a calm moment, over streamers.
    comments_gain : float
        How much hype multiplies comments: ``exp(gain * hype)``, hype in [0, 1].
    comments_noise_sd : float
        Lognormal noise of the rate from segment to segment.
    max_lag : int
        A room's comments follow hype by 0 to this many segments.
    max_comments : int
        Comments a segment are cut off here, as chat is slowed down when it floods.
    bank_share : float
        With a comment bank, the share of comments taken from it; the others speak of what is on.
    stuck_rate, stuck_pk_factor : float
        Share of pictures stuck by a bad network, and how many times more often in a PK.
    transition_rate : float
        Share of pictures caught between two shots.
    scenes_rate : float
        With photos, the share of rooms that show photos.
    unseen_streamers, unseen_rooms : float
        Share of streamers who appear in test only, and of test rooms that are theirs.
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
        """How many rooms and streamers this size has."""
        return SIZES[self.size]
