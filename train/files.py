"""Files that are complete or not there at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which replaces ``file`` when the block ends without an error."""
    part = file.with_name(f"{file.name}.part")
    yield part
    part.replace(file)


def write_json(file: Path, data: Any) -> None:
    """Write JSON, in a folder that is created if needed; ValueError for NaN and infinity."""
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")
