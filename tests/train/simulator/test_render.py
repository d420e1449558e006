"""A simulated room as a recording."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl.comments import reader
from kuaihl.errors import RecordingError
from train.simulator.render import voice
from train.simulator.render.logs import write_comments, write_truth
from train.simulator.render.video import render_room
from train.simulator.rooms.room import find_room, simulate_room
from train.simulator.settings import SimulatorConfig

TINY = SimulatorConfig(size="tiny")


def test_without_espeak_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice.shutil, "which", lambda _: None)
    with pytest.raises(RecordingError, match="apt-get install espeak-ng"):
        render_room(simulate_room(TINY, 0), tmp_path, until_s=30.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.speaker
def test_a_room_becomes_a_recording_with_its_logs(tmp_path: Path) -> None:
    room = simulate_room(TINY, 1)
    options = "stream --room train-0001 --size tiny --minutes 0.4 --out".split()  # noqa: SIM905
    done = subprocess.run(
        [sys.executable, "-m", "train.simulator", *options, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "30 s of train-0001" in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"recording.mp4", "comments.json", "impressions.csv", "truth.json"}

    with av.open(tmp_path / "recording.mp4") as container:
        assert container.duration / av.time_base == pytest.approx(30.0, abs=0.1)
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height) == (640, 360)
        keys_s = [f.time for f in container.decode(video) if f.key_frame]
        assert max(np.diff([*keys_s, 30.0])) <= 2.6
        container.seek(0)
        rate_hz = audio.rate
        samples = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio)])
    speaking = np.zeros(len(samples), bool)
    for u in room.speech:
        if u.end_s < 30.0:
            speaking[int(u.start_s * rate_hz) : int(u.end_s * rate_hz)] = True
    loud, quiet = (np.sqrt((samples[mask] ** 2).mean()) for mask in (speaking, ~speaking))
    assert loud > 4 * quiet

    log = reader.read(tmp_path / "comments.json")
    assert "witch" in log.format
    expected = [c for c in room.comments if c.time_s < 30.0]
    assert [(c.time_s, c.text, c.user) for c in log.comments] == [(c.time_s, c.text, c.user) for c in expected]

    views = np.loadtxt(tmp_path / "impressions.csv", delimiter=",", skiprows=1)
    (truth,) = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))["segments"]
    assert (views[:, 1] >= TINY.long_view_s).mean() == pytest.approx(truth["lvtr"], abs=2e-4)
    assert truth["appeal"] == pytest.approx(room.truth[0].appeal, abs=1e-4)


def test_the_example_is_a_simulated_room(tmp_path: Path, example: Path) -> None:
    config = SimulatorConfig(size="base")
    room = simulate_room(config, find_room(config, "test-0738"))
    write_truth(room, tmp_path / "truth.json", segments=21)
    write_comments(room, tmp_path / "comments.json", until_s=630.0)
    for name in ("truth.json", "comments.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((example / name).read_text())
