"""Jobs of visitors: each runs in a thread and has a folder. It can be stopped, and then leaves nothing behind."""

import asyncio
import ctypes
import gc
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kuaihl.errors import KuaiHLError

_T = TypeVar("_T")
STAGES = {
    "opening": "Opening the files",
    "listening": "Recognising speech",
    "looking": "Encoding pictures",
    "reading": "Encoding text",
    "predicting": "Predicting",
    "writing": "Writing the results",
}
"""Stages of a run, in order, with the texts that the page shows."""
_OTHER_STAGES = {"cutting": "Cutting clips", "comparing": "Comparing with the sound", "explaining": "Explaining"}
_SHARES = dict(zip(STAGES, (0.03, 0.5, 0.33, 0.06, 0.04, 0.04), strict=True))
"""About how much of the time of a run each stage takes."""
_MIN_SHARE, _MIN_ELAPSED_S = 0.03, 3.0
"""From then on the time left is estimated."""
_REPORT_EVERY_S = 0.2
_RELEASE_AFTER_S = 0.5
"""By then nothing refers to the data of a finished job, or to the frames of its exception."""
_TOUCHES = 10
"""How often the age of files in use is reset during the time for which files are kept."""


class Stopped(BaseException):
    """The visitor pressed Cancel. Not an `Exception`, so that nobody handles it as an error."""


@dataclass(slots=True)
class Job:
    """A visitor's running job. Reports its progress, and raises `Stopped` from the next report after `stop`.

    Stop and progress are files in ``folder``, since on ZeroGPU another process does the work.

    Attributes
    ----------
    folder
        For the results.
    show
        Shows a fraction and a text, such as `gr.Progress`.
    uploads
        Files of the visitor that the job reads. They are not deleted for their age while it runs.
    keep_s
        For how long files are kept.
    """

    folder: Path
    show: Callable[..., object] = field(repr=False)
    uploads: tuple[Path, ...] = ()
    keep_s: float = 3600.0
    _stage: str = ""
    _reported_s: float = 0.0
    _touched_s: float = field(default_factory=time.monotonic)
    _began_s: float = field(default_factory=time.monotonic)

    def __call__(self, stage: str, fraction: float) -> None:
        """Report which fraction of a stage is done, at most a few times per second.

        What is shown is the fraction of the whole run, and the time left.
        """
        if self._stop_file.exists():
            raise Stopped
        now_s = time.monotonic()
        if stage == self._stage and now_s - self._reported_s < _REPORT_EVERY_S:
            return
        if now_s - self._touched_s > self.keep_s / _TOUCHES:
            self.touch_uploads()
        self._stage, self._reported_s = stage, now_s
        text = (STAGES | _OTHER_STAGES)[stage]
        if stage in STAGES:
            before = list(STAGES)[: list(STAGES).index(stage)]
            fraction = sum(_SHARES[name] for name in before) + _SHARES[stage] * fraction
        elapsed_s = now_s - self._began_s
        if fraction >= _MIN_SHARE and elapsed_s >= _MIN_ELAPSED_S:
            text += f", about {_duration(elapsed_s * (1 - fraction) / fraction)} left"
        self.report(fraction, text)

    @property
    def _stop_file(self) -> Path:
        return self.folder / ".stop"

    @property
    def _progress_file(self) -> Path:
        return self.folder / ".progress"

    def report(self, fraction: float, text: str) -> None:
        """Show a fraction and a text."""
        new = self._progress_file.with_suffix(".new")
        new.write_text(json.dumps([fraction, text]), "utf-8")
        new.replace(self._progress_file)
        self.show(fraction, desc=text)

    def last_report(self) -> tuple[float, str]:
        """Return the fraction and the text that were reported last."""
        try:
            fraction, text = json.loads(self._progress_file.read_text("utf-8"))
        except OSError:  # no report yet, or the job is over
            return 0.0, ""
        return fraction, text

    def stop(self) -> None:
        """Let the next report raise `Stopped`."""
        self._stop_file.touch()

    def touch_uploads(self) -> None:
        """Reset the age of the visitor's files."""
        self._touched_s = time.monotonic()
        for file in self.uploads:
            with suppress(OSError):
                os.utime(file)

    def clean_up(self) -> None:
        """Remove the files for stop and progress; results stay."""
        for file in self._stop_file, self._progress_file:
            file.unlink(missing_ok=True)


