"""What visitors send: converted, checked, and refused with errors that they can read."""

import asyncio
from pathlib import Path

import gradio as gr
import pytest

from kuaihl.demo import forms
from kuaihl.errors import KuaiHLError
from kuaihl.request import Request

PATH = "/tmp/stream.mp4"  # noqa: S108 - never opened


def test_values_of_the_page_become_a_request_and_back():
    request = Request(
        streamer="Ann",
        sources=("speech",),
        highlights=3,
        min_gap_s=90.0,
        comment_offset_s=-2.5,
        counted=("message", "bot"),
        budget_s=120.0,
        target="participation",
    )
    values = forms.request_values(request)
    assert values["sources"] == ["speech"]
    assert forms.request_from(values) == request
    assert forms.request_from(dict.fromkeys(values)) == Request()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"sources": []}, "sources"), ({"highlights": 0}, "highlights"), ({"min_gap_s": -1.0}, "min_gap_s"),
     ({"max_length_s": 0.0}, "max_length_s"), ({"counted": []}, "counted"), ({"budget_s": -1.0}, "budget_s")],
)  # fmt: skip
def test_values_out_of_range_are_refused(wrong, name):
    with pytest.raises(gr.Error, match=name):
        forms.request_from(wrong)


def test_errors_name_files_without_their_folder_and_are_not_markup():
    error = forms.from_kuaihl(KuaiHLError("/secret/<img src=x>.mp4 is empty"), Path("/secret/<img src=x>.mp4"))
    assert error.message == "&lt;img src=x&gt;.mp4 is empty"


def test_internal_errors_are_logged_and_not_shown(caplog):
    def work():
        raise ZeroDivisionError("a secret")

    with pytest.raises(gr.Error) as caught:
        forms.report_errors(work)
    assert "secret" not in caught.value.message
    assert "a secret" in caplog.text


def test_paths_are_for_servers_that_take_them():
    with pytest.raises(gr.Error, match="Upload"):
        forms.recording_path(None, PATH, local_paths=False)
    assert str(forms.recording_path(None, f' "{PATH}" ', local_paths=True)) == PATH
    for local_paths in (False, True):
        assert str(forms.recording_path(PATH, "", local_paths=local_paths)) == PATH


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (upload := tmp_path / "a" / "stream 1.mp4").parent.mkdir()
    upload.write_bytes(b"")
    (secret := tmp_path.parent / "secret.mp4").write_bytes(b"")
    component = forms.upload(render=False)

    def accept(url):
        return asyncio.run(component.async_move_resource_to_block_cache(url))

    assert accept(str(upload)) == str(upload)
    for host in ("127.0.0.1:7860", "kuaihl.example"):
        assert accept(f"http://{host}/gradio_api/file={upload.parent}/stream%201.mp4") == str(upload)
        for path in ("/video.mp4", f"/gradio_api/file={secret}", f"/gradio_api/file={upload.parent}/../../secret.mp4"):
            with pytest.raises(gr.Error, match="downloads nothing"):
                accept(f"http://{host}{path}")
