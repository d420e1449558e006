"""The app through its client, and its parts alone."""

import asyncio
import csv
import json
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.route_utils import delete_files_created_by_app
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from kuaihl.errors import RecordingError
from kuaihl.layout import DOWNLOADS


@pytest.fixture
def client(app_url, tmp_path):
    return Client(app_url, verbose=False, download_files=str(tmp_path))


def test_predicts_and_hands_out_readable_files(client, short_recording, short_log):
    files = [Path(p) for p in client.predict(handle_file(short_recording), handle_file(short_log), api_name="/predict")]
    assert [file.name for file in files] == list(DOWNLOADS)
    prediction = json.loads(files[1].read_text(encoding="utf-8"))
    segments = prediction["segments"]
    assert prediction["recording"]["name"] == "short.mp4"
    assert [segment["comments"] for segment in segments] == [2, 1, 3, 0, 1]
    assert segments[0]["lvtr"] is None
    assert all(0 < segment["lvtr"] < 1 for segment in segments[1:])
    with files[2].open(encoding="utf-8", newline="") as table:
        assert [row["comments"] for row in csv.DictReader(table)] == ["2", "1", "3", "0", "1"]
    assert files[0].read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_options_reach_the_predictor(client, short_recording, short_log):
    files = client.predict(
        handle_file(short_recording), handle_file(short_log), comment_offset_s=30.0, api_name="/predict"
    )
    segments = json.loads(Path(files[1]).read_text(encoding="utf-8"))["segments"]
    assert [segment["comments"] for segment in segments] == [0, 2, 1, 3, 0]


def test_takes_a_path_on_its_own_machine(client, short_recording):
    files = client.predict(None, path=str(short_recording), api_name="/predict")
    assert json.loads(Path(files[1]).read_text(encoding="utf-8"))["modalities"]["comments"] is False


def test_refuses_text_that_is_named_like_a_recording(client, tmp_path):
    (notes := tmp_path / "notes.mp4").write_text("not a recording\n" * 50)
    with pytest.raises(AppError, match=r"notes\.mp4") as caught:
        client.predict(handle_file(notes), api_name="/predict")
    assert "/" not in str(caught.value), "the error tells where files lie on the server"
    assert "Traceback" not in str(caught.value)


def test_refuses_a_file_that_nobody_uploaded(client):
    with pytest.raises(AppError):
        client.predict({"path": str(Path(__file__)), "meta": {"_type": "gradio.FileData"}}, api_name="/predict")


def test_visitors_have_files_of_their_own(app_url, short_recording, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(short_recording.read_bytes())
    clients = [Client(app_url, verbose=False, download_files=False) for _ in range(2)]
    jobs = [
        visitor.submit(handle_file(recording), api_name="/predict")
        for visitor, recording in zip(clients, (short_recording, other), strict=True)
    ]
    folders = [{Path(file["path"]).parent for file in job.result(timeout=120)} for job in jobs]
    assert not folders[0] & folders[1]
    names = [json.loads((folder.pop() / "prediction.json").read_text())["recording"]["name"] for folder in folders]
    assert names == ["short.mp4", "other.mp4"]


def demo_of(encode, *, own_machine=False):
    model = Future()
    model.set_result(SimpleNamespace(encode=encode))
    return app.Demo(model, own_machine=own_machine)


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
        work = asyncio.create_task(demo.predict(here, None, str(short_recording)))
        while not steps:
            await asyncio.sleep(0.01)
        assert list(demo.cache.glob("run-*"))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, 5)

    demo = demo_of(encode)
    asyncio.run(cancelled())
    done = len(steps)
    time.sleep(0.1)
    assert len(steps) == done
    assert not list(demo.cache.glob("run-*"))


def test_our_own_faults_are_logged_and_not_shown(here, short_recording, caplog):
    def encode(*files, **options):
        raise ZeroDivisionError("a secret")

    with pytest.raises(gr.Error) as caught:
        asyncio.run(demo_of(encode).predict(here, None, str(short_recording)))
    assert "secret" not in caught.value.message
    assert "a secret" in caplog.text


def test_errors_are_shown_as_text_not_as_markup(here, tmp_path):
    (upload := tmp_path / "<img src=x>.mp4").write_bytes(b"")

    def encode(recording, *files, **options):
        raise RecordingError(f"{recording} is empty.")

    with pytest.raises(gr.Error) as caught:
        asyncio.run(demo_of(encode).predict(here, None, str(upload)))
    assert caught.value.message == "&lt;img src=x&gt;.mp4 is empty."


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"sources": []}, "at least one source"), ({"highlights": 0}, "top_k"), ({"min_gap_s": -1.0}, "min_gap_s")],
)
def test_settings_that_make_no_sense_are_refused(here, short_recording, wrong, why):
    demo = demo_of(lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(gr.Error, match=why):
        asyncio.run(demo.predict(here, None, str(short_recording), **wrong))


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
        asyncio.run(demo.predict(request_, None, None, path=str(short_recording)))


def test_a_public_server_has_no_path_to_fill_in():
    def parameters(*, own_machine):
        page = demo_of(None, own_machine=own_machine).build()
        return [p["parameter_name"] for p in page.get_api_info()["named_endpoints"]["/predict"]["parameters"]]

    assert "path" in parameters(own_machine=True)
    assert parameters(own_machine=False) == [
        "recording", "comments", "transcript", "comment_offset_s", "streamer", "sources", "highlights", "min_gap_s",
        "padding_s",
    ]  # fmt: skip


def test_the_example_outlives_the_visitors_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = demo_of(None).build()
    load = next(event.fn for event in page.fns.values() if event.api_name == "load_example")
    delete_files_created_by_app(page, age=None)
    assert [Path(field["value"]["path"]).is_file() for field in load((0, app.EXAMPLE))] == [True, True]
