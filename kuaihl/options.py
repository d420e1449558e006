"""What the commands share: how options are shown in ``--help``, and checks of what they were given."""

import math
from pathlib import Path

import tyro

from kuaihl.errors import KuaiHLError


def hint(text: str, metavar: str) -> object:
    """Show ``metavar`` as what an option takes, and ``text`` as what counts without it."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=text)


def switch() -> object:
    """Show an option that takes nothing without its default."""
    return tyro.conf.arg(help_behavior_hint="")


def check_file(path: Path) -> None:
    """Raise `KuaiHLError` where there is no such file."""
    if not path.is_file():
        raise KuaiHLError(f"{path} is {'a folder, not a file' if path.is_dir() else 'not there'}")


def check_seconds(option: str, given_s: float, *, least_s: float = -math.inf) -> None:
    """Raise `KuaiHLError` where an option is not a number of seconds from ``least_s`` up."""
    if not (math.isfinite(given_s) and given_s >= least_s):
        least = "" if math.isinf(least_s) else f" from {least_s:g} up"
        raise KuaiHLError(f"{option} must be a number of seconds{least}, not {given_s}")
