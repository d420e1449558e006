"""The lag of a comment log, found in worlds where it is known."""

import wave

import numpy as np
import pytest

from kuaihl.comments.reader import read
from kuaihl.comments.selection import text_comments
from kuaihl.media.recording import open_recording
from kuaihl.sync import BIN_S, comment_rate, estimate_offset, sound_level
from tests.fixtures.cheering_stream import HOUR_S, a_stream


def in_bins(level_db):
    return level_db.reshape(-1, round(BIN_S)).mean(1)


@pytest.mark.parametrize("late_s", [-612.0, -45.0, 0.0, 45.0, 300.0])
def test_finds_a_known_lag(late_s):
    level_db, times_s = a_stream(seed=1)
    found = estimate_offset(in_bins(level_db), times_s + late_s)
    assert found.offset_s == pytest.approx(-late_s, abs=4)


def test_noise_has_no_lag():
    for seed in range(20):
        level_db, times_s = a_stream(seed, cheering=False)
        assert estimate_offset(in_bins(level_db), times_s).offset_s is None


def test_a_beat_that_repeats_fits_everywhere_and_so_nowhere():
    times = np.arange(HOUR_S)
    level_db = np.where(times % 60 < 10, -10.0, -40.0)
    assert estimate_offset(in_bins(level_db), times[times % 60 < 15]).offset_s is None


@pytest.mark.parametrize(
    ("level_db", "times_s"),
    [
        (np.zeros(0), np.arange(1000)),
        (np.full(1800, -60.0), np.arange(1000)),
        (np.linspace(-40, -20, 1800), [1.0, 2.0]),
        (np.arange(20) % 7, np.arange(1000)),
    ],
    ids=["no sound", "silence", "few comments", "too short"],
)
def test_too_little_to_compare(level_db, times_s):
    assert estimate_offset(level_db, times_s) is None


def test_loudness_of_a_recording(tmp_path):
    """A sine of amplitude a has a power of a²/2; what follows the sound is silence."""
    amplitudes = np.repeat([0.5, 0.05, 0.0], 4 * 16_000)
    sound = amplitudes * np.sin(2 * np.pi * 440 * np.arange(len(amplitudes)) / 16_000)
    with wave.open(str(file := tmp_path / "steps.wav"), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes((32767 * sound).astype("<i2").tobytes())
    level_db = sound_level(open_recording(file))
    np.testing.assert_allclose(level_db, [-9.03, -9.03, -29.03, -29.03, -60.0, -60.0], atol=0.05)


def test_rate_counts_inside_the_recording():
    assert comment_rate([-1.0, 0.0, 1.9, 2.0, 5.9, 6.1], 3).tolist() == [2, 1, 1]


@pytest.mark.parametrize("late_s", [0.0, 45.0])
def test_a_room_whose_sound_tells_nothing_gets_no_offset(example, late_s):
    """The simulator's voice is as loud in a dull moment as in a great one; its chat answers to what is done."""
    log = read(example / "comments.json", offset_s=late_s)
    level_db = sound_level(open_recording(example / "recording.mp4"))
    assert len(level_db) == 315
    assert estimate_offset(level_db, [c.time_s for c in text_comments(log.comments)]).offset_s is None
