"""What a visitor or a program gives: checked, gathered, and wrong parts told in words that fit a page."""

import logging
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import gradio as gr

from kuaihl.comments.selection import COUNTED
from kuaihl.demo.layout import COMMENTS, SOURCES, STREAM_START
from kuaihl.demo.model_cache import OWN
from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Inputs, Settings
    from kuaihl.model.config import KuaiHLConfig

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}
_INSTEAD = {
    "--stream-start ": "",
    " (in Python stream_start=)": f" (“{STREAM_START}”, under “{COMMENTS}”; for programs stream_start)",
}
"""What the command line and Python call a part, and what the page does."""


def from_this_machine(request: gr.Request) -> bool:
    """Whether a request was made on this machine, to this machine, and through no proxy."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    forwarded = any(name in request.headers for name in ("x-forwarded-for", "x-forwarded-host", "forwarded"))
    return request.client is not None and {request.client.host, host} <= LOOPBACK and not forwarded


def source_of(request: gr.Request, recording: str | None, path: str, *, own_machine: bool) -> Path:
    """Choose between a recording that was uploaded and the path of one on this machine."""
    if path and not (own_machine and from_this_machine(request)):
        raise gr.Error("Only an app on your own machine takes a path. Upload the recording instead.")
    if not (path or recording):
        raise gr.Error("Choose a recording first, or click the example.", print_exception=False)
    return Path(path.strip(" \"'")).expanduser().resolve() if path else Path(recording)


def inputs_of(recording: Path, comments: str | None, transcript: str | None, stream_start: str) -> "Inputs":
    """Gather the files of a visitor."""
    from kuaihl.demo.pipeline import Inputs

    others = [Path(file) if file else None for file in (comments, transcript)]
    return Inputs(recording, *others, stream_start=stream_start.strip() or None)


def settings_of(
    streamer: str | None,
    sources: Sequence[str],
    highlights: float = 5,
    min_gap_s: float = 60.0,
    padding_s: float = 0.0,
    max_length_s: float = 300.0,
    comment_offset_s: float | None = 0.0,
    counted: Sequence[str] = COUNTED,
    model: str | None = OWN,
    target: str | None = None,
) -> "Settings":
    """Gather the settings of a visitor."""
    from kuaihl.demo.pipeline import Settings
    from kuaihl.highlights import HighlightOptions

    if not sources:
        raise gr.Error("Nothing is left to predict from: leave at least one source on.", print_exception=False)
    lengths = {"min_gap_s": min_gap_s, "padding_s": padding_s, "max_length_s": max_length_s}
    try:
        options = HighlightOptions(top_k=int(highlights), **{name: float(given) for name, given in lengths.items()})
    except ValueError as error:
        raise gr.Error(f"Highlights: {error}.", print_exception=False) from error
    return Settings(
        streamer=streamer or None,
        without=tuple(name for name in SOURCES if name not in sources),
        options=options,
        comment_offset_s=float(comment_offset_s or 0.0),
        counted=tuple(counted),
        model=(model or OWN).strip(),
        target=target or None,
    )


def values_of(settings: "Settings") -> dict[str, object]:
    """Return what `settings_of` gathered, by the names of its parameters."""
    options = settings.options
    return {
        "streamer": settings.streamer or "",
        "sources": [name for name in SOURCES if name not in settings.without],
        "highlights": options.top_k,
        "min_gap_s": options.min_gap_s,
        "padding_s": options.padding_s,
        "max_length_s": options.max_length_s,
        "comment_offset_s": settings.comment_offset_s,
        "counted": list(settings.counted),
        "model": settings.model,
        "target": settings.target,
    }


def check_enough(config: "KuaiHLConfig", inputs: "Inputs", settings: "Settings") -> list[str]:
    """Refuse a run that has nothing to predict its target from: NothingToPredictFromError; return what it needs."""
    from kuaihl.model.targets import check_sources, sources_of

    left = [name for name in SOURCES if name not in settings.without]
    check_sources(config, settings.target, left if inputs.comments else [name for name in left if name != "comments"])
    counting = sources_of(config.targets[config.target_index(settings.target)])
    return [name for name in left if name in counting]


def told(error: KuaiHLError, *files: Path | None) -> gr.Error:
    """Turn what a visitor can mend into what gradio shows: where files lie here is nobody's business."""
    text = str(error)
    for file in filter(None, files):
        text = text.replace(str(file), file.name)
    for name, ours in _INSTEAD.items():
        text = text.replace(name, ours)
    return gr.Error(escape(text, quote=False), duration=None, print_exception=False)


def telling(work: Callable[[], _T], *files: Path | None) -> _T:
    """Do the work on a visitor's files; of what goes wrong, tell what they can mend, and log what is our own fault."""
    try:
        return work()
    except KuaiHLError as error:
        raise told(error, *files) from error
    except gr.Error:  # of those who lend a GPU, too
        raise
    except Exception as error:
        logger.exception("a visitor's work failed")
        raise gr.Error("A fault of ours, which the server's log describes.", print_exception=False) from error
