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

import numpy as np
import pytest

from kuaihl.cli.options import PredictRequest
from kuaihl.comments.selection import COUNTED, select_kinds
from kuaihl.errors import CheckpointError, RecordingError
from kuaihl.features.embeddings import SOURCES
from kuaihl.highlights import HighlightOptions
from kuaihl.media.recording import open_recording
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import Highlight
from tests.fixtures import videos
from tests.fixtures.stub_predictor import NAMES, WRITTEN, stand_in

cli = importlib.import_module("kuaihl.cli.main")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
    return stand_in(monkeypatch, tmp_path, recording=short_recording)


def test_predict_passes_everything_on_and_writes(predictor, short_recording, capsys):
    arguments = "predict stream.mp4 --comments talk.json --comment-offset-s -1.5 --transcript words.srt"
    arguments += " --streamer alice --target participation --checkpoint some/where --sources speech comments"
    arguments += " --highlights 2 --min-gap-s 90 --max-length-s 120 --padding-s 5 --out results"
    assert cli.run(arguments.split()) == 0
    wanted = HighlightOptions(top_k=2, min_gap_s=90.0, max_length_s=120.0, padding_s=5.0)
    assert predictor.calls[-1].pop("options") == wanted
    assert predictor.calls[-1].pop("sources") == ("speech", "comments")
    assert predictor.calls[-1].pop("counted") == COUNTED
    assert [(c.time_s, c.user) for c in predictor.calls[-1].pop("comments").comments] == [(0.5, "Ann"), (13.5, "Bo")]
    assert predictor.calls[-1] == {
        "recording": short_recording,
        "transcript": Path("words.srt"),
        "streamer": "alice",
        "target": "participation",
    }
    assert predictor.checkpoints == ["some/where"]
    assert sorted(path.name for path in Path("results").iterdir()) == NAMES
    assert capsys.readouterr().err == ""


def test_predict_with_nothing_but_a_recording(predictor, short_recording):
    assert cli.run(["predict", "stream.mp4"]) == 0
    assert predictor.calls[-1] == {
        "options": HighlightOptions(),
        "sources": SOURCES,
        "counted": COUNTED,
        "recording": short_recording,
        "comments": None,
        "transcript": None,
        "streamer": None,
        "target": None,
    }
    assert predictor.checkpoints == [DEFAULT_CHECKPOINT]
    assert sorted(path.name for path in Path("stream-kuaihl").iterdir()) == NAMES


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ("", ["hi", "!drops"]),
        ("--counted message paid", ["hi"]),
        ("--counted message command bot", ["hi", "!drops", "drops are on"]),
        ("--counted gift", []),
    ],
)
def test_predict_reads_the_kinds_that_count(predictor, given, counts):
    Path("talk.txt").write_text("[0:00:01] Ann: hi\n[0:00:02] Bo: !drops\n[0:00:03] Nightbot: drops are on\n")
    assert cli.run(["predict", "stream.mp4", "--comments", "talk.txt", *given.split()]) == 0
    call = predictor.calls[-1]
    assert [c.text for c in select_kinds(call["comments"], call["counted"]).comments] == counts


def test_predict_from_too_little_is_refused_before_it_takes_long(predictor, capsys):
    participation = ["predict", "stream.mp4", "--target", "participation"]
    for given in ([], ["--sources", "pictures", "speech"]):
        assert cli.run([*participation, *given]) == 2
        assert "nothing to predict participation from, which takes comments." in capsys.readouterr().err
    assert cli.run([*participation, "--comments", "talk.json", "--sources", "speech"]) == 2
    assert "--comments and --sources without comments exclude each other" in capsys.readouterr().err
    assert not predictor.calls


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
                                f"{best.end_s % 60:02.0f}", f"{best.score:.1%}"]  # fmt: skip
    assert row.split()[3:6] == said.split()[:3]
    assert all(len(line) <= 120 for line in lines)
    text = "\n".join(lines)
    assert "forecast       42.1% for the next 30 s" in text
    assert "skipped        3 × comments after the end (first: line 12)" in text
    assert "took           10.8 s: 66 × real time" in text
    assert f"stream-kuaihl: {WRITTEN}" in " ".join(text.split())


