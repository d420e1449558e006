"""Limits of a server, and the last run of each browser tab, which is found again when its page is reloaded."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kuaihl.demo.jobs import Job
from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Run

_TAB_ID = re.compile(r"[0-9a-f]{32}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?")
_POLL_EVERY_S = 0.5


def parse_size(text: str) -> int:
    """Return a size such as "500mb" or "2gb" in bytes.

    Raises
    ------
    KuaiHLError
        It is not such a size.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise KuaiHLError(f"{text!r} is not a size: write a number with kb, mb or gb, such as 20gb.")
    return int(float(match[1]) * 1024 ** ("", "k", "m", "g", "t").index(match[2]))


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    Attributes
    ----------
    max_upload
        Largest upload, such as "500mb"; None for any.
    max_waiting
        How many runs may wait.
    keep_s
        For how long files are kept.
    max_disk
        Bytes that uploads and results may take together; None for any number.
    """

    max_upload: str | None = None
    max_waiting: int = 16
    keep_s: int = 3600
    max_disk: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Limits":
        """Read KUAIHL_MAX_UPLOAD and KUAIHL_MAX_DISK (2gb and 20gb on a Space), KUAIHL_MAX_WAITING, KUAIHL_KEEP_S."""
        on_space = "SPACE_ID" in environment
        max_disk = environment.get("KUAIHL_MAX_DISK") or ("20gb" if on_space else None)
        return cls(
            max_upload=environment.get("KUAIHL_MAX_UPLOAD") or ("2gb" if on_space else None),
            max_disk=None if max_disk is None else parse_size(max_disk),
            max_waiting=int(environment.get("KUAIHL_MAX_WAITING") or cls().max_waiting),
            keep_s=int(environment.get("KUAIHL_KEEP_S") or cls().keep_s),
        )


@dataclass(slots=True)
class TabRun:
    """A run that a tab started, and its result or error."""

    job: Job
    task: "asyncio.Task[Any] | None" = field(default=None, repr=False)
    run: "Run | None" = field(default=None, repr=False)
    preview: Path | None = None
    """What can be shown before the result: a JSON file for the player."""
    error: str = ""
    over: bool = False
    reloaded: bool = False
    """Whether the page was reloaded since. Gradio's own Cancel then no longer reaches the task."""

    async def follow(self, work: "Awaitable[Run]") -> "Run":
        """Wait for the run in the current task, and record its result or error."""
        self.task = asyncio.current_task()
        try:
            self.run = await work
        except gr.Error as error:
            self.error = error.message
            raise
        finally:
            self.over, self.task = True, None  # the task refers to all data of the work
        return self.run


class TabRuns:
    """The last run of each tab, while it runs or its files exist."""

    def __init__(self) -> None:
        self._by_tab: dict[str, TabRun] = {}

    def begin(self, tab: str, job: Job) -> TabRun:
        """Record that a tab starts a run. An invalid tab id is not recorded."""
        self.forget()
        tab_run = TabRun(job)
        if _TAB_ID.fullmatch(tab):
            self._by_tab[tab] = tab_run
        return tab_run

    def update(self, run: "Run") -> None:
        """Replace a run by the same run with other settings."""
        for tab_run in self._by_tab.values():
            if tab_run.run is not None and tab_run.run.folder == run.folder:
                tab_run.run = run

    def reload(self, tab: str) -> TabRun | None:
        """Return the run of a tab whose page was loaded, if any."""
        self.forget()
        tab_run = self._by_tab.get(tab)
        if tab_run is not None:
            tab_run.reloaded = True
        return tab_run

    async def wait(self, tab: str, show: Callable[..., object]) -> "Run | None":
        """Show the progress of a tab's run until it is over, and return it; None if there is none.

        Raises
        ------
        gr.Error
            The run failed.
        """
        tab_run = self._by_tab.get(tab)
        if tab_run is None:
            return None
        while not tab_run.over:
            fraction, text = tab_run.job.last_report()
            show(fraction, desc=text)
            await asyncio.sleep(_POLL_EVERY_S)
        if tab_run.error:
            raise gr.Error(tab_run.error, duration=None, print_exception=False)
        return tab_run.run

    def has_run(self, tab: str) -> bool:
        """Return whether a tab has a run, over or not."""
        self.forget()
        return tab in self._by_tab

    def preview(self, tab: str) -> Path | None:
        """Return what can be shown of a tab's run before its result."""
        tab_run = self._by_tab.get(tab)
        return tab_run and tab_run.preview

    def cancel(self, tab: str) -> None:
        """Cancel the run of a tab that was reloaded since it started."""
        tab_run = self._by_tab.get(tab)
        if tab_run is not None and tab_run.reloaded and tab_run.task is not None:
            tab_run.task.cancel()

    def forget(self) -> None:
        """Forget runs whose files are gone."""
        self._by_tab = {
            tab: tab_run
            for tab, tab_run in self._by_tab.items()
            if not tab_run.over or (tab_run.run is not None and tab_run.run.folder.exists())
        }
