"""The page: its components, and what happens on each event."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.demo import api
from kuaihl.demo.explanations import Explanations
from kuaihl.demo.forms import from_kuaihl, recording_path, report_errors, request_from, user_error
from kuaihl.demo.layout import ASSETS, HIDDEN, QUIET, REPLAY_HINT, Form, Results
from kuaihl.demo.model_choice import ModelChoice
from kuaihl.demo.service import Service
from kuaihl.demo.timing_check import TimingCheck
from kuaihl.errors import KuaiHLError, RecordingError
from kuaihl.progress import Progress

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Encoded, OpenedFiles, Run
    from kuaihl.predictor import Predictor

JOB_QUEUE = "job"
"""Runs of visitors and of programs share this queue, one at a time."""
MAX_REPLAYS = 8

_SET_DARK = "(...values) => [...values.slice(0, -1), document.body.classList.contains('dark')]"
_SCROLL_ON_PHONE = "() => { if (innerWidth <= 640) document.querySelector('#run').scrollIntoView(); }"
_RESIZE_FIGURES = "() => setTimeout(() => dispatchEvent(new Event('resize')))"
"""Figures on a hidden tab do not follow the window."""
_TAB_ID = """() => {
    try {
        const bytes = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0'));
        return [sessionStorage.kuaihl ??= bytes.join('')];
    } catch { return ['']; }  // a browser without storage
}"""
"""128 random bits that the tab keeps, so that nobody else can ask for its run."""
_OFFER_CANCEL = "() => [{__type__: 'update', interactive: false}, {__type__: 'update', visible: true}]"
"""What gr.update returns. In the browser, since a run that fails at once could answer before the server does."""


class Page:
    """The page of one server. `blocks` is what Gradio serves.

    Parameters
    ----------
    service
        What all visitors share.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        keep_s = service.limits.keep_s
        with gr.Blocks(
            title="KuaiHL", analytics_enabled=False, fill_width=True, delete_cache=(max(1, keep_s // 6), keep_s)
        ) as self.blocks:
            self.run = gr.State(
                time_to_live=keep_s, delete_callback=lambda run: run and shutil.rmtree(run.folder, ignore_errors=True)
            )
            self.dark = gr.Checkbox(visible=False)
            self.tab = gr.State("")
            with gr.Row(elem_id="head"):
                gr.HTML((ASSETS / "header.html").read_text("utf-8"))
                about = gr.HTML('<p class="model">Loading the model …</p>')
            with gr.Row():
                with gr.Column(scale=1, min_width=300, elem_id="inputs"):
                    self.form = Form(list(service.models.folders), local_paths=service.local_paths)
                with gr.Column(scale=3, min_width=320):
                    self.results = Results()
            self.choice = ModelChoice(service, self.form, about)
            self.explanations = Explanations(self.results, service.predictor)
            self.timing = TimingCheck(service, self.form)
            self._connect()
            api.lay_out(service, queue=JOB_QUEUE)
        self.blocks.queue(max_size=service.limits.max_waiting, default_concurrency_limit=1)

    @property
    def buttons(self) -> list[Any]:
        """Run and Cancel."""
        return [self.form.start, self.form.cancel]

    def _connect(self) -> None:
        form, results = self.form, self.results
        # First, since events of one click are handled in the order in which they are connected.
        starts = [form.start.click, results.cut.click, form.check_timing.click]
        gr.on(starts, None, None, self.buttons, js=_OFFER_CANCEL, **QUIET)

        run_outputs = [self.run, *results.downloads.values()]
        token, known = gr.Textbox(visible=False), gr.State(False)  # noqa: FBT003 - its value
        # Through the queue: outside it, Gradio does not notice the change of a state.
        self.blocks.load(
            self.load, token, [self.tab, known, *self.buttons], js=_TAB_ID, concurrency_limit=None, **HIDDEN
        )
        restored = known.change(
            self.wait,
            self.tab,
            run_outputs,
            show_progress_on=[results.status],
            concurrency_limit=None,
            api_visibility="private",
        )
        restored.success(
            self.choice.restore, self.run, [*dict.fromkeys([*form.request.values(), *self.choice.outputs])], **QUIET
        )
        submitted = form.start.click(
            self.submit,
            None,
            run_outputs,
            inputs_kwargs={
                "previous": self.run,
                "recording": form.recording,
                "path": form.path,
                "comments": form.comments,
                "tab": self.tab,
                **form.request,
            },
            show_progress_on=[results.status],
            api_visibility="private",
            concurrency_id=JOB_QUEUE,
            concurrency_limit=1,
        )
        form.start.click(None, None, None, js=_SCROLL_ON_PHONE)
        results.tabs.select(None, None, None, js=_RESIZE_FIGURES)

        checked, applied = self.timing.connect(self.dark, js=_SET_DARK)
        chosen = self.choice.connect(self.blocks)
        settings = {"run": self.run, **form.request}
        # The event is "input" for sliders too: with a keyboard there is no "release".
        others = {"transcript", "stream_start", "checkpoint", "target"}
        changes = [part.input for name, part in form.request.items() if name not in others]
        changed = gr.on(
            changes, self.change, None, self.run, inputs_kwargs=settings, trigger_mode="always_last", **HIDDEN
        )
        updates = [
            event.success(self.change, None, self.run, inputs_kwargs=settings, **HIDDEN) for event in (applied, chosen)
        ]
        shown = [
            results.status, results.body, results.highlights, results.curve, results.table, results.live_curve,
            results.live_text, results.clips, *self.explanations.outputs,
        ]  # fmt: skip
        for event in (submitted, restored, changed, *updates):
            event.success(self.show, [self.run, self.dark], shown, js=_SET_DARK, **QUIET)
        self.explanations.connect(self.run, self.dark, js=_SET_DARK)
        replaying = results.replay.click(
            self.replay,
            [self.run, results.pause_s, self.dark],
            [results.live_curve, results.live_text],
            js=_SET_DARK,
            concurrency_limit=MAX_REPLAYS,
            **HIDDEN,
        )
        results.stop.click(None, None, None, cancels=replaying)
        cutting = results.cut.click(
            self.cut, self.run, results.clips, show_progress_on=[results.cut], api_visibility="private"
        )
        jobs: list[Any] = [submitted, restored, cutting, checked]
        for job in jobs:
            job.then(self.idle, None, self.buttons, **QUIET)
            job.failure(self.idle, None, self.buttons, **QUIET)  # "then" is skipped after an error
        form.cancel.click(self.cancel, self.tab, self.buttons, cancels=jobs, **QUIET)

    def idle(self) -> list[Any]:
        """Enable Run, and hide Cancel."""
        return [gr.update(interactive=True), gr.update(visible=False)]

    def cancel(self, tab: str) -> list[Any]:
        """Cancel the run of a tab that was reloaded; other jobs are cancelled by Gradio."""
        self.service.tab_runs.cancel(tab)
        return self.idle()

    def load(self, tab: str) -> Any:
        """Look for the last run of a tab whose page was loaded."""
        tab_run = self.service.tab_runs.reload(tab)
        if tab_run is None:
            return {self.tab: tab}
        return [tab, True, gr.update(interactive=tab_run.over), gr.update(visible=not tab_run.over)]

    async def wait(self, tab: str, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008 - how Gradio passes it
        """Wait for the run of a tab whose page was reloaded."""
        run = await self.service.tab_runs.wait(tab, progress)
        return gr.skip() if run is None else self._run_updates(run)

    def _run_updates(self, run: "Run") -> dict[Any, Any]:
        downloads = {button: str(run.folder / name) for name, button in self.results.downloads.items()}
        return {self.run: run, **downloads}

    async def submit(
        self,
        previous: Any = None,  # a Run or None; Gradio has to resolve every annotation
        recording: str | None = None,
        path: str = "",
        comments: str | None = None,
        tab: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes the progress bar
        **values: Any,
    ) -> dict[Any, Any]:
        """Predict a recording. ``values`` are those of `Form.request`."""
        from kuaihl.demo import pipeline

        file = recording_path(recording, path, local_paths=self.service.local_paths)
        request = request_from(values)
        self.service.check_allowed(request.checkpoint)
        files = pipeline.Files(file, Path(comments) if comments else None)
        job = self.service.begin(progress, files, request)

        def finish(predictor: "Predictor", opened: "OpenedFiles", encoded: "Encoded") -> "Run":
            return pipeline.start_run(predictor, opened.recording, encoded, request, job.folder, progress=Progress(job))

        work = self.service.run(
            job, files, request, finish, previous=previous and previous.encoded, encode_all=True, keep=True
        )
        run = await self.service.tab_runs.begin(tab, job).follow(work)
        if path and run.player == file:
            gr.set_static_paths([file])  # played from where it is: hours of video are not copied
        return self._run_updates(run)

    def change(self, run: Any = None, **values: Any) -> Any:
        """Predict a run again with other settings; its pictures and speech are not encoded again."""
        if run is None:
            return gr.skip()
        from kuaihl.demo import pipeline

        request = request_from(values)
        # These belong to the files of the run, while the form may have others by now.
        request = replace(request, transcript=run.request.transcript, stream_start=run.request.stream_start)
        self.service.check_allowed(request.checkpoint)
        if request == run.request:
            return gr.skip()
        try:
            run = pipeline.update_run(self.service.predictor(request.checkpoint), run, request)
        except (RecordingError, OSError) as error:  # uploads are deleted after a while
            raise user_error("The recording has expired. Upload it again.") from error
        except KuaiHLError as error:
            raise from_kuaihl(error) from error
        self.service.tab_runs.update(run)
        return run

    def show(self, run: Any, dark: bool) -> Any:  # noqa: FBT001 - a checkbox's value
        """Show a run, its best highlight explained."""
        if run is None:
            return gr.skip()
        from kuaihl.demo import panels, pipeline
        from kuaihl.export.cards import summary_html
        from kuaihl.plots.curves import plot_curve
        from kuaihl.plots.style import clock, percent, target_name

        prediction, results = run.prediction, self.results
        rows = [[clock(s.segment.start_s), percent(s.score), s.comments, s.speech] for s in prediction.segments]
        true = pipeline.true_scores(run.recording.path, target=prediction.target)
        return {
            results.status: summary_html(prediction),
            results.body: gr.update(visible=True),
            results.highlights: panels.highlights_html(prediction, run.stills),
            results.curve: plot_curve(prediction, dark=dark, true=true),
            results.table: gr.update(
                value=rows, headers=["Time", target_name(prediction.target), "Comments", "Speech"]
            ),
            results.live_curve: None,
            results.live_text: REPLAY_HINT,
            results.clips: gr.update(visible=False),
            **self.explanations.explain_best(run, dark),
        }

    def replay(self, run: Any, pause_s: float, dark: bool) -> Iterator[Any]:  # noqa: FBT001 - a checkbox's value
        """Replay a run as if it were live, segment by segment."""
        if run is None:
            return
        from kuaihl.demo import panels, pipeline
        from kuaihl.plots.curves import plot_curve

        for prediction in pipeline.replay_predictions(self.service.predictor(run.request.checkpoint), run):
            yield {
                self.results.live_curve: plot_curve(prediction, dark=dark, live=True),
                self.results.live_text: panels.live_html(prediction),
            }
            time.sleep(pause_s)

    async def cut(self, run: Any, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008 - how Gradio passes it
        """Cut the highlights of a run out of its recording, into a zip file to download."""
        if run is None or not run.prediction.highlights:
            raise user_error("There is no highlight to cut out.")
        from kuaihl.demo import pipeline

        job = self.service.jobs.begin(progress, run.recording.path)
        work = partial(pipeline.cut_clips, run, progress=Progress(job))
        file = await self.service.jobs.run(job, partial(report_errors, work, run.recording.path, run.folder))
        return gr.update(value=str(file), visible=True)
