"""What the page is made of: what a visitor fills in, and what a result fills. What happens on a click is app.py's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from kuaihl.comments.selection import COUNTED

DOWNLOADS = (
    "report.html", "prediction.json", "segments.csv", "chapters.txt", "highlights.srt", "highlights.edl",
    "highlights.otio",
)  # fmt: skip
EXAMPLE_LABEL = "A simulated stream and its chat"
COMMENTS, STREAM_START = "Comments", "Stream start"
"""Labels of what is set for a log, and of the field in it that errors name."""
SOMEBODY_NEW = ("Somebody new", "")
NOTHING_YET = "<p>The recording as it would have arrived. What was predicted never changes afterwards.</p>"
SOURCES = ("pictures", "speech", "comments")
KINDS = [("Messages", "message"), ("Commands (!…)", "command"), ("Paid", "paid"), ("Gifts", "gift"), ("Bots", "bot"),
         ("Notices", "notice")]  # fmt: skip


def inputs(
    example: list[str], *, models: list[tuple[str, str]], fitting: Callable[[], None], own_machine: bool
) -> tuple[Any, ...]:
    """Lay out the column at the left: files, settings, a path on one's own machine, Run and Cancel.

    ``fitting`` lays out what fits a log to its recording.
    """
    recording = gr.File(label="Recording", height=108, elem_id="recording")
    hint = {"placeholder": "… or its path on this machine", "show_label": False, "container": False}
    paths = [gr.Textbox("", label="Path of the recording", elem_id="path", **hint)] if own_machine else []
    comments = gr.File(label="Comment log (optional)", height=108, elem_id="comments")
    with gr.Row():
        start = gr.Button("Run", variant="primary", min_width=100, elem_id="run")
        cancel = gr.Button("Cancel", visible=False, min_width=100, elem_id="cancel")
    gr.set_static_paths([Path(example[0]).parent])  # served from there: copies would be removed after an hour
    gr.Examples([example], [recording, comments], label="Example", example_labels=[EXAMPLE_LABEL])
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        target = gr.Dropdown([], label="What to predict", visible=False, elem_id="target")
        labels = [(name.capitalize(), name) for name in SOURCES]
        sources = gr.CheckboxGroup(labels, value=list(SOURCES), label="Predict from")
        highlights = gr.Slider(1, 20, 5, step=1, label="Highlights at most")
        gap = gr.Slider(0, 600, 60, step=30, label="Seconds between them at least")
        length = gr.Slider(30, 600, 300, step=30, label="Seconds long at most")
        padding = gr.Slider(0, 60, 0, step=5, label="Seconds added at both ends")
        streamer = gr.Dropdown([SOMEBODY_NEW], value="", label="Streamer", info="Those that the model knows",
                               elem_id="streamer")  # fmt: skip
    with gr.Accordion(COMMENTS, open=False, elem_id="comment-settings"):
        offset = gr.Number(0, label="Comment offset", info="Seconds added to the time of every comment")
        fitting()
        counted = gr.CheckboxGroup(KINDS, value=list(COUNTED), label="What counts as a comment")
        stream_start = gr.Textbox("", label=STREAM_START, info="For logs by the wall clock, with the time zone",
                                  placeholder="2024-05-01T20:00:00+02:00", elem_id="stream-start")  # fmt: skip
    with gr.Accordion("Transcript and model", open=False, elem_id="more"):
        transcript = gr.File(label="Subtitles, instead of listening", height=108, elem_id="transcript")
        hint = "A folder or a Hub id (owner/name) can be typed" if own_machine else None
        model = gr.Dropdown(models, value=models[0][1], label="Model", info=hint, allow_custom_value=own_machine)
    files = [recording, comments, transcript, stream_start]
    settings = [streamer, sources, highlights, gap, padding, length, offset, counted, model, target]
    return files, settings, paths, start, cancel


def results(assets: Path) -> tuple[Any, ...]:
    """Lay out what a result fills, the tabs, the rows of highlights, the files, and what plays it live."""
    with gr.Row(elem_id="result"):
        with gr.Column(scale=2, min_width=300):
            player = gr.Video(show_label=False, interactive=False, height=212, buttons=[], elem_id="player")
            still = gr.HTML(visible=False, elem_id="still")
            rows = gr.HTML(js_on_load=(assets / "highlights.js").read_text("utf-8"), elem_id="highlights")
        with gr.Column(scale=3, min_width=300), gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Curve"):
                curve = gr.Plot(show_label=False, elem_id="curve")
            with gr.Tab("Why"):
                which = gr.Dropdown([], label="Prediction to explain", container=False, elem_id="which")
                why = gr.HTML(elem_id="why")
            with gr.Tab("Live"):
                with gr.Row(elem_id="playing"):
                    play = gr.Button("Play", size="sm", min_width=64, scale=1, elem_id="play")
                    stop = gr.Button("Stop", size="sm", min_width=64, scale=1, elem_id="stop")
                    pause_s = gr.Slider(0, 2, 0.3, step=0.1, label="Seconds a segment", min_width=240, scale=4)
                live = gr.Plot(show_label=False, elem_id="live-curve")
                arrived = gr.HTML(NOTHING_YET, elem_id="arrived")
            with gr.Tab("Alignment"):
                alignment = gr.Plot(show_label=False, elem_id="alignment")
            with gr.Tab("Segments"):
                widths = ["16%", "15%", "21%", "48%"]
                table = gr.Dataframe(wrap=True, column_widths=widths, max_height=400, elem_id="table")
    # gr.Video would transcode, whole, what it takes for unplayable; playable() has decided that already.
    player.postprocess = lambda value: value and FileData(path=value, orig_name=Path(value).name)
    with gr.Row(elem_id="downloads"):
        files = [gr.DownloadButton(name, size="sm", min_width=96) for name in DOWNLOADS]
        cut = gr.Button("Cut clips", size="sm", min_width=96, elem_id="cut")
        clips = gr.DownloadButton("clips.zip", size="sm", min_width=96, visible=False, elem_id="clips")
    shown = [player, still, which, why, alignment, rows, curve, table, live, arrived]
    return shown, tabs, rows, files, (cut, clips), (pause_s, play, stop)
