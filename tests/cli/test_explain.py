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
    prediction = predictor.score(encoded, streamer=streamer)
    added = attribution.contributions(predictor, encoded, prediction)
    rows = [*told["segments"], told["next"]]
    assert [row["score"] for row in rows] == [*prediction.curve, prediction.next_score]
    assert [row["contributions"] for row in rows[1:]] == [added.of(index) for index in range(1, 6)]
    assert set(rows[1]["contributions"]) == {"pictures", "speech", "comments", "streamer"}
    first, second = told["explanations"]
    assert (first["start_s"], second["start_s"]) == (90.0, 140.0)
    earlier = attribution.influential_segments(predictor, encoded, prediction, 3)
    assert [row["contributions"] for row in first["earlier_segments"]] == [one.contributions for one in earlier]
    assert [row["start_s"] for row in first["earlier_segments"]] == [one.segment.start_s for one in earlier]
    pans = {"top_comments": [{"text": "what a nice pan", "count": 3}], "comment_count": 3}
    assert any(pans.items() <= row.items() for row in second["earlier_segments"])


def test_text_is_a_line_for_each_reason_and_each_segment_before() -> None:
    comments = [{"text": "wow", "count": 12}, {"text": "\x1b[2Jno", "count": 1}]
    earlier = {"start_s": 3600.0, "contributions": {"comments": -0.021}, "speech": "", "top_comments": comments}
    row = {"start_s": 3630.0, "end_s": 3660.0, "score": 0.412, "contributions": {"comments": 0.03}}
    row |= {"earlier_segments": [earlier]}
    told = text({"target": "lvtr", "explanations": [row, row | {"end_s": None, "earlier_segments": []}]})
    lines = told.splitlines()
    assert lines[0].split(maxsplit=1) == ["1:00:30", "lvtr 41.2%: comments +3.0 points"]
    assert "1:00:00" in lines[1]
    assert "comments -2.1 points; written: wow × 12 · " in lines[1]
    assert "\x1b" not in told
    assert lines[-1].startswith("forecast ")
