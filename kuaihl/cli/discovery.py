"""Find recordings in folders and the comment log of each, and name the folders of results."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.format import Format
from kuaihl.comments.reader import recognise
from kuaihl.comments.source import open_source
from kuaihl.errors import CommentLogError, KuaiHLError

RESULTS = "-kuaihl"
"""Suffix of folders with results."""
PREDICTION = "prediction.json"
"""A file that every folder with results has."""

_RECORDINGS = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".flv", ".ts", ".m2ts", ".mts",
    ".m4a", ".mp3", ".aac", ".ogg", ".oga", ".opus", ".wav", ".flac",
}  # fmt: skip
# In order of preference: logs of a later rank are mostly made from those of an earlier one, and hold less.
_RANKS = ((".json", ".jsonl", ".xml"), (".csv", ".tsv"), (".txt", ".log", ".html"), (".ass",))
_CHAT = r"(?:live[ _-]?chat|rechat|chat|comments|danmaku)"
# yt-dlp adds .part to unfinished files and .f140 to a single format; ganymede ends names in -video.
_ADDED = re.compile(r"\.part$|\.f(?:\d|hls|dash)[\w-]*$|[ ._-]+video$", re.IGNORECASE)
_LOG = re.compile(rf"(.+)({'|'.join(re.escape(suffix) for rank in _RANKS for suffix in rank)})(?:\.gz)?", re.IGNORECASE)


def find_recordings(paths: Iterable[Path]) -> list[Path]:
    """Return the recordings among ``paths`` and in folders among them, each once.

    Their subfolders are not searched, and folders of results are left out.

    Raises
    ------
    KuaiHLError
        There is no path, a path does not exist, or a folder holds no recording.
    """
    recordings: dict[Path, Path] = {}
    for path in paths:
        for recording in _expand(path):
            recordings.setdefault(recording.resolve(), recording)
    if not recordings:
        raise KuaiHLError("Name recordings, or folders of them, not of results; see kuaihl predict --help.")
    return list(recordings.values())


def find_log(recording: Path, folder: Path | None = None) -> Path | None:
    """Return the comment log next to a recording, or in ``folder``.

    Names are those of `log_names`, ending in .json, .jsonl, .xml, .csv, .tsv, .txt, .log, .html or .ass, and optionally
    .gz. Next to the only recording of a folder, the log may be called just chat or comments. Files that are not comment
    logs are left out.

    Raises
    ------
    CommentLogError
        There are several candidates, or the folder cannot be read.
    """
    place = folder or recording.parent
    try:
        logs = [(file, match[1], match[2].lower()) for file in _files(place) if (match := _LOG.fullmatch(file.name))]
        is_alone = folder is None and {*_recordings_in(place)} <= {recording}
    except OSError as error:
        raise CommentLogError(f"{place} cannot be read: {error.strerror or error}.") from error
    patterns = [rf"{re.escape(name)}(?:[ ._-]+{_CHAT})?" for name in log_names(recording)]
    for name in [*patterns, *([_CHAT] if is_alone else [])]:
        named = [(file, suffix) for file, base, suffix in logs if re.fullmatch(name, base, re.IGNORECASE)]
        for rank in _RANKS:
            candidates = [file for file, suffix in named if suffix in rank and _is_log(file)]
            if len(candidates) > 1:
                raise CommentLogError(
                    f"{recording.name} has several comment logs, {' and '.join(file.name for file in candidates)}: "
                    "move all but one away, predict it alone with --comments LOG, or use --no-comments."
                )
            if candidates:
                return candidates[0]
    return None


def log_names(recording: Path) -> list[str]:
    """Return the names that the log of a recording may have, without suffix and before .chat, .live_chat or the like.

    Parts of the recording's name that downloaders add to it are removed: of NAME.f140.m4a, NAME.mp4.part and
    NAME-video.mp4, the second name is NAME.
    """
    names = [recording.stem]
    while (name := _ADDED.sub("", names[-1])) != names[-1] or Path(name).suffix.lower() in _RECORDINGS:
        names.append(name if name != names[-1] else Path(name).stem)
    return [name for name in names if name]


def sought_text(recording: Path) -> str:
    """Say under which names a log was looked for."""
    names = " or ".join(log_names(recording))
    return (
        f"none found: looked for {names}, optionally with .chat, .live_chat, .rechat, .comments or .danmaku, as a log"
    )


def name_results(recordings: Iterable[Path], earlier: dict[Path, str]) -> dict[Path, str]:
    """Name a folder of results for each recording: NAME-kuaihl, or a longer name if recordings share NAME.

    Parameters
    ----------
    recordings
        Absolute paths.
    earlier
        Names that recordings have already, and keep.
    """
    names = dict(earlier)
    used = {name.casefold() for name in earlier.values()}  # some file systems ignore case
    by_stem: dict[str, list[Path]] = {}
    for recording in recordings:
        if recording not in names:
            by_stem.setdefault(recording.stem.casefold(), []).append(recording)
    for group in by_stem.values():
        for labels in _labels(group):
            folders = [f"{label}{RESULTS}" for label in labels]
            folded = {folder.casefold() for folder in folders}
            if len(folded) == len(group) and not folded & used:
                names |= zip(group, folders, strict=True)
                used |= folded
                break
    return names


def _labels(group: Sequence[Path]) -> Iterator[list[str]]:
    """Yield labels for recordings with the same stem, shorter ones first."""
    yield [recording.stem for recording in group]
    yield [f"{recording.parent.name}-{recording.stem}" for recording in group]
    yield [recording.name for recording in group]
    for first in count(1):
        yield [f"{recording.stem}-{number}" for number, recording in enumerate(group, first)]


def _expand(path: Path) -> list[Path]:
    """Return a file itself, or the recordings in a folder."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise KuaiHLError(f"{path} does not exist.")
    if path.name.endswith(RESULTS) and (path / PREDICTION).exists():
        return []
    try:
        recordings = _recordings_in(path)
    except OSError as error:
        raise KuaiHLError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not recordings:
        raise KuaiHLError(f"{path} holds no recordings; its subfolders are not searched.")
    return recordings


def _recordings_in(folder: Path) -> list[Path]:
    return [file for file in _files(folder) if file.suffix.lower() in _RECORDINGS]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _is_log(path: Path) -> bool:
    try:
        return isinstance(recognise(open_source(path, Report())), Format)
    except CommentLogError:
        return False
