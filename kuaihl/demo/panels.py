"""The page's HTML: a prediction in four numbers, highlights as rows of buttons, why a value is, what comes live."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from kuaihl.plots.style import clock, target_name
from kuaihl.records import Prediction, RecordingInfo
from kuaihl.sync import LogCheck, lag_text

if TYPE_CHECKING:
    from kuaihl.attribution import Moment
    from kuaihl.model.config import Target

_MOMENT_LETTERS = 110


_MEANINGS = {
    "lvtr": "the share of viewers who stay long",
    "participation": "the share of chatters present who write",
}


def about(checkpoint: str | None, targets: Sequence["Target"], chosen: "Target") -> str:
    """Say what a checkpoint (None: the shipped one) predicts, what it learned that from, and what else it could."""
    which = "The <b>shipped model</b>" if checkpoint is None else f"Model <b>{escape(checkpoint)}</b>"
    meaning = _MEANINGS.get(chosen.name)
    told = f"{escape(target_name(chosen.name))}{f', {meaning},' if meaning else ''}"
    others = " and ".join(escape(target_name(target.name)) for target in targets if target != chosen)
    also = f" It can predict {others} too: see Settings." if others else ""
    return f'<p class="model">{which} predicts {told} trained on {escape(chosen.trained_on)}.{also}</p>'


def named(target: "Target") -> str:
    """Name a target in a list."""
    name = target_name(target.name)
    return name[:1].upper() + name[1:]


def explained(chosen: "Target", *, lacking: Sequence["Target"]) -> str:
    """Say in a line of text what a target means, and why those that are ``lacking`` a comment log are not offered."""
    meaning = _MEANINGS.get(chosen.name, "")
    told = [f"{meaning[:1].upper()}{meaning[1:]}."] if meaning else []
    if lacking:
        names = " and ".join(target_name(target.name) for target in lacking)
        told.append(f"For {names}, add a comment log: nothing else tells it.")
    return " ".join(told)


def streamer(name: str) -> str:
    """Name a streamer in a list; those of a benchmark without names have numbers."""
    return f"Channel {name}" if name.isdigit() else name


def summary(prediction: Prediction) -> str:
    """Write the result in four numbers, what it rests on, and what was passed over."""
    name = escape(target_name(prediction.target))
    scored = [s for s in prediction.segments if s.score is not None]
    best = max(scored, key=lambda s: s.score, default=None)
    figures = [
        ("Length", clock(prediction.recording.duration_s)),
        (f"Mean {name}", f"{sum(s.score for s in scored) / len(scored):.1%}" if scored else "–"),
        (f"Highest {name}", f"{best.score:.1%} <small>at {clock(best.segment.start_s)}</small>" if best else "–"),
        ("Forecast, next 30 s", f"{prediction.next_score:.1%}"),
    ]
    found = {word: getattr(prediction.modalities, word) for word in ("pictures", "speech", "comments")}
    rests_on = "".join(f"<span>{word}</span>" if there else f"<s>no {word}</s>" for word, there in found.items())
    skipped = [f"{s.count:,} × {s.reason}" + (f" ({s.where})" if s.where else "") for s in prediction.skipped]
    return (
        f'<h2>{escape(prediction.recording.name)}</h2><dl class="figures">'
        + "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in figures)
        + f'</dl><p class="sources">Rests on {rests_on}</p>'
        + (f'<p class="sources">Passed over: {escape("; ".join(skipped))}.</p>' if skipped else "")
    )


def highlights(prediction: Prediction, stills: Sequence[str]) -> str:
    """Write the highlights as rows of buttons: picture (``stills``, data URIs or empty), time range, value."""
    if not prediction.highlights:
        return "<h3>Highlights</h3><p>No stretch stands out from the rest.</p>"
    rows = []
    for highlight, still in zip(prediction.highlights, stills, strict=True):
        picture = f'<img src="{still}" alt="">' if still else '<span class="no-picture">♪</span>'
        time = f"{clock(highlight.start_s)} – {clock(highlight.end_s)}"
        rows.append(
            f'<li><button type="button" data-rank="{highlight.rank}" aria-pressed="{str(not rows).lower()}">{picture}'
            f'<span class="when">{time} <b>{highlight.score:.1%}</b></span>'
            f'<span class="bar"><i style="width:{highlight.score:.0%}"></i></span></button></li>'
        )
    name = escape(target_name(prediction.target))
    return f"<h3>Highlights <small>predicted {name}; click to play</small></h3><ol>{''.join(rows)}</ol>"


def stand_in(info: RecordingInfo, still: str, *, start_s: float) -> str:
    """Write what stands for the player where browsers cannot play the recording: a picture of it."""
    codec = escape(f"{info.video_codec or info.audio_codec} in {info.container}")
    picture = f'<img src="{still}" alt="The recording at {clock(start_s)}">' if still else ""
    return f"{picture}<p>Browsers do not play {codec}, so stills stand for the player.</p>"


def why(when: str, lvtr: float, added: Mapping[str, float], moments: "Sequence[Moment]") -> str:
    """Write what each source adds to a prediction (in LVTR), and which segments before it mattered.

    ``when`` tells what is predicted: a segment's time, or that it is the forecast.
    """
    widest = max((abs(value) for value in added.values()), default=0.0) or 1.0
    bars = "".join(
        f"<tr><th>{escape(name)}</th><td>{_points(value)}</td>"
        f'<td class="effect"><i class="{"up" if value >= 0 else "down"}" style="width:{50 * abs(value) / widest:.0f}%">'
        "</i></td></tr>"
        for name, value in added.items()
    )
    return (
        f"<h3>Why {lvtr:.1%} {escape(when)} <small>percentage points that each source adds</small></h3>"
        f"<table>{bars}</table>"
        "<h3>Segments before that mattered <small>by the points that their sources add</small></h3>"
        f"<ol>{''.join(_moment(moment) for moment in moments)}</ol>"
    )


def _moment(moment: "Moment") -> str:
    """Write what a segment's sources add, what was said in it, and what was written most."""
    effects = " ".join(f"<span>{name} <b>{_points(value)}</b></span>" for name, value in moment.added.items())
    chat = " · ".join(one.text if one.count == 1 else f"{one.text} × {one.count}" for one in moment.comments)
    quotes = "".join(
        f"<p><small>{source}</small> <q>{escape(_shortened(text))}</q></p>"
        for source, text in (("speech", moment.speech), ("comments", chat))
        if text
    )
    return f"<li><p><b>{clock(moment.segment.start_s)}</b> {effects}</p>{quotes}</li>"


