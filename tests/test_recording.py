"""Recordings: what pictures and sound say they are is compared with when they should have been taken."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl import recording as module
from kuaihl.decord_worker import DecordWorker
from kuaihl.errors import RecordingError
from kuaihl.pictures import FrameIndex, choose
from kuaihl.recording import SAMPLE_RATE_HZ, Recording, open_recording, playable, thumbnail
from kuaihl.records import Segment
from tests.media import beep_times, picture, time_of, write_recording

# 36 s at 10 pictures a second, a keyframe every 1.6 s: those nearest to 5, 15 and 25 s are near enough; in the last
# segment, of 6 s, only the one at 35.2 s is.
WANTED_S = [[4.8, 14.4, 25.6], [31.0, 33.0, 35.2]]
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def make(folder: Path) -> Callable[..., Path]:
    """Write a recording of 36 s, each only once."""

    def written(name: str, video: str | None = "libx264", audio: str | None = "aac") -> Path:
        path = folder / name
        return (
            path if path.exists() else write_recording(path, duration_s=36, video=video, audio=audio, keyframe_every=16)
        )

    return written


def picture_times(recording: Recording) -> list[list[float]]:
    return [[time_of(image) for image in images] for _, images in recording.pictures()]


def whole_sound(recording: Recording) -> np.ndarray:
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


def without_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_installed", lambda: False)


# Pictures and sound at the right time


@pytest.mark.parametrize(("name", "video", "audio"), H264 + OTHERS)
def test_pictures_and_sound_are_of_the_time_wanted(
    make: Callable[..., Path], name: str, video: str, audio: str
) -> None:
    recording = open_recording(make(name, video, audio))
    assert recording.has_pictures
    assert recording.has_sound
    assert recording.skipped == ()
    assert recording.info.duration_s == pytest.approx(36, abs=0.03)
    assert (recording.info.width, recording.info.height) == (128, 96)
    assert [(s.start_s, s.end_s) for s in recording.segments] == [(0, 30), (30, recording.info.duration_s)]
    reading = recording.pictures()
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
def test_decord_and_pyav_see_the_same(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, video: str, audio: str
) -> None:
    pytest.importorskip("decord")
    recording = open_recording(make(name, video, audio))
    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", None)  # PyAV would fail
        by_decord = np.stack([images for _, images in recording.pictures(size=96)])
    without_decord(monkeypatch)
    by_pyav = np.stack([images for _, images in recording.pictures(size=96)])
    assert by_decord.shape == (2, 3, 96, 96, 3)
    assert np.abs(by_decord.astype(int) - by_pyav).mean() < 4


def test_pyav_goes_on_where_decord_dies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decord")
    path = write_recording(folder / "dies.mp4", duration_s=300, fps=1, keyframe_every=10, audio=None)
    batches = []

    class Dying(DecordWorker):
        def pictures(self, frames: np.ndarray) -> np.ndarray:
            batches.append(len(frames))
            if len(batches) == 2:
                self._process.kill()
            return super().pictures(frames)

    monkeypatch.setattr(module, "DecordWorker", Dying)
    times = picture_times(open_recording(path))
    assert batches == [24, 6]
    assert times == [[30.0 * i + at for at in (5, 15, 25)] for i in range(10)]


def test_variable_frame_rate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    times_s = np.unique(np.round(np.cumsum([0, *rng.choice([0.05, 0.1, 0.5, 1.5], 250)]) * 20) / 20)
    times_s = times_s[times_s < 69].tolist()
    wanted = [max(t for t in times_s if t <= start + at) for start in (0, 30) for at in (5, 15, 25)]
    for name in ("vfr.mp4", "vfr.mkv", "vfr.ts"):
        path = write_recording(folder / name, times_s=times_s, keyframe_every=1000, audio=None)
        recording = open_recording(path)
        assert np.ravel(picture_times(recording)[:2]).tolist() == wanted
    without_decord(monkeypatch)
    assert np.ravel(picture_times(open_recording(folder / "vfr.mp4"))[:2]).tolist() == wanted


def test_pictures_never_come_from_another_segment(folder: Path) -> None:
    times_s = [*range(21), 30.5, 52, 53, 58, *range(100, 112)]
    path = write_recording(folder / "holes.mkv", times_s=times_s, keyframe_every=1, audio=None)
    reading = open_recording(path).pictures()
    images = [images for _, images in reading]
    times = [[time_of(image) for image in of_segment] for of_segment in images]
    assert times[0] == [5, 15, 20]
    assert times[1] == [30.5, 30.5, 53]
    assert not images[2].any()
    assert [(skip.count, skip.where) for skip in reading.skipped] == [(1, "at 0:01:00")]
    assert all(90 <= t < 112 for t in times[3])


def test_open_groups_of_pictures(folder: Path) -> None:
    """Frames stored after a keyframe but shown before it need the group before."""
    options = {"x264-params": "open-gop=1:scenecut=0:keyint=170"}
    path = write_recording(
        folder / "open.mp4", duration_s=70, fps=20, keyframe_every=170, b_frames=3, video_options=options, audio=None
    )
    recording = open_recording(path)
    assert not recording.frames.is_plain
    times = picture_times(recording)
    assert times[0] == [5.0, 17.0, 25.5]
    assert times[1] == [34.0, 42.5, 55.0]
    for time_s in (8.4, 8.45, 8.5, 33.9, 33.95, 34.0, 34.05):
        assert time_of(thumbnail(recording, time_s)) == pytest.approx(time_s)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotated_pictures_come_out_upright(folder: Path, quarters: int) -> None:
    size = (96, 128) if quarters % 2 else (128, 96)
    path = write_recording(
        folder / f"turned{quarters}.mp4",
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
            chosen = choose(index, segment)
            np.testing.assert_array_equal(index.times_s[list(chosen)], times_s[expected])


# Sound


@pytest.mark.parametrize(("name", "audio"), SOUND_ONLY)
def test_sound_only(make: Callable[..., Path], name: str, audio: str) -> None:
    recording = open_recording(make(name, None, audio))
    assert not recording.has_pictures
    assert recording.info.video_codec is None
    assert list(recording.pictures()) == []
    assert_beeps(whole_sound(recording), list(range(36)), tolerance_s=0.03)
    with pytest.raises(RecordingError, match="no pictures"):
        thumbnail(recording, 3.0)


def test_no_sound_is_silence(make: Callable[..., Path]) -> None:
    recording = open_recording(make("silent.mp4", "libx264", None))
    assert not recording.has_sound
    assert recording.info.audio_codec is None
    assert not whole_sound(recording).any()


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.flv", "late.ts"])
def test_late_sound_gaps_and_late_clocks(folder: Path, name: str) -> None:
    path = write_recording(
        folder / name, duration_s=36, audio_from_s=8.0, audio_gap_s=(15.0, 20.0), start_s=0 if "mp4" in name else 4321
    )
    recording = open_recording(path)
    assert recording.skipped == ()
    assert_beeps(whole_sound(recording), [*range(8, 15), *range(20, 36)])
    assert picture_times(recording)[0] == [4.0, 14.0, 24.0]


def test_default_sound_is_taken(folder: Path, make: Callable[..., Path]) -> None:
    first = write_recording(
        folder / "hush.mkv", duration_s=36, video=None, sing=lambda a, b: np.zeros(round((b - a) * 48_000), np.float32)
    )
    path = folder / "two.mkv"
    with av.open(str(first)) as hush, av.open(str(make("sound.mkv", None))) as loud, av.open(str(path), "w") as out:
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


def test_memory_does_not_grow_with_length(folder: Path) -> None:
    peaks = {}
    for duration_s in (120, 600):
        path = write_recording(
            folder / f"hush{duration_s}.mkv",
            duration_s=duration_s,
            video=None,
            audio="flac",
            sing=lambda a, b: np.zeros(round((b - a) * 48_000), np.float32),
        )
        peaks[duration_s] = peak_bytes(open_recording(path).sound, duration_s // 30)
    assert peaks[600] < 1.1 * peaks[120]
    assert peaks[120] < 4 * 30 * SAMPLE_RATE_HZ * 4
    for duration_s in (480, 1920):
        path = write_recording(
            folder / f"still{duration_s}.mkv", duration_s=duration_s, fps=1, audio=None, size=(64, 48)
        )
        peaks[duration_s] = peak_bytes(open_recording(path).pictures, duration_s // 30)
    assert peaks[1920] < 1.2 * peaks[480]


# Damage


@pytest.mark.parametrize(
    ("name", "movflags"),
    [("cut.mkv", ""), ("cut.ts", ""), ("cut.flv", ""), ("cut.mp4", "faststart"), ("frag.mp4", "frag")],
)
def test_cut_recordings_are_read_to_the_cut(folder: Path, name: str, movflags: str) -> None:
    flags = "frag_keyframe+delay_moov" if movflags == "frag" else movflags
    path = write_recording(folder / name, duration_s=60, keyframe_every=16, movflags=flags)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10 + 1])
    recording = open_recording(path)
    end_s = recording.info.duration_s
    assert 36 < end_s < 50
    assert recording.skipped
    times = picture_times(recording)
    assert times[0] == pytest.approx(WANTED_S[0])
    assert times[1] == pytest.approx([30 + (end_s - 30) * part for part in (1 / 6, 3 / 6, 5 / 6)], abs=1.3)
    heard = beep_times(whole_sound(recording), rate_hz=SAMPLE_RATE_HZ)
    assert len(heard) >= int(end_s) - 1
    np.testing.assert_allclose(heard, range(len(heard)), atol=0.03)


def test_an_mp4_without_index_says_what_to_do(folder: Path) -> None:
    path = write_recording(folder / "noindex.mp4", duration_s=12, movflags="")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=r"no index.*MKV"):
        open_recording(path)


def test_clocks_that_begin_anew_go_on(make: Callable[..., Path], folder: Path) -> None:
    """A recorder that reconnects writes one stream after the other."""
    path = folder / "twice.ts"
    path.write_bytes(make("h264.ts").read_bytes() * 2)
    recording = open_recording(path)
    assert recording.info.duration_s == pytest.approx(72, abs=0.2)
    assert any("jump" in skip.reason for skip in recording.skipped)
    seconds = beep_times(whole_sound(recording), rate_hz=SAMPLE_RATE_HZ)
    np.testing.assert_allclose(seconds, range(72), atol=0.2)
    times = picture_times(recording)
    assert times[0] == pytest.approx(WANTED_S[0])
    assert times[1][1:] == pytest.approx([9, 19], abs=2.5)  # of the second pass


def test_damage_in_the_middle_is_passed_over(make: Callable[..., Path], folder: Path) -> None:
    data = bytearray(make("h264.mkv").read_bytes())
    at = len(data) // 2
    data[at : at + 20_000] = bytes(20_000)
    path = folder / "damaged.mkv"
    path.write_bytes(data)
    recording = open_recording(path)
    assert recording.info.duration_s == pytest.approx(36, abs=0.1)
    assert len(list(recording.pictures())) == 2
    beeps_heard = beep_times(whole_sound(recording), rate_hz=SAMPLE_RATE_HZ)
    assert 20 < len(beeps_heard) < 36
    np.testing.assert_allclose(beeps_heard, np.round(beeps_heard), atol=0.03)


def test_sound_that_cannot_be_decoded_is_counted(make: Callable[..., Path], folder: Path) -> None:
    data = bytearray(make("sound.aac").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path = folder / "noisy.aac"
    path.write_bytes(data)
    recording = open_recording(path)
    reading = recording.sound()
    assert len(list(reading)) == len(recording.segments)
    assert recording.skipped + reading.skipped


def test_damage_of_any_kind_is_no_crash(
    make: Callable[..., Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_decord(monkeypatch)
    rng = np.random.default_rng(5)
    for name in ("h264.mp4", "h264.mkv", "h264.flv", "h264.ts", "sound.mp3", "sound.ogg"):
        whole = np.frombuffer(make(name, *(() if "h264" in name else (None,))).read_bytes(), np.uint8)
        for _ in range(2):
            data = whole.copy()
            data[rng.integers(8, len(data), 40)] = rng.integers(0, 256, 40)
            data[rng.integers(8, 3000, 5)] = rng.integers(0, 256, 5)
            path = folder / f"hostile-{name}"
            path.write_bytes(data.tobytes())
            try:
                recording = open_recording(path)
            except RecordingError:
                continue
            assert len(list(recording.sound())) == len(recording.segments)
            assert len(list(recording.pictures())) == len(recording.segments) * recording.has_pictures


# What is no recording


def zipped(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.writestr("a.mp4", b"\0\0\0\x18ftypmp42")
    return (folder / "some.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.mp4", b"", "empty"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "playlist"),
        ("bom.mp4", b"\xef\xbb\xbf#EXTM3U\nhttp://127.0.0.1/x.ts\n", "playlist"),
        ("concat.mkv", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a recording"),
        (
            "dash.flv",
            b'<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"/>',
            "not a recording",
        ),
        ("text.mp4", b"12:01 hello\n" * 400, "not a recording"),
        ("letters.ts", b"G" * 5000, "not a recording"),
        ("image.mp4", b"\x89PNG\r\n\x1a\n" + bytes(500), "not a recording"),
        ("photo.mp4", b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(500), "not a recording"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "not a recording"),
        ("utf16.mp3", "WEBVTT\n".encode("utf-16") * 20, "not a recording"),
        ("zeros.mp4", bytes(5000), "not a recording"),
        ("doc.mkv", b"\x1aE\xdf\xa3" + bytes(500), "not a recording"),
        ("few.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "no index"),
    ],
)
def test_what_is_no_recording_reaches_no_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, says: str
) -> None:
    monkeypatch.setattr(av, "open", None)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=says) as error:
        open_recording(path)
    assert str(path) in str(error.value)


def test_archives_folders_and_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "open", None)
    (tmp_path / "archive.mp4").write_bytes(zipped(tmp_path))
    for name, says in (("archive.mp4", "not a recording"), ("", "folder"), ("missing.mp4", "no file")):
        with pytest.raises(RecordingError, match=says):
            open_recording(tmp_path / name)


def test_the_suffix_does_not_matter(make: Callable[..., Path], folder: Path) -> None:
    path = folder / "named.txt"
    path.write_bytes(make("h264.ts").read_bytes())
    assert open_recording(path).info.container == "MPEG-TS"


def test_header_alone_and_short_recordings_are_refused(make: Callable[..., Path], folder: Path) -> None:
    (folder / "head.mkv").write_bytes(make("h264.mkv").read_bytes()[:400])
    write_recording(folder / "short.mp4", duration_s=4)
    with pytest.raises(RecordingError):
        open_recording(folder / "head.mkv")
    with pytest.raises(RecordingError, match="at least 5 s"):
        open_recording(folder / "short.mp4")


# For the page


@pytest.mark.parametrize(("name", "video"), [("h264.mp4", "libx264"), ("h264.ts", "libx264"), ("av1.mkv", "libsvtav1")])
def test_thumbnail_is_the_picture_shown(make: Callable[..., Path], name: str, video: str) -> None:
    recording = open_recording(make(name, video, "libopus" if video == "libsvtav1" else "aac"))
    for time_s in (0.0, 13.7, 35.9, 99.0):
        image = thumbnail(recording, time_s, width=160)
        assert image.shape == (120, 160, 3)
        assert time_of(image) == pytest.approx(min(time_s, 35.9), abs=0.101)


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("h264.mkv", "libx264", "aac"),
        ("h264.flv", "libx264", "aac"),
        ("h264.ts", "libx264", "aac"),
        ("h264.mov", "libx264", "aac"),
        ("silent.mkv", "libx264", None),
        ("vp9.mkv", "libvpx-vp9", "aac"),
        ("sound.mkv", None, "aac"),
    ],
)
def test_rewrapped_for_browsers(
    make: Callable[..., Path], tmp_path: Path, name: str, video: str | None, audio: str | None
) -> None:
    recording = open_recording(make(name, video, audio))
    path = playable(recording, tmp_path)
    assert path is not None
    assert list(tmp_path.iterdir()) == [path]
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    copy = open_recording(path)
    assert copy.info.container == "MP4"
    assert (copy.info.video_codec, copy.info.audio_codec) == (recording.info.video_codec, recording.info.audio_codec)
    assert copy.info.duration_s == pytest.approx(recording.info.duration_s, abs=0.06)
    assert len(data) < 1.4 * recording.path.stat().st_size
    np.testing.assert_allclose(np.ravel(picture_times(copy)), np.ravel(picture_times(recording)), atol=0.101)
    if audio is not None:
        assert_beeps(whole_sound(copy), list(range(36)), tolerance_s=0.03)


def test_what_browsers_play_is_left_alone_and_what_they_cannot_is_none(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    for name, video, audio in (
        ("h264.mp4", "libx264", "aac"),
        ("vp9.webm", "libvpx-vp9", "libopus"),
        ("sound.mp3", None, "libmp3lame"),
    ):
        path = make(name, video, audio)
        assert playable(open_recording(path), tmp_path) == path
    for name in ("hevc.mp4", "hevc.mkv", "hevc.ts"):
        assert playable(open_recording(make(name, "libx265", "aac")), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_gets_a_copy_beside_the_file(make: Callable[..., Path], tmp_path: Path) -> None:
    disguised = tmp_path / "stream.mp4"
    disguised.write_bytes(make("h264.mkv").read_bytes())
    before = disguised.read_bytes()
    path = playable(open_recording(disguised), tmp_path)
    assert path is not None
    assert path != disguised
    assert open_recording(path).info.container == "MP4"
    assert disguised.read_bytes() == before
