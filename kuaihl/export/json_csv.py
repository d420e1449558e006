"""A prediction as JSON, and its segments as CSV."""

import csv
import dataclasses
import io
import json
import math
import re
from typing import Any

from kuaihl.records import SEGMENT_S, Prediction, SegmentPrediction

SCHEMA_VERSION = 2
"""Incremented when a change of ``to_json`` can break its readers."""

_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠\t\r]")
"""Beginnings of cells that a spreadsheet runs as a formula, also behind apostrophes, which mark such cells."""


def to_json(prediction: Prediction) -> str:
    """Return a prediction as strict JSON; an unknown number (no score, NaN) becomes ``null``."""
    reaction = prediction.reaction
    document = {
        "schema_version": SCHEMA_VERSION,
        "recording": _finite(dataclasses.asdict(prediction.recording)),
        "checkpoint": dataclasses.asdict(prediction.checkpoint),
        "target": prediction.target,
        "trained_on": prediction.trained_on,
        "modalities": dataclasses.asdict(prediction.modalities),
        "segment_s": SEGMENT_S,
        "segments": [_segment(segment) for segment in prediction.segments],
        "next_score": _number(prediction.next_score),
        "highlights": [
            {
                "rank": h.rank,
                "start_s": float(h.start_s),
                "end_s": float(h.end_s),
                "peak_s": float(h.peak_s),
                "score": _number(h.score),
                "strength": h.strength,
                "why": h.why,
                "source": h.source,
            }
            for h in prediction.highlights
        ],
        "highlights_by": prediction.highlights_by,
        "reaction": reaction
        and {
            "bin_s": reaction.bin_s,
            "scores": [_number(score) for score in reaction.scores],
            "reliability": _number(reaction.reliability),
            "too_little": reaction.too_little,
        },
        "alignments": [
            {
                "source": alignment.source,
                "other": alignment.other,
                "lag_segments": _number(alignment.lag),
                "path": [[int(i), int(j)] for i, j in alignment.path],
                "distance": _number(alignment.distance),
                "band": int(alignment.band),
            }
            for alignment in prediction.alignments
        ],
        "skipped": [dataclasses.asdict(skipped) for skipped in prediction.skipped],
        "timings_s": _finite(prediction.timings_s),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def escape_cell(value: Any) -> Any:
    """Return a cell of a CSV, with an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def unescape_cell(text: str) -> str:
    """Return the text of a cell from `escape_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def to_csv(prediction: Prediction) -> str:
    """Return the segments as CSV. A missing score is an empty field; ``target`` names what ``score`` predicts."""
    table = io.StringIO()
    columns = ["index", "start_s", "end_s", "target", "score", "reaction", "speech", "comments"]
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    rows = ({**_segment(segment), "target": prediction.target} for segment in prediction.segments)
    writer.writerows({name: escape_cell(value) for name, value in row.items()} for row in rows)
    return table.getvalue()


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in record.items()}


def _segment(segment: SegmentPrediction) -> dict[str, Any]:
    return {
        "index": segment.segment.index,
        "start_s": float(segment.segment.start_s),
        "end_s": float(segment.segment.end_s),
        "score": _number(segment.score),
        "reaction": _number(segment.reaction),
        "speech": segment.speech,
        "comments": int(segment.comments),
    }
