"""Jobs stop when they are told to, keep the files that they read, and their folders are removed in time."""

import asyncio
import os
import pickle
import re
import threading
import time
import weakref
from contextlib import suppress

import pytest

import kuaihl.demo.jobs
from kuaihl.demo.jobs import STAGES, Job, Jobs, Stopped
from kuaihl.errors import KuaiHLError
from kuaihl.predictor import STAGES as PREDICTOR_STAGES


def silent(fraction, desc):
    """Show nothing."""


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path / "files", keep_s=3600, on_sweep=lambda: None)


def aged(path, by_s):
    then = time.time() - by_s
    os.utime(path, (then, then))
    return path


def test_every_stage_of_a_prediction_has_a_text():
    assert list(STAGES)[:-1] == list(PREDICTOR_STAGES)


def test_a_stopped_job_raises_at_its_next_report_in_any_process(jobs):
    shown = []
    job = jobs.begin(lambda fraction, desc: shown.append((fraction, desc)))
    job("listening", 0.25)
    ((fraction, text),) = shown
    assert shown == [job.last_report()]
    assert 0 < fraction < 1
    assert text == STAGES["listening"]
    elsewhere = pickle.loads(pickle.dumps(Job(job.folder, silent)))  # noqa: S301 - our own
    job.stop()
    for same in (job, elsewhere):
        with pytest.raises(Stopped):
            same("listening", 0.5)


def test_one_fraction_grows_over_all_stages_with_the_time_left(jobs, monkeypatch):
    now_s, shown = [0.0], []
    monkeypatch.setattr("kuaihl.demo.jobs.time.monotonic", lambda: now_s[0])
    job = jobs.begin(lambda fraction, desc: shown.append((fraction, desc)))
    job._began_s = job._touched_s = 0.0
    for stage in STAGES:
        for done in (0.0, 0.5, 1.0):
            now_s[0] += 10.0
            job(stage, done)
    fractions = [fraction for fraction, _ in shown]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == pytest.approx(1.0)
    fraction, text = shown[10]
    left_s = int(re.search(r"about (\d+) s left", text)[1])
    assert left_s == round(110 * (1 - fraction) / fraction)


def test_reports_are_shown_a_few_times_per_second_and_every_stage_at_once(jobs):
    shown = []
    job = jobs.begin(lambda fraction, desc: shown.append(desc))
    for number in range(1000):
        job("opening", number / 1000)
    job("looking", 0.0)
    assert len(shown) <= 4
    assert shown[-1].startswith(STAGES["looking"])


def test_cancelling_waits_for_the_end_and_leaves_nothing(jobs):
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

        task = asyncio.create_task(jobs.run(job, work, keep=True))
        await asyncio.to_thread(began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert ended.is_set()
        assert not job.folder.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("keep", [True, False])
def test_results_are_kept_on_request(jobs, keep):
    job = jobs.begin(silent)

    def work():
        job("writing", 0.0)
        (job.folder / "made.txt").write_text("made")

    asyncio.run(jobs.run(job, work, keep=keep))
    assert [file.name for file in jobs.folder.rglob("*.txt")] == (["made.txt"] if keep else [])
    assert [file.name for file in jobs.folder.rglob(".*")] == []


def test_old_folders_are_removed_unless_their_job_runs(jobs):
    over, running = jobs.begin(silent), jobs.begin(silent)
    asyncio.run(jobs.run(over, lambda: None, keep=True))
    fresh = jobs.begin(silent)
    asyncio.run(jobs.run(fresh, lambda: None, keep=True))
    of_earlier_server = jobs.folder / "run-before"
    of_earlier_server.mkdir()
    (foreign := jobs.folder / "foreign").mkdir()
    for folder in (over.folder, running.folder, of_earlier_server, foreign):
        aged(folder, 3700)
    jobs.sweep()
    assert set(jobs.folder.iterdir()) == {running.folder, fresh.folder, foreign}


def test_results_make_room_for_new_jobs_and_a_full_disk_is_refused(tmp_path):
    jobs = Jobs(tmp_path / "files", keep_s=3600, on_sweep=lambda: None, max_bytes=100_000)

    def finished(age_s):
        job = jobs.begin(silent)
        (job.folder / "clip.mp4").write_bytes(bytes(40_000))
        asyncio.run(jobs.run(job, lambda: None, keep=True))
        return aged(job.folder, age_s)

    older, newer, last = finished(20), finished(10), finished(0)
    running = jobs.begin(silent)
    assert not older.exists()
    assert newer.exists()
    assert last.exists()
    (running.folder / "clip.mp4").write_bytes(bytes(110_000))
    with pytest.raises(KuaiHLError, match="quota"):
        jobs.begin(silent)
    assert set(jobs.folder.iterdir()) == {running.folder}


def test_uploads_are_kept_while_they_are_used_and_other_files_are_left_alone(tmp_path):
    jobs = Jobs(tmp_path / "files", keep_s=0.5, on_sweep=lambda: None)
    jobs.folder.mkdir()
    for file in (upload := jobs.folder / "upload.mp4", own := tmp_path / "own.mp4"):
        file.write_bytes(b"")
        aged(file, 1000)
    job = jobs.begin(silent, upload, own, None)
    assert time.time() - upload.stat().st_mtime < 100, "it may have waited for long"
    aged(upload, 1000)
    time.sleep(0.25)
    job("looking", 0.5)
    assert time.time() - upload.stat().st_mtime < 100, "the work may take long"
    assert time.time() - own.stat().st_mtime > 900


def test_a_server_without_visitors_sweeps_until_it_is_stopped(tmp_path):
    sweeps = []
    jobs = Jobs(tmp_path, keep_s=1.0, on_sweep=lambda: sweeps.append(time.monotonic()))

    async def scenario():
        (folder := tmp_path / "run-old").mkdir()
        async with jobs.sweeping(None):
            deadline = time.monotonic() + 10
            while folder.exists():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # a sweep that has begun may end
        count = len(sweeps)
        await asyncio.sleep(1.2)
        assert len(sweeps) == count

    asyncio.run(scenario())


def test_memory_is_released_after_nothing_refers_to_the_data(jobs, monkeypatch):
    class Data:
        """What a job reads; the traceback of its error refers to it."""

    references, dead, done, loop = [], [], asyncio.Event(), []

    def release_memory(really=kuaihl.demo.jobs.release_memory):
        really()
        dead.append(references[0]() is None)
        loop[0].call_soon_threadsafe(done.set)

    def work():
        data = Data()
        references.append(weakref.ref(data))
        raise Stopped

    async def scenario():
        loop.append(asyncio.get_running_loop())
        with suppress(Stopped):
            await jobs.run(jobs.begin(silent), work)
        await asyncio.wait_for(done.wait(), 30)

    monkeypatch.setattr("kuaihl.demo.jobs.release_memory", release_memory)
    asyncio.run(scenario())
    assert dead == [True]
