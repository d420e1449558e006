"""The endpoints for programs, through Gradio's client and through MCP."""

import asyncio
import dataclasses
import json
import re
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from kuaihl.cli.main import run
from kuaihl.demo.layout import DOWNLOADS
from kuaihl.predictor import Predictor
from kuaihl.request import LogRequest, Request

ROOT = Path(__file__).parents[2]
REQUEST = [field.name for field in dataclasses.fields(Request)]
PARAMETERS = {
    "/predict": ["recording", "comments", *REQUEST],
    "/highlights": ["recording", "comments", *REQUEST],
    "/explain": ["recording", "comments", "at", *REQUEST],
    "/comments": ["log", "recording", *(field.name for field in dataclasses.fields(LogRequest))],
}


@pytest.fixture(scope="module")
def client(app_url, tmp_path_factory):
    return Client(app_url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def test_endpoints_have_the_parameters_of_a_request_each_with_default_and_description(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {
        name: [p["parameter_name"] for p in endpoint["parameters"]] for name, endpoint in endpoints.items()
    } == PARAMETERS
    for endpoint in endpoints.values():
        assert endpoint["description"]
        required, *optional = endpoint["parameters"]
        assert not required["parameter_has_default"]
        assert all(p["parameter_has_default"] for p in optional)
        assert all(p["python_type"]["description"] for p in endpoint["parameters"])
    defaults = {p["parameter_name"]: p["parameter_default"] for p in endpoints["/predict"]["parameters"]}
    for field in dataclasses.fields(Request):
        expected = [*field.default] if isinstance(field.default, tuple) else field.default
        assert defaults[field.name] == expected
    at = endpoints["/explain"]["parameters"][2]
    assert (at["parameter_default"], at["type"]["type"], at["type"]["items"]) == ([], "array", {"type": "number"})


def test_predict_returns_the_prediction_and_its_files(client, short_recording, short_log):
    answer = client.predict(
        handle_file(short_recording), handle_file(short_log), comment_offset_s=30.0, api_name="/predict"
    )
    assert [segment["comments"] for segment in answer["segments"]] == [0, 2, 1, 3, 0]
    assert answer["recording"]["name"] == "short.mp4"
    assert answer["target"] == "lvtr"
    assert answer["segments"][0]["score"] is None
    assert all(0 < segment["score"] < 1 for segment in answer["segments"][1:])
    files = answer.pop("files")
    assert list(files) == list(DOWNLOADS)
    assert json.loads(Path(files["prediction.json"]).read_text(encoding="utf-8")) == answer
    assert Path(files["report.html"]).read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_highlights_are_those_of_the_prediction(client, short_recording, burst_log):
    recording, log = handle_file(short_recording), handle_file(burst_log)
    settings = {"by": "reaction", "highlights": 1, "max_length_s": 40.0, "padding_s": 5.0}
    highlights = client.predict(recording, log, **settings, api_name="/highlights")
    whole = client.predict(recording, log, **settings, api_name="/predict")
    assert len(highlights) == 1
    for name, value in whole["highlights"][0].items():
        assert highlights[0][name] == pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
    assert highlights[0]["start_s"] <= highlights[0]["peak_s"] <= highlights[0]["end_s"]
    assert highlights[0]["trained_on"] == whole["trained_on"]


def test_comments_that_do_not_count_are_left_out(client, short_recording, short_log):
    answer = client.predict(handle_file(short_recording), handle_file(short_log), counted=["bot"], api_name="/predict")
    assert [segment["comments"] for segment in answer["segments"]] == [0] * 5


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (
            {"at": [95, 140], "sources": ["speech", "comments"]},
            ["--at", "95", "140", "--sources", "speech", "comments"],
        ),
        (
            {"target": "participation", "comment_offset_s": 30.0},
            ["--target", "participation", "--comment-offset-s", "30"],
        ),
    ],
)
def test_explain_returns_what_the_command_prints(
    client, short_recording, short_log, capsys, monkeypatch, predictor, parameters, arguments
):
    monkeypatch.setattr(Predictor, "from_pretrained", classmethod(lambda *_: predictor))  # it is loaded already
    answer = client.predict(handle_file(short_recording), handle_file(short_log), **parameters, api_name="/explain")
    assert run(["explain", str(short_recording), "--comments", str(short_log), "--json", *arguments]) == 0
    assert answer == json.loads(capsys.readouterr().out)
    assert answer["explanations"]


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (605, "at takes"),
        (["95"], "at takes"),
        ([[95.0]], "at takes"),
        ([True], "at takes"),
        ([-1.0], "from 0 up"),
        ([95.0, 12.0], "no score at 12 s"),
        ([1e9], "after 140 s"),
    ],
)
def test_explain_refuses_wrong_times(client, short_recording, at, why):
    with pytest.raises(AppError, match=why):
        client.predict(handle_file(short_recording), sources=["pictures"], at=at, api_name="/explain")


