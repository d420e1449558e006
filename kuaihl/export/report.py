"""The report: a prediction as one HTML page that opens offline, drawn by the same code as the demo page."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from kuaihl.export.view import to_script, view_of
from kuaihl.features.embeddings import Embeddings
from kuaihl.media.recording import Recording, thumbnail
from kuaihl.paths import assets_folder
from kuaihl.plots.style import target_name
from kuaihl.records import Prediction

_STILL_WIDTH = 480
_STYLE = """
body { margin: 0 auto; max-width: 1440px; padding: 16px; background: #fff; color: #1f2937;
  font: 14px/1.4 system-ui, sans-serif; }
h1 { margin: 0 0 12px; font-size: 1.3rem; overflow-wrap: anywhere; }
footer { margin-top: 16px; font-size: 13px; overflow-wrap: anywhere; }
@media screen { body.dark { background: #111827; color: #e5e7eb; } }
"""
_SCRIPT = """
const scheme = matchMedia('(prefers-color-scheme: dark)');
const setTheme = () => document.body.classList.toggle('dark', scheme.matches);
scheme.addEventListener('change', setTheme);
setTheme();
mountKuaiHL(document.querySelector('main'))(JSON.parse(document.querySelector('#prediction').textContent));
"""


def still(recording: Recording, time_s: float) -> str:
    """Return a picture of a recording as a data URI (JPEG, 480 pixels wide), "" if it has no pictures."""
    if not recording.has_video:
        return ""
    jpeg = io.BytesIO()
    Image.fromarray(thumbnail(recording, time_s, width=_STILL_WIDTH)).save(jpeg, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def report_page(prediction: Prediction, *, stills: Sequence[str] = (), embeddings: Embeddings | None = None) -> str:
    """Return the report. It follows the reader's choice of light or dark colours, and is light on paper.

    Parameters
    ----------
    stills
        Pictures of the highlights as data URIs, as from `still`; may be "".
    embeddings
        What the prediction was made from, for the chat, and for the words of each highlight.
    """
    view = view_of(prediction, stills=stills, embeddings=embeddings)
    if embeddings and embeddings.comments is not None and prediction.modalities.comments:
        view["chat"] = [(round(c.time_s, 2), c.user, c.text) for written in embeddings.comments for c in written]
    style, script = ((assets_folder() / name).read_text("utf-8") for name in ("player.css", "player.js"))
    checkpoint = prediction.checkpoint
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(f"{prediction.recording.name}: highlights")}</title>
<style>{style}{_STYLE}</style>
</head>
<body>
<h1>{escape(prediction.recording.name)}</h1>
<noscript><p>The report needs JavaScript.</p></noscript>
<main></main>
<footer>Predicts {escape(target_name(prediction.target))}, learned from: {escape(prediction.trained_on)}. Checkpoint
{escape(checkpoint.name)} (SHA-256 {escape(checkpoint.sha256)}); encoders: {escape(checkpoint.visual_encoder)}
(pictures), {escape(checkpoint.text_encoder)} (text), Whisper {escape(checkpoint.speech_model)} (speech).</footer>
<script id="prediction" type="application/json">{to_script(view)}</script>
<script>{script}{_SCRIPT}</script>
</body>
</html>
"""
