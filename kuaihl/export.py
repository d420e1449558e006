"""A prediction as files: JSON, a table of segments, and figures as pages that open offline."""

import csv
import dataclasses
import html
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from kuaihl import plots
from kuaihl.errors import KuaiHLError
from kuaihl.recording import Recording, open_recording, playable, thumbnail
from kuaihl.records import SEGMENT_S, Prediction, SegmentPrediction

__all__ = [
    "SCHEMA_VERSION",
    "Recording",
    "alignment_page",
    "check_writable",
    "curve_page",
    "open_recording",
    "playable",
    "thumbnail",
    "to_csv",
    "to_json",
    "write_prediction",
]

SCHEMA_VERSION = 1
"""Counts the changes of ``to_json`` that its readers have to know of."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0 auto; max-width: 1200px; background: white; }}</style>
<script>{plotlyjs}</script>
</head>
<body>
{figures}
</body>
</html>
"""


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
        "forecast": _number(prediction.forecast),
        "highlights": [
            {"rank": h.rank, "start_s": float(h.start_s), "end_s": float(h.end_s), "lvtr": _number(h.lvtr)}
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
    """Write the segments as a table with a header; a missing value is an empty field."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ["index", "start_s", "end_s", "lvtr", "speech", "comments"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(segment) for segment in prediction.segments)
    return table.getvalue()


def curve_page(prediction: Prediction) -> str:
    """Draw the curve as a page of its own, which needs no network."""
    return _page(f"{prediction.recording.name}: predicted {prediction.target}", [plots.curve(prediction)])


def alignment_page(prediction: Prediction) -> str:
    """Draw the alignment around each highlight (without any: around the middle) as a page that needs no network."""
    centres = [int(highlight.peak_s // SEGMENT_S) for highlight in prediction.highlights]
    if prediction.alignment is None or not centres:
        centres = [len(prediction.segments) // 2]
    figures = [plots.alignment(prediction, around=centre) for centre in centres]
    return _page(f"{prediction.recording.name}: text against pictures", figures)


def check_writable(out_dir: Path) -> None:
    """Tell early, before the work, whether ``write_prediction`` could write there.

    Raises
    ------
    KuaiHLError
        It is not a folder, or not one to write to.
    """
    existing = next(path for path in (out_dir, *out_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise KuaiHLError(f"{existing} is not a folder: name another place for the results")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise KuaiHLError(f"{existing} cannot be written to: name another folder for the results")


def write_prediction(prediction: Prediction, out_dir: Path | str) -> list[Path]:
    """Write prediction.json, segments.csv, curve.html and alignment.html into a folder: all of them or none.

    The folder is made where it is missing. One that exists keeps its other files, and its earlier results until the new
    ones are complete.

    Raises
    ------
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    """
    out_dir = Path(out_dir)
    check_writable(out_dir)
    files = {
        "prediction.json": to_json(prediction),
        "segments.csv": to_csv(prediction),
        "curve.html": curve_page(prediction),
        "alignment.html": alignment_page(prediction),
    }
    with _told(out_dir):
        # Beside the results, or among them where they exist: moving files is sure only within one file system.
        beside = out_dir if out_dir.is_dir() else out_dir.absolute().parent
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".kuaihl-", dir=beside, ignore_cleanup_errors=True) as scratch:
            new, old = Path(scratch, "new"), Path(scratch, "old")
            new.mkdir()
            for name, text in files.items():
                # A file name need not be Unicode, nor need words from a damaged transcript.
                (new / name).write_bytes(text.encode("utf-8", errors="replace"))
            if out_dir.is_dir():
                old.mkdir()
                _exchange(new, old, out_dir, list(files))
            else:
                new.replace(out_dir)
    return [out_dir / name for name in files]


def _exchange(new: Path, old: Path, out_dir: Path, names: Iterable[str]) -> None:
    """Move files from ``new`` to ``out_dir`` and those they replace to ``old``; on failure move everything back."""
    undo: list[tuple[Path, Path]] = []
    try:
        for name in names:
            place = out_dir / name
            if place.is_dir() and not place.is_symlink():
                raise KuaiHLError(f"{place} is a folder where a file is to be written: move it away")
            if place.exists() or place.is_symlink():
                undo.append((old / name, place))
                place.replace(old / name)
            undo.append((place, new / name))
            (new / name).replace(place)
    except BaseException:
        # A step noted above may not have been taken.
        for source, place in reversed(undo):
            if source.exists() or source.is_symlink():
                source.replace(place)
        raise


@contextmanager
def _told(out_dir: Path) -> Iterator[None]:
    """Turn a disk's errors into ours."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise KuaiHLError(f"The results cannot be written to {out_dir}: {reason}") from error


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
        "lvtr": _number(found.lvtr),
        "speech": found.speech,
        "comments": int(found.comments),
    }


def _page(title: str, figures: Iterable[go.Figure]) -> str:
    """Put figures one under the other into a page that carries plotly.js once."""
    drawn = [
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"figure-{number}",
            default_height=f"{figure.layout.height}px",
            config={"responsive": True, "displaylogo": False},
        )
        for number, figure in enumerate(figures, 1)
    ]
    return _PAGE.format(title=html.escape(title), plotlyjs=get_plotlyjs(), figures="\n".join(drawn))
