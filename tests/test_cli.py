import contextlib
import dataclasses
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kuaihl.errors import CheckpointError, RecordingError
from tests import media
from tests.predictions import made_up

cli = importlib.import_module("kuaihl.__main__")
NAMES = ["alignment.html", "curve.html", "prediction.json", "segments.csv"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def predictor(monkeypatch, tmp_path):
    """Stand in for the predictor: notes how it was called, goes through the stages, and predicts out of thin air."""
    calls = SimpleNamespace(checkpoint=None, arguments=None, outcome=made_up())

    class Standing:
        config = SimpleNamespace(streamers=("alice",))

        @classmethod
        def from_pretrained(cls, path_or_repo=None):
            calls.checkpoint = path_or_repo
            return cls()

        def predict(self, recording, comments, *, progress, **options):
            calls.arguments = {"recording": recording, "comments": comments, **options}
            for stage in ("opening", "listening", "looking", "reading", "predicting"):
                progress(stage, 0.5)
            if isinstance(calls.outcome, BaseException):
                raise calls.outcome
            return calls.outcome

    monkeypatch.setattr("kuaihl.predictor.Predictor", Standing)
    monkeypatch.chdir(tmp_path)
    for name in ("stream.mp4", "chat.json", "words.srt"):
        Path(name).write_text("")
    return calls


def test_predict_passes_everything_on_and_writes(predictor, capsys):
    arguments = "predict stream.mp4 --comments chat.json --comment-offset-s -2.5 --transcript words.srt"
    arguments += " --streamer alice --checkpoint some/where --top 2 --out results"
    assert cli.run(arguments.split()) == 0
    options = predictor.arguments.pop("options")
    assert options.top_k == 2
    assert predictor.arguments == {
        "recording": Path("stream.mp4"),
        "comments": Path("chat.json"),
        "transcript": Path("words.srt"),
        "comment_offset_s": -2.5,
        "streamer": "alice",
    }
    assert predictor.checkpoint == "some/where"
    assert sorted(path.name for path in Path("results").iterdir()) == NAMES
    assert capsys.readouterr().err == ""


def test_predict_with_nothing_but_a_recording(predictor):
    assert cli.run(["predict", "stream.mp4"]) == 0
    options = predictor.arguments.pop("options")
    assert options.top_k == 5
    assert predictor.arguments == {
        "recording": Path("stream.mp4"),
        "comments": None,
        "transcript": None,
        "comment_offset_s": 0.0,
        "streamer": None,
    }
    assert predictor.checkpoint is None
    assert sorted(path.name for path in Path("stream-kuaihl").iterdir()) == NAMES


def test_summary_tells_what_matters(predictor, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    cli.run(["predict", "stream.mp4", "--streamer", "carol"])
    lines = capsys.readouterr().out.splitlines()
    prediction = predictor.outcome
    comments = sum(s.comments for s in prediction.segments)
    assert lines[0] == "recording      my <stream>.mp4: 0:11:47, mp4, h264 1280x720 + aac"
    assert lines[1] == f"rests on       pictures, speech, {comments} comments"
    assert lines[2].startswith("streamer       carol (unknown to the checkpoint")
    assert lines[3].startswith("checkpoint     compact, which learned LVTR from 3,000 simulated rooms")
    best = prediction.highlights[0]
    row = next(line for line in lines if line.startswith("1 "))
    said = prediction.segments[int(best.start_s // 30)].speech
    assert row.split()[1:3] == [f"0:0{best.start_s // 60:.0f}:{best.start_s % 60:02.0f}–0:0{best.end_s // 60:.0f}:"
                                f"{best.end_s % 60:02.0f}", f"{best.lvtr:.1%}"]  # fmt: skip
    assert row.split()[3:6] == said.split()[:3]
    assert all(len(line) <= 120 for line in lines)
    text = "\n".join(lines)
    assert "forecast       42.1% for the next 30 s" in text
    assert "skipped        3 × comments after the end (first: line 12)" in text
    assert "took           10.8 s: 66 × real time" in text
    assert "stream-kuaihl: prediction.json, segments.csv, curve.html, alignment.html" in text


def test_summary_without_highlights_or_pictures(predictor, capsys):
    sound = dataclasses.replace(predictor.outcome.recording, video_codec=None, width=None, height=None)
    sources = dataclasses.replace(predictor.outcome.modalities, pictures=False, comments=False)
    predictor.outcome = dataclasses.replace(predictor.outcome, recording=sound, modalities=sources, highlights=())
    assert cli.run(["predict", "stream.mp4"]) == 0
    text = capsys.readouterr().out
    assert "0:11:47, mp4, aac\n" in text
    assert "rests on       speech\n" in text
    assert "no part of the curve stands out" in text


def test_strangers_do_not_steer_the_terminal(predictor, capsys):
    rogue = dataclasses.replace(predictor.outcome.recording, name="\x1b[31mred\x07.mp4")
    segments = tuple(dataclasses.replace(s, speech="\x1b]0;title\x07 hi") for s in predictor.outcome.segments)
    predictor.outcome = dataclasses.replace(predictor.outcome, recording=rogue, segments=segments)
    cli.run(["predict", "stream.mp4"])
    assert all(letter.isprintable() or letter == "\n" for letter in capsys.readouterr().out)


def test_progress_is_named_on_a_terminal_and_cleared(predictor, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.run(["predict", "stream.mp4"]) == 0
    shown = terminal.getvalue()
    places = [shown.index(stage) for stage in ("loading", "opening", "listening", "looking", "reading", "predicting")]
    assert places == sorted(places)
    assert " 50%" in shown
    assert shown.split("\r")[-1].strip() == ""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "predict, info, pull"),
        (["predict"], "RECORDING"),
        (["forecast"], "forecast"),
        (["predict", "stream.mp4", "--commnts", "chat.json"], "--commnts, chat.json (perhaps --comments?)"),
        (["predict", "stream.mp4", "--top", "many"], "--top"),
        (["predict", "stream.mp4", "--top", "0"], "--top must be at least 1"),
        (["predict", "stream.mp4", "--top"], "--top"),
        (["predict", "stream.mp4", "--comment-offset-s", "nan"], "--comment-offset-s"),
        (["predict", "stream.mp4", "other.mp4"], "other.mp4"),
        (["predict", "gone.mp4"], "gone.mp4 is not there"),
        (["predict", "."], ". is a folder"),
        (["predict", "stream.mp4", "--comments", "gone.json"], "gone.json is not there"),
        (["predict", "stream.mp4", "--transcript", "gone.srt"], "gone.srt is not there"),
        (["predict", "stream.mp4", "--out", "chat.json"], "chat.json is not a folder"),
        (["info", "chat.json"], "chat.json"),
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
    assert predictor.arguments is None
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("error", [RecordingError("stream.mp4 is\n  empty"), CheckpointError("no weights")])
def test_errors_of_the_parts_are_one_line_and_two(predictor, capsys, error):
    predictor.outcome = error
    assert cli.run(["predict", "stream.mp4"]) == 2
    assert capsys.readouterr().err == f"kuaihl: {' '.join(str(error).split())}\n"
    assert not Path("stream-kuaihl").exists()


def test_ctrl_c_leaves_nothing(predictor, capsys):
    predictor.outcome = KeyboardInterrupt()
    assert cli.run(["predict", "stream.mp4", "--out", "results"]) == 130
    assert capsys.readouterr().err == "kuaihl: stopped\n"
    assert not Path("results").exists()


def test_a_bug_is_not_a_mistake(predictor):
    predictor.outcome = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.run(["predict", "stream.mp4"])


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["info", "--help"], ["pull", "--help"]])
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.run(arguments)
    assert not end.value.code
    out, err = capsys.readouterr()
    assert "usage: kuaihl" in out
    assert "None" not in out
    assert err == ""


def test_help_of_predict_names_every_flag(capsys):
    with pytest.raises(SystemExit):
        cli.run(["predict", "--help"])
    out = capsys.readouterr().out
    flags = "comments LOG,comment-offset-s S,transcript SUB,streamer NAME,checkpoint PATH_OR_REPO,top K,out DIR"
    assert all(flag in out for flag in ["RECORDING", *(f"--{flag}" for flag in flags.split(","))])


@pytest.mark.parametrize("module", ["kuaihl", "kuaihl.__main__"])
def test_importing_loads_nothing_heavy(module):
    heavy = ["torch", "transformers", "timm", "plotly", "scipy", "av", "gradio", "huggingface_hub"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of 100 s, so four segments, whose pictures brighten and whose sound is a tone."""

    def draw(time_s):
        return np.full((96, 128, 3), round(40 + time_s), np.uint8)

    folder = tmp_path_factory.mktemp("recording")
    media.write_recording(folder / "short.mp4", duration_s=100.0, fps=5, draw=draw)
    comments = [f"{second},user{second % 3},comment {second}" for second in (1, 2, 31, 95)]
    (folder / "chat.csv").write_text("\n".join(["time,user,text", *comments, "400,late,too late"]))
    return folder / "short.mp4"


def test_real_command_on_a_short_recording(recording, tmp_path):
    out = tmp_path / "results"
    command = [sys.executable, "-m", "kuaihl", "predict", str(recording), "--out", str(out)]
    command += ["--comments", str(recording.with_name("chat.csv"))]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith("recording      short.mp4: 0:01:40")
    assert "pictures, speech, 4 comments" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == NAMES
    document = json.loads((out / "prediction.json").read_text(encoding="utf-8"))
    assert [s["comments"] for s in document["segments"]] == [2, 1, 0, 1]
    assert document["segments"][-1]["end_s"] == pytest.approx(100, abs=0.3)
    assert document["segments"][0]["lvtr"] is None
    assert all(0 < s["lvtr"] < 1 for s in document["segments"][1:])
    assert 0 < document["forecast"] < 1
    assert {(i, j) for i, j in document["alignment"]["path"]} >= {(0, 0), (3, 3)}
    assert sum(skipped["count"] for skipped in document["skipped"]) == 1
    assert list(document["timings_s"]) == ["opening", "listening", "looking", "reading", "predicting"]


def test_real_info(capsys):
    assert cli.run(["info"]) == 0
    out = capsys.readouterr().out
    for label in ("target", "trained on", "streamers", "model", "model.safetensors"):
        assert f"\n{label}" in out or f" {label} " in out


def test_real_mistake(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.mp4").write_text("no recording at all\n")
    assert cli.run(["predict", "notes.mp4"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("kuaihl: ")
    assert "notes.mp4" in last
    assert [path.name for path in tmp_path.iterdir()] == ["notes.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX's")
def test_real_ctrl_c_on_a_terminal(recording, tmp_path):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "kuaihl", "predict", str(recording), "--out", str(tmp_path / "results")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        deadline = threading.Timer(120, process.kill)
        deadline.start()
        shown = b""
        while b"listening" not in shown:
            shown += os.read(ours, 1000)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to children too
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while more := os.read(ours, 1000):
                shown += more
        deadline.cancel()
    os.close(ours)
    assert process.returncode == 130
    assert shown.rstrip().endswith(b"kuaihl: stopped")
    assert b"Traceback" not in shown
    assert list(tmp_path.iterdir()) == []
