"""Why a segment is predicted as it is: what each source adds, and which moments before it mattered (occlusion)."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from kuaihl.errors import KuaiHLError
from kuaihl.features.embeddings import SOURCES, Embeddings, Source
from kuaihl.model.inputs import ModelInputs
from kuaihl.predictor import Predictor
from kuaihl.progress import SILENT, Progress
from kuaihl.records import Prediction, Segment

MOST_TEXTS = 20
"""Different texts of a segment's comments that are told, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """What sources add to the prediction of every segment and to the forecast, the last entry: (segments + 1,) each.

    ``lvtr`` is the prediction, NaN for the first segment; ``without`` the prediction with one source left out, for
    those that the recording has, and for "streamer" where the checkpoint knows the streamer. ``features`` is what the
    model read, which takes a while to gather from a chat of millions.
    """

    scores: np.ndarray
    without: dict[str, np.ndarray]
    features: ModelInputs = field(repr=False)

    def added(self, index: int) -> dict[str, float]:
        """What each source adds to the prediction of a segment, in LVTR; below zero where it takes away."""
        return {name: float(self.scores[index] - left[index]) for name, left in self.without.items()}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written in a segment, and in how many of its comments."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Moment:
    """An earlier segment, and how much lower a prediction is without each of its sources (higher where below zero).

    As far as these sources are there, ``speech`` is what was said in it, ``written`` the number of its comments, and
    ``comments`` the `MOST_TEXTS` most frequent of them.
    """

    segment: Segment
    added: dict[Source, float]
    speech: str
    written: int
    comments: tuple[Written, ...]

    @property
    def greatest(self) -> float:
        """The effect of the source that mattered most, without its sign."""
        return max(map(abs, self.added.values()))


def contributions(
    predictor: Predictor,
    encoded: Embeddings,
    *,
    streamer: str | None = None,
    target: str | None = None,
    progress: Progress = SILENT,
) -> Contributions:
    """Predict the recording once more without each of its sources; nothing is encoded again.

    ``progress`` is told which share is done; what it raises stops the work.
    """
    model, row = predictor.model, predictor.config.target_index(target)
    encoded = predictor.seen(encoded, target=target)
    present = [name for name in SOURCES if getattr(encoded.modalities, name)]
    sweeps = len(present) + 2
    parts = iter(progress.split(sweeps + 1))

    whole = predictor.features(encoded, streamer=streamer, target=target, progress=next(parts))
    cases = {name: _without(whole, encoded, name) for name in present}
    if model.streamer_index(streamer):
        cases["streamer"] = replace(whole, streamer=torch.zeros_like(whole.streamer))
    without = {name: model.sweep(given, target=row, progress=next(parts)).numpy() for name, given in cases.items()}
    lvtr = model.sweep(whole, target=row, progress=next(parts)).numpy()
    return Contributions(scores=lvtr, without=without, features=whole)


@torch.inference_mode()
def moments(
    predictor: Predictor,
    encoded: Embeddings,
    index: int,
    *,
    streamer: str | None = None,
    target: str | None = None,
    features: ModelInputs | None = None,
    top: int = 5,
) -> tuple[Moment, ...]:
    """Find the ``top`` segments before segment ``index`` that mattered most to its prediction, the greatest first.

    Each source of each segment in the window is left out in turn (Zeiler and Fergus, 2014). The forecast has the index
    after the last segment. ``features`` is what `contributions` gathered for this streamer and target, so that it need
    not be gathered again.

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

    if features is None:
        features = predictor.features(encoded, streamer=streamer, target=target)
    whole = model.gather_all(features.cut(first, index), target=row)
    present = [source for source in SOURCES if getattr(encoded.modalities, source)]
    windows = [whole]
    for source in present:
        left = model.gather_all(_without(features, encoded, source).cut(first, index), target=row)
        windows += [torch.cat([whole[:i], left[i : i + 1], whole[i + 1 :]]) for i in range(len(whole))]
    lvtr = model.decode(torch.stack(windows), target=row)[:, -1]
    added = (lvtr[0] - lvtr[1:]).reshape(len(present), len(whole)).T.tolist()
    most = sorted(enumerate(added, first), key=lambda effect: -max(map(abs, effect[1])))[:top]
    return tuple(_moment(encoded, i, dict(zip(present, values, strict=True))) for i, values in most)


def _without(features: ModelInputs, encoded: Embeddings, source: Source) -> ModelInputs:
    return features.without(source, text=encoded.without(source).text.fitting())


def _moment(encoded: Embeddings, index: int, added: dict[Source, float]) -> Moment:
    """Gather what was said and written in a segment; in linear time, since millions may have written."""
    said = encoded.speech[index] if encoded.speech is not None else ()
    written = encoded.comments[index] if encoded.comments is not None else ()
    most = Counter(comment.text for comment in written).most_common(MOST_TEXTS)
    return Moment(
        encoded.segments[index],
        added,
        speech=" ".join(utterance.text for utterance in said),
        written=len(written),
        comments=tuple(Written(text, count) for text, count in most),
    )


def indices_at(prediction: Prediction, at_s: Sequence[float] = ()) -> list[int]:
    """Find the segments that hold these times, each once; without times, those of the peaks, and the forecast.

    Raises
    ------
    KuaiHLError
        One lies in the first segment, of which nothing is predicted, or beyond the end.
    """
    ends_s, duration_s = [found.segment.end_s for found in prediction.segments], prediction.recording.duration_s
    for time_s in at_s:
        if not ends_s[0] <= time_s <= duration_s:
            raise KuaiHLError(
                f"There is no prediction at {time_s:g} s: there are some from {ends_s[0]:g} s on, and a forecast for "
                f"the time after {duration_s:g} s, the end"
            )
    chosen = [bisect_right(ends_s, time_s) for time_s in at_s]
    peaks = [bisect_right(ends_s, highlight.peak_s) for highlight in prediction.highlights]
    return list(dict.fromkeys(chosen or [*peaks, len(ends_s)]))


def explained(
    predictor: Predictor,
    encoded: Embeddings,
    prediction: Prediction,
    indices: Sequence[int],
    *,
    streamer: str | None = None,
    target: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Gather for JSON what each source adds to every segment, and of some the segments before that mattered.

    ``prediction`` is what ``encoded`` gave for this streamer and target, ``indices`` are as for `moments`; ``progress``
    is told which share is done, and what it raises stops the work.
    """
    asked = {"streamer": streamer, "target": target}
    found = contributions(predictor, encoded, **asked, progress=progress.part(0.0, 0.5))
    places = [(s.segment.start_s, s.segment.end_s) for s in prediction.segments] + [(encoded.segments[-1].end_s, None)]
    values = [*prediction.curve, prediction.next_score]
    rows = [
        {"start_s": start_s, "end_s": end_s, "value": value, "added": found.added(index) if index else {}}
        for index, ((start_s, end_s), value) in enumerate(zip(places, values, strict=True))
    ]
    reasons = []
    for done, index in enumerate(indices):
        progress(0.5 + done / len(indices) / 2)
        before = moments(predictor, encoded, index, **asked, features=found.features)
        reasons.append(rows[index] | {"before": [_as_dict(moment) for moment in before]})
    return {
        "target": prediction.target,
        "trained_on": prediction.trained_on,
        "segments": rows[:-1],
        "forecast": rows[-1],
        "reasons": reasons,
    }


def _as_dict(moment: Moment) -> dict[str, Any]:
    told = asdict(moment)
    segment = told.pop("segment")
    return {"start_s": segment["start_s"], "end_s": segment["end_s"], **told}
