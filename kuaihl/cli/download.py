"""Recordings on the web: downloaded with yt-dlp, by the command line only."""

from pathlib import Path
from typing import Any

from kuaihl.errors import KuaiHLError, RecordingError

FORMAT = "best[height<=720]/best"
"""One file with pictures and sound, since yt-dlp needs ffmpeg to join two."""


def url_of(recording: Path) -> str | None:
    """Return the URL that was given in the place of a path, or None. A path has lost one of its slashes."""
    scheme, colon, rest = recording.as_posix().partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if colon and scheme in {"http", "https"} else None


def download(url: str, folder: Path) -> Path:
    """Download a recording into a folder, and its live chat beside it, where `find_log` finds it; return its path.

    Raises
    ------
    KuaiHLError
        yt-dlp is not installed.
    RecordingError
        yt-dlp cannot download it.
    """
    try:
        from yt_dlp import YoutubeDL  # pyright: ignore[reportMissingImports] # an optional extra
        from yt_dlp.utils import DownloadError  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise KuaiHLError(f"To read {url}, install yt-dlp: pip install 'kuaihl[download]'") from error
    options: Any = {
        "outtmpl": str(folder / "%(title).80B [%(id)s].%(ext)s"),
        "format": FORMAT,
        "writesubtitles": True,
        "subtitleslangs": ["live_chat"],
        "noplaylist": True,
        "quiet": True,
        "noprogress": True,
    }
    try:
        with YoutubeDL(options) as downloader:
            return Path(downloader.prepare_filename(downloader.extract_info(url)))
    except DownloadError as error:
        raise RecordingError(f"{url} cannot be downloaded: {error}") from error
