"""A simulated room becomes a recording."""

import json
import shutil

import av
import numpy as np
import pytest

from kuaihl.comments import reader
from kuaihl.errors import LabelError, RecordingError
from train.simulator.render import voice
from train.simulator.render.video import render
from train.simulator.rooms.room import find_room, room
from train.simulator.settings import SimulatorConfig

SMALL = SimulatorConfig(size="small")
TINY = SimulatorConfig(size="tiny")


def test_unknown_rooms_are_named() -> None:
    assert find_room(TINY, "test-0007") == find_room(TINY, "7") == 7
    there = "train-0000 to train-0003, validation-0004 to validation-0005, test-0006 to test-0007"
    for name in ("train-0007", "8", "-1"):
        with pytest.raises(LabelError, match=there):
            find_room(TINY, name)
    with pytest.raises(LabelError, match="test-0749, train-0750 to train-2549"):
        find_room(SimulatorConfig(size="large"), "test-0750")


def test_a_missing_voice_is_said_and_leaves_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(voice.shutil, "which", lambda _: None)
    with pytest.raises(RecordingError, match="apt-get install espeak-ng"):
        render(room(TINY, 0), tmp_path, until_s=30.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.speaker
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_room_becomes_a_recording_with_its_logs(tmp_path) -> None:
    made = room(TINY, 1)
    rendered = render(made, tmp_path, until_s=25.0)
    assert rendered.duration_s == 30.0
    assert {p.name for p in tmp_path.iterdir()} == {"recording.mp4", "comments.json", "impressions.csv", "truth.json"}

    with av.open(rendered.recording) as container:
        assert container.duration / av.time_base == pytest.approx(30.0, abs=0.1)
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height) == (640, 360)
        keys_s = [f.time for f in container.decode(video) if f.key_frame]
        assert max(np.diff([*keys_s, 30.0])) <= 2.6
        container.seek(0)
        rate_hz = audio.rate
        heard = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio)])
    said = [u for u in made.speech if u.end_s < 30.0]
    speaking = np.zeros(len(heard), bool)
    for u in said:
        speaking[int(u.start_s * rate_hz) : int(u.end_s * rate_hz)] = True
    loud, quiet = (np.sqrt((heard[mask] ** 2).mean()) for mask in (speaking, ~speaking))
    assert loud > 4 * quiet

    log = reader.read(tmp_path / "comments.json")
    assert "witch" in log.format
    expected = [c for c in made.comments if c.time_s < 30.0]
    assert [(c.time_s, c.text, c.user) for c in log.comments] == [(c.time_s, c.text, c.user) for c in expected]
    assert rendered.comments == len(expected)

    views = np.loadtxt(tmp_path / "impressions.csv", delimiter=",", skiprows=1)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))["segments"]
    assert len(truth) == 1
    assert (views[:, 1] >= SMALL.long_view_s).mean() == pytest.approx(truth[0]["lvtr"], abs=2e-4)