def test_comments_describes_a_log(client, short_recording, short_log):
    alone = client.predict(handle_file(short_log), api_name="/comments")
    assert (alone["comments"], alone["kinds"], alone["recording_s"]) == (7, {"message": 7}, None)
    far = client.predict(
        handle_file(short_log), handle_file(short_recording), comment_offset_s=3600.0, api_name="/comments"
    )
    assert far["recording_s"] == pytest.approx(140.0, abs=1.0)
    assert far["mismatch"]["offset_s"] == -3600.0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"highlights": 0}, "less than minimum"),
        ({"sources": []}, "sources"),
        ({"sources": ["smell"]}, "smell"),
        ({"by": "luck"}, "luck"),
        ({"stream_start": "yesterday"}, "time zone"),
        ({"checkpoint": "no/such"}, "no/such"),
    ],
)
def test_wrong_parameters_are_named(client, short_recording, short_log, wrong, why):
    files = {"recording": handle_file(short_recording), "comments": handle_file(short_log)}
    with pytest.raises(AppError, match=why) as caught:
        client.predict(**files, **wrong, api_name="/highlights")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("api_name", ["/predict", "/comments"])
def test_refuses_files_of_another_kind_and_files_that_were_not_uploaded(client, tmp_path, api_name):
    (notes := tmp_path / "notes.mp4").write_text("not a recording\n" * 50)
    with pytest.raises(AppError, match=r"notes\.mp4") as caught:
        client.predict(handle_file(notes), api_name=api_name)
    assert "/" not in str(caught.value), "the error tells where files are on the server"
    assert "Traceback" not in str(caught.value)
    with pytest.raises(AppError):
        client.predict({"path": str(Path(__file__)), "meta": {"_type": "gradio.FileData"}}, api_name=api_name)


def test_callers_share_nothing(app_url, short_recording, tmp_path):
    (other := tmp_path / "other.mp4").write_bytes(short_recording.read_bytes())
    clients = [Client(app_url, verbose=False, download_files=False) for _ in range(2)]
    jobs = [
        caller.submit(handle_file(recording), api_name="/predict")
        for caller, recording in zip(clients, (short_recording, other), strict=True)
    ]
    answers = [job.result(timeout=120) for job in jobs]
    assert [answer["recording"]["name"] for answer in answers] == ["short.mp4", "other.mp4"]
    folders = [{Path(file["path"]).parent for file in answer["files"].values()} for answer in answers]
    assert not folders[0] & folders[1]


def test_the_example_of_the_readme_runs(app_url, example, monkeypatch, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(from gradio_client import .*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(ROOT)
    exec(compile(code.replace("http://127.0.0.1:7860", app_url), "README.md", "exec"), {})  # noqa: S102 - our own
    assert re.search(r"^\d+ to \d+ s: ", capsys.readouterr().out, re.MULTILINE)


@pytest.fixture
def upload(app_url):
    """Upload a file as Gradio's tool for assistants does; return its address."""

    def upload(file):
        with file.open("rb") as content:
            path = httpx.post(f"{app_url}/gradio_api/upload", files={"files": content}).json()[0]
        return f"{app_url}/gradio_api/file={path}"

    return upload


def call(app_url, tool, **arguments):
    """List the tools of the MCP server and call one of them."""
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    async def ask():
        address = f"{app_url}/gradio_api/mcp/"
        async with streamablehttp_client(address) as (read, write, _), mcp.ClientSession(read, write) as session:
            await session.initialize()
            return (await session.list_tools()).tools, await session.call_tool(tool, arguments)

    return asyncio.run(ask())


def test_mcp_offers_the_same_endpoints(app_url, upload, short_recording):
    tools, answer = call(app_url, "explain", recording=upload(short_recording), sources=["pictures"], at=[95])
    assert {f"/{tool.name}": list(tool.inputSchema["properties"]) for tool in tools} == PARAMETERS
    for tool in tools:
        assert all(field["description"] for field in tool.inputSchema["properties"].values())
        assert tool.inputSchema["required"] == [PARAMETERS[f"/{tool.name}"][0]]
    (schema,) = (tool.inputSchema["properties"]["at"] for tool in tools if tool.name == "explain")
    assert (schema["type"], schema["items"]) == ("array", {"type": "number"})
    assert not answer.isError
    assert "'explanations': [{'start_s': 90.0" in answer.content[0].text.replace("\n", "")


def test_mcp_names_wrong_parameters(app_url, upload, short_log):
    _, answer = call(app_url, "comments", log=upload(short_log), stream_start="yesterday")
    assert answer.isError
    assert "time zone" in answer.content[0].text


@pytest.mark.parametrize("place", ["{cache}/../../server.log", "/etc/passwd"])
def test_mcp_hands_out_no_other_files(app_url, upload, short_log, place):
    cache = upload(short_log).removesuffix("/chat.csv")
    address = place.replace("{cache}", cache) if "{cache}" in place else f"{app_url}/gradio_api/file={place}"
    _, answer = call(app_url, "comments", log=address)
    assert answer.isError
    assert not re.search("root:|INFO", answer.content[0].text)
