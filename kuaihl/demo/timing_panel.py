"""The page's part that fits a comment log to its recording: rate beside sound, and the offset they suggest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.comments.selection import select_kinds
from kuaihl.demo.forms import source_of, told
from kuaihl.demo.jobs import Jobs
from kuaihl.errors import KuaiHLError
from kuaihl.progress import Progress

if TYPE_CHECKING:
    from kuaihl.sync import LogCheck


class Fitting:
    """Reads a log and the sound of its recording once, then shows both for any offset."""

    def __init__(self, jobs: Jobs, *, own_machine: bool) -> None:
        self.jobs, self.own_machine = jobs, own_machine

    def lay_out(self) -> None:
        """Lay out the button, and under it what it shows."""
        self.checked = gr.State(time_to_live=self.jobs.keep_s)
        self.start = gr.Button("Check against the sound", size="sm", elem_id="check")
        self.figure = gr.Plot(show_label=False, visible=False, elem_id="fit-figure")
        self.words = gr.HTML(elem_id="fit")
        self.take = gr.Button(visible=False, size="sm", elem_id="take")

    def connect(
        self,
        files: list[Any],
        paths: list[Any],
        offset: gr.Number,
        counted: gr.CheckboxGroup,
        dark: gr.Checkbox,
        *,
        js: str,
    ) -> Any:
        """Connect the parts; returns the events of an offset taken over and of reading. ``js`` finds out ``dark``."""
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        shown = {
            "fn": self.show,
            "inputs": [self.checked, offset, counted, dark],
            "outputs": [self.figure, self.words, self.take],
        }
        read = self.start.click(
            self.read, [*files, *paths], self.checked, api_visibility="private", show_progress_on=[self.words]
        )
        read.success(**shown, js=js, queue=False, **quiet)
        gr.on([offset.input, counted.input], **shown, js=js, trigger_mode="always_last", **quiet)
        changes = [part.change for part in (*files, *paths)]
        forgotten = gr.on(changes, lambda: None, None, self.checked, queue=False, **quiet)
        forgotten.then(**shown, js=js, queue=False, **quiet)
        taken = self.take.click(self.offset, [self.checked, offset], offset, queue=False, **quiet)
        taken.success(**shown, js=js, queue=False, **quiet)
        return taken, read

    async def read(
        self,
        request: gr.Request,
        recording: str | None,
        comments: str | None,
        transcript: Any,  # noqa: ARG002 - comes with the other files
        stream_start: str,
        path: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio is told to track progress
    ) -> Any:
        """Read the log and the sound."""
        from kuaihl.comments.reader import read
        from kuaihl.media.recording import open_recording
        from kuaihl.sync import check_log

        source = source_of(request, recording, path, own_machine=self.own_machine)
        if not comments:
            raise gr.Error("Choose a comment log first.", print_exception=False)
        log = Path(comments)
        job = self.jobs.begin(progress, source, log)

        def work() -> "LogCheck":
            opening, comparing = (Progress(job, stage) for stage in ("opening", "comparing"))
            try:
                found = read(log, stream_start=stream_start.strip() or None, progress=opening)
                opened = open_recording(source, progress=opening)
                return check_log(log.name, found, recording=opened, progress=comparing)
            except KuaiHLError as error:
                raise told(error, source, log) from error

        return await self.jobs.do(job, work)

    def show(self, checked: Any, offset_s: float | None, counted: list[str], dark: bool) -> list[Any]:  # noqa: FBT001 - a checkbox's value
        """Show what counts of the log, moved by an offset, beside the sound, and say what fits better."""
        from kuaihl.demo import panels
        from kuaihl.plots import offset
        from kuaihl.sync import BIN_S, comment_rate

        if checked is None:
            return [gr.update(visible=False), "", gr.update(visible=False)]
        given_s = offset_s or 0.0
        moved: LogCheck = checked.moved(given_s)
        comments = select_kinds(moved.log, counted).comments
        better_s = moved.better_s
        figure = None
        if len(checked.level_db):
            rate = comment_rate([c.time_s for c in comments], len(checked.level_db))
            figure = offset.fit(checked.level_db, rate, bin_s=BIN_S, dark=dark)
        take = gr.update(visible=False)
        if better_s is not None:
            take = gr.update(value=f"Use an offset of {given_s + better_s:g} s", visible=True)
        return [gr.update(value=figure, visible=figure is not None), panels.fit(moved, given_s=given_s), take]

    def offset(self, checked: Any, offset_s: float | None) -> float:
        """Return the better offset."""
        given_s = offset_s or 0.0
        return given_s + ((checked and checked.moved(given_s).better_s) or 0.0)
