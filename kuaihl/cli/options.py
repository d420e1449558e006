"""Options that several commands share, how ``--help`` shows options, and checks of their values."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from kuaihl.errors import KuaiHLError
from kuaihl.request import Request


def hint(text: str, metavar: str) -> object:
    """Show ``metavar`` as the value of an option, and ``text`` in place of its default."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=text)


SWITCH = tyro.conf.arg(help_behavior_hint="")
"""Show an option without a value and without its default."""
Log = Annotated[Path | None, hint("", "LOG")]


@dataclass(frozen=True, kw_only=True)
class PredictRequest(Request):
    """What to predict, and which highlights to select and to cut out."""

    clips: Annotated[
        bool,
        Doc("Cut the highlights out, into the folder clips of the results. Without re-encoding where possible: a clip "
            "then starts at the keyframe before its highlight."),
        SWITCH,
    ] = False  # fmt: skip
    clip_padding_s: Annotated[float, Doc("Seconds added before and after each clip. Implies --clips.")] = 0.0
    exact_clips: Annotated[
        bool, Doc("Start clips at the exact frame, which re-encodes them. Implies --clips."), SWITCH
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seconds("clip_padding_s", self.clip_padding_s)


def check_file(path: Path | None) -> None:
    """Raise `KuaiHLError` if a path that was given is not a file."""
    if path is not None and not path.is_file():
        raise KuaiHLError(f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}.")


def check_seconds(name: str, value_s: float) -> None:
    """Raise `KuaiHLError` if a value is not a non-negative number of seconds."""
    if not 0 <= value_s < math.inf:
        raise KuaiHLError(f"{name} must be at least 0, not {value_s:g}.")
