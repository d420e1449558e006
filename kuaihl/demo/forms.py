"""What visitors and programs send: checked and converted, with errors as the page shows them."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import gradio as gr

from kuaihl.errors import KuaiHLError
from kuaihl.request import Request

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_DEFAULTS = Request()
_PAGE_WORDS = {"--stream-start ": "“Stream start” under “Settings”, as in ", " (in Python stream_start=)": ""}
"""What the command line and Python call a field, and what the page calls it."""


def upload(**options: Any) -> gr.File:
    """Create a component for a file of a visitor. Other than plain gr.File, it downloads nothing."""
    component = gr.File(**options)
    component.async_move_resource_to_block_cache = partial(_accept, component)
    return component


async def _accept(component: gr.File, url_or_file_path: str | Path | None) -> str | None:
    """Return the path of an upload; the URL of an upload to this server stands for its path.

    Raises
    ------
    gr.Error
        It is another URL.
    """
    url = urlsplit(str(url_or_file_path or ""))
    if url.scheme in {"http", "https"}:
        file = Path(unquote(url.path.partition("/gradio_api/file=")[2])).resolve()
        if Path(component.GRADIO_CACHE).resolve() not in file.parents or not file.is_file():
            raise user_error("This server downloads nothing. Upload the file instead of passing a URL.")
        url_or_file_path = str(file)
    return await gr.File.async_move_resource_to_block_cache(component, url_or_file_path)


def user_error(message: str) -> gr.Error:
    """Return an error that the page shows and that is not logged. Its text is not interpreted as HTML."""
    return gr.Error(escape(message, quote=False), duration=None, print_exception=False)


def from_kuaihl(error: KuaiHLError, *files: Path | None) -> gr.Error:
    """Return an error of KuaiHL as the page shows it: with the names of files, but not their paths on the server."""
    message = str(error)
    for file in filter(None, files):
        message = message.replace(str(file), file.name)
    for ours, theirs in _PAGE_WORDS.items():
        message = message.replace(ours, theirs)
    return user_error(message)


def report_errors(work: Callable[[], _T], *files: Path | None) -> _T:
    """Do the work on a visitor's files. Their mistakes are shown to them, other errors only logged."""
    try:
        return work()
    except KuaiHLError as error:
        raise from_kuaihl(error, *files) from error
    except gr.Error:
        raise
    except Exception as error:
        logger.exception("A job failed")
        raise user_error("Internal error. See the server log.") from error


def recording_path(upload: str | None, path: str, *, local_paths: bool) -> Path:
    """Return the uploaded recording, or the one whose path on the server's machine was given."""
    path = path.strip(" \"'")
    if path and not local_paths:
        raise user_error("This server takes no paths. Upload the recording instead.")
    if path:
        return Path(path).expanduser().resolve()
    if not upload:
        raise user_error("Choose a recording first.")
    return Path(upload)


def request_from(values: Mapping[str, Any]) -> Request:
    """Build a request from the values of its components. An empty component, or 0 for no limit, gives the default.

    Raises
    ------
    gr.Error
        A value is out of range.
    """
    parameters = {}
    for name, value in values.items():
        default = getattr(_DEFAULTS, name)
        if default is not None and value is not None:
            parameters[name] = type(default)(value)
        elif value:
            parameters[name] = (
                Path(value) if name == "transcript" else value.strip() if isinstance(value, str) else value
            )
    try:
        return Request(**parameters)
    except KuaiHLError as error:
        raise from_kuaihl(error) from error


def request_values(request: Request) -> dict[str, Any]:
    """Return the values of the components of a request, by field name."""
    return {
        name: list(value) if isinstance(value, tuple) else "" if value is None else value
        for name, value in vars(request).items()
    }
