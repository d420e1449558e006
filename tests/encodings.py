"""What encoders could have found in a recording that nobody made, and a model that predicts more than one target."""

from dataclasses import replace

import numpy as np
import torch

from kuaihl.config import KuaiHLConfig, Target
from kuaihl.encoded import Encoded
from kuaihl.encoders import TextFeatures
from kuaihl.predictor import Predictor
from kuaihl.records import Comment, RecordingInfo, Utterance, segments_of
from train.start import extended


def two_targets(predictor: Predictor) -> Predictor:
    """The same encoders with a head more, at random, for participation, which never saw pictures and speech."""
    lvtr = replace(predictor.config.targets[0], trained_on="simulated rooms")
    targets = (lvtr, Target("participation", "real chat", ("pictures", "speech")))
    torch.manual_seed(0)
    return Predictor(
        extended(predictor.model, replace(predictor.config, targets=targets)).eval(),
        visual_encoder=predictor.visual_encoder,
        text_encoder=predictor.text_encoder,
        checkpoint=predictor.checkpoint,
        device=predictor.device,
    )


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
