"""Render a room as a recording: H.264/AAC in MP4, with its comment log, impressions and truth."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from kuaihl.records import SEGMENT_S
from train.simulator.render.logs import write_comments, write_impressions, write_truth
from train.simulator.render.room_frames import draw_frame
from train.simulator.render.voice import VOICE_RATE_HZ, synthesise_room
from train.simulator.rooms.room import Room

SIZE = (640, 360)
FRAMES_PER_S = 6
KEYFRAME_S = 2.5
_SUPERSAMPLE = 2
_CODEC_OPTIONS = {"preset": "slow", "tune": "animation", "crf": "35"}
_SOUND_BITS_PER_S = 24_000


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered recording, its length, and its number of comments."""

    recording: Path
    duration_s: float
    comments: int


def render_room(
    room: Room,
    out: Path,
    *,
    until_s: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Rendered:
    """Write recording.mp4, comments.json, impressions.csv and truth.json into ``out``.

    ``until_s`` cuts the room after the segment that contains it. Memory does not grow with the length of the room.

    Raises
    ------
    RecordingError
        espeak-ng is missing.
    """
    until_s = room.segments[-1].end_s if until_s is None else until_s
    segments = max(1, sum(s.start_s < until_s for s in room.segments))
    end_s = room.segments[segments - 1].end_s
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "recording.partial.mp4"
    try:
        _encode(room, partial, segments, progress=progress)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    recording = partial.replace(out / "recording.mp4")
    comments = write_comments(room, out / "comments.json", until_s=end_s)
    write_impressions(room, out / "impressions.csv", until_s=end_s)
    write_truth(room, out / "truth.json", segments=segments)
    return Rendered(recording=recording, duration_s=end_s, comments=comments)


def _encode(room: Room, path: Path, segments: int, *, progress: Callable[[float], None] | None) -> None:
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAMES_PER_S, options=_CODEC_OPTIONS)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.gop_size = round(KEYFRAME_S * FRAMES_PER_S)
        audio = container.add_stream("aac", rate=VOICE_RATE_HZ, layout="mono")
        audio.bit_rate = _SOUND_BITS_PER_S
        for index, samples in enumerate(synthesise_room(room, segments)):
            _encode_sound(container, audio, samples, index)
            first = index * round(SEGMENT_S * FRAMES_PER_S)
            for k in range(first, first + round(SEGMENT_S * FRAMES_PER_S)):
                pixels = draw_frame(room, k / FRAMES_PER_S, SIZE, supersample=_SUPERSAMPLE)
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts = k
                picture.time_base = Fraction(1, FRAMES_PER_S)
                container.mux(video.encode(picture))
            if progress is not None:
                progress((index + 1) / segments)
        container.mux(audio.encode(None))
        container.mux(video.encode(None))


def _encode_sound(
    container: av.container.OutputContainer, audio: av.AudioStream, samples: np.ndarray, index: int
) -> None:
    packed = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    packed.sample_rate = VOICE_RATE_HZ
    packed.pts = index * len(samples)
    packed.time_base = Fraction(1, VOICE_RATE_HZ)
    container.mux(audio.encode(packed))
