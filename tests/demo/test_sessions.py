"""The run of a tab is found again by that tab only; limits are read from the environment."""

import asyncio
import shutil
import weakref
from types import SimpleNamespace

import gradio as gr
import pytest

from kuaihl.demo.jobs import Job
from kuaihl.demo.sessions import TabRuns

TAB, OTHER = "0123456789abcdef" * 2, "f" * 32


class Run(SimpleNamespace):
    """A run to which weak references are possible."""


@pytest.fixture
def run(tmp_path):
    (folder := tmp_path / "run-1").mkdir()
    return Run(folder=folder)


class Started:
    """A run that goes on until `end` is set."""

    def __init__(self, tab_runs, folder, tab=TAB):
        self.reports, self.end = [], asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._submit(tab_runs, folder, tab))

    async def _submit(self, tab_runs, folder, tab):
        tab_run = tab_runs.begin(tab, job := Job(folder, show(self.reports)))
        job.report(0.25, "Listening")
        return await tab_run.follow(self.end)


def show(reports):
    return lambda fraction, desc: reports.append((fraction, desc))


def scenario(function):
    """Run a test that is a coroutine."""

    def test(run):
        asyncio.run(function(TabRuns(), run))

    test.__name__ = function.__name__
    return test


@scenario
async def test_a_reloaded_page_waits_for_its_run(tab_runs, run):
    started, reports = Started(tab_runs, run.folder), []
    await asyncio.sleep(0)
    assert tab_runs.reload(OTHER) is None
    assert not tab_runs.reload(TAB).over
    waiting = asyncio.create_task(tab_runs.wait(TAB, show(reports)))
    await asyncio.sleep(0)
    assert reports == started.reports == [(0.25, "Listening")]
    started.end.set_result(run)
    assert await started.task is await waiting is run
    assert tab_runs.reload(TAB).over
    assert await tab_runs.wait(OTHER, show([])) is None
    assert (tab_runs.has_run(TAB), tab_runs.has_run(OTHER)) == (True, False)


@scenario
async def test_a_reloaded_page_gets_the_error_of_its_run_once(tab_runs, run):
    started = Started(tab_runs, run.folder)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(tab_runs.wait(TAB, show([])))
    await asyncio.sleep(0)
    started.end.set_exception(gr.Error("notes.mp4 is no recording."))
    for task in (started.task, waiting):
        with pytest.raises(gr.Error, match="is no recording"):
            await task
    assert tab_runs.reload(TAB) is None


@scenario
async def test_cancel_reaches_a_run_from_its_own_tab_after_a_reload_only(tab_runs, run):
    started = Started(tab_runs, run.folder)
    await asyncio.sleep(0)
    tab_runs.cancel(TAB)  # not reloaded: Gradio cancels
    tab_runs.reload(TAB)
    tab_runs.cancel(OTHER)
    await asyncio.sleep(0)
    assert not started.task.done()
    tab_runs.cancel(TAB)
    with pytest.raises(asyncio.CancelledError):
        await started.task
    assert tab_runs.reload(TAB) is None


@scenario
async def test_a_run_is_found_with_its_newest_settings_while_its_files_exist(tab_runs, run):
    started = Started(tab_runs, run.folder)
    started.end.set_result(run)
    await started.task
    updated = Run(folder=run.folder)
    tab_runs.update(updated)
    assert await tab_runs.wait(TAB, show([])) is updated
    reference = weakref.ref(updated)
    del started, updated
    shutil.rmtree(run.folder)
    tab_runs.forget()
    assert reference() is None, "memory is still held"
    assert tab_runs.reload(TAB) is None


@pytest.mark.parametrize("tab", ["", "guess", TAB.upper(), TAB + "0"])
def test_an_invalid_tab_id_finds_nothing(tab, tmp_path):
    async def scenario():
        tab_runs = TabRuns()
        started = Started(tab_runs, tmp_path, tab)
        await asyncio.sleep(0)
        assert tab_runs.reload(tab) is None
        started.task.cancel()

    asyncio.run(scenario())
