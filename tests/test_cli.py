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
from kuaihl.recording import open_recording
from kuaihl.records import Highlight
from tests import media
from tests.predictions import made_up

cli = importlib.import_module("kuaihl.__main__")
WRITTEN = (
    "prediction.json, segments.csv, curve.html, alignment.html, report.html, chapters.txt, chapters.ffmetadata, "
    "chapters.vtt, highlights.srt, highlights.edl, highlights.otio"
)
NAMES = sorted(WRITTEN.split(", "))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
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

    opened = open_recording(short_recording)
    monkeypatch.setattr("kuaihl.export.open_recording", lambda path: opened)
    monkeypatch.setattr("kuaihl.predictor.Predictor", Standing)
    monkeypatch.chdir(tmp_path)
    for name in ("stream.mp4", "words.srt"):
        Path(name).write_text("")
    Path("chat.json").write_text("2,Ann,hi\n15,Bo,hello\n")
    return calls


def test_predict_passes_everything_on_and_writes(predictor, capsys):
    arguments = "predict stream.mp4 --comments chat.json --comment-offset-s -1.5 --transcript words.srt"
    arguments += " --streamer alice --checkpoint some/where --top 2 --out results"
    assert cli.run(arguments.split()) == 0
    options = predictor.arguments.pop("options")
    assert options.top_k == 2
    assert [(c.time_s, c.user) for c in predictor.arguments.pop("comments").comments] == [(0.5, "Ann"), (13.5, "Bo")]
    assert predictor.arguments == {
        "recording": Path("stream.mp4"),
        "transcript": Path("words.srt"),
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
    assert f"stream-kuaihl: {WRITTEN}" in " ".join(text.split())


def test_predict_cuts_clips_and_tells_what_begins_early(predictor, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    highlight = Highlight(rank=1, start_s=62.0, end_s=65.0, peak_s=63.0, lvtr=0.5)
    predictor.outcome = dataclasses.replace(predictor.outcome, highlights=(highlight,))
    assert cli.run(["predict", "stream.mp4", "--clips"]) == 0
    # Its keyframes lie 4 s apart.
    assert "clips          stream-kuaihl/clips: 01_0h01m02s.mp4 (2.0 s early)" in capsys.readouterr().out
    assert cli.run(["predict", "stream.mp4", "--exact-clips", "--clip-padding-s", "1"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("clips: 01_0h01m02s.mp4")
    assert open_recording("stream-kuaihl/clips/01_0h01m02s.mp4").info.duration_s == pytest.approx(5, abs=0.1)
    assert cli.run(["predict", "stream.mp4", "--clip-padding-s", "-1"]) == 2


def test_predict_places_logs_by_the_wall_clock(predictor, capsys):
    Path("chat.json").write_text("time,user,text\n2024-05-01T18:00:07Z,Ann,hi\n")
    assert cli.run(["predict", "stream.mp4", "--comments", "chat.json"]) == 2
    assert "--stream-start 2024-" in capsys.readouterr().err
    assert predictor.checkpoint is None  # nothing was loaded in vain
    arguments = "predict stream.mp4 --comments chat.json --stream-start 2024-05-01T20:00:00+02:00"
    assert cli.run(arguments.split()) == 0
    assert "\ncomment log    CSV or TSV\n" in capsys.readouterr().out
    assert [c.time_s for c in predictor.arguments["comments"].comments] == [7.0]


def test_predict_warns_of_a_wrong_offset_and_names_the_right_one(predictor, capsys):
    rows = [f"{3600 + second},Ann,hi\n" for second in range(10, 700, 5)]
    Path("chat.json").write_text("".join(rows))
    assert cli.run(["predict", "stream.mp4", "--comments", "chat.json", "--comment-offset-s", "3600"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "warning 100% of the comments are outside the recording, which is 0:11:47 long" in text
    assert "Try --comment-offset-s -3600." in text
    assert cli.run(["predict", "stream.mp4", "--comments", "chat.json", "--comment-offset-s", "-3600"]) == 0
    assert "warning" not in capsys.readouterr().out


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
        ([], "predict, comments, info, pull"),
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
        (["predict", "stream.mp4", "--stream-start", "2024-05-01T20:00:00Z"], "name it with --comments"),
        (["predict", "stream.mp4", "--comments", "stream.mp4"], "stream.mp4: the comment log is empty"),
        (["comments"], "LOG"),
        (["comments", "gone.json"], "gone.json is not there"),
        (["comments", "stream.mp4"], "stream.mp4: the comment log is empty"),
        (["comments", "chat.json", "--recording", "gone.mp4"], "gone.mp4 is not there"),
        (["comments", "chat.json", "--recording", "words.srt"], "words.srt"),
        (["comments", "chat.json", "--offset", "inf"], "--offset must be a number"),
        (["comments", "chat.json", "--stream-start", "2024-05-01T20:00:00"], "no time zone"),
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


@pytest.mark.parametrize("arguments", [[], ["predict"], ["comments"], ["info"], ["pull"]])
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.run([*arguments, "--help"])
    assert not end.value.code
    out, err = capsys.readouterr()
    assert "usage: kuaihl" in out
    assert "None" not in out
    assert err == ""


def test_help_of_predict_names_every_flag(capsys):
    with pytest.raises(SystemExit):
        cli.run(["predict", "--help"])
    out = capsys.readouterr().out
    flags = "comments LOG,comment-offset-s S,stream-start TIME,transcript SUB,streamer NAME,checkpoint PATH_OR_REPO"
    flags += ",top K,out DIR"
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


LOG = "[0:00:01] Ann: hi\n[0:00:02] Nightbot: !rules\n[0:00:02] Bo: hi\nno time\n[0:01:39] Ann: bye\n"


def test_comments_tells_what_was_understood(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "chat.txt").write_text(LOG)
    assert cli.run(["comments", str(tmp_path / "chat.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "log            chat.txt",
        "format         Twitch text",
        "comments       4 by 3 users",
        "span           0:00:01 to 0:01:39 (0:01:38)",
        "kinds          3 message, 1 bot",
        "skipped        1 × lines that do not begin with [h:mm:ss] (first: line 4)",
    ]
    assert lines[7] == f"rate           █{' ' * 58}▃"
    assert lines[8].split() == ["0:00:01", "0:01:39"]
    assert len(lines[8]) == len(lines[7]) == 75
    assert lines[9].startswith("peak           3 from 0:00:01 to 0:00:03: 110 a minute, 2.45 a minute on")
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("shift", [0, 3600])
def test_comments_beside_their_recording(recording, tmp_path, capsys, shift):
    (tmp_path / "chat.csv").write_text("".join(f"{second + shift},Ann,hi\n" for second in range(1, 99)))
    command = ["comments", str(tmp_path / "chat.csv"), "--recording", str(recording)]
    assert cli.run(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"recording 0:01:40, with {0 if shift else 98} of the comments in it" in text
    assert ("Try --offset -3600." in text) is bool(shift)
    assert cli.run([*command, "--offset", str(-shift), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mismatch"] is None
    assert (document["comments"], document["inside"], sum(document["rate"])) == (98, 98, 98)
    assert document["recording_s"] == pytest.approx(100, abs=0.3)


def test_comments_without_letters_for_blocks(tmp_path):
    (tmp_path / "chat.txt").write_text(LOG)
    command = [sys.executable, "-m", "kuaihl", "comments", str(tmp_path / "chat.txt")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, encoding="ascii", check=True, env=environment)
    assert f"rate           @{' ' * 58}-\n" in done.stdout
    assert done.stderr == ""


def test_an_empty_log_is_told(tmp_path, capsys):
    (tmp_path / "chat.json").write_text('{"video": {}, "comments": []}')
    assert cli.run(["comments", str(tmp_path / "chat.json")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["format         TwitchDownloader JSON", "comments       0"]


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
