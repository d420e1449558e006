"""YouTube's most-replayed curve, from the .info.json of yt-dlp."""

import json
from pathlib import Path

import numpy as np

from kuaihl.comments.diagnostics import Report
from kuaihl.errors import LabelError

_FIELDS = ("start_time", "end_time", "value")
_MAX_NUMBER = 1e9
"""Larger numbers are damage: JSON allows infinity, and integers of any length."""


def is_json(file: Path) -> bool:
    """Whether a file starts like a JSON object; LabelError if it cannot be opened."""
    try:
        with file.open("rb") as stream:
            return stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    except OSError as error:
        raise LabelError(f"{file} cannot be opened: {error.strerror}.") from error


def read_heatmap(file: Path, report: Report) -> np.ndarray:
    """Read the curve as (pieces, 3): start and end in s, value in [0, 1]. Damaged pieces go into ``report``.

    Raises
    ------
    LabelError
        The file is not an .info.json, or has no heatmap.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig")).get("heatmap")
    except OSError as error:
        raise LabelError(f"{file} cannot be opened: {error.strerror}.") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise LabelError(f"{file}: not the .info.json that yt-dlp --write-info-json writes ({error}).") from error
    if not isinstance(entries, list) or not entries:
        raise LabelError(
            f"{file} has no heatmap. YouTube has one only for videos that were watched often; yt-dlp writes it with"
            " --write-info-json."
        )
    pieces = []
    for number, entry in enumerate(entries):
        values = [entry.get(name) for name in _FIELDS] if isinstance(entry, dict) else [None]
        if all(map(_is_number, values)) and 0 <= values[0] < values[1] and 0 <= values[2] <= 1:
            pieces.append(values)
        else:
            report.damage("damaged pieces of the heatmap", f"heatmap[{number}]")
    if not pieces:
        raise LabelError(f"{file}: no piece of its heatmap has {', '.join(_FIELDS)} as numbers. Download it again.")
    return np.array(pieces, dtype=np.float64)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER
