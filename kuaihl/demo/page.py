"""The page: its components, and what happens on each event."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.demo import api
from kuaihl.demo.forms import from_kuaihl, recording_path, report_errors, request_from, user_error
from kuaihl.demo.layout import ASSETS, DOWNLOADS, HIDDEN, QUIET, Form, Results, file_url
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
EXPIRED = "This result has expired. Press Run again."

_SET_DARK = "(...values) => [...values.slice(0, -1), document.body.classList.contains('dark')]"
_TAB_ID = """() => {
    try {
        const bytes = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0'));
        return [sessionStorage.kuaihl ??= bytes.join('')];
    } catch { return ['']; }  // a browser without storage
}"""
"""128 random bits that the tab keeps, so that nobody else can ask for its run."""
_OFFER_CANCEL = "() => [{__type__: 'update', interactive: false}, {__type__: 'update', visible: true}]"
"""What gr.update returns. In the browser, since a run that fails at once could answer before the server does."""
_DOWNLOAD = """(file) => {
    const link = document.createElement('a');
    Object.assign(link, {href: file.url, download: file.orig_name});
    link.click();
}"""


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
            self.run = gr.State(time_to_live=keep_s, delete_callback=self._delete)
            self.dark = gr.Checkbox(visible=False)
            self.tab = gr.State("")
            with gr.Row(elem_id="head"):
                gr.HTML((ASSETS / "header.html").read_text("utf-8"))
                about = gr.HTML("<p>Loading the model …</p>", elem_id="about", scale=0, min_width=200)
            self.form = Form(list(service.models.folders), local_paths=service.local_paths)
            self.results = Results()
            self.choice = ModelChoice(service, self.form, about)
            self.timing = TimingCheck(service, self.form)
            self._connect()
            api.lay_out(service, queue=JOB_QUEUE)
        self.blocks.queue(max_size=service.limits.max_waiting, default_concurrency_limit=1)

    @property
    def buttons(self) -> list[Any]:
        """Run and Cancel."""
        return [self.form.start, self.results.cancel]

    def _connect(self) -> None:
        form, results = self.form, self.results
        # First, since events of one click are handled in the order in which they are connected.
        for start in (form.start.click, results.view.export, form.check_timing.click):
            start(None, None, self.buttons, js=_OFFER_CANCEL, **QUIET)
        for uploaded in (form.recording.upload, form.comments.upload):
            uploaded(None, None, None, js="() => kuaihlStart()")
        form.path.submit(None, None, None, js="() => document.querySelector('#run').click()")

        shown = [self.run, results.view]
        token, known = gr.Textbox(visible=False), gr.State(False)  # noqa: FBT003 - its value
        # Through the queue: outside it, Gradio does not notice the change of a state.
        self.blocks.load(
            self.load, token, [self.tab, known, *self.buttons], js=_TAB_ID, concurrency_limit=None, **HIDDEN
        ).success(
            self.show_example, self.tab, shown, show_progress_on=[results.status], queue=False, api_visibility="private"
        )  # fmt: skip
        restored = known.change(
            self.wait,
            self.tab,
            shown,
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
            shown,
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
        form.start.click(None, None, None, js="() => kuaihlStarted()")

        checked, applied = self.timing.connect(self.dark, js=_SET_DARK)
        chosen = self.choice.connect(self.blocks)
        settings = {"run": self.run, **form.request}
        # The event is "input" for sliders too: with a keyboard there is no "release".
        others = {"transcript", "stream_start", "checkpoint", "target"}
        changes = [part.input for name, part in form.request.items() if name not in others]
        gr.on(changes, self.change, None, shown, inputs_kwargs=settings, trigger_mode="always_last", **HIDDEN)
        for event in (applied, chosen):
            event.success(self.change, None, shown, inputs_kwargs=settings, **HIDDEN)
        exported = results.view.export(
            self.export, self.run, results.download, show_progress_on=[results.status], api_visibility="private"
        )
        exported.success(None, results.download, None, js=_DOWNLOAD)
        jobs: list[Any] = [submitted, restored, exported, checked]
        for job in jobs:
            job.then(self.idle, None, self.buttons, **QUIET)
            job.failure(self.idle, None, self.buttons, **QUIET)  # "then" is skipped after an error
        results.cancel.click(self.cancel, [self.tab, self.run], [*self.buttons, results.view], cancels=jobs, **QUIET)

    def _delete(self, run: "Run | None") -> None:
        """Remove the files of a run whose visitor has left. Those of the example are everybody's."""
        if run is not None and not self._is_example(run):
            shutil.rmtree(run.folder, ignore_errors=True)

    def _is_example(self, run: "Run") -> bool:
        example = self.service.example
        return example.done() and not example.exception() and run.folder == example.result().folder

    def idle(self) -> list[Any]:
        """Enable Run, and hide Cancel."""
        return [gr.update(interactive=True), gr.update(visible=False)]

    def cancel(self, tab: str, run: Any) -> list[Any]:
        """Cancel the run of a tab that was reloaded; other jobs are cancelled by Gradio. Show the earlier result."""
        self.service.tab_runs.cancel(tab)
        return [*self.idle(), gr.skip() if run is None else file_url(run.view)]

    def load(self, tab: str) -> Any:
        """Look for the last run of a tab whose page was loaded."""
        tab_run = self.service.tab_runs.reload(tab)
        if tab_run is None:
            return {self.tab: tab}
        return [tab, True, gr.update(interactive=tab_run.over), gr.update(visible=not tab_run.over)]

    async def show_example(self, tab: str) -> Any:
        """Show the example to a visitor without a run. Not through the queue, which may be full."""
        example = asyncio.wrap_future(self.service.example)
        if self.service.tab_runs.has_run(tab):
            return gr.skip()
        try:
            run = await asyncio.shield(example)
        except Exception:  # noqa: BLE001 - "about" says why the model cannot be loaded
            return gr.skip()
        return gr.skip() if self.service.tab_runs.has_run(tab) else self._shown(run)

    async def wait(self, tab: str, progress: gr.Progress = gr.Progress()) -> AsyncIterator[Any]:  # noqa: B008
        """Wait for the run of a tab whose page was reloaded."""
        if preview := self.service.tab_runs.preview(tab):
            yield {self.results.view: file_url(preview)}
        run = await self.service.tab_runs.wait(tab, progress)
        yield gr.skip() if run is None else self._shown(run)

    def _shown(self, run: "Run") -> dict[Any, Any]:
        return {self.run: run, self.results.view: file_url(run.view)}

    async def submit(
        self,
        previous: Any = None,  # a Run or None; Gradio has to resolve every annotation
        recording: str | None = None,
        path: str = "",
        comments: str | None = None,
        tab: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes the progress bar
        **values: Any,
    ) -> AsyncIterator[dict[Any, Any]]:
        """Predict a recording, and show before what is known of it at once. ``values`` are those of `Form.request`."""
        from kuaihl.demo import pipeline

        file = recording_path(recording, path, local_paths=self.service.local_paths)
        request = request_from(values)
        self.service.check_allowed(request.checkpoint)
        files = pipeline.Files(file, Path(comments) if comments else None)
        job = self.service.begin(progress, files, request)
        tab_run = self.service.tab_runs.begin(tab, job)
        previewed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def show_early(opened: "OpenedFiles") -> None:
            if path:
                gr.set_static_paths([file])  # played from where it is: hours of video are not copied
            tab_run.preview = pipeline.preview(opened, request, job.folder)
            loop.call_soon_threadsafe(previewed.set)

        def finish(predictor: "Predictor", opened: "OpenedFiles", encoded: "Encoded") -> "Run":
            return pipeline.start_run(predictor, opened.recording, encoded, request, job.folder, progress=Progress(job))

        work = self.service.run(
            job,
            files,
            request,
            finish,
            previous=previous and previous.encoded,
            encode_all=True,
            keep=True,
            on_open=show_early,
        )
        running = asyncio.ensure_future(tab_run.follow(work))
        early = asyncio.ensure_future(previewed.wait())
        try:
            await asyncio.wait({running, early}, return_when=asyncio.FIRST_COMPLETED)
            if tab_run.preview and not running.done():
                yield {self.results.view: file_url(tab_run.preview)}
            run = await running
        finally:
            early.cancel()
            running.cancel()
            await asyncio.wait({running})
        yield self._shown(run)

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
        return self._shown(run)

    async def export(
        self,
        run: Any,
        event: gr.EventData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
    ) -> str:
        """Return a file of the moments that the visitor kept: their clips, or one of `DOWNLOADS`."""
        if run is None or not run.folder.exists():
            raise user_error(EXPIRED)
        from kuaihl.demo import pipeline

        job = self.service.jobs.begin(progress, run.recording.path)
        if event.name == "clips":
            work = partial(
                pipeline.export_clips,
                run,
                event.clips,
                job.folder,
                vertical=bool(event.vertical),
                crop=min(max(float(event.crop), 0.0), 1.0),
                captions=event.captions,
            )
        elif event.name in DOWNLOADS:
            work = partial(pipeline.export_file, run, event.name, event.clips, job.folder)
        else:
            raise user_error("There is no such file.")
        work = partial(work, progress=Progress(job))
        return str(
            await self.service.jobs.run(job, partial(report_errors, work, run.recording.path, job.folder), keep=True)
        )
