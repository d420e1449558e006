"""The voice activity detector against Silero's own way of running its model, and against a plain loop."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from silero_vad.sequence_vad import SileroVADSequence

from kuaihl.errors import CheckpointError
from kuaihl.speech import vad
from kuaihl.speech.vad import SAMPLE_RATE_HZ, VoiceDetector


def noisy_sound(seconds: float) -> np.ndarray:
    """Bursts of noise with the rhythm of syllables: enough to move the detector."""
    rng = np.random.default_rng(5)
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = np.sign(np.sin(2 * np.pi * 120 * time_s)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time_s))
    return (0.2 * tone + 0.02 * rng.standard_normal(len(time_s))).astype(np.float32)


def test_probabilities_are_silero_s_own() -> None:
    path = Path(find_spec("silero_vad").origin).parent / "data" / "silero_vad_16k_sequence.onnx"
    sound = noisy_sound(7.3)
    expected = SileroVADSequence(str(path), max_frames=64).audio_forward(sound)
    found = VoiceDetector().probabilities(sound)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_regions_are_those_of_a_plain_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(seed).random(300).astype(np.float32).repeat(3)[: 900 - seed]
    values[np.abs(values - 0.5) < 1e-3] = 0.9
    detector = VoiceDetector(min_silence_s=0.2, padding_s=0.1)
    monkeypatch.setattr(detector, "probabilities", lambda _: values)
    length = len(values) * 512 - 100
    speech, on = [], False
    for i, value in enumerate(values):
        if value >= 0.5 and not on:
            speech.append([i * 512, None])
            on = True
        elif value < 0.35 and on:
            speech[-1][1] = i * 512
            on = False
    if on:
        speech[-1][1] = len(values) * 512
    expected: list[list[int]] = []
    for start, end in speech:
        if expected and start - expected[-1][1] < 3200:
            expected[-1][1] = end
        else:
            expected.append([start, end])
    found = [(r.start, r.end) for r in detector.regions(np.zeros(length, np.float32))]
    assert found == [(max(0, a - 1600), min(length, b + 1600)) for a, b in expected]


@pytest.mark.parametrize("samples", [0, 1, 16, 512, 513])
def test_scraps_of_sound(samples: int) -> None:
    assert VoiceDetector().regions(np.zeros(samples, np.float32)) == []


def test_silence_noise_and_tones_are_not_speech() -> None:
    rng = np.random.default_rng(1)
    time_s = np.arange(10 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for sound in (0 * time_s, 0.1 * rng.standard_normal(len(time_s)), 0.3 * np.sin(2 * np.pi * 440 * time_s)):
        assert VoiceDetector().regions(sound.astype(np.float32)) == []


def test_a_missing_detector_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match="pip install"):
        VoiceDetector()


def test_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        VoiceDetector()
