"""What visitors share: jobs that can be cancelled, checkpoints that are offered, and the choices of each checkpoint."""

import asyncio
import time
from types import SimpleNamespace

import gradio as gr
import pytest
import torch

from kuaihl.demo.model_cache import ModelCache
from kuaihl.demo.page import Page
from kuaihl.demo.pipeline import Files
from kuaihl.demo.service import Service
from kuaihl.model.config import KuaiHLConfig, Target
from kuaihl.request import Request

CONFIG = KuaiHLConfig(
    streamers=("1", "Ann", "Bo"),
    targets=(Target(), Target("participation", "real chat", excluded_inputs=("pictures", "speech", "text"))),
)


def service_of(encode_footage, *, local_paths=False):
    encoder = SimpleNamespace(bert=torch.nn.Identity(), state_dict=dict)
    predictor = SimpleNamespace(
        encode_footage=encode_footage, visual_encoder=encoder, text_encoder=encoder, config=CONFIG, checkpoint=None
    )
    return Service(ModelCache(load=lambda: predictor), local_paths=local_paths)


@pytest.fixture(autouse=True)
def _files_in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))


def run(service, recording, **parameters):
    files, request = Files(recording), Request(**parameters)
    return service.run(service.begin(gr.Progress(), files, request), files, request, lambda *_: None)


def test_cancelling_stops_the_work_and_removes_its_files(short_recording):
    steps = []

    def encode_footage(*_, progress, **__):
        while True:
            progress.stage("listening")(0.5)
            steps.append(time.monotonic())
            time.sleep(0.01)

    async def cancelled():
        work = asyncio.create_task(run(service, short_recording))
        while not steps:
            await asyncio.sleep(0.01)
        assert list(service.jobs.folder.glob("run-*"))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, 5)

    service = service_of(encode_footage)
    asyncio.run(cancelled())
    done = len(steps)
    time.sleep(0.1)
    assert len(steps) == done
    assert not list(service.jobs.folder.glob("run-*"))


@pytest.mark.parametrize("target", ["participation", "smell"])
def test_a_target_that_cannot_be_predicted_is_refused_before_the_recording_is_read(short_recording, target):
    service = service_of(lambda *_, **__: pytest.fail("the recording was read"))
    with pytest.raises(gr.Error, match=target):
        asyncio.run(run(service, short_recording, target=target))


def test_only_offered_checkpoints_unless_the_server_takes_paths():
    service_of(None, local_paths=True).check_allowed("owner/name")
    service = service_of(None)
    service.check_allowed(None)
    with pytest.raises(gr.Error, match="does not offer"):
        service.check_allowed("owner/name")
    with pytest.raises(gr.Error, match="does not offer"):
        Page(service).choice.offer("owner/name", None, "", None)


def offered(*, target=None, streamer="", comments=None):
    """Return the offered targets and streamers: values to choose from, and the chosen one."""
    page = Page(service_of(None))
    updates = page.choice.offer("", target, streamer, comments)
    parts = updates[page.form.target], updates[page.form.streamer]
    return [([value for _, value in part["choices"]], part["value"]) for part in parts]


def test_targets_that_need_comments_are_offered_with_a_comment_log_only():
    assert offered()[0] == offered(target="participation")[0] == (["lvtr"], "lvtr")
    assert offered(target="participation", comments="log")[0] == (["lvtr", "participation"], "participation")
    assert offered(target="smell", comments="log")[0] == (["lvtr", "participation"], "lvtr")


def test_the_chosen_streamer_is_kept_if_the_checkpoint_knows_it():
    assert offered(streamer="Bo")[1] == (["", "Ann", "Bo"], "Bo")
    assert offered(streamer="Cy")[1][1] == ""


def test_a_public_server_shows_no_field_for_a_path():
    assert Page(service_of(None, local_paths=True)).form.path.visible
    assert not Page(service_of(None)).form.path.visible


def test_the_example_is_not_deleted_with_the_files_of_a_visitor(tmp_path):
    page = Page(service_of(None))
    runs = [SimpleNamespace(folder=tmp_path / name) for name in ("example", "run-1")]
    for run in runs:
        run.folder.mkdir()
    page.service.example.set_result(runs[0])
    for run in runs:
        page._delete(run)
    assert [run.folder.exists() for run in runs] == [True, False]
