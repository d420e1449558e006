"""``kuaihl explain`` prints the library's numbers, as text and as JSON."""

import importlib
import json
from pathlib import Path

from kuaihl import attribution
from kuaihl.cli.explain import explanation_text
from kuaihl.predictor import Predictor

cli = importlib.import_module("kuaihl.cli.main")


def test_json_is_the_explanation_of_the_library(short_recording: Path, short_log: Path, capsys) -> None:
    predictor = Predictor.from_pretrained(device="cpu")
    streamer = predictor.config.streamers[0]
    command = ["explain", str(short_recording), "--comments", str(short_log), "--streamer", streamer]
    assert cli.run([*command, "--at", "95", "140", "--json"]) == 0
    embeddings = predictor.encode(short_recording, short_log)
    prediction = predictor.score(embeddings, streamer=streamer)
    explanation = attribution.explain(predictor, embeddings, prediction, [3, 5])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(explanation))


def test_text_has_a_line_for_each_explained_and_each_earlier_segment() -> None:
    comments = [{"text": "wow", "count": 12}, {"text": "\x1b[2Jno", "count": 1}]
    earlier = {"start_s": 3600.0, "contributions": {"comments": -0.021}, "speech": "", "top_comments": comments}
    segment = {"start_s": 3630.0, "end_s": 3660.0, "score": 0.412, "contributions": {"comments": 0.03}}
    segment |= {"earlier_segments": [earlier]}
    text = explanation_text({"target": "lvtr", "explanations": [segment, segment | {"end_s": None}]})
    lines = text.splitlines()
    assert lines[0].split(maxsplit=1) == ["1:00:30", "lvtr 41.2%: comments +3.0 points"]
    assert lines[1].split()[:3] == ["1:00:00", "comments", "-2.1"]
    assert "wow × 12 · " in lines[1]
    assert "\x1b" not in text
    assert lines[3].startswith("forecast ")
