"""A tab's run is found again by that tab alone, and limits are read from the environment."""

import asyncio
import shutil
import weakref
from types import SimpleNamespace

import gradio as gr
import pytest

from kuaihl.demo.jobs import Job
from kuaihl.demo.layout import DOWNLOADS
from kuaihl.demo.sessions import Limits, Visits

TAB, OTHER = "0123456789abcdef" * 2, "f" * 32
NEW_PAGE = [gr.skip(), gr.skip(), gr.skip()]


@pytest.fixture
def run(tmp_path):
    (folder := tmp_path / "run-1").mkdir()
    return SimpleNamespace(folder=folder)


class Held(SimpleNamespace):
    """A run that can be looked for in memory."""


class Work:
    """A run that goes on until it is told how it ends."""

    def __init__(self, visits, folder, tab=TAB):
        self.told, self.end = [], asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._submit(visits, folder, tab))

    async def _submit(self, visits, folder, tab):
        visit = visits.begin(tab, job := Job(folder, steps(self.told)))
        job.say(0.25, "Listening")
        return await visit.follow(self.end)


def steps(bar):
    return lambda share, desc: bar.append((share, desc))


def test_a_page_loaded_again_waits_for_its_run_and_gets_its_files(run):
    async def scenario():
        visits, bar = Visits(), []
        work = Work(visits, run.folder)
        await asyncio.sleep(0)
        assert visits.arrive(OTHER) == [OTHER, *NEW_PAGE]
        _, known, start, cancel = visits.arrive(TAB)
        assert (known, start["interactive"], cancel["visible"]) == (True, False, True)
        waiting = asyncio.create_task(visits.wait(TAB, steps(bar)))
        await asyncio.sleep(0)
        assert bar == work.told == [(0.25, "Listening")]
        work.end.set_result(run)
        assert await work.task is run
        assert await waiting == [run, *(str(run.folder / name) for name in DOWNLOADS)]
        _, known, start, cancel = visits.arrive(TAB)
        assert (known, start["interactive"], cancel["visible"]) == (True, True, False)
        assert visits.arrive(OTHER) == [OTHER, *NEW_PAGE]

    asyncio.run(scenario())


def test_what_goes_wrong_is_told_to_a_page_loaded_again(tmp_path):
    async def scenario():
        visits = Visits()
        work = Work(visits, tmp_path)
        await asyncio.sleep(0)
        waiting = asyncio.create_task(visits.wait(TAB, steps([])))
        await asyncio.sleep(0)
        work.end.set_exception(gr.Error("notes.mp4 is no recording."))
        for failed in (work.task, waiting):
            with pytest.raises(gr.Error, match="is no recording"):
                await failed
        assert visits.arrive(TAB) == [TAB, *NEW_PAGE]  # told once

    asyncio.run(scenario())


def test_cancel_reaches_a_run_only_from_its_tab_and_only_when_gradio_does_not(run):
    async def scenario():
        visits = Visits()
        work = Work(visits, run.folder)
        await asyncio.sleep(0)
        await visits.give_up(TAB)  # the page that started it: gradio cancels
        visits.arrive(TAB)
        await visits.give_up(OTHER)
        await asyncio.sleep(0)
        assert not work.task.done()
        await visits.give_up(TAB)
        with pytest.raises(asyncio.CancelledError):
            await work.task
        assert visits.arrive(TAB) == [TAB, *NEW_PAGE]

    asyncio.run(scenario())


def test_a_result_is_found_as_long_as_its_files_are_there_and_with_its_newest_settings(run):
    async def scenario():
        visits = Visits()
        work = Work(visits, run.folder)
        work.end.set_result(run)
        await work.task
        newer = visits.changed(Held(folder=run.folder))
        assert (await visits.wait(TAB, steps([])))[0] is newer
        kept = weakref.ref(newer)
        del work, newer
        shutil.rmtree(run.folder)
        visits.forget()
        assert kept() is None, "memory is held for nobody"
        assert visits.arrive(TAB) == [TAB, *NEW_PAGE]

    asyncio.run(scenario())


@pytest.mark.parametrize("tab", ["", "guess", TAB.upper(), TAB + "0"])
def test_what_no_browser_drew_finds_nothing(tab, tmp_path):
    async def scenario():
        visits = Visits()
        work = Work(visits, tmp_path, tab)
        await asyncio.sleep(0)
        assert visits.arrive(tab) == [tab, *NEW_PAGE]
        work.task.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("environment", "limits"),
    [
        ({}, Limits(upload=None, waiting=16, keep_s=3600)),
        ({"SPACE_ID": "owner/name"}, Limits(upload="2gb")),
        ({"SPACE_ID": "owner/name", "KUAIHL_MAX_UPLOAD": "500mb"}, Limits(upload="500mb")),
        ({"KUAIHL_MAX_WAITING": "3", "KUAIHL_KEEP_S": "60"}, Limits(waiting=3, keep_s=60)),
    ],
)
def test_limits_come_from_the_environment(environment, limits):
    assert Limits.of(environment) == limits
