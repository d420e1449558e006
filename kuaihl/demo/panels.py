"""HTML of the page: the model, the timing of a log."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from kuaihl.plots.style import target_name
from kuaihl.sync import LogCheck, lag_text

if TYPE_CHECKING:
    from kuaihl.model.config import Target

_MEANINGS = {"lvtr": "the share of viewers who stay long", "participation": "the share of present chatters who write"}


def model_html(checkpoint: str | None, targets: "Sequence[Target]", target: "Target") -> str:
    """Return what a checkpoint (None: KuaiHL's own) predicts, what it learned from, and its other targets."""
    model = "KuaiHL's own model" if checkpoint is None else f"Model {escape(checkpoint)}"
    meaning = _MEANINGS.get(target.name)
    name = escape(target_name(target.name)) + (f", {meaning}" if meaning else "")
    others = " and ".join(escape(target_name(other.name)) for other in targets if other != target)
    also = f" It can also predict {others}: see Settings." if others else ""
    return (
        f"<details><summary>{model}</summary>The forecast is {name}. It has learned from "
        f"{escape(target.trained_on)}.{also}</details>"
    )


def model_error_html(error: Exception) -> str:
    """Return why a checkpoint cannot be used."""
    return f'<p class="wrong">{escape(str(error))}</p>'


def target_label(target: "Target") -> str:
    """Return the name of a target in a list."""
    name = target_name(target.name)
    return name[:1].upper() + name[1:]


def target_help(target: "Target", *, without_log: "Sequence[Target]") -> str:
    """Return what a target means, and which targets are missing for lack of a comment log."""
    meaning = _MEANINGS.get(target.name, "")
    texts = [f"{meaning[:1].upper()}{meaning[1:]}."] if meaning else []
    if without_log:
        names = " and ".join(target_name(other.name) for other in without_log)
        texts.append(f"To predict {names}, add a comment log.")
    return " ".join(texts)


def streamer_names(target: "Target", names: "Sequence[str]") -> list[str]:
    """Return the streamers to offer: not those of simulated rooms, nor numbers in the place of names."""
    return [] if target.trained_on.startswith("simulated") else [name for name in names if not name.isdigit()]


def timing_html(check: LogCheck, *, offset_s: float) -> str:
    """Return what a comment log contains, and whether it fits its recording when moved by ``offset_s``."""
    texts = [f"{check.summary.comments:,} comments, {check.summary.inside or 0:,} of them in the recording."]
    if check.mismatch:
        texts.append(check.mismatch.message)
    texts.append(lag_text(check.lag, current_s=offset_s))
    return "".join(f"<p>{escape(text)}</p>" for text in texts)