def _points(value: float) -> str:
    """Write a difference in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def arrived(prediction: Prediction) -> str:
    """Write what a recording that is played live has just brought, and what is expected next."""
    last = prediction.segments[-1]
    span = f"{clock(last.segment.start_s)} – {clock(last.segment.end_s)}"
    expected = "nothing was expected of it" if last.score is None else f"expected was {last.score:.1%}"
    comments = f", {last.comments:,} comment{'' if last.comments == 1 else 's'}" * prediction.modalities.comments
    said = f"<q>{escape(last.speech)}</q>" if last.speech else ""
    return (
        f"<p><b>{span}</b> has come: {expected}{comments}.</p>"
        f"<p>Forecast for the next 30 s: <b>{prediction.next_score:.1%}</b></p>{said}"
    )


def fit(check: LogCheck, *, given_s: float) -> str:
    """Write what was understood of a comment log, and whether it fits its recording if moved by ``given_s``."""
    told = [f"{check.summary.comments:,} comments, {check.summary.inside or 0:,} of them in the recording."]
    if check.mismatch:
        told.append(check.mismatch.message)
    told.append(lag_text(check.lag, given_s=given_s))
    return "".join(f"<p>{escape(text)}</p>" for text in told)


def _shortened(text: str) -> str:
    return text if len(text) <= _MOMENT_LETTERS else text[: _MOMENT_LETTERS - 1] + "…"
