"""Work for visitors: each job in a thread and a folder of its own; it can be stopped, and leaves nothing behind."""

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

_T = TypeVar("_T")
STAGES = {
    "opening": "Opening the files",
    "listening": "Listening to the speech",
    "looking": "Looking at the pictures",
    "reading": "Reading the comments",
    "predicting": "Predicting",
    "writing": "Writing the results",
}
"""Those of a run, in order, and what a visitor is told of them."""
_OTHERS = {"cutting": "Cutting clips", "comparing": "Comparing with the sound", "explaining": "Finding the reasons"}
_TELL_EVERY_S = 0.2
_LET_GO_S = 0.5
"""After so long nobody holds what a job that is over has read, nor the frames of its error."""
_PART_OF_TIME = 10
"""Files that are in use are kept anew after this part of the time for which files are kept."""


class Stopped(BaseException):
    """The visitor pressed Cancel; no error, so that nothing on the way takes it for one."""


@dataclass(slots=True)
class Job:
    """What goes on for a visitor: told its progress, it tells the visitor, and raises `Stopped` once it is to stop.

    Stop and progress are files in ``folder``, since on ZeroGPU the work is done by another process. ``used`` are the
    visitor's files, which are not to be removed for their age before the work is done.
    """

    folder: Path
    bar: Callable[..., object] = field(repr=False)
    used: tuple[Path, ...] = ()
    keep_s: float = 3600.0
    _stage: str = ""
    _told_s: float = 0.0
    _kept_s: float = field(default_factory=time.monotonic)

    def __call__(self, stage: str, share: float) -> None:
        """Tell which share of a stage is done."""
        if self._stop.exists():
            raise Stopped
        now_s = time.monotonic()
        if stage == self._stage and now_s - self._told_s < _TELL_EVERY_S:
            return
        if now_s - self._kept_s > self.keep_s / _PART_OF_TIME:
            self.keep()
        self._stage, self._told_s = stage, now_s
        number = f" ({list(STAGES).index(stage) + 1} of {len(STAGES)})" if stage in STAGES else ""
        self.say(share, (STAGES | _OTHERS)[stage] + number)

    @property
    def _stop(self) -> Path:
        return self.folder / ".stop"

    @property
    def _said(self) -> Path:
        return self.folder / ".said"

    def say(self, share: float, words: str) -> None:
        """Show a share and words."""
        (new := self._said.with_suffix(".new")).write_text(json.dumps([share, words]), "utf-8")
        new.replace(self._said)
        self.bar(share, desc=words)

    def said(self) -> tuple[float, str]:
        """Return the share and the words that were shown last."""
        try:
            return tuple(json.loads(self._said.read_text("utf-8")))
        except OSError:  # not yet, or it is over
            return 0.0, ""

    def stop(self) -> None:
        """Let the next report raise `Stopped`."""
        self._stop.touch()

    def keep(self) -> None:
        """Let the time of the visitor's files begin anew."""
        self._kept_s = time.monotonic()
        for file in self.used:
            with suppress(OSError):  # who reads it will say so
                os.utime(file)

    def over(self) -> None:
        """Remove what told of the work; what it made stays."""
        for note in self._stop, self._said:
            note.unlink(missing_ok=True)


class Jobs:
    """All that goes on, and the folders of what is over: ``run-…`` in ``folder``, each for ``keep_s`` seconds.

    ``swept`` is called whenever folders may have been removed.
    """

    def __init__(self, folder: Path, *, keep_s: float, swept: Callable[[], None]) -> None:
        self.folder, self.keep_s = folder, keep_s
        self._swept = swept
        self._going: set[Path] = set()

    def begin(self, bar: Callable[..., object], *used: Path | None) -> Job:
        """Make a folder for a job that uses a visitor's files; those that nobody uploaded are left alone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.folder))
        self._going.add(folder)
        uploads = tuple(file for file in used if file and self.folder in file.parents)
        job = Job(folder, bar, uploads, self.keep_s)
        job.keep()
        return job

    async def do(self, job: Job, work: Callable[[], _T], *, keep: bool = False) -> _T:
        """Do ``work`` in a thread; the folder stays if ``keep`` and it succeeds.

        Who cancels waits until it has stopped, so that the next one's turn does not come before.
        """
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            found = await asyncio.shield(task)
        except BaseException:  # of the work, or that of a visitor who cancels
            job.stop()
            task.add_done_callback(lambda _: self._end(job, keep=False))
            await asyncio.wait([task])
            raise
        self._end(job, keep=keep)
        return found

    def _end(self, job: Job, *, keep: bool) -> None:
        job.over()
        if not keep:
            shutil.rmtree(job.folder, ignore_errors=True)
        self._going.discard(job.folder)
        loop = asyncio.get_running_loop()
        loop.call_later(_LET_GO_S, loop.run_in_executor, None, give_back)

    def sweep(self) -> None:
        """Remove the folders whose time is over: also those of programs, which have no session, and of servers before.

        What goes on is left alone, however long it takes.
        """
        for folder in self.folder.glob("run-*"):
            with suppress(FileNotFoundError):  # its session was quicker
                if folder not in self._going and time.time() - folder.stat().st_mtime > self.keep_s:
                    shutil.rmtree(folder, ignore_errors=True)
        self._swept()

    @asynccontextmanager
    async def sweeping(self, _: Any) -> AsyncIterator[None]:
        """Sweep now and then for as long as a server lives, whether or not anybody comes."""

        async def now_and_then() -> None:
            while True:
                await asyncio.to_thread(self.sweep)
                await asyncio.sleep(max(1.0, self.keep_s / 60))

        task = asyncio.create_task(now_and_then())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def give_back() -> None:
    """Give the memory of what is over back to the system, which glibc would keep for the next one; others give it."""
    gc.collect()
    with suppress(AttributeError, TypeError):  # macOS, Windows
        ctypes.CDLL(None).malloc_trim(0)
