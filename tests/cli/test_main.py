import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.stub_predictor import stand_in

cli = importlib.import_module("kuaihl.cli.main")


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
    return stand_in(monkeypatch, tmp_path, recording=short_recording)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "predict, watch, why, comments, info, pull"),
        (["predict"], "RECORDING"),
        (["predict"], "see kuaihl predict --help"),
        (["forecast"], "forecast; see kuaihl --help"),
        (["predict", "stream.mp4", "--commnts", "talk.json"], "--commnts, talk.json (perhaps --comments?)"),
        (["predict", "stream.mp4", "--highlights", "many"], "--highlights"),
        (["predict", "stream.mp4", "--highlights", "0"], "highlights must be at least 1"),
        (["predict", "stream.mp4", "--highlights"], "--highlights"),
        (["predict", "stream.mp4", "--comment-offset-s", "nan"], "comment_offset_s"),
        (["predict", "gone.mp4"], "gone.mp4 is not there"),
        (["predict", "stream.mp4", "gone.mp4"], "gone.mp4 is not there"),
        (["predict", ".", "--comments", "talk.json"], "--comments LOG is for one recording"),
        (["predict", ".", "--transcript", "words.srt"], "--transcript is for one recording"),
        (["predict", ".", "--stream-start", "2024-05-01T20:00:00Z"], "--stream-start is for one recording"),
        (["predict", ".", "--out", "talk.json"], "talk.json is not a folder"),
        (["predict", "stream.mp4", "--skip-done"], "--skip-done is for several"),
        (["predict", "stream.mp4", "--comments", "talk.json", "--no-comments"], "exclude each other"),
        (["predict", "stream.mp4", "--clip-padding-s", "-1"], "--clip-padding-s must be a number of seconds from 0 up"),
        (["predict", "stream.mp4", "--comments", "gone.json"], "gone.json is not there"),
        (["predict", "stream.mp4", "--transcript", "gone.srt"], "gone.srt is not there"),
        (["predict", "stream.mp4", "--stream-start", "2024-05-01T20:00:00Z"], "name it with --comments"),
        (["predict", "stream.mp4", "--comments", "stream.mp4"], "stream.mp4: the comment log is empty"),
        (["comments"], "LOG"),
        (["comments", "gone.json"], "gone.json is not there"),
        (["comments", "stream.mp4"], "stream.mp4: the comment log is empty"),
        (["comments", "talk.json", "--recording", "gone.mp4"], "gone.mp4 is not there"),
        (["comments", "talk.json", "--recording", "words.srt"], "words.srt"),
        (["comments", "talk.json", "--comment-offset-s", "inf"], "comment_offset_s must be a number"),
        (["predict", "stream.mp4", "--min-gap-s", "-1"], "min_gap_s must be at least 0"),
        (["predict", "stream.mp4", "--max-length-s", "29"], "max_length_s must be at least 30"),
        (["predict", "stream.mp4", "--padding-s", "inf"], "padding_s must be at least 0"),
        (["predict", "stream.mp4", "--sources"], "sources is empty"),
        (["predict", "stream.mp4", "--sources", "smell"], "invalid choice 'smell' for argument '--sources'"),
        (["predict", "stream.mp4", "--counted"], "counted is empty"),
        (["predict", "stream.mp4", "--counted", "spam"], "invalid choice 'spam' for argument '--counted'"),
        (["watch", "stream.mp4", "--sources"], "sources is empty"),
        (["comments", "talk.json", "--stream-start", "2024-05-01T20:00:00"], "no time zone"),
        (["predict", "stream.mp4", "--out", "talk.json"], "talk.json is not a folder"),
        (["info", "talk.json"], "talk.json"),
        (["pull", "stream.mp4"], "stream.mp4 is a path here"),
        (["pull"], "REPO"),
    ],
)
def test_mistakes_are_one_line_and_two(predictor, capsys, monkeypatch, arguments, told, encoding):
    monkeypatch.setattr(type(sys.stdout), "encoding", encoding)  # decides what tyro draws its boxes with
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = sorted(Path().iterdir())
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("kuaihl: ")
    assert told in err
    assert not predictor.calls
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("arguments", [[], ["predict"], ["comments"], ["watch"], ["info"], ["pull"]])
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.run([*arguments, "--help"])
    assert not end.value.code
    out, err = capsys.readouterr()
    assert "usage: kuaihl" in out
    assert "None" not in out
    assert err == ""


@pytest.mark.parametrize("module", ["kuaihl", "kuaihl.cli.main"])
def test_importing_loads_nothing_heavy(module):
    heavy = ["torch", "transformers", "timm", "plotly", "scipy", "av", "gradio", "huggingface_hub"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_real_info(capsys):
    assert cli.run(["info"]) == 0
    out = capsys.readouterr().out
    for label in ("predicts", "streamers", "model", "model.safetensors"):
        assert f"\n{label}" in out or f" {label} " in out
