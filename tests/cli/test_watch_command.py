"""The lines that ``kuaihl watch`` prints."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kuaihl.cli.watch import segment_text
from kuaihl.watch.watcher import WatchedSegment
from tests.fixtures.videos import write_recording

ROOT = Path(__file__).parents[2]
WATCHED = WatchedSegment(
    segment=120, start_s=3600.0, end_s=3630.0, score=None, next_score=0.412, threshold=0.4, highlight=True,
    begins=False, comments=1234, speech="well \x1b[2Jplayed", target="lvtr",
)  # fmt: skip


def test_a_segment_is_a_line_and_a_highlight_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    line = segment_text(WATCHED)
    assert line.split()[0] == "1:00:00–1:00:30"
    assert {"41.2%", "1,234"} <= set(line.split())
    assert "\x1b" not in line
    first, second = segment_text(dataclasses.replace(WATCHED, begins=True, speech="so " * 99)).splitlines()
    assert len(first) <= 90
    assert second.split()[0] == "1:00:30–1:01:00"
    assert {"41.2%,", "40.0%"} <= set(second.split())


def test_the_command_prints_segments_until_nobody_reads(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mkv", duration_s=72.0, fps=2, size=(160, 90))
    (log := tmp_path / "chat.txt").write_text("[0:00:01] Ann: hi\n")
    command = [sys.executable, "-m", "kuaihl", "watch", str(path), "--comments", str(log), "--until-idle-s", "1"]
    command += ["--sources", "pictures", "comments"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "lines.jsonl")], capture_output=True, text=True, cwd=ROOT, check=True
    )
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    printed = [line for line in done.stdout.splitlines() if line[0].isdigit()]
    assert [line["comments"] for line in lines] == [1, 0, 0]
    assert [f"{line['next_score']:.1%}" in text for line, text in zip(lines, printed, strict=True)] == [True] * 3
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert any(line.startswith("0:00:00") for line in process.stdout)
        process.stdout.close()
        assert process.stderr.read() == ""
