"""HTML of the page: the model, highlights, explanations, the live replay, the timing of a log."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from kuaihl.export.cards import NO_HIGHLIGHTS
from kuaihl.plots.style import clock, percent, target_name
from kuaihl.records import Prediction, RecordingInfo
from kuaihl.sync import LogCheck, lag_text

if TYPE_CHECKING:
    from kuaihl.attribution import Influence
    from kuaihl.model.config import Target

_QUOTE_LETTERS = 110
_MEANINGS = {"lvtr": "the share of viewers who stay long", "participation": "the share of present chatters who write"}


def model_html(checkpoint: str | None, targets: "Sequence[Target]", target: "Target") -> str:
    """Return what a checkpoint (None: KuaiHL's own) predicts, what it learned from, and its other targets."""
    model = "<b>KuaiHL's own model</b>" if checkpoint is None else f"Model <b>{escape(checkpoint)}</b>"
    meaning = _MEANINGS.get(target.name)
    name = escape(target_name(target.name)) + (f", {meaning}," if meaning else "")
    others = " and ".join(escape(target_name(other.name)) for other in targets if other != target)
    also = f" It can also predict {others}: see Settings." if others else ""
    return f'<p class="model">{model} predicts {name} trained on {escape(target.trained_on)}.{also}</p>'


def model_error_html(error: Exception) -> str:
    """Return why a checkpoint cannot be used."""
    return f'<p class="model wrong">{escape(str(error))}</p>'


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


def streamer_name(name: str) -> str:
    """Return the display name of a streamer. Benchmarks without names number them."""
    return f"Channel {name}" if name.isdigit() else name


def highlights_html(prediction: Prediction, stills: Sequence[str]) -> str:
    """Return the highlights as rows of buttons: picture (``stills``: data URIs or ""), time, strength, evidence."""
    if not prediction.highlights:
        return NO_HIGHLIGHTS
    rows = []
    for highlight, still in zip(prediction.highlights, stills, strict=True):
        picture = f'<img src="{still}" alt="">' if still else '<span class="no-picture">♪</span>'
        span = f"{clock(highlight.start_s)} – {clock(highlight.end_s)}"
        rows.append(
            f'<li><button type="button" data-rank="{highlight.rank}" aria-pressed="{str(not rows).lower()}">{picture}'
            f'<span class="when">{span} <b>{highlight.strength}</b></span>'
            f'<span class="why">{escape(highlight.why)}</span></button></li>'
        )
    return f"<h3>Highlights <small>by {prediction.highlights_by}; click to play</small></h3><ol>{''.join(rows)}</ol>"


def still_html(recording: RecordingInfo, still: str, *, start_s: float) -> str:
    """Return what replaces the player if browsers cannot play the recording: a picture of it."""
    codec = escape(f"{recording.video_codec or recording.audio_codec} in {recording.container}")
    picture = f'<img src="{still}" alt="The recording at {clock(start_s)}">' if still else ""
    return f"{picture}<p>Browsers cannot play {codec}. Still pictures replace the player.</p>"


def explanation_html(
    time: str, score: float | None, contributions: Mapping[str, float], influences: "Sequence[Influence]"
) -> str:
    """Return what each source contributes to a score, and the earlier segments that mattered most.

    ``time`` names the predicted time, such as "at 0:01:30".
    """
    widest = max((abs(value) for value in contributions.values()), default=0.0) or 1.0
    bars = "".join(
        f"<tr><th>{escape(name)}</th><td>{_points(value)}</td>"
        f'<td class="effect"><i class="{"up" if value >= 0 else "down"}" style="width:{50 * abs(value) / widest:.0f}%">'
        "</i></td></tr>"
        for name, value in contributions.items()
    )
    return (
        f"<h3>Why {percent(score)} {escape(time)} <small>contribution of each source in percentage points</small></h3>"
        f"<table>{bars}</table>"
        "<h3>Earlier segments that mattered <small>contribution of their sources in percentage points</small></h3>"
        f"<ol>{''.join(map(_influence, influences))}</ol>"
    )


def _influence(influence: "Influence") -> str:
    effects = " ".join(
        f"<span>{name} <b>{_points(value)}</b></span>" for name, value in influence.contributions.items()
    )
    comments = " · ".join(t.text if t.count == 1 else f"{t.text} × {t.count}" for t in influence.top_comments)
    quotes = "".join(
        f"<p><small>{source}</small> <q>{escape(_shortened(text))}</q></p>"
        for source, text in (("speech", influence.speech), ("comments", comments))
        if text
    )
    return f"<li><p><b>{clock(influence.segment.start_s)}</b> {effects}</p>{quotes}</li>"


def _points(value: float) -> str:
    """Format a difference in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTE_LETTERS else text[: _QUOTE_LETTERS - 1] + "…"


def live_html(prediction: Prediction) -> str:
    """Return the segment that a live replay has just brought, and the next score."""
    last = prediction.segments[-1]
    span = f"{clock(last.segment.start_s)} – {clock(last.segment.end_s)}"
    predicted = "no prediction" if last.score is None else f"predicted {percent(last.score)}"
    comments = f", {last.comments:,} comment{'' if last.comments == 1 else 's'}" * prediction.modalities.comments
    speech = f"<q>{escape(last.speech)}</q>" if last.speech else ""
    return (
        f"<p><b>{span}</b>: {predicted}{comments}.</p><p>Next 30 s: <b>{percent(prediction.next_score)}</b></p>{speech}"
    )


def timing_html(check: LogCheck, *, offset_s: float) -> str:
    """Return what a comment log contains, and whether it fits its recording when moved by ``offset_s``."""
    texts = [f"{check.summary.comments:,} comments, {check.summary.inside or 0:,} of them in the recording."]
    if check.mismatch:
        texts.append(check.mismatch.message)
    texts.append(lag_text(check.lag, current_s=offset_s))
    return "".join(f"<p>{escape(text)}</p>" for text in texts)
