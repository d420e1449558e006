"""Which recordings are meant, and which comment log belongs to each."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.format import Format
from kuaihl.comments.reader import FORMATS
from kuaihl.comments.source import open_source
from kuaihl.errors import CommentLogError, KuaiHLError

RESULTS = "-kuaihl"
"""Ends the names of folders that hold results."""
PREDICTION = "prediction.json"
"""The file by which results are known."""

_RECORDINGS = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".flv", ".ts", ".m2ts", ".mts",
    ".m4a", ".mp3", ".aac", ".ogg", ".oga", ".opus", ".wav", ".flac",
}  # fmt: skip
# Two of one rank may differ in their comments; of two ranks, the lower is mostly made from the higher and tells less.
_RANKS = ((".json", ".jsonl", ".xml"), (".csv", ".tsv"), (".txt", ".log", ".html"), (".ass",))
_CHAT = r"(?:live[ _-]?chat|chat|comments|danmaku)"
_LOG = re.compile(rf"(.+)({'|'.join(re.escape(suffix) for rank in _RANKS for suffix in rank)})(?:\.gz)?", re.IGNORECASE)


def find_recordings(given: Iterable[Path]) -> list[Path]:
    """Name every recording that is meant, each once; folders stand for the recordings in them, by name.

    Folders inside them are not looked into, and folders with results passed over.

    Raises
    ------
    KuaiHLError
        Nothing is named, something is not there, or a folder holds no recording.
    """
    found: dict[Path, Path] = {}
    for path in given:
        for recording in _meant(path):
            found.setdefault(recording.resolve(), recording)
    if not found:
        raise KuaiHLError(
            "Name a RECORDING, several, or a folder that holds some; folders with results do not count; "
            "see kuaihl predict --help"
        )
    return list(found.values())


def find_log(recording: Path, folder: Path | None = None) -> Path | None:
    """Find the comment log that lies beside a recording, or in ``folder``.

    For NAME.mp4 it is called NAME or NAME.chat (also live_chat, comments, danmaku) and ends in .json, .jsonl, .xml,
    .csv, .tsv, .txt, .log, .html or .ass, perhaps with .gz behind it. Beside a recording that is the only one in its
    folder it may be called chat or comments alone. Files that hold no comments in a known format do not count.

    Raises
    ------
    CommentLogError
        Several could be it, or the folder cannot be read.
    """
    place = folder or recording.parent
    try:
        logs = [(file, match[1], match[2].lower()) for file in _files(place) if (match := _LOG.fullmatch(file.name))]
        alone = folder is None and {*_recordings_in(place)} <= {recording}
    except OSError as error:
        raise CommentLogError(f"{place} cannot be read: {error.strerror or error}") from error
    for name in (rf"{re.escape(recording.stem)}(?:[ ._-]+{_CHAT})?", *([_CHAT] if alone else [])):
        named = [(file, suffix) for file, base, suffix in logs if re.fullmatch(name, base, re.IGNORECASE)]
        for rank in _RANKS:
            fitting = [file for file, suffix in named if suffix in rank and _is_log(file)]
            if len(fitting) > 1:
                raise CommentLogError(
                    f"{recording.name} has several comment logs, {' and '.join(file.name for file in fitting)}: move "
                    "all but one away, predict it alone with --comments LOG, or leave them out with --no-comments"
                )
            if fitting:
                return fitting[0]
    return None


def name_results(recordings: Iterable[Path], earlier: dict[Path, str]) -> dict[Path, str]:
    """Name a folder of results for each recording: NAME-kuaihl, and more than that only where several would share it.

    Parameters
    ----------
    recordings
        Absolute paths.
    earlier
        The folders of recordings that have results already: they keep them.
    """
    names = dict(earlier)
    taken = {name.casefold() for name in earlier.values()}  # there are disks on which A is a
    alike: dict[str, list[Path]] = {}
    for recording in recordings:
        if recording not in names:
            alike.setdefault(recording.stem.casefold(), []).append(recording)
    for group in alike.values():
        for labels in _labels(group):
            folders = [f"{label}{RESULTS}" for label in labels]
            folded = {folder.casefold() for folder in folders}
            if len(folded) == len(group) and not folded & taken:
                break
        names |= zip(group, folders, strict=True)
        taken |= folded
    return names


def _labels(group: Sequence[Path]) -> Iterator[list[str]]:
    """Tell recordings of one stem apart, in ways that have to be longer and longer."""
    yield [recording.stem for recording in group]
    yield [f"{recording.parent.name}-{recording.stem}" for recording in group]
    yield [recording.name for recording in group]
    for first in count(1):
        yield [f"{recording.stem}-{number}" for number, recording in enumerate(group, first)]


def _meant(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise KuaiHLError(f"{path} is not there")
    if path.name.endswith(RESULTS) and (path / PREDICTION).exists():
        return []
    try:
        inside = _recordings_in(path)
    except OSError as error:
        raise KuaiHLError(f"{path} cannot be read: {error.strerror or error}") from error
    if not inside:
        raise KuaiHLError(f"{path} holds no recording; folders in it are not looked into: name them")
    return inside


def _recordings_in(folder: Path) -> list[Path]:
    return [file for file in _files(folder) if file.suffix.lower() in _RECORDINGS]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _is_log(path: Path) -> bool:
    try:
        head = open_source(path, Report()).head
    except CommentLogError:
        return False
    return isinstance(next((known for known in FORMATS if known.sniff(head)), None), Format)
