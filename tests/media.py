"""Small real recordings, whose pictures and sound tell when they were taken."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl.recording import SAMPLE_RATE_HZ, Recording

CLOCK_HZ = 20
"""Pictures tell their time in twentieths of a second, as a chequer of 16 bits, 4 by 4, the highest at the top left."""
BEEP_S = 0.1
WANTED_S = [[4.8, 14.4, 25.6], [31.0, 33.0, 35.2]]
"""Pictures of 36 s at 10 a second with a keyframe every 1.6 s: the keyframes nearest to 5, 15 and 25 s are near enough;
of those in the last segment, of 6 s, only the one at 35.2 s is."""
SOUND_HZ = 48_000
_TICKS = Fraction(1, 1000)
_BLOCK = 256
"""Sound is made for so many of the encoder's frames at a time."""


def picture(time_s: float, *, width: int = 128, height: int = 96) -> np.ndarray:
    """Draw a picture (height, width, 3) uint8 that says ``time_s``; `time_of` reads it."""
    number = round(time_s * CLOCK_HZ)
    bits = np.array([number >> shift & 1 for shift in range(15, -1, -1)], np.uint8).reshape(4, 4)
    grey = np.repeat(np.repeat(bits * 170 + 40, height // 4, 0), width // 4, 1)
    return np.repeat(grey[..., None], 3, 2)


def time_of(image: np.ndarray) -> float:
    """Read the time in seconds off a picture of any size and quality."""
    height, width = image.shape[:2]
    rows, columns = ((np.arange(4) * 2 + 1) * side // 8 for side in (height, width))
    bits = image.mean(2)[np.ix_(rows, columns)].ravel() > 125
    return float(sum(1 << 15 - place for place, bit in enumerate(bits) if bit)) / CLOCK_HZ


def beeps(start_s: float, end_s: float, *, rate_hz: int = SOUND_HZ) -> np.ndarray:
    """Make sound (samples,) float32 that beeps at every full second, higher by 20 Hz each time (from 400 Hz)."""
    time_s = np.arange(round(start_s * rate_hz), round(end_s * rate_hz)) / rate_hz
    second = np.floor(time_s)
    on = time_s - second < BEEP_S
    return (0.5 * on * np.sin(2 * np.pi * (400 + 20 * second) * time_s)).astype(np.float32)


def beep_times(sound: np.ndarray, *, rate_hz: int) -> list[float]:
    """Find where beeps begin in ``sound`` (samples,), in seconds from its first sample."""
    smooth = np.convolve(np.abs(sound), np.ones(rate_hz // 200) / (rate_hz // 200), "same")
    loud = np.concatenate([[False], smooth > 0.1])
    starts = np.flatnonzero(loud[1:] & ~loud[:-1])
    return [float(start) / rate_hz for i, start in enumerate(starts) if not i or start - starts[i - 1] > rate_hz // 4]


def write_recording(
    path: Path,
    *,
    duration_s: float = 10.0,
    video: str | None = "libx264",
    audio: str | None = "aac",
    container: str | None = None,
    times_s: Sequence[float] | None = None,
    fps: int = 10,
    keyframe_every: int = 20,
    b_frames: int = 2,
    start_s: float = 0.0,
    audio_from_s: float = 0.0,
    audio_gap_s: tuple[float, float] | None = None,
    size: tuple[int, int] = (128, 96),
    draw: Callable[[float], np.ndarray] | None = None,
    sing: Callable[[float, float], np.ndarray] | None = None,
    video_options: dict[str, str] | None = None,
    movflags: str = "faststart",
) -> Path:
    """Write a recording and return its path.

    ``video`` and ``audio`` are FFmpeg's encoders, None for none; ``container`` is a muxer, from the suffix otherwise.
    ``times_s`` are the times of the frames (variable rate), ``fps`` a division of 20 otherwise. ``draw(time_s)`` makes
    a picture (height, width, 3) uint8, ``sing(start_s, end_s)`` the sound (samples,) float32 at ``SOUND_HZ``.
    ``start_s`` is added to all time stamps. Sound is left out before ``audio_from_s`` and within ``audio_gap_s``.
    """
    width, height = size
    options = {"movflags": movflags} if movflags and path.suffix in {".mp4", ".mov", ".m4a"} else {}
    with av.open(str(path), "w", format=container, options=options) as out:
        pictures = sound = None
        if video is not None:
            pictures = out.add_stream(video, rate=fps, options={**_fast(video), **(video_options or {})})
            pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
            pictures.codec_context.time_base = _TICKS
            pictures.codec_context.gop_size = keyframe_every
            if video in {"libx264", "libx265"}:
                pictures.codec_context.max_b_frames = b_frames
        if audio is not None:
            sound = out.add_stream(audio, rate=SOUND_HZ)
            sound.codec_context.layout = "mono"
        if times_s is None:
            times_s = [number / fps for number in range(round(duration_s * fps))]
        gap_s = audio_gap_s or (duration_s, duration_s)
        spans = [(audio_from_s, min(gap_s[0], duration_s)), (gap_s[1], duration_s)]
        packets = []
        if pictures is not None:
            packets += _encode_pictures(pictures, times_s, start_s, draw or _drawing(width, height))
        if sound is not None:
            packets += _encode_sound(sound, spans, start_s, sing or beeps)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            out.mux(packet)
    return path


def _fast(video: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "ultrafast", "x264-params": "scenecut=0"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:scenecut=0:pools=1"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
        "libsvtav1": {"preset": "8", "svtav1-params": "lp=1"},
    }.get(video, {})


def _drawing(width: int, height: int) -> Callable[[float], np.ndarray]:
    return lambda time_s: picture(time_s, width=width, height=height)


def _encode_pictures(
    stream: av.VideoStream, times_s: Sequence[float], start_s: float, draw: Callable[[float], np.ndarray]
) -> list[av.Packet]:
    packets = []
    for time_s in times_s:
        frame = av.VideoFrame.from_ndarray(draw(time_s), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = round((start_s + time_s) / _TICKS), _TICKS
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _encode_sound(
    stream: av.AudioStream,
    spans: Sequence[tuple[float, float]],
    start_s: float,
    sing: Callable[[float, float], np.ndarray],
) -> list[av.Packet]:
    packets = []
    size = stream.codec_context.frame_size or 1024
    for begin_s, end_s in spans:
        for from_s in np.arange(begin_s, end_s, size * _BLOCK / SOUND_HZ):
            samples = sing(from_s, min(from_s + size * _BLOCK / SOUND_HZ, end_s))
            for at in range(0, len(samples) - size + 1, size):
                frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format="fltp", layout="mono")
                frame.sample_rate, frame.time_base = SOUND_HZ, Fraction(1, SOUND_HZ)
                frame.pts = round((start_s + from_s) * SOUND_HZ) + at
                packets += stream.encode(frame)
    return packets + stream.encode(None)


def picture_times(recording: Recording) -> list[list[float]]:
    """Read the times off the three pictures of every segment."""
    return [[time_of(image) for image in images] for _, images in recording.pictures()]


def whole_sound(recording: Recording) -> np.ndarray:
    """Join the sound of all segments, each of which has to be as long as its segment."""
    pieces = list(recording.sound())
    assert [segment for segment, _ in pieces] == list(recording.segments)
    for segment, piece in pieces:
        assert piece.dtype == np.float32
        assert len(piece) == round(segment.end_s * SAMPLE_RATE_HZ) - round(segment.start_s * SAMPLE_RATE_HZ)
    return np.concatenate([piece for _, piece in pieces])


def assert_beeps(sound: np.ndarray, seconds: list[int], *, tolerance_s: float = 0.01) -> None:
    """Beeps begin at these seconds, and each has the pitch of its second."""
    times = beep_times(sound, rate_hz=SAMPLE_RATE_HZ)
    assert len(times) == len(seconds)
    np.testing.assert_allclose(times, seconds, atol=tolerance_s)
    for time_s, second in zip(times, seconds, strict=True):
        start = round(max(time_s, 0.0) * SAMPLE_RATE_HZ)
        spectrum = np.abs(np.fft.rfft(sound[start : start + SAMPLE_RATE_HZ // 10], 8 * SAMPLE_RATE_HZ))
        assert spectrum.argmax() / 8 == pytest.approx(400 + 20 * second, abs=6)
