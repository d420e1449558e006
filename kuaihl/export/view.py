"""A prediction as the JSON that assets/player.js draws, on the page and in the report."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kuaihl.attribution import Influence
from kuaihl.export.cards import cards_of
from kuaihl.features.embeddings import Embeddings
from kuaihl.plots.style import target_name
from kuaihl.records import Alignment, Prediction

_TOP_COMMENTS = 8


def view_of(
    prediction: Prediction,
    *,
    stills: Sequence[str] = (),
    embeddings: Embeddings | None = None,
    waterfall: Mapping[str, np.ndarray] | None = None,
    influences: Sequence[Sequence[Influence]] = (),
) -> dict[str, Any]:
    """Return what the page and the report show of a prediction.

    Parameters
    ----------
    stills
        A picture of each highlight as a data URI; may be "".
    embeddings
        What the prediction was made from, for the times of utterances and for words of the chat.
    waterfall
        From `kuaihl.attribution.waterfall`.
    influences
        From `kuaihl.attribution.influential_segments`, for each highlight.
    """
    segments, reaction = prediction.segments, prediction.reaction
    scores = [score for score in prediction.curve if score is not None and math.isfinite(score)]
    cards = cards_of(prediction, embeddings)
    speech = embeddings.speech if embeddings and prediction.modalities.speech else None
    return {
        "name": prediction.recording.name,
        "duration_s": prediction.recording.duration_s,
        "target": target_name(prediction.target),
        "trained_on": prediction.trained_on,
        "checkpoint": f"{prediction.checkpoint.name} ({prediction.checkpoint.sha256})",
        "inputs": [name for name, used in asdict(prediction.modalities).items() if used],
        "by": prediction.highlights_by,
        "starts_s": [s.segment.start_s for s in segments],
        "ends_s": [s.segment.end_s for s in segments],
        "forecast": [_number(s.score) for s in segments],
        "next_score": _number(prediction.next_score),
        "usual": sum(scores) / len(scores) if scores else None,
        "messages": [s.comments for s in segments] if prediction.modalities.comments else None,
        "reaction": reaction
        and {
            "bin_s": reaction.bin_s,
            "scores": [_number(score) for score in reaction.scores],
            "too_little": reaction.too_little,
            "reliability": _number(reaction.reliability),
        },
        "cards": [
            {
                "rank": card.highlight.rank,
                "start_s": card.highlight.start_s,
                "end_s": card.highlight.end_s,
                "peak_s": card.highlight.peak_s,
                "score": _number(card.highlight.score),
                "strength": card.highlight.strength,
                "why": card.why,
                "source": card.highlight.source,
                "words": card.words,
                "speech": card.speech,
                "still": stills[i] if i < len(stills) else "",
                "earlier": [_earlier(influence) for influence in influences[i]] if i < len(influences) else [],
            }
            for i, card in enumerate(cards)
        ],
        "transcript": [(u.start_s, u.end_s, u.text) for said in speech for u in said]
        if speech is not None
        else [(s.segment.start_s, s.segment.end_s, s.speech) for s in segments if s.speech],
        "waterfall": waterfall and {name: [_number(v) for v in values] for name, values in waterfall.items()},
        "alignments": [_alignment(alignment) for alignment in prediction.alignments],
        "skipped": [asdict(skipped) for skipped in prediction.skipped],
    }


def to_script(value: Any) -> str:
    """Return strict JSON that may stand inside a ``<script>`` element."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _number(value: float | None) -> float | None:
    return round(float(value), 5) if value is not None and math.isfinite(value) else None


def _earlier(influence: Influence) -> dict[str, Any]:
    return {
        "start_s": influence.segment.start_s,
        "contributions": {name: _number(value) for name, value in influence.contributions.items()},
        "speech": influence.speech,
        "comments": [(top.text, top.count) for top in influence.top_comments[:_TOP_COMMENTS]],
    }


def _alignment(alignment: Alignment) -> dict[str, Any]:
    """Return path and cost; the cost (segments, 2 * band + 1) as bytes 0..254 of its range, 255 where there is none."""
    cost = np.asarray(alignment.cost, np.float32)
    known = np.isfinite(cost)
    low, high = (float(cost[known].min()), float(cost[known].max())) if known.any() else (0.0, 1.0)
    scaled = np.where(known, np.round((np.nan_to_num(cost) - low) / max(high - low, 1e-9) * 254), 255)
    return {
        "source": alignment.source,
        "other": alignment.other,
        "lag": float(alignment.lag),
        "band": int(alignment.band),
        "path": [(int(source), int(other)) for source, other in alignment.path],
        "low": low,
        "high": high,
        "cost": base64.b64encode(scaled.astype(np.uint8).tobytes()).decode(),
    }
