"""The page: a recording and its comment log in; the curve, the highlights and the alignment out."""

import argparse
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.comments.selection import COUNTED
from kuaihl.demo import layout
from kuaihl.demo.api import Endpoints
from kuaihl.demo.choices import Choosing
from kuaihl.demo.forms import (
    LOOPBACK,
    check_enough,
    from_this_machine,
    inputs_of,
    settings_of,
    source_of,
    telling,
    told,
)
from kuaihl.demo.jobs import Job, Jobs
from kuaihl.demo.layout import DOWNLOADS, NOTHING_YET, SOURCES
from kuaihl.demo.model_cache import OWN, Shelf
from kuaihl.demo.sessions import Limits, Visits
from kuaihl.demo.timing_panel import Fitting
from kuaihl.demo.why_panel import Reasons
from kuaihl.demo.zero_gpu import Borrower, is_lent
from kuaihl.errors import KuaiHLError, RecordingError

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Given, Inputs, Material, Run, Settings
    from kuaihl.predictor import Predictor

    Finish = Callable[[Predictor, Given, Material, Job], Any]

ASSETS = Path(__file__).parent / "assets"
EXAMPLE = [str(ASSETS / "example" / name) for name in ("recording.mp4", "comments.json")]
ASK_IF_DARK = "(...given) => [...given.slice(0, -1), document.body.classList.contains('dark')]"
SCROLL_ON_A_PHONE = "() => { if (innerWidth <= 640) document.querySelector('#run').scrollIntoView(); }"
FIT_FIGURES = "() => setTimeout(() => dispatchEvent(new Event('resize')))"
"""Of a tab that is turned to: while it was hidden, its figure did not follow the window."""
SHOWN = 11  # parts of the page that a result fills
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Demo:
    """What the visitors share: the models, and whether they may name files on the machine that serves the page."""

    def __init__(self, shelf: Shelf, *, own_machine: bool, borrower: Borrower | None = None) -> None:
        self.shelf, self.own_machine = shelf, own_machine
        self.encode = borrower or self._encode
        self.limits, self.visits, self.reasons = Limits.of(os.environ), Visits(), Reasons(self.model)
        cache = Path(gr.HTML(render=False).GRADIO_CACHE)
        self.jobs = Jobs(cache, keep_s=self.limits.keep_s, swept=self.visits.forget)

    def admit(self, request: gr.Request, name: str | None) -> str:
        """Let a visitor name a model: one of the list, and on their own machine any."""
        name = (name or OWN).strip()
        if name != OWN and name not in self.shelf.places and not (self.own_machine and from_this_machine(request)):
            offered = ", ".join(self.shelf.places) or "none but the shipped one"
            raise gr.Error(f"Choose a model that is offered here: {escape(offered)}.", print_exception=False)
        return name

    def model(self, name: str) -> "Predictor":
        """Return an admitted model, loaded."""
        return self.shelf.get(name, anywhere=self.own_machine)

    def _encode(
        self, job: Job, given: "Given", settings: "Settings", before: "Material | None", **options: Any
    ) -> "Material":
        from kuaihl.demo import pipeline

        predictor = self.model(settings.model)
        return pipeline.encode(predictor, given, settings, before=before, progress=job, **options)

    def begin(self, progress: gr.Progress, inputs: "Inputs") -> Job:
        """Begin the work on a visitor's files."""
        job = self.jobs.begin(progress, *inputs.files)
        job.say(0.0, "Waiting for the model")
        return job

    async def run(
        self,
        job: Job,
        inputs: "Inputs",
        settings: "Settings",
        finish: "Finish",
        *,
        before: "Run | None" = None,
        spare: bool = False,
        keep: bool = False,
    ) -> Any:
        """Encode ``inputs`` in a thread, then let ``finish`` make of it what is asked for.

        With ``spare`` only what the settings need is encoded; with ``keep`` the job's folder stays.
        """

        def work() -> Any:
            from kuaihl.demo import pipeline

            predictor = self.model(settings.model)
            needed = check_enough(predictor.config, inputs, settings)
            given = pipeline.read(inputs, progress=job)
            options = {"sources": needed} if spare else {}
            material = self.encode(job, given, settings, before and before.material, **options)
            return finish(predictor, given, material, job)

        return await self.jobs.do(job, partial(telling, work, *inputs.files), keep=keep)

    async def submit(
        self,
        request: gr.Request,
        before: Any,  # a Run or None; gradio has to resolve every annotation here
        recording: str | None,
        comments: str | None = None,
        transcript: str | None = None,
        stream_start: str = "",
        streamer: str = "",
        sources: list[str] = list(SOURCES),  # noqa: B006 - gradio reads it, and nobody writes to it
        highlights: int = 5,
        min_gap_s: float = 60.0,
        padding_s: float = 0.0,
        max_length_s: float = 300.0,
        comment_offset_s: float = 0.0,
        counted: list[str] = list(COUNTED),  # noqa: B006 - as above
        model: str = OWN,
        target: str | None = None,
        tab: str = "",
        path: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio is told to track progress
    ) -> list[Any]:
        """Predict the curve and the highlights of a recording for the page."""
        from kuaihl.demo import pipeline

        source = source_of(request, recording, path, own_machine=self.own_machine)
        model = self.admit(request, model)
        figures = highlights, min_gap_s, padding_s, max_length_s, comment_offset_s
        settings = settings_of(streamer, sources, *figures, counted, model, target)
        inputs = inputs_of(source, comments, transcript, stream_start)

        def finish(predictor: "Predictor", given: "Given", material: "Material", job: Job) -> "Run":
            return pipeline.begin(predictor, given.recording, material, settings, job.folder, progress=job)

        job = self.begin(progress, inputs)
        visit = self.visits.begin(tab, job)
        run = await visit.follow(self.run(job, inputs, settings, finish, before=before, keep=True))
        if path and run.player == source:
            gr.set_static_paths([source])  # played from where it is: hours of video are not copied
        return [run, *(str(run.folder / name) for name in DOWNLOADS)]

    def change(self, request: gr.Request, run: Any, *chosen: Any) -> Any:
        """Predict a visitor's recording again with other settings; its pictures and speech are not encoded again."""
        from kuaihl.demo import pipeline

        settings = settings_of(*chosen)
        self.admit(request, settings.model)
        if run is None or run.settings == settings:
            return gr.skip()
        try:
            return self.visits.changed(pipeline.again(self.model(settings.model), run, settings))
        except (RecordingError, OSError) as error:  # the visitor's files go after an hour
            raise gr.Error("The recording is no longer here. Upload it again.", print_exception=False) from error
        except KuaiHLError as error:
            raise told(error) from error

    def show(self, run: "Run | None", dark: bool) -> list[Any]:  # noqa: FBT001 - a checkbox's value
        """Fill the page with a result, its best highlight chosen."""
        from kuaihl.demo import panels, pipeline
        from kuaihl.plots import curves, style

        if run is None:
            return [gr.skip()] * SHOWN
        table = [
            [style.clock(s.segment.start_s), "–" if s.score is None else f"{s.score:.1%}", s.comments, s.speech]
            for s in run.prediction.segments
        ]
        true = pipeline.truth_beside(run.opened.path, target=run.prediction.target)
        return [
            panels.summary(run.prediction),
            gr.update(visible=True),
            *self.reasons.best(run, dark),
            panels.highlights(run.prediction, run.stills),
            curves.curve(run.prediction, dark=dark, true=true),
            gr.update(value=table, headers=["Time", style.target_name(run.prediction.target), "Comments", "Speech"]),
            None,
            NOTHING_YET,
        ]

    def live(self, run: "Run | None", pause_s: float, dark: bool) -> Iterator[Any]:  # noqa: FBT001 - a checkbox's value
        """Play a result as it would have arrived, segment after segment."""
        from kuaihl.demo import panels, pipeline
        from kuaihl.plots import curves

        if run is None:
            return
        for prediction in pipeline.play(self.model(run.settings.model), run):
            yield curves.curve(prediction, dark=dark, live=True), panels.arrived(prediction)
            time.sleep(pause_s)

    async def cut(self, run: Any, progress: gr.Progress = gr.Progress()) -> dict[str, Any]:  # noqa: B008 - as above
        """Cut the highlights of a result out of its recording, into a zip to download."""
        from kuaihl.demo import pipeline

        if run is None or not run.prediction.highlights:
            raise gr.Error("There is no highlight to cut out.", print_exception=False)
        job = self.jobs.begin(progress, run.opened.path)
        work = partial(pipeline.clips, run, progress=job)
        zipped = await self.jobs.do(job, partial(telling, work, run.opened.path, run.folder))
        return gr.update(value=str(zipped), visible=True)

    def build(self) -> gr.Blocks:
        """Lay out the page and connect its parts."""
        keep_s = self.limits.keep_s
        look = {"analytics_enabled": False, "fill_width": True, "delete_cache": (max(1, keep_s // 6), keep_s)}
        with gr.Blocks(title="KuaiHL", **look) as page:
            result = gr.State(
                time_to_live=keep_s, delete_callback=lambda run: run and shutil.rmtree(run.folder, ignore_errors=True)
            )
            dark = gr.Checkbox(visible=False)
            fitting = Fitting(self.jobs, own_machine=self.own_machine)
            with gr.Row(elem_id="head"):
                gr.HTML((ASSETS / "header.html").read_text("utf-8"))
                about = gr.HTML('<p class="model">Loading the model …</p>')
            with gr.Row():
                with gr.Column(scale=1, min_width=300, elem_id="inputs"):
                    files_in, settings, paths, start, cancel = layout.inputs(
                        EXAMPLE, models=self.shelf.choices, fitting=fitting.lay_out, own_machine=self.own_machine
                    )
                with gr.Column(scale=3, min_width=320):
                    status = gr.HTML((ASSETS / "empty.html").read_text("utf-8"), elem_id="status")
                    with gr.Column(visible=False) as body:
                        shown, tabs, rows, files, (cut, clips), (pause_s, play, stop) = layout.results(ASSETS)
            streamer, *others, offset, counted, model, target = settings
            tab, found = self.visits.lay_out(page, [result, *files], start, cancel, status)
            self.visits.busy(start, cut, fitting.start, start=start, cancel=cancel)
            given = [result, *files_in, *settings, tab, *paths]
            work = {"concurrency_id": "work", "concurrency_limit": 1}  # one at a time, for the page and for programs
            done = start.click(
                self.submit, given, [result, *files], show_progress_on=[status], api_visibility="private", **work
            )
            filled = {"fn": self.show, "inputs": [result, dark], "outputs": [status, body, *shown], **QUIET}
            start.click(None, None, None, js=SCROLL_ON_A_PHONE)
            tabs.select(None, None, None, js=FIT_FIGURES)
            once = {"show_progress": "hidden", "api_visibility": "private"}
            again = {"fn": self.change, "inputs": [result, *settings], "outputs": [result], **once}
            parts = [streamer, *others, offset, counted]
            changes = [part.input for part in parts]  # of a slider too: a keyboard never releases one
            taken, checked = fitting.connect(files_in, paths, offset, counted, dark, js=ASK_IF_DARK)
            changed = gr.on(changes, **again, trigger_mode="always_last")
            choosing = Choosing(self.admit, self.model)
            offered = [about, target, streamer]
            chosen = choosing.connect([model, target, streamer], offered, files_in[1], page)
            found.success(choosing.restore, [result], [*offered, model, *others, offset, counted], **QUIET)
            for filling in (done, found, changed, taken.success(**again), chosen.success(**again)):
                filling.success(**filled, js=ASK_IF_DARK)
                filling.success(lambda: gr.update(visible=False), None, [clips], **QUIET)
            self.reasons.connect([result, dark], rows, shown[7], shown[:5], js=ASK_IF_DARK)
            playing = play.click(
                self.live, [result, pause_s, dark], shown[-2:], js=ASK_IF_DARK, concurrency_limit=8, **once
            )
            stop.click(None, None, None, cancels=[playing])
            cutting = cut.click(self.cut, [result], [clips], show_progress_on=[cut], api_visibility="private")
            self.visits.connect([done, found, cutting, checked], tab, start, cancel)
            Endpoints(self.begin, self.run, self.admit).lay_out(shared=work)
        return page.queue(max_size=self.limits.waiting, default_concurrency_limit=1)


def main() -> None:
    """Serve the page, then load the model. The fonts are the reader's own: the page asks no other host for anything."""
    parser = argparse.ArgumentParser(description="Serve the page of KuaiHL, and endpoints for programs.")
    parser.add_argument("--mcp", action="store_true", help="offer the endpoints to assistants too, as an MCP server; "
                        "KUAIHL_MCP=1 does the same")  # fmt: skip
    mcp = parser.parse_args().mcp or os.environ.get("KUAIHL_MCP") == "1"
    if mcp and find_spec("mcp") is None:
        parser.exit(2, "kuaihl: the MCP server needs the package mcp: pip install 'kuaihl[mcp]'\n")
    logging.basicConfig(level=logging.INFO)
    on_space = "SPACE_ID" in os.environ
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1")  # noqa: S104 - a container
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    theme = gr.themes.Base(primary_hue="teal", secondary_hue="teal", neutral_hue="slate", **fonts)
    look = {"theme": theme, "css_paths": ASSETS / "app.css", "footer_links": ["api", "settings"]}
    folder = os.environ.get("KUAIHL_CHECKPOINTS")
    places, own_machine, lent = Path(folder) if folder else None, not on_space and host in LOOPBACK, is_lent(os.environ)
    borrower = Borrower(Shelf(places), anywhere=own_machine) if lent else None
    shelf = Shelf(places, device="cpu" if lent else None)  # where nobody lends a GPU, there is none
    demo = Demo(shelf, own_machine=own_machine, borrower=borrower)
    serving = {"prevent_thread_lock": True, "mcp_server": mcp, "max_file_size": demo.limits.upload}
    serving |= {"app_kwargs": {"lifespan": demo.jobs.sweeping}}
    (page := demo.build()).launch(server_name=host, share=False, run_history=False, **serving, **look)
    with suppress(KuaiHLError):  # then the page says it
        shelf.get()  # only now, since the model takes longer to load than the page
    page.block_thread()


if __name__ == "__main__":
    main()
