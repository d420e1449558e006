"""What the commands share: how options are shown in ``--help``, and checks of what they were given."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from kuaihl.errors import KuaiHLError
from kuaihl.request import Request


def hint(text: str, metavar: str) -> object:
    """Show ``metavar`` as what an option takes, and ``text`` as what counts without it."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=text)


def switch() -> object:
    """Show an option that takes nothing without its default."""
    return tyro.conf.arg(help_behavior_hint="")


@dataclass(frozen=True, kw_only=True)
class PredictRequest(Request):
    """What to predict, and which highlights to select and to cut out."""

    clips: Annotated[
        bool,
        Doc("Cut the highlights out, into the folder clips of the results. Without re-encoding where possible: a clip "
            "then starts at the keyframe before its highlight."),
        switch(),
    ] = False  # fmt: skip
    clip_padding_s: Annotated[float, Doc("Seconds added before and after each clip. Implies --clips.")] = 0.0
    exact_clips: Annotated[
        bool, Doc("Start clips at the exact frame, which re-encodes them. Implies --clips."), switch()
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seconds("--clip-padding-s", self.clip_padding_s, least_s=0)


def check_file(path: Path) -> None:
    """Raise `KuaiHLError` where there is no such file."""
    if not path.is_file():
        raise KuaiHLError(f"{path} is {'a folder, not a file' if path.is_dir() else 'not there'}")


def check_seconds(option: str, given_s: float, *, least_s: float = -math.inf) -> None:
    """Raise `KuaiHLError` where an option is not a number of seconds from ``least_s`` up."""
    if not (math.isfinite(given_s) and given_s >= least_s):
        least = "" if math.isinf(least_s) else f" from {least_s:g} up"
        raise KuaiHLError(f"{option} must be a number of seconds{least}, not {given_s}")
