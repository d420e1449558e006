"""The endpoints for programs, through gradio's client and through MCP."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from kuaihl.cli.main import run
from kuaihl.demo.layout import DOWNLOADS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(app_url, tmp_path_factory):
    return Client(app_url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def test_every_endpoint_and_parameter_is_described(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/predict", "/highlights", "/why", "/comments"}
    assert [p["parameter_name"] for p in endpoints["/highlights"]["parameters"]] == [
        "recording", "comments", "transcript", "comment_offset_s", "stream_start", "streamer", "sources", "model",
        "target", "highlights", "min_gap_s", "padding_s", "max_length_s", "counted",
    ]  # fmt: skip
    assert {p["parameter_name"] for p in endpoints["/predict"]["parameters"]} == {
        p["parameter_name"] for p in endpoints["/highlights"]["parameters"]
    }
    for endpoint in endpoints.values():
        assert endpoint["description"].endswith(".")
        required, *optional = endpoint["parameters"]
        assert not required["parameter_has_default"]
        assert all(p["parameter_has_default"] for p in optional)
        assert all(p["python_type"]["description"].endswith(".") for p in endpoint["parameters"])


def test_predict_returns_the_prediction_and_its_files(client, short_recording, short_log):
    found = client.predict(
        handle_file(short_recording), handle_file(short_log), comment_offset_s=30.0, api_name="/predict"
    )
    assert [segment["comments"] for segment in found["segments"]] == [0, 2, 1, 3, 0]
    assert found["recording"]["name"] == "short.mp4"
    assert found["segments"][0]["lvtr"] is None
    assert all(0 < segment["lvtr"] < 1 for segment in found["segments"][1:])
    files = found.pop("files")
    assert list(files) == list(DOWNLOADS)
    assert json.loads(Path(files["prediction.json"]).read_text(encoding="utf-8")) == found
    assert Path(files["report.html"]).read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_highlights_are_those_of_the_prediction(client, short_recording):
    found = client.predict(handle_file(short_recording), highlights=1, padding_s=5.0, api_name="/highlights")
    whole = client.predict(handle_file(short_recording), api_name="/predict")
    assert [h["rank"] for h in found] == [1]
    assert found[0]["lvtr"] == pytest.approx(whole["highlights"][0]["lvtr"], abs=1e-6)
    assert found[0]["start_s"] <= found[0]["peak_s"] <= found[0]["end_s"]
    assert found[0]["trained_on"] == whole["trained_on"]


def test_what_is_not_counted_is_not_predicted_from(client, short_recording, short_log):
    given = {"highlights": 1, "min_gap_s": 30.0, "max_length_s": 30.0, "counted": ["bot"]}
    found = client.predict(handle_file(short_recording), handle_file(short_log), **given, api_name="/predict")
    assert [segment["comments"] for segment in found["segments"]] == [0] * 5
    assert [h["end_s"] - h["start_s"] <= 30 for h in found["highlights"]] == [True]


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({}, []),
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
def test_why_is_what_the_command_line_tells(client, short_recording, short_log, capsys, given, arguments):
    found = client.predict(handle_file(short_recording), handle_file(short_log), **given, api_name="/why")
    assert run(["why", str(short_recording), "--comments", str(short_log), "--json", *arguments]) == 0
    assert found == json.loads(capsys.readouterr().out)
    assert all(
        earlier["start_s"] < row["start_s"] for row in found["explanations"] for earlier in row["earlier_segments"]
    )


def test_why_takes_a_list_of_seconds(client):
    parameters = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/why"]["parameters"]
    (at,) = (one for one in parameters if one["parameter_name"] == "at")
    assert (at["parameter_default"], at["type"]["type"], at["type"]["items"]) == ([], "array", {"type": "number"})


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (605, "at takes a list of seconds"),
        (["95"], "at takes a list of seconds"),
        ([[95.0]], "at takes a list of seconds"),
        ([True], "at takes a list of seconds"),
        ([-1.0], "from 0 up"),
        ([95.0, 12.0], "no prediction at 12 s: there are some from 30 s on"),
        ([1e9], "after 140 s, the end"),
    ],
)
def test_why_refuses_times_that_are_none(client, short_recording, at, why):
    with pytest.raises(AppError, match=why):
        client.predict(handle_file(short_recording), sources=["pictures"], at=at, api_name="/why")


def test_comments_tells_what_was_understood(client, short_recording, short_log):
    alone = client.predict(handle_file(short_log), api_name="/comments")
    assert (alone["comments"], alone["kinds"], alone["recording_s"]) == (7, {"message": 7}, None)
    far = client.predict(handle_file(short_log), handle_file(short_recording), 3600.0, api_name="/comments")
    assert far["recording_s"] == pytest.approx(140.0, abs=1.0)
    assert far["mismatch"]["offset_s"] == -3600.0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"highlights": 0}, "less than minimum"),
        ({"sources": []}, "at least one source"),
        ({"sources": ["smell"]}, "smell"),
        ({"stream_start": "yesterday"}, "a time zone, as in 2024"),
    ],
)
def test_wrong_parameters_are_told(client, short_recording, short_log, given, why):
    given = {"recording": handle_file(short_recording), "comments": handle_file(short_log)} | given
    with pytest.raises(AppError, match=why) as caught:
        client.predict(**given, api_name="/highlights")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("api_name", ["/predict", "/highlights", "/why", "/comments"])
def test_refuses_text_that_is_named_like_a_recording(client, tmp_path, api_name):
    (notes := tmp_path / "notes.mp4").write_text("not a recording\n" * 50)
    with pytest.raises(AppError, match=r"notes\.mp4") as caught:
        client.predict(handle_file(notes), api_name=api_name)
    assert "/" not in str(caught.value), "the error tells where files lie on the server"
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("api_name", ["/predict", "/comments"])
def test_refuses_a_file_that_nobody_uploaded(client, api_name):
    with pytest.raises(AppError):
        client.predict({"path": str(Path(__file__)), "meta": {"_type": "gradio.FileData"}}, api_name=api_name)


def test_callers_share_nothing(app_url, short_recording, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(short_recording.read_bytes())
    clients = [Client(app_url, verbose=False, download_files=False) for _ in range(2)]
    jobs = [
        caller.submit(handle_file(recording), api_name="/predict")
        for caller, recording in zip(clients, (short_recording, other), strict=True)
    ]
    found = [job.result(timeout=120) for job in jobs]
    assert [answer["recording"]["name"] for answer in found] == ["short.mp4", "other.mp4"]
    folders = [{Path(file["path"]).parent for file in answer["files"].values()} for answer in found]
    assert not folders[0] & folders[1]


def test_the_readme_s_example_runs(app_url, example, monkeypatch, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(from gradio_client import .*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(ROOT)
    exec(compile(code.replace("http://127.0.0.1:7860", app_url), "README.md", "exec"), {})  # noqa: S102 - our own
    told = capsys.readouterr().out
    assert re.search(r"^\d+ to \d+ s: \d+\.\d%$", told, re.MULTILINE)
    assert "344 comments" in told


@pytest.fixture
def upload(app_url):
    """Upload a file as gradio's tool for assistants does; the address is what it hands on."""

    def upload(file):
        with file.open("rb") as content:
            place = httpx.post(f"{app_url}/gradio_api/upload", files={"files": content}).json()[0]
        return f"{app_url}/gradio_api/file={place}"

    return upload