class Jobs:
    """All running jobs, and the folders ``run-*`` in ``folder``, each of which is kept for ``keep_s`` seconds.

    All files in ``folder``, with those of visitors, may take ``max_bytes``. ``on_sweep`` is called whenever folders may
    have been removed.
    """

    def __init__(
        self, folder: Path, *, keep_s: float, on_sweep: Callable[[], None], max_bytes: int | None = None
    ) -> None:
        self.folder, self.keep_s, self.max_bytes = folder, keep_s, max_bytes
        self._on_sweep = on_sweep
        self._running: set[Path] = set()

    def begin(self, show: Callable[..., object], *files: Path | None) -> Job:
        """Create a job and its folder. Those of ``files`` that are uploads are kept while it runs.

        Raises
        ------
        KuaiHLError
            The files of the server take more than ``max_bytes``, even without the results of earlier jobs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_room()
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.folder))
        self._running.add(folder)
        uploads = tuple(file for file in files if file and self.folder in file.parents)
        job = Job(folder, show, uploads, self.keep_s)
        job.touch_uploads()
        return job

    async def run(self, job: Job, work: Callable[[], _T], *, keep: bool = False) -> _T:
        """Run ``work`` in a thread. The folder stays if ``keep`` and the work succeeds.

        When cancelled, wait until the work has stopped, so that the next job does not start before.
        """
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            result = await asyncio.shield(task)
        except BaseException:  # of the work, or cancelled
            job.stop()
            task.add_done_callback(lambda _: self._end(job, keep=False))
            await asyncio.wait([task])
            raise
        self._end(job, keep=keep)
        return result

    def _end(self, job: Job, *, keep: bool) -> None:
        job.clean_up()
        if not keep:
            shutil.rmtree(job.folder, ignore_errors=True)
        self._running.discard(job.folder)
        loop = asyncio.get_running_loop()
        loop.call_later(_RELEASE_AFTER_S, loop.run_in_executor, None, release_memory)

    def _make_room(self) -> None:
        """Remove the results of earlier jobs, the oldest first, until the files take no more than ``max_bytes``."""
        if self.max_bytes is None:
            return
        over = sorted(set(self.folder.glob("run-*")) - self._running, key=lambda folder: folder.stat().st_mtime)
        while disk_usage(self.folder) > self.max_bytes:
            if not over:
                raise KuaiHLError("The server's disk quota is used up. Try again later.")
            shutil.rmtree(over.pop(0), ignore_errors=True)
        self._on_sweep()

    def sweep(self) -> None:
        """Remove folders that are too old, including those of API calls and of earlier servers.

        Folders of running jobs stay, however old they are.
        """
        for folder in self.folder.glob("run-*"):
            with suppress(FileNotFoundError):  # removed by its session meanwhile
                if folder not in self._running and time.time() - folder.stat().st_mtime > self.keep_s:
                    shutil.rmtree(folder, ignore_errors=True)
        self._on_sweep()

    @asynccontextmanager
    async def sweeping(self, _: Any) -> AsyncIterator[None]:
        """Sweep regularly while the server runs, even if nobody visits it."""

        async def sweep_forever() -> None:
            while True:
                await asyncio.to_thread(self.sweep)
                await asyncio.sleep(max(1.0, self.keep_s / 60))

        task = asyncio.create_task(sweep_forever())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _duration(seconds: float) -> str:
    """Format a duration in words: whole minutes, or seconds below two minutes."""
    return f"{max(round(seconds), 1)} s" if seconds < 120 else f"{round(seconds / 60)} min"


def disk_usage(folder: Path) -> int:
    """Return the bytes of all files in a folder; files that disappear meanwhile do not count."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            total += file.lstat().st_size
    return total


def release_memory() -> None:
    """Return freed memory to the system, which glibc would keep."""
    gc.collect()
    with suppress(AttributeError, TypeError, OSError):  # macOS, Windows
        ctypes.CDLL(None).malloc_trim(0)
