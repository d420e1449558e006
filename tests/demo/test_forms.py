"""What visitors send: converted, checked, and refused with errors that they can read."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from kuaihl.demo import forms
from kuaihl.errors import KuaiHLError
from kuaihl.request import Request

PATH = "/tmp/stream.mp4"  # noqa: S108 - never opened


def http(host="127.0.0.1:7860", *, client="127.0.0.1", **headers):
    return SimpleNamespace(headers={"host": host} | headers, client=SimpleNamespace(host=client))


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


@pytest.mark.parametrize(
    ("own_machine", "request_"),
    [
        (False, http()),
        (True, http("example.org:7860")),
        (True, http("192.168.1.2:7860", client="192.168.1.3")),
        (True, http(client="10.0.0.7")),
        (True, http("localhost", **{"x-forwarded-for": "10.0.0.7"})),
    ],
)
def test_only_visitors_on_the_machine_itself_may_give_a_path(own_machine, request_):
    with pytest.raises(gr.Error, match="Upload"):
        forms.recording_path(request_, None, PATH, own_machine=own_machine)
    assert str(forms.recording_path(http(), None, f' "{PATH}" ', own_machine=True)) == PATH
    assert str(forms.recording_path(request_, PATH, "", own_machine=own_machine)) == PATH
