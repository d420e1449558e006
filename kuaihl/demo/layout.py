"""The components of the page: what a visitor fills in, and what a result fills. `kuaihl.demo.page` connects them."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import quote

import gradio as gr

from kuaihl.demo.forms import upload
from kuaihl.paths import assets_folder
from kuaihl.request import MINIMUM, By, Request, help_texts

ASSETS = assets_folder()
EXAMPLE = [ASSETS / "example" / name for name in ("recording.mp4", "comments.json")]
DOWNLOADS = (
    "report.html", "prediction.json", "segments.csv", "chapters.txt", "highlights.srt", "highlights.edl",
    "highlights.otio",
)  # fmt: skip
UNKNOWN_STREAMER = ("Unknown streamer", "")
OFFERED = 10
"""Moments that a result offers to keep. Players keep the first five."""
_ON_PLAYER = {"budget_s", "padding_s"}
"""Fields of a request that the player's slider and handles replace."""
_KINDS = [
    ("Messages", "message"), ("Commands (!…)", "command"), ("Paid", "paid"), ("Gifts", "gift"), ("Bots", "bot"),
    ("Notices", "notice"),
]  # fmt: skip
_DEFAULTS, _HELP = Request(), help_texts(Request)


class Hidden(TypedDict):
    """Options of private events that show no progress."""

    show_progress: Literal["hidden"]
    api_visibility: Literal["private"]


class Quiet(Hidden):
    """Options of such events that are handled at once, without the queue."""

    queue: bool


HIDDEN: Hidden = {"show_progress": "hidden", "api_visibility": "private"}
QUIET: Quiet = {"queue": False, **HIDDEN}


class Form:
    """What a visitor fills in. Components with the name of a field of `Request` hold its value."""

    def __init__(self, checkpoints: list[str], *, local_paths: bool) -> None:
        with gr.Column(elem_id="inputs"), gr.Row():
            self.recording = upload(label="Recording", height=108, elem_id="recording")
            self.comments = upload(label="Chat log (optional)", height=108, elem_id="comments")
            with gr.Column(min_width=240):
                self.path = gr.Textbox(
                    "",
                    label="Path of the recording",
                    placeholder="… or its path on this machine",
                    show_label=False,
                    container=False,
                    visible=local_paths,
                    elem_id="path",
                )
                self.start = gr.Button("Run", variant="primary", elem_id="run")
                gr.HTML('<p id="starting" aria-live="polite"></p>')
        gr.set_static_paths([EXAMPLE[0].parent])  # not copied: copies are deleted after an hour
        with gr.Column(elem_id="settings"), gr.Row():
            with gr.Column(min_width=280):
                self.target = gr.Dropdown([], label="Forecast", visible=False, elem_id="target")
                sources = [(source.capitalize(), source) for source in _DEFAULTS.sources]
                self.sources = gr.CheckboxGroup(sources, value=[*_DEFAULTS.sources], label="Predict from")
                by = [(name.capitalize(), name) for name in get_args(By)]
                self.by = gr.Radio(by, value=_DEFAULTS.by, label="Rank by", info=_HELP["by"])
                self.streamer = gr.Dropdown(
                    [UNKNOWN_STREAMER],
                    value="",
                    label="Streamer",
                    info=_HELP["streamer"],
                    visible=False,
                    elem_id="streamer",
                )
            with gr.Column(min_width=280):
                self.highlights = _slider("highlights", "Number of moments", value=OFFERED, maximum=20, step=1)
                self.min_gap_s = _slider("min_gap_s", "Minimum gap (s)", maximum=600, step=30)
                self.min_length_s = _slider("min_length_s", "Min length (s)", maximum=300, step=5)
                self.max_length_s = _slider("max_length_s", "Max length (s)", maximum=600, step=5)
            with gr.Column(min_width=280):
                self.comment_offset_s = gr.Number(
                    _DEFAULTS.comment_offset_s, label="Chat offset (s)", info=_HELP["comment_offset_s"]
                )
                self.check_timing = gr.Button("Check against the sound", size="sm", elem_id="check-timing")
                self.timing_figure = gr.Plot(show_label=False, visible=False, elem_id="timing-figure")
                self.timing_text = gr.HTML(elem_id="timing-text")
                self.apply_offset = gr.Button(visible=False, size="sm", elem_id="apply-offset")
                self.counted = gr.CheckboxGroup(_KINDS, value=[*_DEFAULTS.counted], label="Count as chat")
            with gr.Column(min_width=280):
                self.stream_start = gr.Textbox(
                    "",
                    label="Stream start",
                    info=_HELP["stream_start"],
                    placeholder="2024-05-01T20:00:00+02:00",
                    elem_id="stream-start",
                )
                self.transcript = upload(
                    label="Transcript (replaces speech recognition)", height=108, elem_id="transcript"
                )
                self.checkpoint = gr.Dropdown(
                    [("KuaiHL's own", ""), *((name, name) for name in checkpoints)],
                    value="",
                    label="Model",
                    info=_HELP["checkpoint"] if local_paths else None,
                    allow_custom_value=local_paths,
                    elem_id="checkpoint",
                )

    @property
    def request(self) -> dict[str, Any]:
        """The components of a request, by field name."""
        names = (field.name for field in dataclasses.fields(Request))
        return {name: getattr(self, name) for name in names if name not in _ON_PLAYER}


class Results:
    """What a result fills: the progress strip and the player. ``view`` holds the address of the player's JSON."""

    def __init__(self) -> None:
        with gr.Row(elem_id="progress"):
            self.status = gr.HTML(elem_id="status")
            self.cancel = gr.Button("Cancel", visible=False, scale=0, min_width=100, elem_id="cancel")
        scripts = [(ASSETS / name).read_text("utf-8") for name in ("player.js", "page.js")]
        self.view = gr.HTML(
            None,
            html_template='<div class="view"></div>',
            js_on_load="\n".join(scripts),
            apply_default_css=False,
            elem_id="view",
        )
        self.download = gr.File(elem_id="download")


def file_url(path: Path) -> str:
    """Return the address of a file that the server may hand out, relative to the page."""
    return f"gradio_api/file={quote(str(path))}"


def _slider(name: str, label: str, *, maximum: float, step: float, value: float | None = None) -> gr.Slider:
    value = getattr(_DEFAULTS, name) if value is None else value
    return gr.Slider(MINIMUM[name], maximum, value, step=step, label=label, info=_HELP[name])
