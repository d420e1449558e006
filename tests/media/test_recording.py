"""Recordings: what pictures and sound say they are is compared with when they should have been taken."""

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl.errors import RecordingError
from kuaihl.media import decord_reader
from kuaihl.media import recording as recordings
from kuaihl.media.audio import SAMPLE_RATE_HZ
from kuaihl.media.frames import FrameIndex, select_frames
from kuaihl.media.recording import open_recording, thumbnail
from kuaihl.media.worker import WorkerError
from kuaihl.records import Segment
from tests.fixtures.videos import WANTED_S, assert_beeps, picture, picture_times, time_of, whole_sound, write_recording

H264 = [("h264.mp4", "libx264", "aac"), ("h264.mkv", "libx264", "aac"), ("h264.flv", "libx264", "aac")]
OTHERS = [
    ("h264.mov", "libx264", "aac"),
    ("h264.ts", "libx264", "aac"),
    ("hevc.mp4", "libx265", "aac"),
    ("hevc.mkv", "libx265", "aac"),
    ("hevc.ts", "libx265", "aac"),
    ("vp9.webm", "libvpx-vp9", "libopus"),
    ("vp9.mkv", "libvpx-vp9", "aac"),
    ("av1.mp4", "libsvtav1", "aac"),
    ("av1.mkv", "libsvtav1", "libopus"),
]
SOUND_ONLY = [
    ("sound.m4a", "aac"),
    ("sound.mp4", "aac"),
    ("sound.mkv", "aac"),
    ("sound.mp3", "libmp3lame"),
    ("sound.ogg", "libopus"),
    ("sound.wav", "pcm_s16le"),
    ("sound.flac", "flac"),
    ("sound.aac", "aac"),
]


# Pictures and sound at the right time


@pytest.mark.parametrize(("name", "video", "audio"), H264 + OTHERS)
def test_pictures_and_sound_are_of_the_time_wanted(
    make_recording: Callable[..., Path], name: str, video: str, audio: str
) -> None:
    recording = open_recording(make_recording(name, video, audio))
    assert recording.has_video
    assert recording.has_audio
    assert recording.skipped == ()
    assert recording.info.duration_s == pytest.approx(36, abs=0.03)
    assert (recording.info.width, recording.info.height) == (128, 96)
    assert [(s.start_s, s.end_s) for s in recording.segments] == [(0, 30), (30, recording.info.duration_s)]
    reading = recording.read_frames()
    pieces = list(reading)
    assert [segment for segment, _ in pieces] == list(recording.segments)
    assert all(images.shape == (3, 224, 224, 3) and images.dtype == np.uint8 for _, images in pieces)
    times = [[time_of(image) for image in images] for _, images in pieces]
    # Exact frames may be the one before: FLV and TS begin with the 21 ms that AAC needs to start.
    np.testing.assert_allclose(times, WANTED_S, atol=0.101)
    keyframes = [(0, 0), (0, 1), (0, 2), (1, 2)]
    assert all(times[s][p] == pytest.approx(WANTED_S[s][p]) for s, p in keyframes)
    assert reading.skipped == ()
    assert_beeps(whole_sound(recording), list(range(36)), tolerance_s=0.03)


@pytest.mark.parametrize(("name", "video", "audio"), H264)
def test_decord_and_pyav_read_the_same_frames(
    make_recording: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, video: str, audio: str
) -> None:
    pytest.importorskip("decord")
    path = make_recording(name, video, audio)
    with_pyav = np.stack([images for _, images in open_recording(path).read_frames(size=96)])
    monkeypatch.setattr(recordings, "decode", None)  # PyAV would fail
    reading = open_recording(path, reader="decord").read_frames(size=96)
    with_decord = np.stack([images for _, images in reading])
    assert with_decord.shape == (2, 3, 96, 96, 3)
    assert np.abs(with_decord.astype(int) - with_pyav).mean() < 1
    assert reading.skipped == ()


