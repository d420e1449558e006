"""What encoders could have found in a recording that nobody made."""

import numpy as np

from kuaihl.encoded import Encoded
from kuaihl.encoders import TextFeatures
from kuaihl.model import KuaiHLConfig
from kuaihl.records import Comment, RecordingInfo, Utterance, segments_of


def encoded(config: KuaiHLConfig, segments: int) -> Encoded:
    """Random features, a few words and comments."""
    rng = np.random.default_rng(segments)
    places = segments_of(30.0 * segments)
    return Encoded(
        recording=RecordingInfo("made-up.mp4", 30.0 * segments, "mp4", "h264", "aac", 640, 360),
        segments=tuple(places),
        speech=[[Utterance(s.start_s, s.start_s + 3, "hello there")] * int(rng.integers(3)) for s in places],
        comments=[
            [Comment(s.start_s, "hi", user=f"viewer {rng.integers(40)}") for _ in range(rng.integers(30))]
            for s in places
        ],
        pictures=rng.normal(size=(segments, 3, config.picture_dim)).astype(np.float16),
        text=TextFeatures(*(rng.normal(size=(segments, config.text_dim)).astype(np.float16) for _ in range(3))),
        skipped=(),
        timings_s={},
    )
