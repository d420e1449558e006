"""Timelines for editors, read back by the libraries that editors' tools read them with."""

import dataclasses
from fractions import Fraction

import opentimelineio as otio
import pytest

from kuaihl.export.timelines import to_edl, to_otio
from kuaihl.records import Highlight
from tests.export.test_chapters import HOUR_S, predicted

RATES_HZ = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60000, 1001)]
SPANS = [(630.0, 660.0), (90.5, 120.123)]


def frames_of(timecode, rate_hz):
    """Count the frames before a timecode, by the rule of SMPTE ST 12: 29.97 leaves out two numbers in most minutes."""
    hours, minutes, seconds, frames = (int(part) for part in timecode.replace(";", ":").split(":"))
    total = (hours * 3600 + minutes * 60 + seconds) * round(rate_hz) + frames
    if rate_hz.denominator != 1 and rate_hz != Fraction(24000, 1001):
        passed = hours * 60 + minutes
        total -= (round(rate_hz) // 15) * (passed - passed // 10)
    return total


def events_of(edl):
    return [line.split() for line in edl.splitlines() if line[:3].isdigit()]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_edl_holds_the_highlights_in_order_of_time(rate_hz):
    edl = to_edl(predicted(*SPANS), rate_hz=rate_hz)
    drops = rate_hz in (Fraction(30000, 1001), Fraction(60000, 1001))
    assert edl.splitlines()[:2] == ["TITLE: stream", f"FCM: {'DROP FRAME' if drops else 'NON-DROP FRAME'}"]
    at = frames_of("01:00:00:00", rate_hz)
    for event, (start_s, end_s) in zip(events_of(edl), sorted(SPANS), strict=True):
        assert event[1:4] == ["AX", "AA/V", "C"]
        assert all((";" in code) is drops for code in event[4:])
        source_in, source_out, record_in, record_out = (frames_of(code, rate_hz) for code in event[4:])
        assert source_in <= start_s * rate_hz < source_in + 1
        assert source_out - 1 < end_s * rate_hz <= source_out
        assert (record_in, record_out) == (at, at + source_out - source_in)
        at = record_out


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_edl_reads_back(rate_hz):
    pytest.importorskip("otio_cmx3600_adapter")
    edl = to_edl(predicted(*SPANS, speech="so this happened", name="日本 stream.mp4"), rate_hz=rate_hz)
    timeline = otio.adapters.read_from_string(edl, "cmx_3600", rate=float(rate_hz))
    assert timeline.name == "日本 stream"
    assert [track.kind for track in timeline.tracks] == ["Video", "Audio", "Audio"]
    for track in timeline.tracks:
        for clip, (start_s, end_s) in zip(track.find_clips(), sorted(SPANS), strict=True):
            assert clip.name == "日本 stream.mp4"
            assert clip.source_range.start_time.to_seconds() == pytest.approx(start_s, abs=float(1.01 / rate_hz))
            assert clip.source_range.end_time_exclusive().to_seconds() == pytest.approx(
                end_s, abs=float(1.01 / rate_hz)
            )


def test_drop_frame_timecode_shows_the_hours_of_the_clock():
    edl = to_edl(predicted((10 * HOUR_S, 10 * HOUR_S + 60), duration_s=11 * HOUR_S), rate_hz=Fraction(30000, 1001))
    # They are 1,078,921 whole frames; all numbers below 10:00:00;00 but the dropped ones are 1,078,920.
    assert events_of(edl)[0][4] == "10:00:00;01"


def test_timecode_begins_again_after_a_day_and_otio_does_not():
    prediction = predicted((25 * HOUR_S, 25 * HOUR_S + 30), duration_s=26 * HOUR_S)
    event = events_of(to_edl(prediction, rate_hz=Fraction(25)))[0]
    assert event[4:6] == ["01:00:00:00", "01:00:30:00"]
    timeline = read(to_otio(prediction, rate_hz=Fraction(25)))
    assert timeline.find_clips()[0].source_range.start_time.to_seconds() == 25 * HOUR_S


@pytest.mark.parametrize(
    ("rate_hz", "start", "expected"),
    [
        (Fraction(25), "10:00:00:00", ("10:01:30:12", "10:02:00:04")),
        (Fraction(30000, 1001), "10:00:00;00", ("10:01:30;14", "10:02:00;05")),
        (Fraction(30000, 1001), "10:00:00:00", ("10:01:30:12", "10:02:00:01")),
    ],
)
def test_source_times_begin_with_the_timecode_of_the_recording(rate_hz, start, expected):
    prediction = predicted((90.5, 120.123))
    edl = to_edl(prediction, rate_hz=rate_hz, start_timecode=start)
    assert ("NON-DROP" in edl) is (";" not in start)
    assert tuple(events_of(edl)[0][4:6]) == expected
    clip = read(to_otio(prediction, rate_hz=rate_hz, start_timecode=start)).find_clips()[0]
    first = clip.source_range.start_time.to_frames()
    assert first - clip.media_reference.available_range.start_time.to_frames() == int(90.5 * rate_hz)
    assert first <= clip.markers[0].marked_range.start_time.to_frames() < first + clip.source_range.duration.to_frames()


def read(text):
    return otio.adapters.read_from_string(text, "otio_json")


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_otio_reads_back(rate_hz):
    prediction = predicted(*SPANS, name="a #1 100% 日本.mp4", why="LUL × 9")
    timeline = read(to_otio(prediction, rate_hz=rate_hz))
    assert timeline.name == "a #1 100% 日本.mp4"
    assert otio.opentime.to_timecode(timeline.global_start_time).replace(";", ":") == "01:00:00:00"
    assert [track.kind for track in timeline.tracks] == ["Video", "Audio"]
    for track in timeline.tracks:
        clips = list(track.find_clips())
        assert [clip.name for clip in clips] == ["Highlight 2", "Highlight 1"]
        for clip, (start_s, end_s) in zip(clips, sorted(SPANS), strict=True):
            assert clip.media_reference.target_url == "a%20%231%20100%25%20%E6%97%A5%E6%9C%AC.mp4"
            assert clip.source_range.start_time.rate == pytest.approx(float(rate_hz))
            whole, part = clip.available_range(), clip.source_range
            assert whole.start_time.value == 0
            assert whole.duration.to_seconds() == pytest.approx(707, abs=float(1 / rate_hz))
            assert whole.start_time <= part.start_time
            assert part.end_time_exclusive() <= whole.end_time_exclusive()
            assert part.start_time.to_seconds() == pytest.approx(start_s, abs=float(1 / rate_hz))
            assert part.end_time_exclusive().to_seconds() == pytest.approx(end_s, abs=float(1 / rate_hz))
            assert clip.metadata["kuaihl"]["score"] == 0.5
    marker = timeline.tracks[0][1].markers[0]
    assert (marker.name, marker.marked_range.start_time.to_seconds()) == (
        "strong: LUL × 9",
        pytest.approx(645, abs=float(1 / rate_hz)),
    )


@pytest.mark.parametrize(
    ("video", "audio", "channels", "kinds"), [("h264", None, "V", ["Video"]), (None, "aac", "AA", ["Audio"])]
)
def test_only_tracks_that_are_there(video, audio, channels, kinds):
    prediction = predicted(*SPANS)
    recording = dataclasses.replace(prediction.recording, video_codec=video, audio_codec=audio)
    prediction = dataclasses.replace(prediction, recording=recording)
    assert {event[2] for event in events_of(to_edl(prediction, rate_hz=Fraction(30)))} == {channels}
    timeline = read(to_otio(prediction, rate_hz=Fraction(30)))
    assert [track.kind for track in timeline.tracks] == kinds
    assert len(timeline.tracks[0][0].markers) == 1


def test_names_stay_on_their_line():
    edl = to_edl(predicted((0.0, 30.0), name="a\n001 AX V C\udce9.mp4"), rate_hz=Fraction(30))
    assert len(events_of(edl)) == 1
    timeline = read(to_otio(predicted((0.0, 30.0), name="caf\udce9.mp4"), rate_hz=Fraction(30)))
    assert timeline.tracks[0][0].media_reference.target_url == "caf%E9.mp4"


def test_without_highlights():
    prediction = dataclasses.replace(predicted(), highlights=())
    assert events_of(to_edl(prediction, rate_hz=Fraction(30))) == []
    timeline = read(to_otio(prediction, rate_hz=Fraction(30)))
    assert [len(track) for track in timeline.tracks] == [0, 0]
    odd = Highlight(1, 10.0, 10.0, 10.0, 0.1)
    edl = to_edl(dataclasses.replace(prediction, highlights=(odd,)), rate_hz=Fraction(30))
    assert events_of(edl)[0][4:6] == ["00:00:10:00", "00:00:10:01"]  # a frame at least
