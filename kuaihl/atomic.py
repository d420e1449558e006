"""Write results into folders: all files of a result or none. Earlier results stay until the new ones are complete."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kuaihl.errors import KuaiHLError


def check_writable(out_dir: Path) -> None:
    """Check, before the work, that `filled` can write there.

    Raises
    ------
    KuaiHLError
        It is not a folder, or not writable.
    """
    existing = next(path for path in (out_dir, *out_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise KuaiHLError(f"{existing} is not a folder: name another folder for the results")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise KuaiHLError(f"{existing} cannot be written to: name another folder for the results")


@contextmanager
def filled(out_dir: Path) -> Iterator[Path]:
    """Yield a new folder to write files into, and move them to ``out_dir`` at the end: all of them or none.

    ``out_dir`` is created if missing. One that exists keeps its other files.

    Raises
    ------
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    """
    check_writable(out_dir)
    with _user_errors(out_dir):
        # Beside the results, or among them if they exist: a move is atomic only within one file system.
        parent = out_dir if out_dir.is_dir() else out_dir.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".kuaihl-", dir=parent, ignore_cleanup_errors=True) as scratch:
            new, old = Path(scratch, "new"), Path(scratch, "old")
            new.mkdir()
            yield new
            if out_dir.is_dir():
                old.mkdir()
                _exchange(new, old, out_dir, sorted(file.name for file in new.iterdir()))
            else:
                new.replace(out_dir)


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
def _user_errors(out_dir: Path) -> Iterator[None]:
    """Turn errors of the disk into KuaiHLError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise KuaiHLError(f"The results cannot be written to {out_dir}: {reason}") from error
