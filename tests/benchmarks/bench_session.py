"""Time of a live segment beyond encoding: ``python -m tests.benchmarks.bench_session [SEGMENTS]``.

Pictures and text are random features, so that only the work of `kuaihl.session` is timed: chat and speech activity,
words, perceiver, decoder. CPU time is shown beside wall-clock time for busy machines.
"""

import sys
import time

import numpy as np

from kuaihl.features.chat import ChatActivity
from kuaihl.features.embeddings import segment_features
from kuaihl.features.text import TextFeatures
from kuaihl.model.inputs import build_inputs
from kuaihl.predictor import Predictor
from kuaihl.session import Session
from tests.fixtures.made_embeddings import encoded

LIMIT_MS = 50.0
WARM_UP = 3


def measure(predictor: Predictor, segments: int) -> dict[str, np.ndarray]:
    """Time every segment of a made-up stream for each target: (segments, 2), wall-clock and CPU ms."""
    config, found = predictor.config, {}
    given = encoded(config, segments)
    features = given.features
    for target in config.targets:
        session, chat, times = Session(predictor, target=target.name), ChatActivity(), []
        for i, segment in enumerate(given.segments):
            began = time.perf_counter(), time.process_time()
            texts = (features.text.speech, features.text.comments, features.text.both)
            one = segment_features(
                [segment],
                pictures=features.pictures[i : i + 1],
                speech=[given.speech[i]],
                comments=[given.comments[i]],
                text=TextFeatures(*(text[i : i + 1] for text in texts)),
                chat=chat,
            )
            inputs = build_inputs(
                [one],
                picture_dim=config.picture_dim,
                text_dim=config.text_dim,
                streamers=[0],
                excluded=[target.excluded_inputs],
            )
            session.advance(segment, inputs, comments=len(given.comments[i]))
            times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        found[target.name] = 1000 * np.array(times[WARM_UP:])
    return found


def main(segments: int = 120) -> None:
    """Print median, 95th percentile and maximum of each target."""
    for target, both_ms in measure(Predictor.from_pretrained(device="cpu"), segments).items():
        for name, times_ms in zip(("clock", "processor"), both_ms.T, strict=True):
            middle, high = np.percentile(times_ms, [50, 95])
            print(
                f"{target:<14} {name:<10} {len(times_ms)} segments, beyond encoding: median {middle:.1f} ms, "
                f"95 % within {high:.1f} ms, most {times_ms.max():.1f} ms; limit {LIMIT_MS:g} ms"
            )


if __name__ == "__main__":
    main(*(int(given) for given in sys.argv[1:]))
