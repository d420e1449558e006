"""Clips are cut from recordings whose pictures and sound tell their time, so that decoding a clip tells the truth."""

import json
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from kuaihl.errors import RecordingError
from kuaihl.media import packet_source
from kuaihl.media.clips.cutting import _cut
from kuaihl.media.clips.frame_rates import frame_rate, timecode_rate
from kuaihl.media.clips.writer import cut_clips
from kuaihl.media.containers import read_packets
from kuaihl.media.frames import FrameIndex
from kuaihl.media.recording import open_recording
from kuaihl.progress import Progress
from kuaihl.records import Highlight
from tests.fixtures.videos import SOUND_HZ, beep_times, time_of, write_recording

# Keyframes lie at every other second.
LATE = Highlight(rank=1, start_s=13.3, end_s=15.7, peak_s=14.0, score=0.5)
EARLY = Highlight(rank=2, start_s=0.0, end_s=2.7, peak_s=2.0, score=0.4)
KINDS = {
    "mp4": {},
    "mkv": {},
    "flv": {},
    "ts": {"start_s": 5000.0, "container": "mpegts"},
    "closed.mkv": {"b_frames": 0},
    "hevc.mkv": {"video": "libx265"},
    "vp9.webm": {"video": "libvpx-vp9", "audio": "libopus"},
    "fragmented.mp4": {"movflags": "frag_keyframe+delay_moov"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make recordings of 18 s, each once."""
    folder, there = tmp_path_factory.mktemp("made"), {}

    def make(name, **options):
        if name not in there:
            there[name] = write_recording(folder / f"stream.{name}", duration_s=18.0, **options)
        return open_recording(there[name])

    return make


def decoded(path):
    """Decode a clip: when its pictures are shown and which times they show, and its sound from time 0 on."""
    shown, sound = [], np.zeros(0, np.float32)
    with av.open(str(path)) as container:
        for frame in container.decode(*container.streams.video[:1], *container.streams.audio[:1]):
            if isinstance(frame, av.VideoFrame):
                shown.append((frame.time, time_of(frame.to_ndarray(format="rgb24"))))
                continue
            at, samples = round(frame.time * frame.sample_rate), frame.to_ndarray().mean(0)
            assert frame.sample_rate == SOUND_HZ
            sound = np.concatenate([sound, np.zeros(max(at - len(sound), 0), np.float32)])[:at]
            sound = np.concatenate([sound, samples])
    return np.array(shown), sound


def check(folder, clip, highlight, *, first_s):
    """A clip shows and plays what the recording has from ``first_s`` on, in step, and all of the highlight."""
    shown, sound = decoded(folder / clip.file)
    assert clip.start_s == pytest.approx(first_s, abs=0.025)  # some containers begin with the encoder's delay
    assert shown[0, 0] == pytest.approx(0, abs=0.025)
    # The frame that is shown at the very start began up to a frame earlier.
    assert first_s - (0.125 if clip.encoded else 1e-6) <= shown[0, 1] <= first_s + 1e-6
    zero_s = np.median(shown[1:, 1] - shown[1:, 0])
    assert zero_s == pytest.approx(clip.start_s, abs=0.025)
    assert shown[1:, 1] - shown[1:, 0] == pytest.approx(zero_s, abs=0.012)
    assert shown[0, 1] <= highlight.start_s
    assert highlight.end_s - 0.12 <= shown[-1, 1] < highlight.end_s + 0.4
    beeps = np.array(beep_times(sound, rate_hz=SOUND_HZ)) + zero_s
    beeps = beeps[(beeps > first_s + 0.2) & (beeps < highlight.end_s)]
    assert beeps == pytest.approx(np.arange(np.floor(first_s) + 1, highlight.end_s), abs=0.02)


@pytest.mark.parametrize("name", KINDS)
def test_copied_clips_begin_with_the_keyframe_before_the_highlight(made, tmp_path, name):
    clips = cut_clips(made(name, **KINDS[name]), [LATE, EARLY], tmp_path)
    assert [clip.file for clip in clips] == [
        f"stream.{name}"[: -len(name.split(".")[-1]) - 1] + part for part in ("_01_0h00m13s.mp4", "_02_0h00m00s.mp4")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(clip.file for clip in clips)
    check(tmp_path, clips[0], LATE, first_s=12.0)
    check(tmp_path, clips[1], EARLY, first_s=0.0)
    assert not any(clip.encoded for clip in clips)
    assert [clip.early_s for clip in clips] == pytest.approx([1.3, 0.0], abs=0.025)


def test_copied_packets_are_those_of_the_recording(made, tmp_path):
    cut_clips(made("mp4"), [LATE], tmp_path)
    packets = {}
    for path in (made("mp4").path, tmp_path / "stream_01_0h00m13s.mp4"):
        with av.open(str(path)) as container:
            packets[path.name] = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    clip = packets["stream_01_0h00m13s.mp4"]
    at = packets["stream.mp4"].index(clip[0])
    assert packets["stream.mp4"][at : at + len(clip)] == clip


@pytest.mark.parametrize("name", ["mp4", "ts", "hevc.mkv"])
def test_exact_clips_begin_with_the_frame_asked_for(made, tmp_path, name):
    (clip,) = cut_clips(made(name, **KINDS[name]), [LATE], tmp_path, exact=True)
    check(tmp_path, clip, LATE, first_s=13.3)
    assert (clip.encoded, clip.early_s) == (True, 0.0)
    assert clip.end_s == pytest.approx(LATE.end_s, abs=0.11)


def test_what_mp4_cannot_hold_is_encoded(made, tmp_path):
    recording = made("sorenson.flv", video="flv", audio="libmp3lame")
    (clip,) = cut_clips(recording, [LATE], tmp_path)
    assert clip.encoded
    check(tmp_path, clip, LATE, first_s=13.3)
    with av.open(str(tmp_path / clip.file)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "mp3float"]


def test_sound_that_mp4_cannot_hold_is_encoded_beside_copied_pictures(made, tmp_path):
    (clip,) = cut_clips(made("pcm.mkv", audio="pcm_s16le"), [LATE], tmp_path)
    check(tmp_path, clip, LATE, first_s=12.0)
    assert clip.encoded
    assert clip.early_s == pytest.approx(1.3)


def test_pictures_without_a_keyframe_near_are_encoded(made, tmp_path):
    (clip,) = cut_clips(made("sparse.mp4", keyframe_every=1000), [LATE], tmp_path)
    check(tmp_path, clip, LATE, first_s=13.3)
    assert clip.encoded


def test_padding_stops_at_the_ends_of_the_recording(made, tmp_path):
    clips = cut_clips(made("mp4"), [LATE, EARLY], tmp_path, padding_s=5.0)
    assert [clip.start_s for clip in clips] == pytest.approx([8.0, 0.0], abs=0.011)
    assert [clip.end_s for clip in clips] == pytest.approx([18.0, 8.0], abs=0.3)
    with pytest.raises(ValueError, match="padding_s"):
        cut_clips(made("mp4"), [LATE], tmp_path, padding_s=-1.0)


@pytest.mark.parametrize("name", ["mp4", "ts"])
def test_sound_with_a_gap_stays_in_time(tmp_path, name):
    path = write_recording(tmp_path / f"gap.{name}", duration_s=18.0, audio_gap_s=(11.5, 13.5))
    highlight = Highlight(rank=1, start_s=9.3, end_s=15.7, peak_s=14.0, score=0.5)
    for exact in (False, True):
        (clip,) = cut_clips(open_recording(path), [highlight], tmp_path / str(exact), exact=exact)
        _, sound = decoded(tmp_path / str(exact) / clip.file)
        beeps = np.array(beep_times(sound, rate_hz=SOUND_HZ)) + clip.start_s
        assert beeps[beeps > clip.start_s + 0.3] == pytest.approx([9, 10, 11, 14, 15][exact:], abs=0.03)


@pytest.mark.parametrize(
    ("suffix", "audio", "clip_suffix", "copied"),
    [("m4a", "aac", "m4a", True), ("mp3", "libmp3lame", "mp3", True), ("ogg", "libopus", "m4a", False)],
)
def test_sound_alone(tmp_path, suffix, audio, clip_suffix, copied):
    path = write_recording(tmp_path / f"sound.{suffix}", duration_s=18.0, video=None, audio=audio)
    (clip,) = cut_clips(open_recording(path), [LATE], tmp_path / "clips")
    assert clip.file == f"sound_01_0h00m13s.{clip_suffix}"
    assert clip.encoded is not copied
    _, sound = decoded(tmp_path / "clips" / clip.file)
    assert len(sound) / SOUND_HZ == pytest.approx(LATE.end_s - LATE.start_s, abs=0.08)
    expected = np.arange(14, 16) - clip.start_s
    assert beep_times(sound, rate_hz=SOUND_HZ)[-len(expected) :] == pytest.approx(expected, abs=0.06)


def test_pictures_without_sound(made, tmp_path):
    for exact in (False, True):
        (clip,) = cut_clips(made("silent.mp4", audio=None), [LATE], tmp_path, exact=exact)
        shown, sound = decoded(tmp_path / clip.file)
        assert shown[0] == pytest.approx([0.0, 13.3 if exact else 12.0])
        assert len(sound) == 0


def test_turned_pictures_stay_upright(tmp_path):
    path = write_recording(tmp_path / "plain.mp4", duration_s=18.0)
    with av.open(str(path)) as source, av.open(str(tmp_path / "turned.mp4"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    recording = open_recording(tmp_path / "turned.mp4")
    assert (recording.info.width, recording.info.height) == (96, 128)
    for exact in (False, True):
        cut_clips(recording, [LATE], tmp_path / str(exact), exact=exact)
        with av.open(str(tmp_path / str(exact) / "turned_01_0h00m13s.mp4")) as container:
            frame = next(container.decode(video=0))
            picture = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
        assert picture.shape[:2] == (128, 96)
        assert time_of(np.rot90(picture, -1)) == pytest.approx(13.3 if exact else 12.0)


def test_a_recording_whose_time_stamps_begin_anew(tmp_path):
    """Such as a recorder leaves behind that appended to its file after a reconnection."""
    whole = tmp_path / "joined.ts"
    for number in range(2):
        part = write_recording(tmp_path / f"part{number}.ts", duration_s=8.0 if number else 12.0, container="mpegts")
        with whole.open("ab") as file:
            file.write(part.read_bytes())
    recording = open_recording(whole)
    assert recording.skipped
    (clip,) = cut_clips(recording, [LATE], tmp_path)
    shown, sound = decoded(tmp_path / clip.file)
    # 12 s into the recording, the clocks began again at 0.
    assert shown[0, 1] == pytest.approx(0.0)
    zero_s = shown[0, 1] - shown[0, 0]
    assert shown[:, 1] - shown[:, 0] == pytest.approx(zero_s, abs=0.012)
    assert clip.start_s - zero_s == pytest.approx(12.0, abs=0.3)
    beeps = np.array(beep_times(sound, rate_hz=SOUND_HZ)) + zero_s
    assert beeps[beeps > 0.2] == pytest.approx([1, 2, 3], abs=0.03)


def test_damaged_recordings_give_what_can_be_read(made, tmp_path):
    data = bytearray(made("ts", **KINDS["ts"]).path.read_bytes())
    size = len(data)
    data[size * 13 // 18 : size * 14 // 18] = b"\x00" * (size * 14 // 18 - size * 13 // 18)
    (tmp_path / "damaged.ts").write_bytes(data)
    for exact in (False, True):
        (clip,) = cut_clips(open_recording(tmp_path / "damaged.ts"), [LATE], tmp_path, exact=exact)
        shown, _ = decoded(tmp_path / clip.file)
        assert shown[-1, 1] > 15.5


def test_a_recording_that_is_gone_is_told(made, tmp_path):
    path = shutil.copy(made("mp4").path, tmp_path / "gone.mp4")
    recording = open_recording(path)
    path.unlink()
    with pytest.raises(RecordingError, match=r"gone\.mp4"):
        cut_clips(recording, [LATE], tmp_path / "clips")
    assert not (tmp_path / "clips").exists()


def test_nothing_to_read_is_told_and_nothing_is_left(made, tmp_path):
    after = Highlight(rank=1, start_s=50.0, end_s=60.0, peak_s=55.0, score=0.5)
    with pytest.raises(RecordingError, match=r"no clip can be cut"):
        cut_clips(made("mp4"), [LATE, after], tmp_path / "clips")
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_nothing(made, tmp_path):
    class StoppedError(Exception):
        pass

    reports = []

    def stop(stage, share):
        reports.append((stage, share))
        if share > 0.5:
            raise StoppedError

    with pytest.raises(StoppedError):
        cut_clips(made("mp4"), [LATE, EARLY], tmp_path / "clips", progress=Progress(stop))
    assert list(tmp_path.iterdir()) == []
    assert {stage for stage, _ in reports} == {"cutting"}
    assert all(0 <= share <= 1 for _, share in reports)


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.ts", "long.flv"])
def test_only_what_is_needed_is_read(tmp_path, monkeypatch, name):
    """Of a long recording a clip takes no more than its own part: other packets are never read."""
    path = write_recording(tmp_path / name, duration_s=600.0, fps=1, keyframe_every=2, audio=None, size=(32, 32))
    recording = open_recording(path)
    read_s = []

    def read(container, streams, skips):
        for packet in read_packets(container, streams, skips):
            read_s.append(float(packet.pts * packet.time_base))
            yield packet

    monkeypatch.setattr(packet_source, "read_packets", read)
    *_, clip = _cut(recording, tmp_path / "clip.mp4", 301.0, 310.0, exact=False)
    assert clip.start_s == pytest.approx(300.0)
    assert (min(read_s), max(read_s)) == pytest.approx((298.0, 312.0), abs=3.5)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", ["mp4", "ts", "hevc.mkv"])
def test_ffprobe_agrees(made, tmp_path, name, exact):
    (clip,) = cut_clips(made(name, **KINDS[name]), [LATE], tmp_path, exact=exact)
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(tmp_path / clip.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    probe = json.loads(done.stdout)
    assert [stream["codec_type"] for stream in probe["streams"]] == ["video", "audio"]
    assert [float(stream["start_time"]) for stream in probe["streams"]] == pytest.approx([0, 0], abs=0.025)
    for stream in probe["streams"]:
        assert float(stream["duration"]) == pytest.approx(clip.end_s - clip.start_s, abs=0.35)
    assert probe["streams"][0]["codec_tag_string"] == ("avc1" if exact or name != "hevc.mkv" else "hvc1")
    decoding = ["ffmpeg", "-v", "error", "-i", str(tmp_path / clip.file), "-f", "null", "-"]
    assert subprocess.run(decoding, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("tick_s", [Fraction(1, 90_000), Fraction(1, 1000)])  # MPEG-TS; MKV and FLV
@pytest.mark.parametrize(
    "rate_hz", [Fraction(30000, 1001), Fraction(30), Fraction(24000, 1001), Fraction(24), Fraction(6)]
)
def test_frame_rates_are_told_apart_whatever_the_container_rounds(rate_hz, tick_s):
    lost = {70, 71, 200, *range(300, 310)}
    stamps = np.array([round(n / rate_hz / tick_s) for n in range(400) if n not in lost])
    none = np.zeros(len(stamps), bool)
    index = FrameIndex(stamps, stamps * float(tick_s), key=~none, hidden=none)
    assert frame_rate(index) == rate_hz
    assert frame_rate(None) == 30


@pytest.mark.parametrize(
    ("rate_hz", "counted"), [(6, 24), (10, 30), (15, 30), (20, 60), (25, 25), (50, 50), (7, 30), (144, 30)]
)
def test_odd_rates_are_counted_on_a_timecode_that_has_all_their_frames(rate_hz, counted):
    assert timecode_rate(Fraction(rate_hz)) == counted
    assert timecode_rate(Fraction(30000, 1001)) == Fraction(30000, 1001)
    assert timecode_rate(Fraction(15000, 1001)) == Fraction(30000, 1001)
