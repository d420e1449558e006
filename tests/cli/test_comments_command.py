import importlib
import json
import os
import subprocess
import sys

import pytest

cli = importlib.import_module("kuaihl.cli.main")

LOG = "[0:00:01] Ann: hi\n[0:00:02] Nightbot: !rules\n[0:00:02] Bo: hi\nno time\n[0:01:39] Ann: bye\n"


def test_comments_describes_the_log(tmp_path, capsys, monkeypatch):
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


@pytest.mark.parametrize(
    ("counted", "comments", "skipped"),
    [("message paid", 3, {"bot, left out of the text": 1}), ("bot", 1, {"message, left out of the text": 3})],
)
def test_comments_of_some_kinds_only(tmp_path, capsys, counted, comments, skipped):
    (tmp_path / "chat.txt").write_text(LOG)
    assert cli.run(["comments", str(tmp_path / "chat.txt"), "--json", "--counted", *counted.split()]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["comments"] == sum(document["rate"]) == comments
    counts = {item["reason"]: item["count"] for item in document["skipped"]}
    assert counts == {"lines that do not begin with [h:mm:ss]": 1} | skipped


@pytest.mark.parametrize("shift", [0, 3600])
def test_comments_beside_their_recording(short_recording, tmp_path, capsys, shift):
    (tmp_path / "chat.csv").write_text("".join(f"{second + shift},Ann,hi\n" for second in range(1, 99)))
    command = ["comments", str(tmp_path / "chat.csv"), "--recording", str(short_recording)]
    assert cli.run(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ("Try --comment-offset-s -3600." in text) is bool(shift)
    assert cli.run([*command, "--comment-offset-s", str(-shift), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mismatch"] is None
    assert (document["comments"], document["inside"], sum(document["rate"])) == (98, 98, 98)
    assert document["recording_s"] == pytest.approx(140, abs=0.3)


def test_the_rate_is_plain_text_on_a_terminal_without_unicode(tmp_path):
    (tmp_path / "chat.txt").write_text(LOG)
    command = [sys.executable, "-m", "kuaihl", "comments", str(tmp_path / "chat.txt")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, encoding="ascii", check=True, env=environment)
    assert f"rate           @{' ' * 58}-\n" in done.stdout
    assert done.stderr == ""


def test_an_empty_log_is_described(tmp_path, capsys):
    (tmp_path / "chat.json").write_text('{"video": {}, "comments": []}')
    assert cli.run(["comments", str(tmp_path / "chat.json")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["format         TwitchDownloader JSON", "comments       0"]
