"""The components of the page: what a visitor fills in, and what a result fills. `kuaihl.demo.page` connects them."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

import gradio as gr
from gradio.data_classes import FileData

from kuaihl.demo.forms import upload
from kuaihl.paths import assets_folder
from kuaihl.request import MINIMUM, By, Request, help_texts

ASSETS = assets_folder()
EXAMPLE = [str(ASSETS / "example" / name) for name in ("recording.mp4", "comments.json")]
EXAMPLE_LABEL = "A simulated stream and its chat"
DOWNLOADS = (
    "report.html", "prediction.json", "segments.csv", "chapters.txt", "highlights.srt", "highlights.edl",
    "highlights.otio",
)  # fmt: skip
UNKNOWN_STREAMER = ("Unknown streamer", "")
REPLAY_HINT = "<p>Replays the recording as if it were live. Earlier predictions never change.</p>"
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
        self.recording = upload(label="Recording", height=108, elem_id="recording")
        self.path = gr.Textbox(
            "",
            label="Path of the recording",
            placeholder="… or its path on this machine",
            show_label=False,
            container=False,
            visible=local_paths,
            elem_id="path",
        )
        self.comments = upload(label="Comment log (optional)", height=108, elem_id="comments")
        with gr.Row():
            self.start = gr.Button("Run", variant="primary", min_width=100, elem_id="run")
            self.cancel = gr.Button("Cancel", visible=False, min_width=100, elem_id="cancel")
        gr.set_static_paths([Path(EXAMPLE[0]).parent])  # not copied: copies are deleted after an hour
        gr.Examples([EXAMPLE], [self.recording, self.comments], label="Example", example_labels=[EXAMPLE_LABEL])
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            self.target = gr.Dropdown([], label="Predict", visible=False, elem_id="target")
            sources = [(source.capitalize(), source) for source in _DEFAULTS.sources]
            self.sources = gr.CheckboxGroup(sources, value=[*_DEFAULTS.sources], label="Predict from")
            by = [(name.capitalize(), name) for name in get_args(By)]
            self.by = gr.Radio(by, value=_DEFAULTS.by, label="Rank by", info=_HELP["by"])
            self.highlights = _slider("highlights", "Number of highlights", maximum=20, step=1)
            self.budget_s = gr.Number(0, label="Max total length (s)", info=f"{_HELP['budget_s']} 0 for no limit.")
            self.min_gap_s = _slider("min_gap_s", "Minimum gap (s)", maximum=600, step=30)
            self.min_length_s = _slider("min_length_s", "Min length (s)", maximum=300, step=5)
            self.max_length_s = _slider("max_length_s", "Max length (s)", maximum=600, step=5)
            self.padding_s = _slider("padding_s", "Padding (s)", maximum=60, step=5)
            self.streamer = gr.Dropdown(
                [UNKNOWN_STREAMER], value="", label="Streamer", info=_HELP["streamer"], elem_id="streamer"
            )
        with gr.Accordion("Comments", open=False, elem_id="comment-settings"):
            self.comment_offset_s = gr.Number(
                _DEFAULTS.comment_offset_s, label="Comment offset (s)", info=_HELP["comment_offset_s"]
            )
            self.check_timing = gr.Button("Check against the sound", size="sm", elem_id="check-timing")
            self.timing_figure = gr.Plot(show_label=False, visible=False, elem_id="timing-figure")
            self.timing_text = gr.HTML(elem_id="timing-text")
            self.apply_offset = gr.Button(visible=False, size="sm", elem_id="apply-offset")
            self.counted = gr.CheckboxGroup(_KINDS, value=[*_DEFAULTS.counted], label="Count as comments")
            self.stream_start = gr.Textbox(
                "",
                label="Stream start",
                info=_HELP["stream_start"],
                placeholder="2024-05-01T20:00:00+02:00",
                elem_id="stream-start",
            )
        with gr.Accordion("Transcript and model", open=False, elem_id="more"):
            self.transcript = upload(label="Transcript (replaces speech recognition)", height=108, elem_id="transcript")
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
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Request)}


class Results:
    """What a result fills: status, player, highlights, tabs and downloads."""

    def __init__(self) -> None:
        self.status = gr.HTML((ASSETS / "empty.html").read_text("utf-8"), elem_id="status")
        with gr.Column(visible=False) as self.body:
            with gr.Row(elem_id="result"):
                with gr.Column(scale=2, min_width=300):
                    self.player = gr.Video(
                        show_label=False, interactive=False, height=212, buttons=[], elem_id="player"
                    )
                    self.player.postprocess = _postprocess_video
                    self.still = gr.HTML(visible=False, elem_id="still")
                    script = (ASSETS / "highlights.js").read_text("utf-8")
                    self.highlights = gr.HTML(js_on_load=script, elem_id="highlights")
                with gr.Column(scale=3, min_width=300), gr.Tabs(elem_id="tabs") as self.tabs:
                    with gr.Tab("Curve"):
                        self.curve = gr.Plot(show_label=False, elem_id="curve")
                    with gr.Tab("Why"):
                        self.segment = gr.Dropdown(
                            [], label="Prediction to explain", container=False, elem_id="segment"
                        )
                        self.explanation = gr.HTML(elem_id="explanation")
                    with gr.Tab("Live"):
                        with gr.Row(elem_id="replay-controls"):
                            self.replay = gr.Button("Replay", size="sm", min_width=64, scale=1, elem_id="replay")
                            self.stop = gr.Button("Stop", size="sm", min_width=64, scale=1, elem_id="stop")
                            self.pause_s = gr.Slider(
                                0, 2, 0.3, step=0.1, label="Seconds per segment", min_width=240, scale=4
                            )
                        self.live_curve = gr.Plot(show_label=False, elem_id="live-curve")
                        self.live_text = gr.HTML(REPLAY_HINT, elem_id="live-text")
                    with gr.Tab("Alignment"):
                        self.alignment = gr.Plot(show_label=False, elem_id="alignment")
                    with gr.Tab("Segments"):
                        widths: list[str | int] = ["16%", "15%", "21%", "48%"]
                        self.table = gr.Dataframe(wrap=True, column_widths=widths, max_height=400, elem_id="table")
            with gr.Row(elem_id="downloads"):
                self.downloads = {name: gr.DownloadButton(name, size="sm", min_width=96) for name in DOWNLOADS}
                self.cut = gr.Button("Cut clips", size="sm", min_width=96, elem_id="cut")
                self.clips = gr.DownloadButton("clips.zip", size="sm", min_width=96, visible=False, elem_id="clips")


def _slider(name: str, label: str, *, maximum: float, step: float) -> gr.Slider:
    return gr.Slider(MINIMUM[name], maximum, getattr(_DEFAULTS, name), step=step, label=label, info=_HELP[name])


def _postprocess_video(value: str | Path | None) -> FileData | None:
    """Pass a file as it is. gr.Video would transcode what it takes for unplayable; `playable` has decided already."""
    return FileData(path=str(value), orig_name=Path(value).name) if value else None
