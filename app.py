"""The page: a recording and its comment log in; the curve, the highlights and the alignment out."""

import asyncio
import base64
import io
import json
import logging
import os
import shutil
import tempfile
import time
from concurrent.futures import Future
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.data_classes import FileData

from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.export import Recording
    from kuaihl.predictor import Prediction, Predictor

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"
EXAMPLE = [str(ASSETS / "example" / name) for name in ("recording.mp4", "comments.json")]
EXAMPLE_LABEL = "A simulated stream and its chat"
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}
KEEP_S = 3600  # then a visitor's files are removed
STAGES = {
    "opening": "Opening the recording",
    "listening": "Listening to the speech",
    "looking": "Looking at the pictures",
    "reading": "Reading the comments",
    "predicting": "Predicting",
}
DOWNLOADS = ("prediction.json", "segments.csv", "curve.html", "alignment.html")
HEADER = """<h1>KuaiHL</h1><p>Finds the moments of a live stream that hold its viewers: from the past ten minutes of
pictures, speech and comments it predicts how many stay for the next 30 seconds.</p>"""
EMPTY = """<div class="empty"><svg viewBox="0 0 320 80" aria-hidden="true"><path d="M0 62C22 60 30 44 52 46S84 66 104 62
134 14 158 14 190 56 212 54 244 26 264 28 296 50 320 44"/></svg><h2>Your result will stand here</h2><p>Choose a
recording and, if you have it, its comment log, or click the example. Then press Run.</p></div>"""
TOO_OLD = "<p>This result was removed, an hour after its run. Press Run again.</p>"
ASK_IF_DARK = "(run, dark) => [run, document.body.classList.contains('dark')]"
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Stopped(BaseException):
    """The visitor pressed Cancel; no error, so that nothing on the way takes it for one."""


@dataclass(frozen=True)
class Run:
    """One visitor's result, kept in that visitor's session. ``stills`` are data URIs, one for each highlight.

    ``true`` holds what each segment's LVTR truly was, which is known of the example.
    """

    folder: Path
    prediction: "Prediction"
    player: Path | None
    stills: tuple[str, ...]
    true: tuple[float, ...] | None


