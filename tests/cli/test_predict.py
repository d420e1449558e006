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

import pytest

from kuaihl.cli.console import span_text
from kuaihl.comments.selection import COUNTED, select_kinds
from kuaihl.errors import CheckpointError, RecordingError
from kuaihl.features.embeddings import SOURCES
from kuaihl.highlights import HighlightOptions
from kuaihl.media.recording import open_recording
from kuaihl.predictor import DEFAULT_CHECKPOINT, STAGES
from kuaihl.records import Highlight
from tests.conftest import COMMENTS_PER_SEGMENT
from tests.fixtures.stub_predictor import NAMES, WRITTEN, stand_in

cli = importlib.import_module("kuaihl.cli.main")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
    return stand_in(monkeypatch, tmp_path, recording=short_recording)


def test_predict_passes_all_options_to_the_predictor(predictor, short_recording, capsys):
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


def test_too_few_sources_are_an_error_before_the_prediction(predictor, capsys):
    participation = ["predict", "stream.mp4", "--target", "participation"]
    for given in ([], ["--sources", "pictures", "speech"]):
        assert cli.run([*participation, *given]) == 2
        assert "nothing to predict participation from, which takes comments." in capsys.readouterr().err
    assert cli.run([*participation, "--comments", "talk.json", "--sources", "speech"]) == 2
    assert "--comments and --sources without comments exclude each other" in capsys.readouterr().err
    assert not predictor.calls


def test_the_summary_fits_the_terminal_and_shows_what_matters(predictor, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    cli.run(["predict", "stream.mp4", "--streamer", "carol"])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(len(line) <= 120 for line in lines)
    labelled = {line[:15].strip(): line[15:] for line in lines}
    prediction, best = predictor.outcome, predictor.outcome.highlights[0]
    assert labelled["recording"] == "my <stream>.mp4: 0:11:47, mp4, h264 1280x720 + aac"
    assert f"{sum(s.comments for s in prediction.segments)} comments" in labelled["inputs"]
    assert "unknown" in labelled["streamer"]
    assert "3,000 simulated rooms" in labelled["checkpoint"]
    assert labelled["forecast"].startswith(f"LVTR {prediction.next_score:.1%}")
    assert labelled["skipped"].startswith("3 × ")
    assert "66 × real time" in labelled["time"]
    assert f"stream-kuaihl: {WRITTEN}" in " ".join(out.split())
    first = next(i for i, line in enumerate(lines) if line.startswith(" 1  "))
    spoken = prediction.segments[int(best.start_s // 30)].speech
    assert lines[first] == f" 1  {span_text(best.start_s, best.end_s)}  {best.strength}: {best.why}"
    assert lines[first + 1].split()[:3] == f"“{spoken}".split()[:3]


def test_predict_cuts_clips_and_names_those_that_begin_early(predictor, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    highlight = Highlight(rank=1, start_s=62.0, end_s=65.0, peak_s=63.0, score=0.5)
    predictor.outcome = dataclasses.replace(predictor.outcome, highlights=(highlight,))
    assert cli.run(["predict", "stream.mp4", "--clips"]) == 0
    # Its keyframes lie 4 s apart.
    assert "clips          stream-kuaihl/clips: short_01_0h01m02s.mp4 (2.0 s early)" in capsys.readouterr().out
    assert cli.run(["predict", "stream.mp4", "--exact-clips", "--clip-padding-s", "1"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("clips: short_01_0h01m02s.mp4")
    assert open_recording("stream-kuaihl/clips/short_01_0h01m02s.mp4").info.duration_s == pytest.approx(5, abs=0.1)


def test_predict_places_logs_by_the_wall_clock(predictor, capsys):
    Path("talk.json").write_text("time,user,text\n2024-05-01T18:00:07Z,Ann,hi\n")
    assert cli.run(["predict", "stream.mp4", "--comments", "talk.json"]) == 2
    assert "--stream-start 2024-" in capsys.readouterr().err
    assert not predictor.checkpoints  # nothing was loaded in vain
    arguments = "predict stream.mp4 --comments talk.json --stream-start 2024-05-01T20:00:00+02:00"
    assert cli.run(arguments.split()) == 0
    assert "CSV or TSV" in capsys.readouterr().out
    assert [c.time_s for c in predictor.calls[-1]["comments"].comments] == [7.0]


def test_predict_reads_the_log_next_to_the_recording(predictor, capsys):
    Path("talk.json").rename("stream.live_chat.json")
    assert cli.run(["predict", "stream.mp4"]) == 0
    assert "stream.live_chat.json next to it" in capsys.readouterr().out
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
    assert "warning" in text
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
    assert "inputs         speech\n" in text
    assert "nothing stands out" in text


def test_control_characters_are_not_printed(predictor, capsys):
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
    places = [shown.index(stage) for stage in ("loading", *STAGES)]
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


def test_a_bug_is_not_a_user_error(predictor):
    predictor.outcome = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.run(["predict", "stream.mp4"])


def test_real_command_on_a_short_recording(short_recording, short_log, tmp_path):
    command = [sys.executable, "-m", "kuaihl", "predict", str(short_recording), "--comments", str(short_log)]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, encoding="utf-8", check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert "pictures, speech, 7 comments" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
    document = json.loads((tmp_path / "prediction.json").read_text(encoding="utf-8"))
    assert [s["comments"] for s in document["segments"]] == COMMENTS_PER_SEGMENT
    assert document["segments"][-1]["end_s"] == pytest.approx(140, abs=0.3)
    assert document["segments"][0]["score"] is None
    assert all(0 < s["score"] < 1 for s in [*document["segments"][1:], {"score": document["next_score"]}])
    assert {(i, j) for i, j in document["alignments"][0]["path"]} >= {(0, 0), (4, 4)}
    assert list(document["timings_s"]) == list(STAGES)


@pytest.mark.skipif(os.name == "nt", reason="needs pseudo-terminals")
def test_real_ctrl_c_on_a_terminal(short_recording, tmp_path):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "kuaihl", "predict", str(short_recording), "--out", str(tmp_path / "results")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        deadline = threading.Timer(120, process.kill)
        deadline.start()
        shown = b""
        while STAGES[1].encode() not in shown:
            shown += os.read(ours, 1000)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, also to children
        with contextlib.suppress(OSError):  # Linux raises it when the other side is closed
            while more := os.read(ours, 1000):
                shown += more
        deadline.cancel()
    os.close(ours)
    assert process.returncode == 130
    assert shown.rstrip().endswith(b"kuaihl: stopped")
    assert b"Traceback" not in shown
    assert list(tmp_path.iterdir()) == []
