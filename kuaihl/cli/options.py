"""What the commands share: how options are shown in ``--help``, and checks of what they were given."""

import math
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kuaihl.errors import KuaiHLError

Source = Literal["pictures", "speech", "comments"]
Kind = Literal["message", "command", "paid", "gift", "bot", "notice"]
"""Those of `kuaihl.features.embeddings` and `kuaihl.comments.reader`, spelled out here since ``--help`` should not wait for them."""


def hint(text: str, metavar: str) -> object:
    """Show ``metavar`` as what an option takes, and ``text`` as what counts without it."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=text)


def switch() -> object:
    """Show an option that takes nothing without its default."""
    return tyro.conf.arg(help_behavior_hint="")


Sources = Annotated[tuple[Source, ...], hint("(default: all three)", "SOURCE [SOURCE ...]")]
Counted = Annotated[tuple[Kind, ...], hint("(default: message command paid)", "KIND [KIND ...]")]
COUNTED: tuple[Kind, ...] = ("message", "command", "paid")


def check_some(option: str, given: tuple[str, ...]) -> None:
    """Raise `KuaiHLError` where an option that takes several words has none."""
    if not given:
        raise KuaiHLError(f"{option} needs at least one word; see kuaihl --help")


def check_file(path: Path) -> None:
    """Raise `KuaiHLError` where there is no such file."""
    if not path.is_file():
        raise KuaiHLError(f"{path} is {'a folder, not a file' if path.is_dir() else 'not there'}")


def check_seconds(option: str, given_s: float, *, least_s: float = -math.inf) -> None:
    """Raise `KuaiHLError` where an option is not a number of seconds from ``least_s`` up."""
    if not (math.isfinite(given_s) and given_s >= least_s):
        least = "" if math.isinf(least_s) else f" from {least_s:g} up"
        raise KuaiHLError(f"{option} must be a number of seconds{least}, not {given_s}")