def from_this_machine(request: gr.Request) -> bool:
    """Whether a request was made on this machine, to this machine, and through no proxy."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    forwarded = any(name in request.headers for name in ("x-forwarded-for", "x-forwarded-host", "forwarded"))
    return request.client is not None and {request.client.host, host} <= LOOPBACK and not forwarded


def picture_of(opened: "Recording", time_s: float) -> str:
    """Take a picture of a recording as a data URI; empty where it has none."""
    from PIL import Image

    from kuaihl.export import thumbnail

    if not opened.has_pictures:
        return ""
    jpeg = io.BytesIO()
    Image.fromarray(thumbnail(opened, time_s, width=480)).save(jpeg, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def truth_of(recording: Path) -> tuple[float, ...] | None:
    """Read what the LVTR of each segment truly was, if the recording is the example."""
    if not recording.samefile(EXAMPLE[0]):
        return None
    truth = json.loads((ASSETS / "example" / "truth.json").read_text(encoding="utf-8"))
    return tuple(segment["lvtr"] for segment in truth["segments"])


def show(run: Run, dark: bool) -> list[Any]:  # noqa: FBT001 - a checkbox's value
    """Fill the page with a result, its best highlight chosen."""
    from kuaihl import page, plots

    table = [
        [plots.clock(s.segment.start_s), "–" if s.lvtr is None else f"{s.lvtr:.1%}", s.comments, s.speech]
        for s in run.prediction.segments
    ]
    player, still, alignment = choose(run, dark, gr.EventData(None, {"rank": 1}))
    return [
        page.summary(run.prediction),
        gr.update(visible=True),
        player | {"value": run.player and str(run.player), "visible": run.player is not None},
        still | {"visible": run.player is None},
        alignment,
        page.highlights(run.prediction, run.stills),
        plots.curve(run.prediction, dark=dark, true=run.true),
        gr.update(value=table, headers=["Time", plots.target_name(run.prediction.target), "Comments", "Speech"]),
    ]


def choose(run: Run | None, dark: bool, event: gr.EventData) -> list[dict[str, Any]]:  # noqa: FBT001 - a checkbox's value
    """Turn the player, or the still in its place, and the alignment to the highlight that was clicked."""
    from kuaihl import page, plots

    if run is None:
        return [gr.update(visible=False), gr.update(value=TOO_OLD, visible=True), gr.update()]
    chosen = next((h for h in run.prediction.highlights if h.rank == event.rank), None)
    peak_s = chosen.peak_s if chosen else 0.0
    still = run.stills[chosen.rank - 1] if chosen else ""
    around = next((s.segment.index for s in run.prediction.segments if s.segment.end_s > peak_s), 0)
    figure = plots.alignment(run.prediction, around=around, dark=dark) if run.prediction.alignment else None
    return [
        gr.update(playback_position=chosen.start_s if chosen else 0.0),
        gr.update(value=page.stand_in(run.prediction.recording, still, rank=chosen.rank if chosen else 1)),
        gr.update(value=figure, visible=figure is not None),
    ]


class Demo:
    """What the visitors share: the model, and whether they may name files on the machine that serves the page."""

    def __init__(self, model: "Future[Predictor]", *, own_machine: bool) -> None:
        self.model, self.own_machine = model, own_machine
        self.cache = Path(gr.HTML(render=False).GRADIO_CACHE)
        for folder in self.cache.glob("run-*"):  # what a server before this one could not remove
            if time.time() - folder.stat().st_mtime > KEEP_S:
                shutil.rmtree(folder, ignore_errors=True)
        self.infer = self._infer
        if "SPACES_ZERO_GPU" in os.environ:
            import spaces  # Hugging Face's, which has to come before torch

            self.infer = spaces.GPU(duration=120)(self._infer)

    def about(self) -> str:
        """Say which checkpoint predicts here, what it learned, and from what."""
        try:
            predictor = self.model.result()
        except KuaiHLError as error:
            return f'<p class="model wrong">{escape(str(error))}</p>'
        config, name = predictor.config, escape(predictor.checkpoint.name)
        what = "LVTR, the share of viewers who stay long" if config.target == "lvtr" else escape(config.target)
        return f'<p class="model">Model <b>{name}</b> predicts {what}. Trained on {escape(config.trained_on)}.</p>'

    def _infer(self, stop: Path, progress: gr.Progress, recording: Path, options: dict[str, Any]) -> "Prediction":
        def report(stage: str, fraction: float) -> None:
            if stop.exists():  # a file, since on ZeroGPU this runs in another process
                raise Stopped
            progress(fraction, desc=f"{STAGES[stage]} ({list(STAGES).index(stage) + 1} of {len(STAGES)})")

        return self.model.result().predict(recording, progress=report, **options)

    def work(self, folder: Path, progress: gr.Progress, recording: Path, options: dict[str, Any]) -> Run:
        """Predict, and lay what the page shows into ``folder``."""
        from kuaihl.export import open_recording, playable, write_prediction

        try:
            prediction = self.infer(folder / "stop", progress, recording, options)
            write_prediction(prediction, folder)
            opened = open_recording(recording)
            stills = tuple(picture_of(opened, highlight.peak_s) for highlight in prediction.highlights)
            return Run(folder, prediction, playable(opened, folder), stills, truth_of(recording))
        except KuaiHLError as error:
            text = str(error)
            for file in filter(None, (recording, options["comments"], options["transcript"])):
                text = text.replace(str(file), Path(file).name)  # where it lies here is nobody's business
            raise gr.Error(escape(text, quote=False), duration=None, print_exception=False) from error
        except Exception as error:
            logger.exception("a run failed")
            raise gr.Error("A fault of ours, which the server's log describes.", print_exception=False) from error

    async def predict(
        self,
        request: gr.Request,
        recording: str | None,
        comments: str | None = None,
        transcript: str | None = None,
        streamer: str = "",
        comment_offset_s: float = 0.0,
        path: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio is told to track progress
    ) -> list[Any]:
        """Predict the curve and the highlights of a recording; returns the four files of the result."""
        if path and not (self.own_machine and from_this_machine(request)):
            raise gr.Error("Only an app on your own machine takes a path. Upload the recording instead.")
        if not (path or recording):
            raise gr.Error("Choose a recording first, or click the example.", print_exception=False)
        source = Path(path.strip(" \"'")).expanduser().resolve() if path else Path(recording)
        if self.cache in source.parents:
            os.utime(source)  # it may have waited long in the queue: its hour begins now
        progress(0, desc="Waiting for the model")
        self.cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.cache))
        options = {"comments": comments, "transcript": transcript, "streamer": streamer or None}
        options["comment_offset_s"] = comment_offset_s or 0.0
        job = asyncio.create_task(asyncio.to_thread(self.work, folder, progress, source, options))
        try:
            run = await asyncio.shield(job)
        except BaseException:  # of the work, or that of a visitor who cancels: then it stops before the next one's turn
            (folder / "stop").touch()
            await asyncio.gather(job, return_exceptions=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if path and run.player == source:
            gr.set_static_paths([source])  # played from where it is: hours of video are not copied
        return [run, *(str(folder / name) for name in DOWNLOADS)]

    def build(self) -> gr.Blocks:
        """Lay out the page and connect its parts."""
        with gr.Blocks(title="KuaiHL", analytics_enabled=False, fill_width=True, delete_cache=(600, KEEP_S)) as page:
            result = gr.State(
                time_to_live=KEEP_S, delete_callback=lambda run: run and shutil.rmtree(run.folder, ignore_errors=True)
            )
            dark = gr.Checkbox(visible=False)
            with gr.Row(elem_id="head"):
                gr.HTML(HEADER)
                about = gr.HTML('<p class="model">Loading the model …</p>')
            with gr.Row():
                with gr.Column(scale=1, min_width=300, elem_id="inputs"):
                    inputs, start, cancel = self._inputs()
                with gr.Column(scale=3, min_width=320):
                    status = gr.HTML(EMPTY, elem_id="status")
                    with gr.Column(visible=False) as body:
                        shown, rows, files = result_parts()
            idle = [gr.update(interactive=True), gr.update(visible=False)]
            start.click(lambda: [gr.update(interactive=False), gr.update(visible=True)], None, [start, cancel], **QUIET)
            done = start.click(self.predict, inputs, [result, *files], api_name="predict", show_progress_on=[status])
            done.success(show, [result, dark], [status, body, *shown], js=ASK_IF_DARK, **QUIET)
            done.then(lambda: idle, None, [start, cancel], **QUIET)
            done.failure(lambda: idle, None, [start, cancel], **QUIET)  # then() is not called after an error
            cancel.click(lambda: idle, None, [start, cancel], cancels=[done], **QUIET)
            rows.seek(choose, [result, dark], shown[:3], js=ASK_IF_DARK, **QUIET)
            page.load(self.about, None, [about], **QUIET)
        return page.queue(max_size=16, default_concurrency_limit=1)

    def _inputs(self) -> tuple[list[gr.components.Component], gr.Button, gr.Button]:
        recording = gr.File(label="Recording", height=108, elem_id="recording")
        hint = {"placeholder": "… or its path on this machine", "show_label": False, "container": False}
        paths = [gr.Textbox("", label="Path of the recording", elem_id="path", **hint)] if self.own_machine else []
        comments = gr.File(label="Comment log (optional)", height=108, elem_id="comments")
        with gr.Accordion("More", open=False):
            transcript = gr.File(label="Transcript, instead of listening", height=108, elem_id="transcript")
            streamer = gr.Textbox("", label="Streamer", placeholder="unknown")
            offset = gr.Number(0, label="Comment offset", info="Seconds added to the time of every comment")
        with gr.Row():
            start = gr.Button("Run", variant="primary", min_width=100, elem_id="run")
            cancel = gr.Button("Cancel", visible=False, min_width=100, elem_id="cancel")
        gr.set_static_paths([ASSETS / "example"])  # served from there: copies would be removed after an hour
        gr.Examples([EXAMPLE], [recording, comments], label="Example", example_labels=[EXAMPLE_LABEL])
        return [recording, comments, transcript, streamer, offset, *paths], start, cancel


def result_parts() -> tuple[list[gr.components.Component], gr.HTML, list[gr.DownloadButton]]:
    """Lay out what a result fills: player, still, alignment, highlights, curve and table; and its downloads."""
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            player = gr.Video(show_label=False, interactive=False, height=336, buttons=[], elem_id="player")
            still = gr.HTML(visible=False, elem_id="still")
        with gr.Column(scale=2, min_width=280):
            rows = gr.HTML(js_on_load=(ASSETS / "highlights.js").read_text("utf-8"), elem_id="highlights")
    # gr.Video would transcode, whole, what it takes for unplayable; playable() has decided that already.
    player.postprocess = lambda value: value and FileData(path=value, orig_name=Path(value).name)
    curve = gr.Plot(show_label=False, elem_id="curve")
    with gr.Row(elem_id="downloads"):
        files = [gr.DownloadButton(name, size="sm", min_width=120) for name in DOWNLOADS]
    with gr.Row():
        alignment = gr.Plot(show_label=False, scale=2, min_width=300, elem_id="alignment")
        widths = ["19%", "17%", "24%", "40%"]
        table = gr.Dataframe(wrap=True, column_widths=widths, scale=3, min_width=300, elem_id="table")
    return [player, still, alignment, rows, curve, table], rows, files


def main() -> None:
    """Serve the page, then load the model. The fonts are the reader's own: the page asks no other host for anything."""
    logging.basicConfig(level=logging.INFO)
    on_space = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1")  # noqa: S104 - a container
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    theme = gr.themes.Base(primary_hue="teal", secondary_hue="teal", neutral_hue="slate", **fonts)
    look = {"theme": theme, "css_paths": ASSETS / "app.css", "footer_links": ["api", "settings"]}
    model = Future()
    page = Demo(model, own_machine=not on_space and host in LOOPBACK).build()
    page.launch(server_name=host, share=False, run_history=False, prevent_thread_lock=True, **look)
    try:  # only now, since the model takes longer to load than the page
        from kuaihl.predictor import Predictor

        model.set_result(Predictor.from_pretrained())
    except KuaiHLError as error:
        model.set_exception(error)  # the page says it
    page.block_thread()


if __name__ == "__main__":
    main()
