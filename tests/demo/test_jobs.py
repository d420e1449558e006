"""Jobs stop when they are told to, keep what they use, and what is over goes with nobody there."""

import asyncio
import os
import pickle
import threading
import time
import weakref
from contextlib import suppress

import pytest

import kuaihl.demo.jobs
from kuaihl.demo.jobs import STAGES, Job, Jobs, Stopped
from kuaihl.predictor import STAGES as PREDICTED


def silent(share, desc):
    """Show nobody."""


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path / "files", keep_s=3600, swept=lambda: None)


def aged(path, by_s):
    then = time.time() - by_s
    os.utime(path, (then, then))
    return path


def test_stages_of_a_prediction_have_words(jobs):
    assert list(STAGES)[:-1] == list(PREDICTED)


def test_what_was_told_to_stop_stops_at_its_next_report(jobs):
    told = []
    job = jobs.begin(lambda share, desc: told.append((share, desc)))
    job("listening", 0.25)
    assert told == [job.said()] == [(0.25, "Listening to the speech (2 of 6)")]
    elsewhere = pickle.loads(pickle.dumps(Job(job.folder, silent)))  # noqa: S301 - our own
    job.stop()
    for one in (job, elsewhere):
        with pytest.raises(Stopped):
            one("listening", 0.5)


def test_reports_are_shown_a_few_times_a_second_and_every_stage_at_once(jobs):
    told = []
    job = jobs.begin(lambda share, desc: told.append(desc))
    for number in range(1000):
        job("opening", number / 1000)
    job("looking", 0.0)
    assert len(told) <= 4
    assert told[-1].startswith("Looking")


def test_who_cancels_waits_for_the_end_and_nothing_is_left(jobs):
    began, ended = threading.Event(), threading.Event()

    async def scenario():
        job = jobs.begin(silent)

        def work():
            began.set()
            try:
                while True:
                    job("looking", 0.0)
                    time.sleep(0.01)
            finally:
                ended.set()

        task = asyncio.create_task(jobs.do(job, work, keep=True))
        await asyncio.to_thread(began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 2)
        assert ended.is_set()
        assert not job.folder.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("keep", [True, False])
def test_what_was_made_stays_if_it_is_wanted(jobs, keep):
    job = jobs.begin(silent)

    def work():
        job("writing", 0.0)
        (job.folder / "made.txt").write_text("made")

    asyncio.run(jobs.do(job, work, keep=keep))
    assert [file.name for file in jobs.folder.rglob("*.txt")] == (["made.txt"] if keep else [])
    assert [file.name for file in jobs.folder.rglob(".*")] == []


def test_what_goes_on_is_not_swept_however_long_it_takes(jobs):
    over, going = jobs.begin(silent), jobs.begin(silent)
    asyncio.run(jobs.do(over, lambda: None, keep=True))
    fresh = jobs.begin(silent)
    asyncio.run(jobs.do(fresh, lambda: None, keep=True))
    of_before = jobs.folder / "run-before"
    of_before.mkdir()
    (foreign := jobs.folder / "foreign").mkdir()
    for folder in (over.folder, going.folder, of_before, foreign):
        aged(folder, 3700)
    jobs.sweep()
    assert set(jobs.folder.iterdir()) == {going.folder, fresh.folder, foreign}


def test_uploads_are_kept_while_they_are_used_and_other_files_left_alone(tmp_path):
    jobs = Jobs(tmp_path / "files", keep_s=0.5, swept=lambda: None)
    jobs.folder.mkdir()
    for file in (upload := jobs.folder / "upload.mp4", own := tmp_path / "own.mp4"):
        file.write_bytes(b"")
        aged(file, 1000)
    job = jobs.begin(silent, upload, own, None)
    assert time.time() - upload.stat().st_mtime < 100, "it may have waited long"
    aged(upload, 1000)
    time.sleep(0.25)
    job("looking", 0.5)
    assert time.time() - upload.stat().st_mtime < 100, "the work takes long"
    assert time.time() - own.stat().st_mtime > 900


def test_a_quiet_server_sweeps_and_a_stopped_one_does_not(tmp_path):
    swept = []
    jobs = Jobs(tmp_path, keep_s=1.0, swept=lambda: swept.append(time.monotonic()))

    async def scenario():
        (folder := tmp_path / "run-old").mkdir()
        async with jobs.sweeping(None):
            deadline = time.monotonic() + 10
            while folder.exists():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # a sweep that goes on may end
        count = len(swept)
        await asyncio.sleep(1.5)
        assert len(swept) == count

    asyncio.run(scenario())


def test_memory_is_given_back_when_nobody_holds_what_was_read(jobs, monkeypatch):
    class Read:
        """What a job reads, and its error keeps alive."""

    alive, seen, done = [], [], asyncio.Event()

    def give_back(really=kuaihl.demo.jobs.give_back):
        really()
        seen.append(alive[0]() is None)
        loop[0].call_soon_threadsafe(done.set)

    def work():
        read = Read()
        alive.append(weakref.ref(read))
        raise Stopped

    loop = []

    async def scenario():
        loop.append(asyncio.get_running_loop())
        with suppress(Stopped):
            await jobs.do(jobs.begin(silent), work)
        await asyncio.wait_for(done.wait(), 30)

    monkeypatch.setattr("kuaihl.demo.jobs.give_back", give_back)
    asyncio.run(scenario())
    assert seen == [True]
