"""The app's parts alone."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from gradio.route_utils import delete_files_created_by_app

import app
from kuaihl.demo import layout
from kuaihl.demo.choices import Choosing
from kuaihl.demo.forms import settings_of, values_of
from kuaihl.demo.model_cache import Shelf
from kuaihl.demo.pipeline import Settings
from kuaihl.highlights import HighlightOptions
from kuaihl.model.config import KuaiHLConfig, Target

CONFIG = KuaiHLConfig(
    streamers=("1", "Ann", "Bo"),
    targets=(Target(), Target("participation", "real chat", excluded_inputs=("pictures", "speech", "text"))),
)


def demo_of(encode, *, own_machine=False):
    nothing = SimpleNamespace(bert=torch.nn.Identity(), state_dict=dict)
    predictor = SimpleNamespace(
        encode=encode, visual_encoder=nothing, text_encoder=nothing, config=CONFIG, checkpoint=None
    )
    return app.Demo(Shelf(load=lambda: predictor), own_machine=own_machine)


def request_to(host, *, client="127.0.0.1", **headers):
    return SimpleNamespace(headers={"host": host} | headers, client=SimpleNamespace(host=client))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A request from this machine, and gradio's files under ``tmp_path``."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return request_to("127.0.0.1:7860")


def test_cancelling_stops_the_work_and_removes_its_files(here, short_recording):
    steps = []

    def encode(*files, progress, **options):
        while True:
            progress("listening", 0.5)
            steps.append(time.monotonic())
            time.sleep(0.01)

    async def cancelled():
        work = asyncio.create_task(demo.submit(here, None, str(short_recording)))
        while not steps:
            await asyncio.sleep(0.01)
        assert list(demo.jobs.folder.glob("run-*"))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, 5)

    demo = demo_of(encode)
    asyncio.run(cancelled())
    done = len(steps)
    time.sleep(0.1)
    assert len(steps) == done
    assert not list(demo.jobs.folder.glob("run-*"))


def test_our_own_faults_are_logged_and_not_shown(here, short_recording, caplog):
    def encode(*files, **options):
        raise ZeroDivisionError("a secret")

    with pytest.raises(gr.Error) as caught:
        asyncio.run(demo_of(encode).submit(here, None, str(short_recording)))
    assert "secret" not in caught.value.message
    assert "a secret" in caplog.text


def test_errors_are_shown_as_text_not_as_markup(here, tmp_path):
    (upload := tmp_path / "<img src=x>.mp4").write_bytes(b"")
    demo = demo_of(lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(gr.Error) as caught:
        asyncio.run(demo.submit(here, None, str(upload)))
    assert caught.value.message == "&lt;img src=x&gt;.mp4 is empty: the recorder wrote nothing to it."


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"sources": []}, "at least one source"),
        ({"highlights": 0}, "top_k"),
        ({"min_gap_s": -1.0}, "min_gap_s"),
        ({"max_length_s": 0.0}, "max_length_s"),
        ({"target": "participation"}, "nothing to predict participation from, which takes comments"),
        ({"target": "smell"}, "does not predict 'smell'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(here, short_recording, wrong, why):
    demo = demo_of(lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(gr.Error, match=why):
        asyncio.run(demo.submit(here, None, str(short_recording), **wrong))


@pytest.mark.parametrize(
    ("own_machine", "request_"),
    [
        (False, request_to("127.0.0.1:7860")),
        (True, request_to("example.org:7860")),
        (True, request_to("192.168.1.2:7860", client="192.168.1.3")),
        (True, request_to("127.0.0.1:7860", client="10.0.0.7")),
        (True, request_to("localhost", **{"x-forwarded-for": "10.0.0.7"})),
    ],
)
def test_a_path_is_refused_to_anybody_else(own_machine, request_, short_recording, here):
    demo = demo_of(lambda *_, **__: pytest.fail("it was read"), own_machine=own_machine)
    with pytest.raises(gr.Error, match="Upload"):
        asyncio.run(demo.submit(request_, None, None, path=str(short_recording)))


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1:7860"])
def test_a_public_server_takes_models_from_its_list_only(host, short_recording, here):
    demo = demo_of(lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(gr.Error, match="offered here"):
        asyncio.run(demo.submit(request_to(host), None, str(short_recording), model="owner/name"))
    with pytest.raises(gr.Error, match="offered here"):
        Choosing(demo.admit, demo.model).offer(request_to(host), "owner/name", None, "", None)


def test_the_page_s_settings_are_those_of_a_run():
    with gr.Blocks():
        parts = layout.inputs(app.EXAMPLE, models=[("", "")], fitting=lambda: None, own_machine=False)[1]
    labels = [
        "Streamer", "Predict from", "Highlights at most", "Seconds between them at least", "Seconds added at both ends",
        "Seconds long at most", "Comment offset", "What counts as a comment", "Model", "What to predict",
    ]  # fmt: skip
    assert [part.label for part in parts] == labels
    given = "Ann", ["speech"], 3, 90, 5, 120, -2.5, ["message", "bot"], "mine", "participation"
    assert tuple(values_of(settings_of(*given)).values()) == given
    assert settings_of(*given) == Settings(
        "Ann",
        ("pictures", "comments"),
        HighlightOptions(top_k=3, min_gap_s=90, padding_s=5, max_length_s=120),
        -2.5,
        ("message", "bot"),
        "mine",
        "participation",
    )


def offered(here, *, target=None, streamer="", comments=None):
    """What to predict and for whom, as the page offers it: values to choose from, and the chosen one."""
    demo = demo_of(None)
    _, targets, streamers = Choosing(demo.admit, demo.model).offer(here, "", target, streamer, comments)
    return [([value for _, value in part["choices"]], part["value"]) for part in (targets, streamers)]


def test_a_target_that_takes_comments_is_offered_with_a_comment_log_only(here):
    assert offered(here)[0] == (["lvtr"], "lvtr")
    assert offered(here, target="participation")[0] == (["lvtr"], "lvtr")
    assert offered(here, target="participation", comments="log")[0] == (["lvtr", "participation"], "participation")
    assert offered(here, target="smell", comments="log")[0] == (["lvtr", "participation"], "lvtr")


def test_streamers_are_offered_by_a_name_and_forgotten_if_the_model_does_not_know_them(here):
    assert offered(here, streamer="Bo")[1] == (["", "1", "Ann", "Bo"], "Bo")
    assert offered(here, streamer="Cy")[1][1] == ""


def test_a_public_server_has_no_path_to_fill_in():
    def labels(*, own_machine):
        return {getattr(part, "label", None) for part in demo_of(None, own_machine=own_machine).build().blocks.values()}

    assert labels(own_machine=True) - labels(own_machine=False) == {"Path of the recording"}


def test_the_example_outlives_the_visitors_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = demo_of(None).build()
    load = next(event.fn for event in page.fns.values() if event.api_name == "load_example")
    delete_files_created_by_app(page, age=None)
    assert [Path(field["value"]["path"]).is_file() for field in load((0, app.EXAMPLE))] == [True, True]
