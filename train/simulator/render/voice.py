"""The sound of a room: espeak-ng speaks the utterances over a quiet background."""

import io
import shutil
import subprocess
import wave
from collections.abc import Iterator

import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.records import SEGMENT_S
from train.simulator.rooms.room import Room
from train.simulator.rooms.streamers import Voice

VOICE_RATE_HZ = 22_050
"""Sample rate of espeak-ng."""
_PEAK = 0.6
_TIMEOUT_S = 60.0
_MUSIC = {"singing": 1.0, "dancing": 1.6, "pk": 0.6}
_CHORDS_HZ = ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7), (164.8, 196.0, 246.9))
_CHORD_S = 4.0
_BEAT_S = 0.5


def synthesise(text: str, voice: Voice) -> np.ndarray:
    """Speak ``text``: (samples,) float32 mono at ``VOICE_RATE_HZ``.

    Raises
    ------
    RecordingError
        espeak-ng is missing or fails.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise RecordingError(
            "espeak-ng was not found. It speaks the words: install it (Debian: apt-get install espeak-ng)."
        )
    options = ["-v", voice.name, "-p", str(voice.pitch), "-s", str(voice.words_per_minute), "--stdin", "--stdout"]
    try:
        spoken = subprocess.run(  # noqa: S603 - the program found above; the text goes to stdin
            [program, *options], input=text.encode(), capture_output=True, check=True, timeout=_TIMEOUT_S
        )
    except subprocess.SubprocessError as error:
        raise RecordingError(f"espeak-ng failed with the voice {voice.name}: {error}") from error
    with wave.open(io.BytesIO(spoken.stdout)) as sound:
        # The header of a stream has no valid length: read up to its end.
        data = sound.readframes(sound.getnframes())
        rate_hz = sound.getframerate()
    if rate_hz != VOICE_RATE_HZ:
        raise RecordingError(
            f"The voice {voice.name} of espeak-ng has {rate_hz} Hz instead of {VOICE_RATE_HZ} Hz: choose another voice."
        )
    samples = np.frombuffer(data, np.int16).astype(np.float32)
    return samples * (_PEAK / max(1.0, float(np.abs(samples).max(initial=0.0))))


def synthesise_room(room: Room, segments: int) -> Iterator[np.ndarray]:
    """Yield the sound of the first ``segments`` segments: (samples,) float32 mono at ``VOICE_RATE_HZ`` each.

    An utterance that takes longer than planned delays the next one; the rest continues in the next segment.
    """
    length = round(SEGMENT_S * VOICE_RATE_HZ)
    rng = np.random.default_rng([room.visuals.seed, 2])
    left_over = np.zeros(0, np.float32)
    for index in range(segments):
        mixed = _synthesise_background(room, index, length, rng=rng)
        start_s = index * SEGMENT_S
        at = min(len(left_over), length)
        mixed[:at] += left_over[:at]
        left_over = left_over[at:]
        for utterance in room.speech:
            if not start_s <= utterance.start_s < start_s + SEGMENT_S:
                continue
            spoken = synthesise(utterance.text, room.host.voice)
            at = max(at, round((utterance.start_s - start_s) * VOICE_RATE_HZ))
            fits = max(0, min(len(spoken), length - at))
            mixed[at : at + fits] += spoken[:fits]
            left_over = np.concatenate([left_over, spoken[fits:]])
            at += len(spoken)
        yield np.clip(mixed, -1.0, 1.0)


def _synthesise_background(room: Room, index: int, length: int, *, rng: np.random.Generator) -> np.ndarray:
    """Return a hum and a hiss, with chords and a beat if there is music; all far quieter than the voice."""
    time_s = index * SEGMENT_S + np.arange(length) / VOICE_RATE_HZ
    quiet = 0.004 * np.sin(2 * np.pi * 100.0 * time_s) + rng.normal(0.0, 0.0015, length)
    truth = room.truth[index]
    volume = 0.0 if truth.idle else _MUSIC.get(truth.talent, 0.0)
    if volume:
        beat = np.exp(-5.0 * (time_s % _BEAT_S))
        chord = np.asarray(_CHORDS_HZ)[(time_s // _CHORD_S).astype(int) % len(_CHORDS_HZ)]
        tones = sum(np.sin(2 * np.pi * chord[:, k] * time_s) for k in range(3))
        drum = np.sin(2 * np.pi * 60.0 * time_s) * np.exp(-12.0 * (time_s % (2 * _BEAT_S)))
        quiet += volume * (0.006 * tones * (0.3 + beat) + 0.02 * (0.3 + truth.intensity) * drum)
    return quiet.astype(np.float32)
