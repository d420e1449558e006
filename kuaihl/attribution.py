"""What a prediction rests on: contributions of sources and of earlier segments, by occlusion."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import factorial
from typing import Any

import numpy as np
import torch

from kuaihl.errors import KuaiHLError
from kuaihl.features.embeddings import SOURCES, Embeddings, Source
from kuaihl.predictor import Predictor
from kuaihl.progress import SILENT, Progress
from kuaihl.records import Prediction, Segment

TOP_TEXTS = 20
"""Different texts of a segment's comments that are returned, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each source adds to the score of every segment and to the next score, the last entry.

    Attributes
    ----------
    scores
        (segments + 1,): the prediction, NaN for the first segment.
    scores_without
        (segments + 1,) for each source that was used, and for "streamer" if the checkpoint knows the streamer.
    """

    scores: np.ndarray
    scores_without: dict[str, np.ndarray]

    def of(self, index: int) -> dict[str, float]:
        """Return what each source adds to the score of a segment; below 0 if it lowers the score."""
        return {name: float(self.scores[index] - scores[index]) for name, scores in self.scores_without.items()}


@dataclass(frozen=True, slots=True)
class TextCount:
    """A text, and how many comments of a segment consist of it."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Influence:
    """What each source of an earlier segment adds to a score.

    ``speech``, ``comment_count`` and ``top_comments``, its `TOP_TEXTS` most frequent texts, are empty where the source
    is missing.
    """

    segment: Segment
    contributions: dict[Source, float]
    speech: str
    comment_count: int
    top_comments: tuple[TextCount, ...]

    @property
    def magnitude(self) -> float:
        """The largest contribution, without its sign."""
        return max(map(abs, self.contributions.values()))


def contributions(
    predictor: Predictor, embeddings: Embeddings, prediction: Prediction, *, progress: Progress = SILENT
) -> Contributions:
    """Predict again without each source that ``prediction``, of ``embeddings``, rests on. Nothing is encoded again."""
    target = predictor.config.target_index(prediction.target)
    names = [*_used(prediction)]
    if predictor.model.streamer_index(prediction.streamer):
        names.append("streamer")
    scores_without = {
        name: predictor.model.sweep(
            predictor.inputs_of(embeddings, prediction, excluded=[name]), target=target, progress=part
        ).numpy()
        for name, part in zip(names, progress.split(len(names)), strict=True)
    }
    scores = [np.nan if score is None else score for score in (*prediction.curve, prediction.next_score)]
    return Contributions(np.array(scores, dtype=np.float32), scores_without)


def waterfall(
    predictor: Predictor, embeddings: Embeddings, prediction: Prediction, *, progress: Progress = SILENT
) -> dict[str, np.ndarray]:
    """Return what each source adds to the mean score, so that mean and additions sum to the score of every segment.

    The additions are Shapley values (Shapley, 1953) less their mean. "other" is what is left without any source, such
    as how much of the past is known.

    Returns
    -------
    (segments + 1,) for each source that was used, for "streamer" if the checkpoint knows the streamer, and for "other".
    The last entry is that of the next score; the first segment has no score, and NaN.
    """
    target = predictor.config.target_index(prediction.target)
    names: list[str] = [*_used(prediction)]
    if predictor.model.streamer_index(prediction.streamer):
        names.append("streamer")
    subsets = [frozenset(names[i] for i in range(len(names)) if code >> i & 1) for code in range(2 ** len(names))]
    value = {
        hidden: predictor.model.sweep(
            predictor.inputs_of(embeddings, prediction, excluded=hidden), target=target, progress=part
        ).numpy()
        for hidden, part in zip(subsets, progress.split(len(subsets)), strict=True)
    }
    count = len(names)
    added = {}
    for name in names:
        with_name = [hidden for hidden in subsets if name not in hidden]
        weights = [factorial(len(hidden)) * factorial(count - len(hidden) - 1) for hidden in with_name]
        gains = [value[hidden] - value[hidden | {name}] for hidden in with_name]
        added[name] = sum(w * gain for w, gain in zip(weights, gains, strict=True)) / factorial(count)
    added["other"] = value[frozenset(names)]
    usual = slice(1, -1 if len(prediction.segments) > 1 else None)
    return {name: values - values[usual].mean() for name, values in added.items()}


