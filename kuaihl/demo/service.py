"""What all visitors of a server share: its models and jobs, and the way from files to a result."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import gradio as gr

from kuaihl.demo.forms import report_errors, user_error
from kuaihl.demo.jobs import Job, Jobs
from kuaihl.demo.layout import OFFERED
from kuaihl.demo.model_cache import ModelCache
from kuaihl.demo.sessions import Limits, TabRuns
from kuaihl.progress import Progress
from kuaihl.request import Request, Source

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Encoded, Files, OpenedFiles, Run
    from kuaihl.predictor import Predictor

    Encoder = Callable[[Job, OpenedFiles, Request, Encoded | None, Collection[Source]], Encoded]

_T = TypeVar("_T")


class Service:
    """Models, jobs and limits of a server.

    Parameters
    ----------
    models
        The checkpoints that are offered.
    local_paths
        Whether visitors may name files of this machine, and checkpoints that are not offered.
    encode
        Encodes in place of the process's own models, as `kuaihl.demo.zero_gpu.ZeroGpuEncoder`.
    """

    def __init__(self, models: ModelCache, *, local_paths: bool, encode: "Encoder | None" = None) -> None:
        self.models, self.local_paths = models, local_paths
        self._encode = encode or self._encode_here
        self.limits = Limits.from_environment(os.environ)
        self.tab_runs = TabRuns()
        cache = Path(gr.HTML(render=False).GRADIO_CACHE)
        self.jobs = Jobs(
            cache, keep_s=self.limits.keep_s, max_bytes=self.limits.max_disk, on_sweep=self.tab_runs.forget
        )
        self.example: Future[Run] = Future()
        """The result that a new visitor sees."""

    def run_example(self) -> None:
        """Load the model and predict the example. An error is that of the future."""
        from kuaihl.demo import pipeline

        try:
            folder = self.jobs.folder / "example"
            self.example.set_result(pipeline.example_run(self.predictor(None), folder, Request(highlights=OFFERED)))
        except Exception as error:
            self.example.set_exception(error)
            raise

    def check_allowed(self, checkpoint: str | None) -> None:
        """Raise `gr.Error` if a visitor may not use a checkpoint: only offered ones, with ``local_paths`` any."""
        if self.local_paths or checkpoint is None or checkpoint in self.models.folders:
            return
        raise user_error(
            f"This server does not offer that checkpoint. Available: {', '.join(self.models.folders) or 'none'}."
        )

    def predictor(self, checkpoint: str | None) -> "Predictor":
        """Return the predictor of an allowed checkpoint, loaded."""
        return self.models.get(checkpoint, allow_any=self.local_paths)

    def begin(self, show: gr.Progress, files: "Files", request: Request) -> Job:
        """Create a job for a visitor's files."""
        job = report_errors(lambda: self.jobs.begin(show, files.recording, files.comments, request.transcript))
        job.report(0.0, "Waiting for the model")
        return job

    async def run(
        self,
        job: Job,
        files: "Files",
        request: Request,
        finish: "Callable[[Predictor, OpenedFiles, Encoded], _T]",
        *,
        previous: "Encoded | None" = None,
        encode_all: bool = False,
        keep: bool = False,
        on_open: "Callable[[OpenedFiles], object]" = lambda _: None,
    ) -> _T:
        """Encode files in a thread, and return what ``finish`` makes of them.

        Parameters
        ----------
        previous
            An earlier result, which is reused as far as the files are the same.
        encode_all
            Encode also the sources that the request does not use, so that it can be changed later.
        keep
            Keep the folder of the job.
        on_open
            Called from the thread when the files are open.
        """

        def work() -> _T:
            from kuaihl.demo import pipeline
            from kuaihl.features.embeddings import SOURCES
            from kuaihl.model.targets import check_sources

            predictor = self.predictor(request.checkpoint)
            available = [source for source in request.sources if source != "comments" or files.comments]
            used = check_sources(predictor.config, request.target, available)
            opened = pipeline.open_files(files, request, progress=Progress(job))
            on_open(opened)
            return finish(
                predictor, opened, self._encode(job, opened, request, previous, SOURCES if encode_all else used)
            )

        paths = files.recording, files.comments, request.transcript
        return await self.jobs.run(job, partial(report_errors, work, *paths), keep=keep)

    def _encode_here(
        self, job: Job, opened: "OpenedFiles", request: Request, previous: "Encoded | None", sources: Collection[Source]
    ) -> "Encoded":
        from kuaihl.demo import pipeline

        predictor = self.predictor(request.checkpoint)
        return pipeline.encode(predictor, opened, request, previous=previous, sources=sources, progress=Progress(job))
