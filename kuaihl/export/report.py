"""The report: a prediction as one HTML page that opens offline, on any screen and on paper."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image
from plotly.offline import get_plotlyjs

from kuaihl.export.cards import NO_HIGHLIGHTS, summary_html
from kuaihl.export.chapters import speech_in
from kuaihl.media.recording import Recording, thumbnail
from kuaihl.plots.alignment import plot_alignment
from kuaihl.plots.curves import plot_curve
from kuaihl.plots.style import clock, percent, target_name, wrap
from kuaihl.records import SEGMENT_S, Highlight, Prediction

_STILL_WIDTH = 480
_QUOTE_WIDTH, _QUOTE_LINES = 80, 4
_OPEN_ROWS = 120
"""The table of up to this many segments, one hour, is open."""
_STYLE = """
:root { color-scheme: light; --ink: #1f2937; --quiet: #4b5563; --paper: #ffffff; --panel: #f3f4f6; --line: #d1d5db;
  --mark: #0f766e; }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --ink: #e5e7eb; --quiet: #a8b0bd; --paper: #111827; --panel: #1f2937; --line: #374151;
    --mark: #2dd4bf; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 24px 16px; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }
h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 12px; font-size: 1.5rem; }
h3 { margin: 32px 0 8px; font-size: 1.15rem; }
small, .sources, footer { color: var(--quiet); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 8px; margin: 0; }
.figures div { padding: 8px 12px; border-radius: 8px; background: var(--panel); }
.figures dt { font-size: 0.85rem; color: var(--quiet); }
.figures dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures small { font-size: 0.85rem; font-weight: 400; white-space: nowrap; }
.sources { margin: 8px 0 0; font-size: 0.9rem; }
.sources span, .sources s { display: inline-block; margin-right: 4px; padding: 0 8px; border: 1px solid var(--mark);
  border-radius: 99px; text-decoration: none; }
.sources s { border: 1px dashed var(--line); }
.figure { overflow: hidden; margin-top: 16px; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 12px; margin: 0;
  padding: 0; list-style: none; }
li { padding: 12px; border: 1px solid var(--line); border-radius: 8px; break-inside: avoid; }
li img { display: block; width: 100%; margin-bottom: 8px; border-radius: 5px; }
li b { color: var(--mark); }
li .when { display: flex; justify-content: space-between; gap: 8px; font-weight: 600;
  font-variant-numeric: tabular-nums; }