def test_pyav_reads_what_decord_cannot(
    make_recording: Callable[..., Path], media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("decord")
    recording = open_recording(make_recording("h264.ts"), reader="decord")
    reading = recording.read_frames()
    assert [images.tolist() for _, images in reading] == [
        images.tolist() for _, images in replace(recording, reader="pyav").read_frames()
    ]
    assert [(skip.count, skip.where) for skip in reading.skipped] == [(1, "at 0:00:00")]

    path = write_recording(media_folder / "dies.mp4", duration_s=300, fps=1, keyframe_every=10, audio=None)
    iterate = recordings.iterate

    def die_after_one(function, *args, **kwargs):
        items = iterate(function, *args, **kwargs)
        if function is decord_reader.read_frames:
            yield next(items)
            raise WorkerError("crashed")
        yield from items

    monkeypatch.setattr(recordings, "iterate", die_after_one)
    reading = open_recording(path, reader="decord").read_frames()
    assert [[time_of(image) for image in images] for _, images in reading] == [
        [30.0 * i + at for at in (5, 15, 25)] for i in range(10)
    ]
    assert [(skip.count, skip.where) for skip in reading.skipped] == [(1, "at 0:04:00")]


def test_variable_frame_rate(media_folder: Path) -> None:
    rng = np.random.default_rng(0)
    times_s = np.unique(np.round(np.cumsum([0, *rng.choice([0.05, 0.1, 0.5, 1.5], 250)]) * 20) / 20)
    times_s = times_s[times_s < 69].tolist()
    wanted = [max(t for t in times_s if t <= start + at) for start in (0, 30) for at in (5, 15, 25)]
    for name in ("vfr.mp4", "vfr.mkv", "vfr.ts"):
        path = write_recording(media_folder / name, times_s=times_s, keyframe_every=1000, audio=None)
        recording = open_recording(path)
        assert np.ravel(picture_times(recording)[:2]).tolist() == wanted


def test_pictures_never_come_from_another_segment(media_folder: Path) -> None:
    times_s = [*range(21), 30.5, 52, 53, 58, *range(100, 112)]
    path = write_recording(media_folder / "holes.mkv", times_s=times_s, keyframe_every=1, audio=None)
    reading = open_recording(path).read_frames()
    images = [images for _, images in reading]
    times = [[time_of(image) for image in of_segment] for of_segment in images]
    assert times[0] == [5, 15, 20]
    assert times[1] == [30.5, 30.5, 53]
    assert not images[2].any()
    assert [(skip.count, skip.where) for skip in reading.skipped] == [(1, "at 0:01:00")]
    assert all(90 <= t < 112 for t in times[3])


def test_open_groups_of_pictures(media_folder: Path) -> None:
    """Frames stored after a keyframe but shown before it need the group before."""
    options = {"x264-params": "open-gop=1:scenecut=0:keyint=170"}
    path = write_recording(
        media_folder / "open.mp4",
        duration_s=70,
        fps=20,
        keyframe_every=170,
        b_frames=3,
        video_options=options,
        audio=None,
    )
    recording = open_recording(path)
    assert not recording.frame_index.is_plain
    times = picture_times(recording)
    assert times[0] == [5.0, 17.0, 25.5]
    assert times[1] == [34.0, 42.5, 55.0]
    for time_s in (8.4, 8.45, 8.5, 33.9, 33.95, 34.0, 34.05):
        assert time_of(thumbnail(recording, time_s)) == pytest.approx(time_s)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotated_pictures_come_out_upright(media_folder: Path, quarters: int) -> None:
    size = (96, 128) if quarters % 2 else (128, 96)
    path = write_recording(
        media_folder / f"turned{quarters}.mp4",
        duration_s=12,
        size=size,
        audio=None,
        draw=lambda time_s: np.ascontiguousarray(np.rot90(picture(time_s), quarters)),  # to the left
    )
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    matrix = struct.pack(
        ">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30
    )  # to the right
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = matrix
    path.write_bytes(data)
    recording = open_recording(path)
    assert (recording.info.width, recording.info.height) == (128, 96)
    assert picture_times(recording) == [[2.0, 6.0, 10.0]]
    image = thumbnail(recording, 7.3)
    assert image.shape == (240, 320, 3)
    assert time_of(image) == pytest.approx(7.3)


def test_choice_of_frames_against_brute_force() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        times_s = np.sort(rng.uniform(0, 70, rng.integers(1, 400)))
        key = rng.random(len(times_s)) < rng.choice([0.005, 0.05, 0.5])
        order = rng.permutation(len(times_s))  # of storage
        index = FrameIndex(np.arange(len(times_s)), times_s[order], key[order], np.zeros(len(times_s), bool))
        for segment in (Segment(0, 0.0, 30.0), Segment(1, 30.0, 60.0), Segment(2, 60.0, 70.0)):
            inside = [i for i, t in enumerate(times_s) if segment.start_s <= t < segment.end_s]
            length_s = segment.end_s - segment.start_s
            expected = []
            for wanted_s in (segment.start_s + length_s * part for part in (1 / 6, 3 / 6, 5 / 6)):
                keys = [i for i in inside if key[i] and abs(times_s[i] - wanted_s) <= length_s / 12]
                before = [i for i in inside if times_s[i] <= wanted_s]
                if keys:
                    expected.append(min(keys, key=lambda i: abs(times_s[i] - wanted_s)))
                elif inside:
                    expected.append(before[-1] if before else inside[0])
            chosen = select_frames(index, segment)
            np.testing.assert_array_equal(index.times_s[list(chosen)], times_s[expected])


# Sound


@pytest.mark.parametrize(("name", "audio"), SOUND_ONLY)
def test_sound_only(make_recording: Callable[..., Path], name: str, audio: str) -> None:
    recording = open_recording(make_recording(name, None, audio))
    assert not recording.has_video
    assert recording.info.video_codec is None
    assert list(recording.read_frames()) == []
    assert_beeps(whole_sound(recording), list(range(36)), tolerance_s=0.03)
    with pytest.raises(RecordingError, match="no video"):
        thumbnail(recording, 3.0)


def test_no_sound_is_silence(make_recording: Callable[..., Path]) -> None:
    recording = open_recording(make_recording("silent.mp4", "libx264", None))
    assert not recording.has_audio
    assert recording.info.audio_codec is None
    assert not whole_sound(recording).any()


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.flv", "late.ts"])
def test_late_sound_gaps_and_late_clocks(media_folder: Path, name: str) -> None:
    path = write_recording(
        media_folder / name,
        duration_s=36,
        audio_from_s=8.0,
        audio_gap_s=(15.0, 20.0),
        start_s=0 if "mp4" in name else 4321,
    )
    recording = open_recording(path)
    assert recording.skipped == ()
    assert_beeps(whole_sound(recording), [*range(8, 15), *range(20, 36)])
    assert picture_times(recording)[0] == [4.0, 14.0, 24.0]


def test_default_sound_is_taken(media_folder: Path, make_recording: Callable[..., Path]) -> None:
    first = write_recording(
        media_folder / "hush.mkv",
        duration_s=36,
        video=None,
        sing=lambda a, b: np.zeros(round((b - a) * 48_000), np.float32),
    )
    path = media_folder / "two.mkv"
    with (
        av.open(str(first)) as hush,
        av.open(str(make_recording("sound.mkv", None))) as loud,
        av.open(str(path), "w") as out,
    ):
        for source, default in ((hush, 0), (loud, 1)):
            stream = out.add_stream_from_template(source.streams.audio[0], opaque=True)
            stream.disposition = av.stream.Disposition(default)
        packets = [(p, at) for at, source in enumerate((hush, loud)) for p in source.demux(audio=0) if p.size]
        for packet, at in sorted(packets, key=lambda pair: pair[0].dts):
            packet.stream = out.streams[at]
            out.mux(packet)
    assert_beeps(whole_sound(open_recording(path)), list(range(36)))


def peak_bytes(read: Callable[[], Iterator[object]], count: int) -> int:
    tracemalloc.start()
    try:
        assert sum(1 for _ in read()) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_length(media_folder: Path) -> None:
    peaks = {}
    for duration_s in (120, 600):
        path = write_recording(
            media_folder / f"hush{duration_s}.mkv",
            duration_s=duration_s,
            video=None,
            audio="flac",
            sing=lambda a, b: np.zeros(round((b - a) * 48_000), np.float32),
        )
        peaks[duration_s] = peak_bytes(open_recording(path).read_audio, duration_s // 30)
    assert peaks[600] < 1.1 * peaks[120]
    assert peaks[120] < 4 * 30 * SAMPLE_RATE_HZ * 4
    for duration_s in (480, 1920):
        path = write_recording(
            media_folder / f"still{duration_s}.mkv", duration_s=duration_s, fps=1, audio=None, size=(64, 48)
        )
        peaks[duration_s] = peak_bytes(open_recording(path).read_frames, duration_s // 30)
    assert peaks[1920] < 1.2 * peaks[480]
