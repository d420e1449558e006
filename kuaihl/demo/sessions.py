"""What a server owes its visitors: limits that hold for all, and a tab's run, found when its page is loaded again."""

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from kuaihl.demo.jobs import Job
from kuaihl.demo.layout import DOWNLOADS

if TYPE_CHECKING:
    from kuaihl.demo.pipeline import Run

_TAB = re.compile(r"[0-9a-f]{32}")
_NAME_THE_TAB = """() => {
    try {
        const drawn = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0'));
        return [sessionStorage.kuaihl ??= drawn.join('')];
    } catch { return ['']; }  // a browser that keeps nothing
}"""
"""128 random bits that the tab keeps, so that nobody else can ask for its run."""
_OFFER_CANCEL = "() => [{__type__: 'update', interactive: false}, {__type__: 'update', visible: true}]"
"""What gr.update gives, made by the browser."""
_LOOK_EVERY_S = 0.5
_QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server allows: the largest upload (such as 500mb; None: any), how many runs wait, how long files stay."""

    upload: str | None = None
    waiting: int = 16
    keep_s: int = 3600

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Limits":
        """Read KUAIHL_MAX_UPLOAD (on a Space 2gb if not given), KUAIHL_MAX_WAITING and KUAIHL_KEEP_S."""
        upload = environment.get("KUAIHL_MAX_UPLOAD") or ("2gb" if "SPACE_ID" in environment else None)
        numbers = {"waiting": "KUAIHL_MAX_WAITING", "keep_s": "KUAIHL_KEEP_S"}
        return cls(upload, **{name: int(environment[key]) for name, key in numbers.items() if environment.get(key)})


@dataclass(slots=True)
class Visit:
    """A run that a tab asked for: how far it is, and what became of it."""

    job: Job
    task: "asyncio.Task[Any] | None" = field(repr=False)
    run: "Run | None" = field(default=None, repr=False)
    wrong: str = ""
    over: bool = False
    loaded_again: bool = False
    """Then Cancel on the page no longer reaches the task through gradio."""

    async def follow(self, work: "Awaitable[Run]") -> "Run":
        """Wait for the run, and note what becomes of it."""
        try:
            self.run = await work
        except gr.Error as error:
            self.wrong = error.message
            raise
        finally:
            self.over, self.task = True, None  # which holds all that the work came upon
        return self.run


class Visits:
    """The last run of each tab, for as long as it goes on or its files are there."""

    def __init__(self) -> None:
        self._of: dict[str, Visit] = {}

    def begin(self, tab: str, job: Job) -> Visit:
        """Note that a tab asks for a run, in the task of that run; what is no tab is not found again."""
        self.forget()
        visit = Visit(job, asyncio.current_task())
        if _TAB.fullmatch(tab):
            self._of[tab] = visit
        return visit

    def changed(self, run: "Run") -> "Run":
        """Take a run's new settings, so that it is found again with them."""
        for visit in self._of.values():
            if visit.run is not None and visit.run.folder == run.folder:
                visit.run = run
        return run

    def arrive(self, tab: str) -> list[Any]:
        """Greet a page that was loaded: a tab that asked for a run before may wait for it again, or cancel it."""
        self.forget()
        visit = self._of.get(tab)
        if visit is None:
            return [tab, gr.skip(), gr.skip(), gr.skip()]
        visit.loaded_again = True
        return [tab, True, gr.update(interactive=visit.over), gr.update(visible=not visit.over)]

    async def wait(self, tab: str, progress: gr.Progress = gr.Progress()) -> Any:  # noqa: B008 - gradio's way
        """Show how far a tab's run is until it is over; returns it with its files."""
        visit = self._of.get(tab)
        if visit is None:
            return gr.skip()
        while not visit.over:
            share, words = visit.job.said()
            progress(share, desc=words)
            await asyncio.sleep(_LOOK_EVERY_S)
        if visit.wrong:
            raise gr.Error(visit.wrong, duration=None, print_exception=False)
        return gr.skip() if visit.run is None else [visit.run, *(str(visit.run.folder / name) for name in DOWNLOADS)]

    async def give_up(self, tab: str) -> list[Any]:
        """Cancel the run that a tab asked for before its page was loaded again."""
        visit = self._of.get(tab)
        if visit is not None and visit.loaded_again and not visit.over:
            visit.task.cancel()
        return _idle()

    def lay_out(
        self, page: gr.Blocks, given: Sequence[Component], start: gr.Button, cancel: gr.Button, bar: Component
    ) -> tuple[gr.State, Dependency]:
        """Name the tab when its page is loaded, and fill ``given``, the state and the files, with its run, if any.

        Returns the tab's name and the event that fills.
        """
        tab, token, known = gr.State(""), gr.Textbox(visible=False), gr.State(False)  # noqa: FBT003 - its value
        loud = _QUIET | {"queue": True, "concurrency_limit": None}  # past the queue, gradio tells of no change of state
        page.load(self.arrive, [token], [tab, known, start, cancel], js=_NAME_THE_TAB, **loud)
        found = known.change(
            self.wait, [tab], given, show_progress_on=[bar], concurrency_limit=None, api_visibility="private"
        )
        return tab, found

    def busy(self, *buttons: gr.Button, start: gr.Button, cancel: gr.Button) -> None:
        """Offer Cancel when a button is pressed; to be connected before its work, since all is done in order.

        The browser does it: an answer of the server could come after that of work which fails at once.
        """
        gr.on([button.click for button in buttons], None, None, [start, cancel], js=_OFFER_CANCEL, **_QUIET)

    def connect(self, runs: Sequence[Dependency], tab: gr.State, start: gr.Button, cancel: gr.Button) -> None:
        """Let the visitor cancel what runs, and start again when it is over."""
        for run in runs:
            run.then(_idle, None, [start, cancel], **_QUIET)
            run.failure(_idle, None, [start, cancel], **_QUIET)  # then() is not called after an error
        cancel.click(self.give_up, [tab], [start, cancel], cancels=list(runs), **_QUIET)

    def forget(self) -> None:
        """Let go of runs whose files are gone."""
        kept = {tab: v for tab, v in self._of.items() if not v.over or (v.run is not None and v.run.folder.exists())}
        self._of = kept


def _idle() -> list[Any]:
    """Make Run pressable, and hide Cancel."""
    return [gr.update(interactive=True), gr.update(visible=False)]