li q { display: block; margin-top: 4px; font-size: 0.9rem; color: var(--quiet); overflow-wrap: anywhere; }
summary { cursor: pointer; }
summary h3 { display: inline-block; }
table { width: 100%; border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px 4px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th:nth-child(2), td:nth-child(2), th:nth-child(3), td:nth-child(3) { text-align: right; padding-right: 16px; }
td:last-child { overflow-wrap: anywhere; }
footer { margin-top: 32px; font-size: 0.85rem; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  body { padding: 16px 12px; }
  .figures { grid-template-columns: 1fr 1fr; }
  table { font-size: 0.8rem; }
}
@media print {
  body { padding: 0; max-width: none; font-size: 11pt; }
  tr, .figure, .figures { break-inside: avoid; }
  h3 { break-after: avoid; }
}
"""
_SCRIPT = """
const figures = FIGURES;
const dark = matchMedia('(prefers-color-scheme: dark)');
const draw = (isDark, width) => figures.forEach(({ light, dark }, number) => {
  const { data, layout } = isDark ? dark : light;
  const config = { responsive: true, displaylogo: false };
  Plotly.react(`figure-${number}`, data, { ...layout, width, autosize: !width }, config);
});
draw(dark.matches);
dark.addEventListener('change', () => draw(dark.matches));
addEventListener('beforeprint', () => draw(false, 680));
addEventListener('afterprint', () => draw(dark.matches));
"""


def still(recording: Recording, time_s: float) -> str:
    """Return a picture of a recording as a data URI (JPEG, 480 pixels wide), "" if it has no pictures."""
    if not recording.has_pictures:
        return ""
    jpeg = io.BytesIO()
    Image.fromarray(thumbnail(recording, time_s, width=_STILL_WIDTH)).save(jpeg, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def report_page(prediction: Prediction, *, stills: Sequence[str] | None = None) -> str:
    """Return the report: summary, curve, highlights, alignment around the best highlight, and segments.

    It follows the reader's choice of light or dark colours, and is light on paper.

    Parameters
    ----------
    stills
        Pictures of the highlights as data URIs, as from `still`; may be "".
    """
    name = escape(target_name(prediction.target))
    figures = [{look: plot_curve(prediction, dark=look == "dark") for look in ("light", "dark")}]
    if prediction.alignments and prediction.highlights:
        around = int(prediction.highlights[0].peak_s // SEGMENT_S)
        figures.append({look: plot_alignment(prediction, around=around, dark=look == "dark") for look in figures[0]})
    divs = [
        f'<div class="figure" id="figure-{number}" style="height: {looks["light"]["layout"]["height"]}px"></div>'
        for number, looks in enumerate(figures)
    ]
    data = ",".join(f'{{"light":{looks["light"].to_json()},"dark":{looks["dark"].to_json()}}}' for looks in figures)
    checkpoint = prediction.checkpoint
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(f"{prediction.recording.name}: highlights")}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>{summary_html(prediction)}</header>
<noscript><p>The figures need JavaScript.</p></noscript>
{divs[0]}
<section>{_highlights(prediction, stills or [""] * len(prediction.highlights))}</section>
{"".join(divs[1:])}
<section>{_table(prediction)}</section>
<footer>Predicts {name}, learned from: {escape(prediction.trained_on)}. Checkpoint {escape(checkpoint.name)}
(SHA-256 {escape(checkpoint.sha256)}); encoders: {escape(checkpoint.visual_encoder)} (pictures),
{escape(checkpoint.text_encoder)} (text), Whisper {escape(checkpoint.speech_model)} (speech).</footer>
<script>{get_plotlyjs()}</script>
<script>{_SCRIPT.replace("FIGURES", f"[{data}]")}</script>
</body>
</html>
"""


def _highlights(prediction: Prediction, stills: Sequence[str]) -> str:
    if not prediction.highlights:
        return NO_HIGHLIGHTS
    return (
        f"<h3>Highlights <small>by {prediction.highlights_by}</small></h3><ol>"
        + "".join(_card(prediction, h, picture) for h, picture in zip(prediction.highlights, stills, strict=True))
        + "</ol>"
    )


def _card(prediction: Prediction, highlight: Highlight, picture: str) -> str:
    image = f'<img src="{picture}" alt="The recording at {clock(highlight.peak_s)}">' if picture else ""
    speech = wrap(speech_in(prediction, highlight), _QUOTE_WIDTH, max_lines=_QUOTE_LINES)
    quote = f"<q>{escape(' '.join(speech))}</q>" if speech else ""
    span = f"{clock(highlight.start_s)} – {clock(highlight.end_s)}"
    return (
        f'<li>{image}<span class="when"><span>{highlight.rank}. {span}</span> <b>{highlight.strength}</b></span>'
        f"<small>{escape(highlight.why)}</small>{quote}</li>"
    )


def _table(prediction: Prediction) -> str:
    rows = "".join(
        f"<tr><td>{clock(segment.segment.start_s)}</td><td>{percent(segment.score)}</td>"
        f"<td>{segment.comments:,}</td><td>{escape(segment.speech)}</td></tr>"
        for segment in prediction.segments
    )
    opened = " open" if len(prediction.segments) <= _OPEN_ROWS else ""
    return (
        f"<details{opened}><summary><h3>Segments</h3></summary><table><thead><tr><th>Time</th>"
        f"<th>{escape(target_name(prediction.target))}</th><th>Comments</th><th>Speech</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )
