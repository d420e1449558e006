"""The check of a comment log against the sound of its recording, and the offset that it suggests."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import Dependency

from kuaihl.demo.forms import recording_path, report_errors, user_error
from kuaihl.demo.layout import QUIET, Form
from kuaihl.demo.service import Service
from kuaihl.progress import Progress

if TYPE_CHECKING:
    from kuaihl.sync import LogCheck


class TimingCheck:
    """Reads a log and the sound of its recording once, then compares them for any offset."""

    def __init__(self, service: Service, form: Form) -> None:
        self._service, self._form = service, form

    def connect(self, dark: gr.Checkbox, *, js: str) -> tuple[Dependency, Dependency]:
        """Connect the components; return the events of checking and of applying the offset. ``js`` sets ``dark``."""
        form = self._form
        check = gr.State(time_to_live=self._service.jobs.keep_s)
        inputs = [check, form.comment_offset_s, form.counted, dark]
        outputs = [form.timing_figure, form.timing_text, form.apply_offset]
        files = {"recording": form.recording, "path": form.path, "comments": form.comments,
                 "stream_start": form.stream_start}  # fmt: skip
        checked = form.check_timing.click(
            self.check, None, check, inputs_kwargs=files, api_visibility="private", show_progress_on=[form.timing_text]
        )
        applied = form.apply_offset.click(
            self.better_offset, [check, form.comment_offset_s], form.comment_offset_s, **QUIET
        )
        changes = [form.recording.change, form.path.change, form.comments.change, form.stream_start.change]
        cleared = gr.on(changes, lambda: None, None, check, **QUIET)
        for event in (checked, applied, cleared):
            event.success(self.show, inputs, outputs, js=js, **QUIET)
        gr.on(
            [form.comment_offset_s.input, form.counted.input],
            self.show,
            inputs,
            outputs,
            js=js,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        return checked, applied

    async def check(
        self,
        recording: str | None,
        path: str,
        comments: str | None,
        stream_start: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes the progress bar
    ) -> Any:
        """Read the log and the sound."""
        file = recording_path(recording, path, local_paths=self._service.local_paths)
        if not comments:
            raise user_error("Choose a comment log first.")
        log_file = Path(comments)
        job = self._service.jobs.begin(progress, file, log_file)

        def work() -> "LogCheck":
            from kuaihl.comments.reader import read
            from kuaihl.media.recording import open_recording
            from kuaihl.sync import check_log

            report = Progress(job)
            log = read(log_file, stream_start=stream_start.strip() or None, progress=report.stage("opening"))
            opened = open_recording(file, progress=report.stage("opening"))
            return check_log(log_file.name, log, recording=opened, progress=report.stage("comparing"))

        return await self._service.jobs.run(job, lambda: report_errors(work, file, log_file))

    def show(
        self,
        check: "Any",
        offset_s: float | None,
        counted: list[str],
        dark: bool,  # noqa: FBT001 - a checkbox's value
    ) -> dict[Any, Any]:
        """Show the counted comments beside the sound, and what fits better."""
        form = self._form
        if check is None:
            return {
                form.timing_figure: gr.update(visible=False),
                form.timing_text: "",
                form.apply_offset: gr.update(visible=False),
            }
        from kuaihl.comments.selection import select_kinds
        from kuaihl.demo import panels
        from kuaihl.plots.offset import plot_offset
        from kuaihl.sync import BIN_S, comment_rate

        moved: LogCheck = check.shifted(offset_s or 0.0)
        level_db, figure = moved.level_db, None
        if level_db is not None and len(level_db):
            times_s = [comment.time_s for comment in select_kinds(moved.log, counted).comments]
            figure = plot_offset(level_db, comment_rate(times_s, len(level_db)), bin_s=BIN_S, dark=dark)
        better = self.better_offset(check, offset_s)
        return {
            form.timing_figure: gr.update(value=figure, visible=figure is not None),
            form.timing_text: panels.timing_html(moved, offset_s=offset_s or 0.0),
            form.apply_offset: gr.update(value=f"Use an offset of {better:g} s", visible=better != (offset_s or 0.0)),
        }

    def better_offset(self, check: Any, offset_s: float | None) -> float:
        """Return the suggested offset, or the current one if it fits."""
        offset_s = offset_s or 0.0
        return offset_s + ((check and check.shifted(offset_s).suggested_offset_s) or 0.0)
