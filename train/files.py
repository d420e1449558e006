"""Files that are complete or not there at all, on this machine or in remote storage."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro
from upath import UPath

from kuaihl.errors import LabelError


def open_path(text: str | Path) -> Path:
    """Return a local path, or one in the storage of a URL that fsspec knows, such as s3://bucket/folder or hf://..."""
    return UPath(text, use_listings_cache=False) if "://" in str(text) else Path(text)  # others write there too


AnyPath = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH|URL",
        instance_from_str=lambda words: open_path(words[0]),
        is_instance=lambda value: isinstance(value, Path | UPath),
        str_from_instance=lambda path: [str(path)],
    ),
]
"""A path on the command line that may be a URL."""


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield a local path as it is, or a temporary copy of a remote file; LabelError if it cannot be read."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kuaihl-") as folder:
        copy = Path(folder, path.name)
        try:
            path.fs.get_file(path.path, str(copy))
        except OSError as error:
            raise LabelError(f"{path} cannot be read: {error}.") from error
        yield copy


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary local path, whose file replaces ``file`` when the block ends without an error."""
    if isinstance(file, Path):
        part = file.with_name(f"{file.name}.part")
        yield part
        part.replace(file)
        return
    with tempfile.TemporaryDirectory(prefix="kuaihl-") as folder:
        part = Path(folder, file.name)
        yield part
        file.fs.put_file(str(part), file.path)


def write_json(file: Path, data: Any) -> None:
    """Write JSON, in a folder that is created if needed; ValueError for NaN and infinity."""
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")
