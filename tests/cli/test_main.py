import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import kuaihl
from tests.fixtures.stub_predictor import stand_in

cli = importlib.import_module("kuaihl.cli.main")


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
    return stand_in(monkeypatch, tmp_path, recording=short_recording)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("predict stream.mp4 --highlights 0", "highlights must be at least 1"),
        ("predict stream.mp4 --comment-offset-s nan", "comment_offset_s must be"),
        ("predict stream.mp4 --clip-padding-s -1", "clip_padding_s must be at least 0"),
        ("predict stream.mp4 --sources", "sources is empty"),
        ("watch stream.mp4 --counted", "counted is empty"),
        ("explain stream.mp4 --at -1", "at must be at least 0"),
        ("predict gone.mp4", "gone.mp4 does not exist"),
        ("predict stream.mp4 gone.mp4", "gone.mp4 does not exist"),
        ("predict . --comments talk.json", "--comments LOG is for one recording"),
        ("predict . --transcript words.srt", "--transcript is for one recording"),
        ("predict . --stream-start 2024-05-01T20:00:00Z", "--stream-start is for one recording"),
        ("predict . --out talk.json", "talk.json is not a folder"),
        ("predict stream.mp4 --out talk.json", "talk.json is not a folder"),
        ("predict stream.mp4 --skip-done", "--skip-done is for several"),
        ("predict stream.mp4 --comments talk.json --no-comments", "exclude each other"),
        ("predict stream.mp4 --comments gone.json", "gone.json does not exist"),
        ("predict stream.mp4 --transcript gone.srt", "gone.srt does not exist"),
        ("predict stream.mp4 --stream-start 2024-05-01T20:00:00Z", "name it with --comments"),
        ("predict stream.mp4 --comments stream.mp4", "stream.mp4"),
        ("comments gone.json", "gone.json does not exist"),
        ("comments talk.json --recording words.srt", "words.srt"),
        ("comments talk.json --stream-start 2024-05-01T20:00:00", "time zone"),
        ("info talk.json", "talk.json"),
        ("pull stream.mp4", "stream.mp4 is a local path"),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(predictor, capsys, monkeypatch, arguments, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = sorted(Path().iterdir())
    assert cli.run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kuaihl: ")
    assert err.count("\n") == 1
    assert message in err
    assert not predictor.calls
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["predict", "watch", "explain", "comments", "info", "pull", "demo"]),
        ("forecast", ["forecast"]),
        ("comments", ["LOG"]),
        ("predict stream.mp4 --commnts talk.json", ["--commnts", "--comments"]),
        ("predict stream.mp4 --highlights many", ["--highlights"]),
        ("predict stream.mp4 --sources smell", ["--sources", "smell"]),
    ],
)
def test_wrong_arguments_are_explained_with_exit_code_2(predictor, capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        cli.run(arguments.split())
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(word in err for word in words)
    assert not predictor.calls


@pytest.mark.parametrize("command", ["", "predict", "watch", "explain", "comments", "info", "pull", "demo"])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.run([*command.split(), "--help"])
    assert not end.value.code
    out, err = capsys.readouterr()
    assert "usage: kuaihl" in out
    assert "None" not in out
    assert err == ""


def test_importing_loads_nothing_heavy():
    heavy = ["numpy", "torch", "transformers", "timm", "plotly", "scipy", "av", "gradio", "huggingface_hub"]
    code = f"import sys, kuaihl.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version_and_info(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"kuaihl {kuaihl.__version__}\n"
    assert cli.run(["info"]) == 0
    labels = [line[:15].strip() for line in capsys.readouterr().out.splitlines()]
    assert {"checkpoint", "predicts", "streamers", "model", "file"} <= set(labels)