def test_predict_cuts_clips_and_tells_what_begins_early(predictor, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    highlight = Highlight(rank=1, start_s=62.0, end_s=65.0, peak_s=63.0, score=0.5)
    predictor.outcome = dataclasses.replace(predictor.outcome, highlights=(highlight,))
    assert cli.run(["predict", "stream.mp4", "--clips"]) == 0
    # Its keyframes lie 4 s apart.
    assert "clips          stream-kuaihl/clips: 01_0h01m02s.mp4 (2.0 s early)" in capsys.readouterr().out
    assert cli.run(["predict", "stream.mp4", "--exact-clips", "--clip-padding-s", "1"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("clips: 01_0h01m02s.mp4")
    assert open_recording("stream-kuaihl/clips/01_0h01m02s.mp4").info.duration_s == pytest.approx(5, abs=0.1)


def test_predict_places_logs_by_the_wall_clock(predictor, capsys):
    Path("talk.json").write_text("time,user,text\n2024-05-01T18:00:07Z,Ann,hi\n")
    assert cli.run(["predict", "stream.mp4", "--comments", "talk.json"]) == 2
    assert "--stream-start 2024-" in capsys.readouterr().err
    assert not predictor.checkpoints  # nothing was loaded in vain
    arguments = "predict stream.mp4 --comments talk.json --stream-start 2024-05-01T20:00:00+02:00"
    assert cli.run(arguments.split()) == 0
    assert "\ncomment log    CSV or TSV\n" in capsys.readouterr().out
    assert [c.time_s for c in predictor.calls[-1]["comments"].comments] == [7.0]


def test_predict_takes_the_log_beside_and_says_so(predictor, capsys):
    Path("talk.json").rename("stream.live_chat.json")
    assert cli.run(["predict", "stream.mp4"]) == 0
    assert "\ncomment log    stream.live_chat.json beside it, CSV or TSV without header\n" in capsys.readouterr().out
    assert [c.user for c in predictor.calls[-1]["comments"].comments] == ["Ann", "Bo"]
    assert cli.run(["predict", "stream.mp4", "--no-comments"]) == 0
    assert "comment log" not in capsys.readouterr().out
    assert predictor.calls[-1]["comments"] is None
    Path("stream.json").write_text("1,Cy,another log\n")
    assert cli.run(["predict", "stream.mp4"]) == 2
    assert "stream.json and stream.live_chat.json" in capsys.readouterr().err
    assert cli.run(["predict", "stream.mp4", "--comments", "stream.json"]) == 0
    assert [c.user for c in predictor.calls[-1]["comments"].comments] == ["Cy"]


def test_predict_warns_of_a_wrong_offset_and_names_the_right_one(predictor, capsys):
    rows = [f"{3600 + second},Ann,hi\n" for second in range(10, 700, 5)]
    Path("talk.json").write_text("".join(rows))
    assert cli.run(["predict", "stream.mp4", "--comments", "talk.json", "--comment-offset-s", "3600"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "warning 100% of the comments are outside the recording, which is 0:11:47 long" in text
    assert "Try --comment-offset-s -3600." in text
    assert cli.run(["predict", "stream.mp4", "--comments", "talk.json", "--comment-offset-s", "-3600"]) == 0
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


def test_help_of_predict_names_every_flag(capsys):
    with pytest.raises(SystemExit):
        cli.run(["predict", "--help"])
    out = capsys.readouterr().out
    flags = [field.name for field in dataclasses.fields(PredictRequest)] + [
        "comments",
        "out",
        "no-comments",
        "skip-done",
    ]
    assert all(f"--{flag.replace('_', '-')}" in out for flag in flags)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of 100 s, so four segments, whose pictures brighten and whose sound is a tone."""

    def draw(time_s):
        return np.full((96, 128, 3), round(40 + time_s), np.uint8)

    folder = tmp_path_factory.mktemp("recording")
    videos.write_recording(folder / "short.mp4", duration_s=100.0, fps=5, draw=draw)
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
    assert document["segments"][0]["score"] is None
    assert all(0 < s["score"] < 1 for s in document["segments"][1:])
    assert 0 < document["next_score"] < 1
    assert {(i, j) for i, j in document["alignment"]["path"]} >= {(0, 0), (3, 3)}
    assert sum(skipped["count"] for skipped in document["skipped"]) == 1
    assert list(document["timings_s"]) == ["opening", "listening", "looking", "reading", "predicting"]


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
