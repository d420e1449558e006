"""A made-up prediction for the tests of what shows and writes one, and a model that reads all there is."""

from dataclasses import replace

import numpy as np
import torch

from kuaihl.config import KuaiHLConfig
from kuaihl.model import KuaiHL
from kuaihl.records import (
    Alignment,
    CheckpointInfo,
    Highlight,
    Modalities,
    Prediction,
    RecordingInfo,
    SegmentPrediction,
    Skipped,
    segments_of,
)

WORDS = ["hello", "everyone", "<b>bold</b>", "</script>", "&amp;", "大家好"]


def reads_speech_alone(config: KuaiHLConfig) -> KuaiHL:
    """A model of random weights that has the tokens of speech alone and of shares, whatever ``config`` says."""
    torch.manual_seed(0)
    return KuaiHL(replace(config, spoken=True, shares=True)).eval()


def made_up(*, segments=24, comments=True, band=20, aligned=True, seed=0):
    """Predict out of thin air: a wandering curve, a highlight where it is highest, and a monotone alignment."""
    rng = np.random.default_rng(seed)
    pieces = segments_of(segments * 30.0 - 13.0)  # the last piece is a short one
    curve = [None, *(0.4 + 0.2 * np.sin(np.arange(segments - 1) / 4)).tolist()]
    best = max(range(1, segments), key=lambda i: curve[i])
    found = tuple(
        SegmentPrediction(
            piece, value, " ".join(rng.choice(WORDS, rng.integers(0, 60))), int(rng.poisson(8)) * comments
        )
        for piece, value in zip(pieces, curve, strict=True)
    )
    return Prediction(
        recording=RecordingInfo("my <stream>.mp4", segments * 30.0 - 13.0, "mp4", "h264", "aac", 1280, 720),
        checkpoint=CheckpointInfo("compact", "0123456789ab", "swin", "minilm", "tiny.en"),
        target="lvtr",
        trained_on="3,000 simulated rooms, whose audiences are made up",
        modalities=Modalities(pictures=True, speech=True, comments=comments),
        segments=found,
        forecast=0.421,
        highlights=(
            Highlight(1, pieces[best].start_s, pieces[best].end_s, pieces[best].start_s + 15, curve[best]),
            Highlight(2, pieces[0].start_s, pieces[0].end_s, 15.0, 0.1),
        ),
        alignment=_aligned(segments, band, rng) if aligned else None,
        skipped=(Skipped("comments after the end", 3, "line 12"),),
        timings_s={"opening": 0.5, "listening": 10.25},
    )


def _aligned(segments, band, rng):
    cost = np.full((segments, 2 * band + 1), np.nan, dtype=np.float32)
    for text in range(segments):
        for pictures in range(max(0, text - band), min(segments, text + band + 1)):
            cost[text, pictures - text + band] = rng.random()
    path = [(0, 0)]
    while path[-1] != (segments - 1, segments - 1):
        text, pictures = path[-1]
        steps = [(text + 1, pictures + 1), (text + 1, pictures), (text, pictures + 1)]
        steps = [(i, j) for i, j in steps if i < segments and j < segments and abs(i - j) <= min(band, 3)]
        path.append(steps[rng.integers(len(steps))])
    return Alignment(tuple(path), 0.41, band, cost)
