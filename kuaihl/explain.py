"""Why a segment is predicted as it is: what each source adds, and which moments before it mattered (occlusion)."""

from dataclasses import dataclass

import numpy as np
import torch

from kuaihl.encoded import SOURCES, Encoded, Source
from kuaihl.predictor import Predictor
from kuaihl.records import Segment


@dataclass(frozen=True, slots=True)
class Contributions:
    """What sources add to the prediction of every segment and to the forecast, the last entry: (segments + 1,) each.

    ``lvtr`` is the prediction, NaN for the first segment; ``without`` the prediction with one source left out, for
    those that the recording has, and for "streamer" where the checkpoint knows the streamer.
    """

    lvtr: np.ndarray
    without: dict[str, np.ndarray]

    def added(self, index: int) -> dict[str, float]:
        """What each source adds to the prediction of a segment, in LVTR; below zero where it takes away."""
        return {name: float(self.lvtr[index] - left[index]) for name, left in self.without.items()}


@dataclass(frozen=True, slots=True)
class Moment:
    """A source of one earlier segment, and how much lower a prediction is without it (higher where below zero).

    ``text`` is what was said or written then; empty for pictures.
    """

    segment: Segment
    source: Source
    added: float
    text: str


def contributions(
    predictor: Predictor, encoded: Encoded, *, streamer: str | None = None, target: str | None = None
) -> Contributions:
    """Predict the recording once more without each of its sources; nothing is encoded again."""
    model, row = predictor.model, predictor.config.target_index(target)
    encoded = predictor.seen(encoded, target=target)
    present = [name for name in SOURCES if getattr(encoded.modalities, name)]

    def sweep(given: Encoded, name: str | None) -> np.ndarray:
        return model.sweep(predictor.features(given, streamer=name, target=target), target=row).numpy()

    without = {name: sweep(encoded.without(name), streamer) for name in present}
    if model.streamer_index(streamer):
        without["streamer"] = sweep(encoded, None)
    return Contributions(lvtr=sweep(encoded, streamer), without=without)


@torch.inference_mode()
def moments(
    predictor: Predictor,
    encoded: Encoded,
    index: int,
    *,
    streamer: str | None = None,
    target: str | None = None,
    top: int = 5,
) -> tuple[Moment, ...]:
    """Find the ``top`` moments before segment ``index`` that mattered most to its prediction, the greatest first.

    Each source of each segment in the window is left out in turn (Zeiler and Fergus, 2014). The forecast has the index
    after the last segment.

    Raises
    ------
    ValueError
        There is no prediction for this index.
    """
    if not 1 <= index <= len(encoded.segments):
        raise ValueError(f"predictions are for segments 1 to {len(encoded.segments)}, not {index}")
    model, row = predictor.model, predictor.config.target_index(target)
    encoded = predictor.seen(encoded, target=target)
    first = max(0, index - predictor.config.window)

    def gathered(given: Encoded) -> torch.Tensor:
        features = predictor.features(given, streamer=streamer, target=target)
        return model.gather_all(features.cut(first, index), target=row)

    whole = gathered(encoded)
    windows, keys = [whole], []
    for source in SOURCES:
        if not getattr(encoded.modalities, source):
            continue
        left = gathered(encoded.without(source))
        for i in range(len(whole)):
            windows.append(torch.cat([whole[:i], left[i : i + 1], whole[i + 1 :]]))
            keys.append((source, first + i))
    lvtr = model.decode(torch.stack(windows), target=row)[:, -1].tolist()
    found = [
        Moment(encoded.segments[i], source, lvtr[0] - without, _text(encoded, source, i))
        for (source, i), without in zip(keys, lvtr[1:], strict=True)
    ]
    return tuple(sorted(found, key=lambda moment: -abs(moment.added))[:top])


def _text(encoded: Encoded, source: Source, index: int) -> str:
    if source == "speech":
        return " ".join(utterance.text for utterance in encoded.speech[index])
    if source == "comments":
        return " · ".join(comment.text for comment in encoded.comments[index])
    return ""
