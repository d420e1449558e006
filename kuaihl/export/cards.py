"""HTML that the report and the demo page share."""

from html import escape

from kuaihl.plots.style import clock, percent, target_name
from kuaihl.records import Prediction

NO_HIGHLIGHTS = "<h3>Highlights</h3><p>No part of the recording stands out.</p>"


def summary_html(prediction: Prediction) -> str:
    """Return the prediction in four numbers, the inputs it is based on, and what was skipped."""
    name = escape(target_name(prediction.target))
    scores = [(s.score, s.segment.start_s) for s in prediction.segments if s.score is not None]
    mean = sum(score for score, _ in scores) / len(scores) if scores else None
    best, best_s = max(scores, default=(None, 0.0), key=lambda score_and_time: score_and_time[0])
    figures = [
        ("Length", clock(prediction.recording.duration_s)),
        (f"Mean {name}", percent(mean)),
        (f"Highest {name}", percent(best) + (f" <small>at {clock(best_s)}</small>" if scores else "")),
        ("Next 30 s", percent(prediction.next_score)),
    ]
    available = {source: getattr(prediction.modalities, source) for source in ("pictures", "speech", "comments")}
    sources = "".join(f"<span>{name}</span>" if there else f"<s>no {name}</s>" for name, there in available.items())
    skipped = [f"{s.count:,} × {s.reason}" + (f" ({s.where})" if s.where else "") for s in prediction.skipped]
    return (
        f'<h2>{escape(prediction.recording.name)}</h2><dl class="figures">'
        + "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in figures)
        + f'</dl><p class="sources">Based on {sources}</p>'
        + (f'<p class="sources">Skipped: {escape("; ".join(skipped))}.</p>' if skipped else "")
    )
