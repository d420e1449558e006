"""The page: a recording and its comment log in; the curve, the highlights and the alignment out."""

import asyncio
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl import layout
from kuaihl.errors import KuaiHLError
from kuaihl.layout import DOWNLOADS, SOURCES

if TYPE_CHECKING:
    from kuaihl.predictor import Predictor
    from kuaihl.runs import Encoded, Inputs, Run, Settings

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"
EXAMPLE = [str(ASSETS / "example" / name) for name in ("recording.mp4", "comments.json")]
LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}
KEEP_S = 3600  # then a visitor's files are removed
STAGES = {
    "opening": "Opening the recording",
    "listening": "Listening to the speech",
    "looking": "Looking at the pictures",
    "reading": "Reading the comments",
    "predicting": "Predicting",
}
TOO_OLD = "<p>This result was removed, an hour after its run. Press Run again.</p>"
ASK_IF_DARK = "(...given) => [...given.slice(0, -1), document.body.classList.contains('dark')]"
SHOWN = 10  # parts of the page that a result fills
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Stopped(BaseException):
    """The visitor pressed Cancel; no error, so that nothing on the way takes it for one."""


def from_this_machine(request: gr.Request) -> bool:
    """Whether a request was made on this machine, to this machine, and through no proxy."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    forwarded = any(name in request.headers for name in ("x-forwarded-for", "x-forwarded-host", "forwarded"))
    return request.client is not None and {request.client.host, host} <= LOOPBACK and not forwarded


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

    def about(self) -> list[Any]:
        """Say which checkpoint predicts here, what it learned, and from what; and offer the streamers it knows."""
        try:
            predictor = self.model.result()
        except KuaiHLError as error:
            return [f'<p class="model wrong">{escape(str(error))}</p>', gr.skip()]
        config, name, target = predictor.config, escape(predictor.checkpoint.name), predictor.config.targets[0]
        what = "LVTR, the share of viewers who stay long" if target.name == "lvtr" else escape(target.name)
        told = f'<p class="model">Model <b>{name}</b> predicts {what}. Trained on {escape(target.trained_on)}.</p>'
        return [told, gr.update(choices=["", *config.streamers])]

    def _infer(self, stop: Path, progress: gr.Progress, inputs: "Inputs", before: "Run | None") -> "Encoded":
        from kuaihl import runs

        def report(stage: str, fraction: float) -> None:
            if stop.exists():  # a file, since on ZeroGPU this runs in another process
                raise Stopped
            progress(fraction, desc=f"{STAGES[stage]} ({list(STAGES).index(stage) + 1} of {len(STAGES)})")

        return runs.encode(self.model.result(), inputs, before=before, progress=report)

    def work(
        self, folder: Path, progress: gr.Progress, inputs: "Inputs", settings: "Settings", before: "Run | None"
    ) -> "Run":
        """Encode, predict, and lay what the page shows into ``folder``."""
        from kuaihl import runs

        try:
            encoded = self.infer(folder / "stop", progress, inputs, before)
            return runs.begin(self.model.result(), inputs, encoded, settings, folder)
        except KuaiHLError as error:
            text = str(error)
            for file in filter(None, (inputs.recording, inputs.comments, inputs.transcript)):
                text = text.replace(str(file), file.name)  # where it lies here is nobody's business
            raise gr.Error(escape(text, quote=False), duration=None, print_exception=False) from error
        except Exception as error:
            logger.exception("a run failed")
            raise gr.Error("A fault of ours, which the server's log describes.", print_exception=False) from error

    async def predict(
        self,
        request: gr.Request,
        before: Any,  # a Run or None; gradio has to resolve every annotation here
        recording: str | None,
        comments: str | None = None,
        transcript: str | None = None,
        comment_offset_s: float = 0.0,
        streamer: str = "",
        sources: list[str] = list(SOURCES),  # noqa: B006 - gradio reads it, and nobody writes to it
        highlights: int = 5,
        min_gap_s: float = 60.0,
        padding_s: float = 0.0,
        path: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio is told to track progress
    ) -> list[Any]:
        """Predict the curve and the highlights of a recording; returns the files of the result."""
        from kuaihl.runs import Inputs

        if path and not (self.own_machine and from_this_machine(request)):
            raise gr.Error("Only an app on your own machine takes a path. Upload the recording instead.")
        if not (path or recording):
            raise gr.Error("Choose a recording first, or click the example.", print_exception=False)
        settings = settings_of(streamer, sources, highlights, min_gap_s, padding_s)
        source = Path(path.strip(" \"'")).expanduser().resolve() if path else Path(recording)
        if self.cache in source.parents:
            os.utime(source)  # it may have waited long in the queue: its hour begins now
        progress(0, desc="Waiting for the model")
        self.cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.cache))
        others = [Path(file) if file else None for file in (comments, transcript)]
        inputs = Inputs(source, *others, comment_offset_s=comment_offset_s or 0.0)
        job = asyncio.create_task(asyncio.to_thread(self.work, folder, progress, inputs, settings, before))
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

    def change(self, run: "Run | None", *chosen: Any) -> "Run | None":
        """Predict a visitor's recording again with other settings; nothing is encoded."""
        from kuaihl import runs

        settings = settings_of(*chosen)
        if run is None or run.settings == settings:
            return run
        try:
            return runs.again(self.model.result(), run, settings)
        except (KuaiHLError, OSError) as error:  # the visitor's files go after an hour
            raise gr.Error("The recording is no longer here. Upload it again.", print_exception=False) from error

    def show(self, run: "Run | None", dark: bool) -> list[Any]:  # noqa: FBT001 - a checkbox's value
        """Fill the page with a result, its best highlight chosen."""
        from kuaihl import page, plots, runs

        if run is None:
            return [gr.skip()] * SHOWN
        table = [
            [plots.clock(s.segment.start_s), "–" if s.lvtr is None else f"{s.lvtr:.1%}", s.comments, s.speech]
            for s in run.prediction.segments
        ]
        player, still, why, alignment = self.choose(run, dark, gr.EventData(None, {"rank": 1}))
        return [
            page.summary(run.prediction),
            gr.update(visible=True),
            player | {"value": run.player and str(run.player), "visible": run.player is not None},
            still | {"visible": run.player is None},
            why,
            alignment,
            page.highlights(run.prediction, run.stills),
            plots.curve(run.prediction, dark=dark, true=runs.truth_beside(run.opened.path)),
            gr.update(value=table, headers=["Time", plots.target_name(run.prediction.target), "Comments", "Speech"]),
            None,
        ]

    def choose(self, run: Any, dark: bool, event: gr.EventData) -> list[dict[str, Any]]:  # noqa: FBT001 - as above
        """Turn player (or the still in its place), reasons and alignment to the highlight that was clicked."""
        from kuaihl import page, plots, runs

        if run is None:
            return [gr.update(visible=False), gr.update(value=TOO_OLD, visible=True), gr.update(), gr.update()]
        prediction = run.prediction
        chosen = next((h for h in prediction.highlights if h.rank == event.rank), None)
        peak_s = chosen.peak_s if chosen else 0.0
        still = run.stills[chosen.rank - 1] if chosen else ""
        around = next((s.segment.index for s in prediction.segments if s.segment.end_s > peak_s), 0)
        figure = plots.alignment(prediction, around=around, dark=dark) if prediction.alignment else None
        found = prediction.segments[around]
        reasons = ""
        if found.lvtr is not None:
            moments = runs.why(self.model.result(), run, around)
            reasons = page.why(found.segment, found.lvtr, run.contributions.added(around), moments)
        return [
            gr.update(playback_position=chosen.start_s if chosen else 0.0),
            gr.update(value=page.stand_in(prediction.recording, still, rank=chosen.rank if chosen else 1)),
            gr.update(value=reasons),
            gr.update(value=figure, visible=figure is not None),
        ]

    def live(self, run: "Run | None", pause_s: float, dark: bool) -> Iterator[Any]:  # noqa: FBT001 - a checkbox's value
        """Play a result as it would have arrived, segment after segment."""
        from kuaihl import plots, runs

        if run is None:
            return
        for prediction in runs.play(self.model.result(), run):
            yield plots.curve(prediction, dark=dark, live=True)
            time.sleep(pause_s)

    def cut(self, run: Any, progress: gr.Progress = gr.Progress()) -> dict[str, Any]:  # noqa: B008 - as above
        """Cut the highlights of a result out of its recording, into a zip to download."""
        from kuaihl import runs

        if run is None or not run.prediction.highlights:
            raise gr.Error("There is no highlight to cut out.", print_exception=False)
        try:
            zipped = runs.clips(run, progress=lambda _, share: progress(share, desc="Cutting clips"))
        except KuaiHLError as error:
            raise gr.Error(escape(str(error).replace(str(run.folder), "")), print_exception=False) from error
        return gr.update(value=str(zipped), visible=True)

    def build(self) -> gr.Blocks:
        """Lay out the page and connect its parts."""
        with gr.Blocks(title="KuaiHL", analytics_enabled=False, fill_width=True, delete_cache=(600, KEEP_S)) as page:
            result = gr.State(
                time_to_live=KEEP_S, delete_callback=lambda run: run and shutil.rmtree(run.folder, ignore_errors=True)
            )
            dark = gr.Checkbox(visible=False)
            with gr.Row(elem_id="head"):
                gr.HTML((ASSETS / "header.html").read_text("utf-8"))
                about = gr.HTML('<p class="model">Loading the model …</p>')
            with gr.Row():
                with gr.Column(scale=1, min_width=300, elem_id="inputs"):
                    files_in, settings, paths, start, cancel = layout.inputs(EXAMPLE, own_machine=self.own_machine)
                with gr.Column(scale=3, min_width=320):
                    status = gr.HTML((ASSETS / "empty.html").read_text("utf-8"), elem_id="status")
                    with gr.Column(visible=False) as body:
                        shown, rows, files, (cut, clips), (pause_s, play, stop) = layout.results(ASSETS)
            idle = [gr.update(interactive=True), gr.update(visible=False)]
            start.click(lambda: [gr.update(interactive=False), gr.update(visible=True)], None, [start, cancel], **QUIET)
            given = [result, *files_in, *settings, *paths]
            done = start.click(self.predict, given, [result, *files], api_name="predict", show_progress_on=[status])
            filled = {"fn": self.show, "inputs": [result, dark], "outputs": [status, body, *shown], **QUIET}
            done.success(**filled, js=ASK_IF_DARK)
            done.then(lambda: idle, None, [start, cancel], **QUIET)
            done.failure(lambda: idle, None, [start, cancel], **QUIET)  # then() is not called after an error
            cancel.click(lambda: idle, None, [start, cancel], cancels=[done], **QUIET)
            changes = [part.release if isinstance(part, gr.Slider) else part.input for part in settings]
            once = {"show_progress": "hidden", "api_visibility": "private"}
            changed = gr.on(changes, self.change, [result, *settings], [result], trigger_mode="always_last", **once)
            changed.success(**filled, js=ASK_IF_DARK)
            rows.seek(self.choose, [result, dark], shown[:4], js=ASK_IF_DARK, **QUIET)
            playing = play.click(
                self.live, [result, pause_s, dark], shown[-1], js=ASK_IF_DARK, concurrency_limit=8, **once
            )
            stop.click(None, None, None, cancels=[playing])
            cut.click(self.cut, [result], [clips], show_progress_on=[cut], api_visibility="private")
            done.success(lambda: gr.update(visible=False), None, [clips], **QUIET)
            changed.success(lambda: gr.update(visible=False), None, [clips], **QUIET)
            page.load(self.about, None, [about, settings[0]], **QUIET)
        return page.queue(max_size=16, default_concurrency_limit=1)


def settings_of(streamer: str, sources: list[str], highlights: int, min_gap_s: float, padding_s: float) -> "Settings":
    """Gather the settings of the page."""
    from kuaihl.highlights import HighlightOptions
    from kuaihl.runs import Settings

    if not sources:
        raise gr.Error("Nothing is left to predict from: leave at least one source on.", print_exception=False)
    try:
        options = HighlightOptions(top_k=int(highlights), min_gap_s=float(min_gap_s), padding_s=float(padding_s))
    except ValueError as error:
        raise gr.Error(f"Highlights: {error}.", print_exception=False) from error
    return Settings(streamer or None, tuple(name for name in SOURCES if name not in sources), options)


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