def call(app_url, tool, **arguments):
    """List an MCP server's tools and call one of them."""
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    async def ask():
        address = f"{app_url}/gradio_api/mcp/"
        async with streamablehttp_client(address) as (read, write, _), mcp.ClientSession(read, write) as session:
            await session.initialize()
            return (await session.list_tools()).tools, await session.call_tool(tool, arguments)

    return asyncio.run(ask())


def test_mcp_offers_the_same_endpoints(app_url, upload, short_log):
    tools, answer = call(app_url, "comments", log=upload(short_log))
    assert [tool.name for tool in tools] == ["predict", "highlights", "why", "comments"]
    for tool in tools:
        assert all(field["description"] for field in tool.inputSchema["properties"].values())
    assert [tool.inputSchema["required"] for tool in tools] == [["recording"]] * 3 + [["log"]]
    assert not answer.isError
    assert "'comments': 7" in answer.content[0].text


def test_mcp_takes_a_list_of_seconds(app_url, upload, short_recording):
    given = {"recording": upload(short_recording), "sources": ["pictures"]}
    tools, answer = call(app_url, "why", **given, at=[95])
    (schema,) = (tool.inputSchema["properties"]["at"] for tool in tools if tool.name == "why")
    assert (schema["type"], schema["items"]) == ("array", {"type": "number"})
    assert not answer.isError
    assert "'reasons': [{'start_s': 90.0" in answer.content[0].text.replace("\n", "")


def test_mcp_tells_what_is_wrong(app_url, upload, short_log):
    _, answer = call(app_url, "comments", log=upload(short_log), stream_start="yesterday")
    assert answer.isError
    assert "a time zone, as in 2024" in answer.content[0].text


@pytest.mark.parametrize("place", ["{cache}/../../server.log", "/etc/passwd"])
def test_mcp_hands_out_no_other_files(app_url, upload, short_log, place):
    cache = upload(short_log).removesuffix("/chat.csv")
    address = place.replace("{cache}", cache) if "{cache}" in place else f"{app_url}/gradio_api/file={place}"
    _, answer = call(app_url, "comments", log=address)
    assert answer.isError
    assert not re.search("root:|INFO", answer.content[0].text)
