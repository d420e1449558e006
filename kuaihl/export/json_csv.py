"""A prediction as JSON, and its segments as a table."""

import csv
import dataclasses
import io
import json
import math

from kuaihl.records import SEGMENT_S, Prediction, SegmentPrediction

SCHEMA_VERSION = 2
"""Counts the changes of ``to_json`` that its readers have to know of."""


def to_json(prediction: Prediction) -> str:
    """Write a prediction as strict JSON; what is unknown (no value, NaN) becomes ``null``."""
    alignment = prediction.alignment
    document = {
        "schema_version": SCHEMA_VERSION,
        "recording": _finite(dataclasses.asdict(prediction.recording)),
        "checkpoint": dataclasses.asdict(prediction.checkpoint),
        "target": prediction.target,
        "trained_on": prediction.trained_on,
        "modalities": dataclasses.asdict(prediction.modalities),
        "segment_s": SEGMENT_S,
        "segments": [_row(segment) for segment in prediction.segments],
        "next_score": _number(prediction.next_score),
        "highlights": [
            {"rank": h.rank, "start_s": float(h.start_s), "end_s": float(h.end_s), "score": _number(h.score)}
            for h in prediction.highlights
        ],
        "alignment": alignment
        and {
            "path": [[int(text), int(pictures)] for text, pictures in alignment.path],
            "distance": _number(alignment.distance),
            "band": int(alignment.band),
        },
        "skipped": [dataclasses.asdict(skipped) for skipped in prediction.skipped],
        "timings_s": _finite(prediction.timings_s),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def to_csv(prediction: Prediction) -> str:
    """Write the segments as a table; a missing value is an empty field, ``target`` names what ``score`` is."""
    table = io.StringIO()
    rows = [{**_row(segment), "target": prediction.target} for segment in prediction.segments]
    columns = ["index", "start_s", "end_s", "target", "score", "speech", "comments"]
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _finite(record: dict) -> dict:
    return {key: _number(value) if isinstance(value, float) else value for key, value in record.items()}


def _row(found: SegmentPrediction) -> dict:
    """Name what is told of a segment, in JSON and in the table alike."""
    return {
        "index": found.segment.index,
        "start_s": float(found.segment.start_s),
        "end_s": float(found.segment.end_s),
        "score": _number(found.score),
        "speech": found.speech,
        "comments": int(found.comments),
    }
