"""What visitors and programs send: checked and converted, with errors as the page shows them."""

import logging
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from kuaihl.errors import KuaiHLError
from kuaihl.request import Request

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}
_DEFAULTS = Request()
_PAGE_WORDS = {"--stream-start ": "“Stream start” under “Settings”, as in ", " (in Python stream_start=)": ""}
"""What the command line and Python call a field, and what the page calls it."""


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


def is_local(http: gr.Request) -> bool:
    """Return whether a request comes from this machine, without a proxy."""
    host = http.headers.get("host", "").rsplit(":", 1)[0]
    forwarded = any(name in http.headers for name in ("x-forwarded-for", "x-forwarded-host", "forwarded"))
    return http.client is not None and {http.client.host, host} <= LOOPBACK and not forwarded


def recording_path(http: gr.Request, upload: str | None, path: str, *, own_machine: bool) -> Path:
    """Return the uploaded recording, or the one whose path on this machine was given."""
    path = path.strip(" \"'")
    if path and not (own_machine and is_local(http)):
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
