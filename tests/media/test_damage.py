"""Damaged recordings are read as far as they go; what is no recording reaches no decoder."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl.errors import RecordingError
from kuaihl.media.audio import SAMPLE_RATE_HZ
from kuaihl.media.recording import open_recording
from tests.fixtures.videos import WANTED_S, beep_times, picture_times, whole_sound, write_recording

# Damage


@pytest.mark.parametrize(
    ("name", "movflags"),
    [("cut.mkv", ""), ("cut.ts", ""), ("cut.flv", ""), ("cut.mp4", "faststart"), ("frag.mp4", "frag")],
)
def test_cut_recordings_are_read_to_the_cut(media_folder: Path, name: str, movflags: str) -> None:
    flags = "frag_keyframe+delay_moov" if movflags == "frag" else movflags
    path = write_recording(media_folder / name, duration_s=60, keyframe_every=16, movflags=flags)
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


def test_an_mp4_without_index_says_what_to_do(media_folder: Path) -> None:
    path = write_recording(media_folder / "noindex.mp4", duration_s=12, movflags="")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=r"no index.*MKV"):
        open_recording(path)


def test_clocks_that_begin_anew_go_on(make_recording: Callable[..., Path], media_folder: Path) -> None:
    """A recorder that reconnects writes one stream after the other."""
    path = media_folder / "twice.ts"
    path.write_bytes(make_recording("h264.ts").read_bytes() * 2)
    recording = open_recording(path)
    assert recording.info.duration_s == pytest.approx(72, abs=0.2)
    assert any("jump" in skip.reason for skip in recording.skipped)
    seconds = beep_times(whole_sound(recording), rate_hz=SAMPLE_RATE_HZ)
    np.testing.assert_allclose(seconds, range(72), atol=0.2)
    times = picture_times(recording)
    assert times[0] == pytest.approx(WANTED_S[0])
    assert times[1][1:] == pytest.approx([9, 19], abs=2.5)  # of the second pass


def test_damage_in_the_middle_is_passed_over(make_recording: Callable[..., Path], media_folder: Path) -> None:
    data = bytearray(make_recording("h264.mkv").read_bytes())
    at = len(data) // 2
    data[at : at + 20_000] = bytes(20_000)
    path = media_folder / "damaged.mkv"
    path.write_bytes(data)
    recording = open_recording(path)
    assert recording.info.duration_s == pytest.approx(36, abs=0.1)
    assert len(list(recording.read_frames())) == 2
    beeps_heard = beep_times(whole_sound(recording), rate_hz=SAMPLE_RATE_HZ)
    assert 20 < len(beeps_heard) < 36
    np.testing.assert_allclose(beeps_heard, np.round(beeps_heard), atol=0.03)


def test_sound_that_cannot_be_decoded_is_counted(make_recording: Callable[..., Path], media_folder: Path) -> None:
    data = bytearray(make_recording("sound.aac", None).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path = media_folder / "noisy.aac"
    path.write_bytes(data)
    recording = open_recording(path)
    reading = recording.read_audio()
    assert len(list(reading)) == len(recording.segments)
    assert recording.skipped + reading.skipped


def test_damage_of_any_kind_is_no_crash(make_recording: Callable[..., Path], media_folder: Path) -> None:
    rng = np.random.default_rng(5)
    sounds = {"sound.mp3": (None, "libmp3lame"), "sound.ogg": (None, "libopus")}
    for name in ("h264.mp4", "h264.mkv", "h264.flv", "h264.ts", *sounds):
        whole = np.frombuffer(make_recording(name, *sounds.get(name, ())).read_bytes(), np.uint8)
        for _ in range(2):
            data = whole.copy()
            data[rng.integers(8, len(data), 40)] = rng.integers(0, 256, 40)
            data[rng.integers(8, 3000, 5)] = rng.integers(0, 256, 5)
            path = media_folder / f"hostile-{name}"
            path.write_bytes(data.tobytes())
            try:
                recording = open_recording(path)
            except RecordingError:
                continue
            assert len(list(recording.read_audio())) == len(recording.segments)
            assert len(list(recording.read_frames())) == len(recording.segments) * recording.has_video


# What is no recording


def zipped(media_folder: Path) -> bytes:
    with zipfile.ZipFile(media_folder / "some.zip", "w") as archive:
        archive.writestr("a.mp4", b"\0\0\0\x18ftypmp42")
    return (media_folder / "some.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.mp4", b"", "empty"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "playlist"),
        ("bom.mp4", b"\xef\xbb\xbf#EXTM3U\nhttp://127.0.0.1/x.ts\n", "playlist"),
        ("concat.mkv", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a supported recording"),
        (
            "dash.flv",
            b'<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"/>',
            "not a supported recording",
        ),
        ("text.mp4", b"12:01 hello\n" * 400, "not a supported recording"),
        ("letters.ts", b"G" * 5000, "not a supported recording"),
        ("image.mp4", b"\x89PNG\r\n\x1a\n" + bytes(500), "not a supported recording"),
        ("photo.mp4", b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(500), "not a supported recording"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "not a supported recording"),
        ("utf16.mp3", "WEBVTT\n".encode("utf-16") * 20, "not a supported recording"),
        ("zeros.mp4", bytes(5000), "not a supported recording"),
        ("doc.mkv", b"\x1aE\xdf\xa3" + bytes(500), "not a supported recording"),
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
    for name, says in (("archive.mp4", "not a supported recording"), ("", "folder"), ("missing.mp4", "no file")):
        with pytest.raises(RecordingError, match=says):
            open_recording(tmp_path / name)


def test_the_suffix_does_not_matter(make_recording: Callable[..., Path], media_folder: Path) -> None:
    path = media_folder / "named.txt"
    path.write_bytes(make_recording("h264.ts").read_bytes())
    assert open_recording(path).info.container == "MPEG-TS"


def test_header_alone_and_short_recordings_are_refused(make_recording: Callable[..., Path], media_folder: Path) -> None:
    (media_folder / "head.mkv").write_bytes(make_recording("h264.mkv").read_bytes()[:400])
    write_recording(media_folder / "short.mp4", duration_s=4)
    with pytest.raises(RecordingError):
        open_recording(media_folder / "head.mkv")
    with pytest.raises(RecordingError, match="at least 5 s"):
        open_recording(media_folder / "short.mp4")


# For the page