@torch.inference_mode()
def influential_segments(
    predictor: Predictor, embeddings: Embeddings, prediction: Prediction, index: int, *, top: int = 5
) -> tuple[Influence, ...]:
    """Return the ``top`` earlier segments that changed the score of segment ``index`` most, the strongest first.

    Each source of each segment in the window is hidden in turn (occlusion; Zeiler and Fergus, 2014). The index after
    the last segment stands for the next score.

    Raises
    ------
    ValueError
        There is no score for this index.
    """
    if not 1 <= index <= len(embeddings.segments):
        raise ValueError(f"predictions are for segments 1 to {len(embeddings.segments)}, not {index}")
    model, target = predictor.model, predictor.config.target_index(prediction.target)
    first = max(0, index - predictor.config.window)

    def latents_without(*sources: Source) -> torch.Tensor:
        inputs = predictor.inputs_of(embeddings, prediction, excluded=sources)
        return model.encode_segments(inputs.cut(first, index), target=target)

    used, latents = _used(prediction), latents_without()
    windows = [latents]
    for source in used:
        hidden = latents_without(source)
        windows += [torch.cat([latents[:i], hidden[i : i + 1], latents[i + 1 :]]) for i in range(len(latents))]
    scores = model.decode(torch.stack(windows), target=target)[:, -1]
    added = (scores[0] - scores[1:]).reshape(len(used), len(latents)).T.tolist()
    strongest = sorted(enumerate(added, first), key=lambda effect: -max(map(abs, effect[1])))[:top]
    return tuple(_influence(embeddings, i, dict(zip(used, values, strict=True))) for i, values in strongest)


def _used(prediction: Prediction) -> list[Source]:
    return [source for source in SOURCES if getattr(prediction.modalities, source)]


def _influence(embeddings: Embeddings, index: int, added: dict[Source, float]) -> Influence:
    """Add speech and comments to contributions; in linear time, since a segment may have millions of comments."""
    utterances = embeddings.speech[index] if embeddings.speech is not None and "speech" in added else ()
    comments = embeddings.comments[index] if embeddings.comments is not None and "comments" in added else ()
    top_texts = Counter(comment.text for comment in comments).most_common(TOP_TEXTS)
    return Influence(
        embeddings.segments[index],
        added,
        speech=" ".join(utterance.text for utterance in utterances),
        comment_count=len(comments),
        top_comments=tuple(TextCount(text, count) for text, count in top_texts),
    )


def indices_at(prediction: Prediction, times_s: Sequence[float] = ()) -> list[int]:
    """Return the indices of the segments that hold these times, without duplicates.

    Without times, return those of the highlights' peaks and of the next score.

    Raises
    ------
    KuaiHLError
        A time lies in the first segment, which has no score, or beyond the end.
    """
    ends_s = [segment.segment.end_s for segment in prediction.segments]
    duration_s = prediction.recording.duration_s
    for time_s in times_s:
        if not ends_s[0] <= time_s <= duration_s:
            raise KuaiHLError(
                f"There is no score at {time_s:g} s: there are scores from {ends_s[0]:g} s on, and one for the time "
                f"after {duration_s:g} s, the end."
            )
    if times_s:
        indices = [bisect_right(ends_s, time_s) for time_s in times_s]
    else:
        indices = [*(bisect_right(ends_s, highlight.peak_s) for highlight in prediction.highlights), len(ends_s)]
    return list(dict.fromkeys(indices))


def explain(
    predictor: Predictor,
    embeddings: Embeddings,
    prediction: Prediction,
    indices: Sequence[int],
    *,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Explain a prediction, for JSON: contributions to every segment, and the earlier segments that matter to some.

    Parameters
    ----------
    embeddings
        What ``prediction`` was made from.
    indices
        Segments to explain in full, as for `influential_segments`.
    """
    ablation, occlusion = progress.split(2)
    added = contributions(predictor, embeddings, prediction, progress=ablation)
    spans: list[tuple[float, float | None, float | None]] = [
        (s.segment.start_s, s.segment.end_s, s.score) for s in prediction.segments
    ]
    spans.append((embeddings.segments[-1].end_s, None, prediction.next_score))
    rows = [
        {"start_s": start_s, "end_s": end_s, "score": score, "contributions": added.of(index) if index else {}}
        for index, (start_s, end_s, score) in enumerate(spans)
    ]
    explanations = []
    for index, part in zip(indices, occlusion.split(len(indices)), strict=True):
        part(0.0)
        earlier = influential_segments(predictor, embeddings, prediction, index)
        explanations.append(rows[index] | {"earlier_segments": [_as_dict(influence) for influence in earlier]})
    return {
        "target": prediction.target,
        "trained_on": prediction.trained_on,
        "segments": rows[:-1],
        "next": rows[-1],
        "explanations": explanations,
    }


def _as_dict(influence: Influence) -> dict[str, Any]:
    fields = asdict(influence)
    segment = fields.pop("segment")
    return {"start_s": segment["start_s"], "end_s": segment["end_s"], **fields}
