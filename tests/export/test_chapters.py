"""Chapters and subtitles, each read back by a tool that others use for it."""

import dataclasses
import re

import av
import numpy as np
import pysubs2
import pytest

from kuaihl.export.chapters import to_ffmetadata, to_srt, to_webvtt, to_youtube
from kuaihl.records import Highlight
from tests.fixtures.predictions import made_up

HOUR_S = 3600.0


def predicted(*spans, duration_s=707.0, speech="", name="stream.mp4", why=""):
    """Return a prediction whose highlights, in order of rank, are ``spans``."""
    prediction = made_up(segments=3)
    return dataclasses.replace(
        prediction,
        recording=dataclasses.replace(prediction.recording, duration_s=duration_s, name=name),
        segments=tuple(dataclasses.replace(segment, speech=speech) for segment in prediction.segments),
        highlights=tuple(
            Highlight(rank, start_s, end_s, (start_s + end_s) / 2, 0.5, "strong", why)
            for rank, (start_s, end_s) in enumerate(spans, 1)
        ),
    )


def starts_of(text):
    """Read the lines of a description as YouTube does: [h:]m:ss and a title."""
    starts = []
    for line in text.splitlines():
        *hours, minutes, seconds, title = re.fullmatch(r"(?:(\d+):)?(\d{1,2}):(\d\d) (\S.*)", line).groups()
        starts.append((int(hours[0] or 0) * 3600 + int(minutes) * 60 + int(seconds), title))
    return starts


def check_rules(text, duration_s):
    starts = [start_s for start_s, _ in starts_of(text)]
    assert starts[0] == 0
    assert len(starts) >= 3
    assert min(end - start for start, end in zip(starts, [*starts[1:], duration_s], strict=True)) >= 10
    assert "<" not in text
    assert ">" not in text


def test_youtube_chapters():
    text = to_youtube(
        predicted(
            (210.0, 240.0),
            (660.0, 690.0),
        )
    )
    assert [start_s for start_s, _ in starts_of(text)] == [0, 210, 240, 660, 690]
    assert [title for _, title in starts_of(text) if title.startswith("Highlight")] == ["Highlight 1", "Highlight 2"]
    check_rules(text, 707)


def test_titles_have_the_first_words_said():
    text = to_youtube(predicted((30.0, 60.0), speech="so <b>this</b>\n{\\an8}happened " + "and more " * 20))
    assert starts_of(text)[1] == (30, "Highlight 1: so ‹b›this‹/b› (/an8)happened and more and more and more …")


@pytest.mark.parametrize(
    ("spans", "starts"),
    [
        # A highlight at the beginning takes the place of the start, and short gaps belong to what comes before.
        ([(5.0, 60.0), (65.0, 90.0)], [0, 65, 90]),
        # At the end; a piece of 7 s is too short, so its chapter begins earlier.
        ([(700.0, 707.0), (100.0, 130.0)], [0, 100, 130, 697]),
        # Never after its beginning, nor before its end.
        ([(100.6, 130.2), (300.0, 330.0)], [0, 100, 131, 300, 330]),
        # Neighbours within a second.
        ([(100.0, 130.5), (130.5, 160.0)], [0, 100, 131, 160]),
        ([(130.5, 160.0), (100.0, 130.5)], [0, 100, 130, 160]),
    ],
)
def test_chapters_keep_to_the_rules(spans, starts):
    text = to_youtube(predicted(*spans))
    assert [start_s for start_s, _ in starts_of(text)] == starts
    check_rules(text, 707)


def test_chapters_keep_to_the_rules_whatever_the_highlights():
    rng = np.random.default_rng(0)
    for _ in range(300):
        duration_s = float(rng.uniform(5, 900))
        cuts = np.sort(rng.uniform(0, duration_s, 2 * rng.integers(1, 6))).reshape(-1, 2)
        text = to_youtube(predicted(*rng.permutation(cuts).tolist(), duration_s=duration_s))
        if not text.startswith("No chapters"):
            check_rules(text, duration_s)


def test_no_chapters_if_the_rules_cannot_be_met():
    for prediction in (predicted(), predicted((0.0, 30.0)), predicted((0.0, 6.0), duration_s=6.0)):
        assert not re.search(r"^\d+:\d\d", to_youtube(prediction), re.MULTILINE)


def test_times_beyond_ten_hours_and_a_day():
    spans = [(10.5 * HOUR_S, 10.5 * HOUR_S + 30), (25 * HOUR_S + 61, 25 * HOUR_S + 91), (HOUR_S - 30, HOUR_S)]
    prediction = predicted(*spans, duration_s=30 * HOUR_S)
    assert [line.split()[0] for line in to_youtube(prediction).splitlines()] == [
        *("0:00", "59:30", "1:00:00", "10:30:00", "10:30:30", "25:01:01", "25:01:31")
    ]
    events = pysubs2.SSAFile.from_string(to_srt(prediction), "srt")
    assert [(event.start / 1000, event.end / 1000) for event in events] == sorted(spans)
    events = pysubs2.SSAFile.from_string(to_webvtt(prediction), "vtt")
    assert events[-2].start / 1000 == 25 * HOUR_S + 61
    assert events[-1].end / 1000 == 30 * HOUR_S


@pytest.mark.parametrize("name", ["plain.mp4", "a=b;c#d\\e\nf.mp4", "日本語 [1080p] 'x' \"y\".mkv", "=", "end\\"])
def test_ffmetadata_reads_back(tmp_path, name):
    prediction = predicted((30.0, 60.0), speech="a=b; #1 \\o/", name=name)
    (tmp_path / "meta").write_text(to_ffmetadata(prediction), encoding="utf-8", newline="")
    with av.open(str(tmp_path / "meta"), format="ffmetadata") as container:
        assert container.metadata["title"] == name.rstrip("\\")
        chapters = container.chapters()
    spans = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in chapters]
    assert spans == [(0, 30), (30, 60), (60, 707)]
    assert chapters[1]["metadata"]["title"] == "Highlight 1: a=b; #1 /o/"


def test_srt_reads_back():
    spans = (209.9994, 240.25), (30.0, 60.0)
    prediction = predicted(*spans, speech="<i>tags</i> & {\\b1}\n\n1\n00:00 --> 00:01", why="<LUL>\n× 9")
    events = pysubs2.SSAFile.from_string(to_srt(prediction), "srt")
    assert [(event.start, event.end) for event in events] == [(30_000, 60_000), (209_999, 240_250)]
    assert [event.text for event in events] == [
        "Highlight 2: ‹i›tags‹/i› & (/b1) 1 00:00 --› 00:01\\Nstrong: ‹LUL› × 9",
        "Highlight 1\\Nstrong: ‹LUL› × 9",
    ]
    assert to_srt(predicted()) == ""


def test_webvtt_reads_back(tmp_path):
    (tmp_path / "a.vtt").write_text(to_webvtt(predicted((30.0, 60.0), speech="cats & dogs")), encoding="utf-8")
    with av.open(str(tmp_path / "a.vtt"), format="webvtt") as container:
        packets = [packet for packet in container.demux() if packet.size]
    assert [float(packet.pts * packet.time_base) for packet in packets] == [0, 30, 60]
    assert bytes(packets[1]) == b"Highlight 1: cats &amp; dogs"
