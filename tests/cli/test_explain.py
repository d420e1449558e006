"""The command that tells why: the library's numbers, as text and as JSON."""

import importlib
import json
from pathlib import Path

from kuaihl import attribution
from kuaihl.cli.explain import text
from kuaihl.predictor import Predictor

cli = importlib.import_module("kuaihl.cli.main")


def test_the_command_tells_the_numbers_of_the_library(short_recording: Path, short_log: Path, capsys) -> None:
    predictor = Predictor.from_pretrained(device="cpu")
    streamer = predictor.config.streamers[0]
    arguments = ["why", str(short_recording), "--comments", str(short_log), "--streamer", streamer, "--at", "95", "140"]
    assert cli.run([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    encoded = predictor.encode(short_recording, short_log)
    added = attribution.contributions(predictor, encoded, streamer=streamer)
    rows = [*told["segments"], told["forecast"]]
    assert [row["value"] for row in rows] == [None, *added.scores[1:].tolist()]
    assert [row["added"] for row in rows[1:]] == [added.added(index) for index in range(1, 6)]
    assert set(rows[1]["added"]) == {"pictures", "speech", "comments", "streamer"}
    assert [reason["start_s"] for reason in told["reasons"]] == [90.0, 140.0]
    before = attribution.moments(predictor, encoded, 3, streamer=streamer)
    assert [b["added"] for b in told["reasons"][0]["before"]] == [moment.added for moment in before]
    assert [b["start_s"] for b in told["reasons"][0]["before"]] == [moment.segment.start_s for moment in before]
    pans = {"comments": [{"text": "what a nice pan", "count": 3}], "written": 3}
    assert any(pans.items() <= before.items() for before in told["reasons"][1]["before"])


def test_text_is_a_line_for_each_reason_and_each_segment_before() -> None:
    comments = [{"text": "wow", "count": 12}, {"text": "\x1b[2Jno", "count": 1}]
    before = {"start_s": 3600.0, "added": {"comments": -0.021}, "speech": "", "comments": comments}
    reason = {"start_s": 3630.0, "end_s": 3660.0, "value": 0.412, "added": {"comments": 0.03}, "before": [before]}
    told = text({"target": "lvtr", "reasons": [reason, reason | {"end_s": None, "before": []}]})
    lines = told.splitlines()
    assert lines[0].split(maxsplit=1) == ["1:00:30", "lvtr 41.2%: comments +3.0 points"]
    assert "1:00:00" in lines[1]
    assert "comments -2.1 points; written: wow × 12 · " in lines[1]
    assert "\x1b" not in told
    assert lines[-1].startswith("forecast ")
