"""The parameters of a prediction.

The command line, the API and the page take names, defaults, ranges and help texts from these classes.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_type_hints

import tyro
from typing_extensions import Doc

from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.highlights import HighlightOptions

By = Literal["auto", "reaction", "forecast"]
Source = Literal["pictures", "speech", "comments"]
Kind = Literal["message", "command", "paid", "gift", "bot", "notice"]
"""Those of `kuaihl.features.embeddings` and `kuaihl.comments.selection`, whose imports would slow down ``--help``."""
MINIMUM = {"highlights": 1, "min_gap_s": 0, "min_length_s": 0, "max_length_s": 15, "padding_s": 0}

_NO_DEFAULT = tyro.conf.arg(help_behavior_hint="")  # --help does not say "(default: None)"


@dataclass(frozen=True, kw_only=True)
class LogRequest:
    """When the comments of a log were written.

    Raises
    ------
    KuaiHLError
        A parameter is out of range. The same holds for the classes below.
    """

    comment_offset_s: Annotated[
        float, Doc("Seconds added to the time of every comment. Negative if the log starts before the recording.")
    ] = 0.0
    stream_start: Annotated[
        str | None,
        Doc("When the recording starts, for logs with dates: date, time and time zone, as in "
            "2024-05-01T20:00:00+02:00."),
        _NO_DEFAULT,
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        if not math.isfinite(self.comment_offset_s):
            raise KuaiHLError(f"comment_offset_s must be a number of seconds, not {self.comment_offset_s}.")


@dataclass(frozen=True, kw_only=True)
class StreamRequest(LogRequest):
    """What to predict, and from which inputs."""

    counted: Annotated[
        tuple[Kind, ...],
        Doc("Kinds of log entries that count as comments: message, command (!...), paid, gift, bot, notice."),
    ] = ("message", "command", "paid")
    sources: Annotated[
        tuple[Source, ...], Doc("Inputs to predict from: pictures, speech, comments.")
    ] = ("pictures", "speech", "comments")  # fmt: skip
    streamer: Annotated[
        str | None, Doc("Name of the streamer. Names that the checkpoint does not know count as unknown."), _NO_DEFAULT
    ] = None
    target: Annotated[
        str | None, Doc("What to predict, such as lvtr. By default the first target of the checkpoint."), _NO_DEFAULT
    ] = None
    checkpoint: Annotated[
        str | None, Doc("Folder or Hugging Face Hub id of a checkpoint. By default the one of KuaiHL."), _NO_DEFAULT
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("counted", "sources"):
            if not getattr(self, name):
                raise KuaiHLError(f"{name} is empty: choose at least one.")


@dataclass(frozen=True, kw_only=True)
class Request(StreamRequest):
    """What to predict, and which highlights to select."""

    transcript: Annotated[
        Path | None, Doc("Subtitles (SRT, VTT, ASS) that replace speech recognition."), _NO_DEFAULT
    ] = None
    highlights: Annotated[int, Doc("Maximum number of highlights.")] = 5
    min_gap_s: Annotated[float, Doc("Minimum gap between two highlights, in seconds.")] = 60.0
    by: Annotated[
        By,
        Doc("Rank moments by the reaction of the chat, by the forecast of the model, or by the reaction if the log "
            "has enough chat (auto)."),
    ] = "auto"  # fmt: skip
    min_length_s: Annotated[float, Doc("Minimum length of a highlight, in seconds.")] = 15.0
    max_length_s: Annotated[float, Doc("Maximum length of a highlight without its padding, in seconds.")] = 60.0
    budget_s: Annotated[float | None, Doc("Maximum total length of all highlights, in seconds."), _NO_DEFAULT] = None
    padding_s: Annotated[float, Doc("Seconds added before and after each highlight.")] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, minimum in MINIMUM.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= minimum):
                raise KuaiHLError(f"{name} must be at least {minimum}, not {value:g}.")
        if self.max_length_s < self.min_length_s:
            raise KuaiHLError(f"max_length_s ({self.max_length_s:g}) must not be below min_length_s.")
        if self.budget_s is not None and not self.budget_s > 0:
            raise KuaiHLError(f"budget_s must be above 0, not {self.budget_s:g}.")

    @property
    def highlight_options(self) -> "HighlightOptions":
        """The options of `kuaihl.highlights.select`."""
        from kuaihl.highlights import HighlightOptions

        return HighlightOptions(
            top_k=self.highlights,
            min_gap_s=self.min_gap_s,
            padding_s=self.padding_s,
            min_length_s=self.min_length_s,
            max_length_s=self.max_length_s,
            by=self.by,
            budget_s=self.budget_s,
        )


@cache
def help_texts(request: type[LogRequest]) -> dict[str, str]:
    """Return the help text of every field of a request class."""
    hints = get_type_hints(request, include_extras=True)
    return {
        field.name: next(extra.documentation for extra in hints[field.name].__metadata__ if isinstance(extra, Doc))
        for field in dataclasses.fields(request)
    }
