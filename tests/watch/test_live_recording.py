"""A recording under way against the same recording when it is finished."""

import gc
import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl.errors import CommentLogError, RecordingError
from kuaihl.media.containers import SkipCounter
from kuaihl.media.recording import open_recording
from kuaihl.watch.live_recording import Arrival, follow
from kuaihl.watch.tail import FileTail, PipeTail, Tail
from tests.fixtures import videos
from tests.fixtures.growing_file import being_written, piped

SMALL = {"fps": 2, "size": (64, 48)}
IDLE_S = 0.3


def finished(path: Path) -> Tail:
    return FileTail(path, until_idle_s=IDLE_S)


def assert_same(arrivals: list[Arrival], path: Path) -> None:
    """Segments, pictures and sound are those of the finished recording, to the bit."""
    whole = open_recording(path)
    assert tuple(arrival.segment for arrival in arrivals) == whole.segments
    for arrival, found in itertools.zip_longest(arrivals, whole.read_frames() if whole.has_video else []):
        assert (arrival.pictures is None) == (found is None)
        if found is not None:
            np.testing.assert_array_equal(arrival.pictures, found[1])
    for arrival, found in itertools.zip_longest(arrivals, whole.read_audio() if whole.has_audio else []):
        assert (arrival.sound is None) == (found is None)
        if found is not None:
            np.testing.assert_array_equal(arrival.sound, found[1])


@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv"])
def test_a_growing_file_gives_what_the_finished_one_does(tmp_path: Path, suffix: str) -> None:
    whole = videos.write_recording(tmp_path / f"whole.{suffix}", duration_s=72.0, **SMALL)
    with being_written(whole, tmp_path / f"growing.{suffix}") as path:
        tail = FileTail(path, until_idle_s=60.0)
        assert_same(list(follow(tail, SkipCounter())), whole)
    assert tail.ended == "another file replaced it"


def test_fragmented_mp4_can_be_followed(tmp_path: Path) -> None:
    path = videos.write_recording(tmp_path / "a.mp4", duration_s=65.0, movflags="frag_keyframe+empty_moov", **SMALL)
    assert_same(list(follow(finished(path), SkipCounter())), path)


def test_a_pipe_ends_with_its_writer(tmp_path: Path) -> None:
    whole = videos.write_recording(tmp_path / "whole.ts", duration_s=37.0, **SMALL)
    with piped(whole) as descriptor:
        tail = PipeTail(descriptor, name="standard input", until_idle_s=60.0)
        assert_same(list(follow(tail, SkipCounter())), whole)
    assert tail.ended == "its writer closed it"


@pytest.mark.parametrize(
    "options",
    [
        {"audio": None},
        {"video": None},
        {"audio_from_s": 50.0},
        {"audio_gap_s": (20.0, 75.0)},
        {"start_s": 4000.0},
        {"keyframe_every": 180},
        {"times_s": [0.0, 1.0, 2.0, 40.0, 41.0, 100.0]},
        {"times_s": [*np.arange(0, 31, 0.2), *np.arange(600, 640, 0.2)], "audio_gap_s": (31.0, 600.0)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_odd_recordings_give_what_they_do_when_finished(tmp_path: Path, options: dict[str, object]) -> None:
    duration_s = 640.0 if options.get("audio_gap_s") == (31.0, 600.0) else 101.0
    path = videos.write_recording(tmp_path / "odd.mkv", duration_s=duration_s, **SMALL, **options)
    assert_same(list(follow(finished(path), SkipCounter())), path)


@pytest.mark.parametrize("suffix", ["ts", "flv", "mkv"])
def test_a_recorder_that_was_started_again_and_goes_on_in_the_same_file(tmp_path: Path, suffix: str) -> None:
    once = videos.write_recording(tmp_path / f"once.{suffix}", duration_s=44.0, **SMALL)
    path = tmp_path / f"twice.{suffix}"
    path.write_bytes(once.read_bytes() * 2)
    assert_same(list(follow(finished(path), SkipCounter())), path)


def test_it_goes_on_from_a_later_segment(tmp_path: Path) -> None:
    path = videos.write_recording(tmp_path / "a.mkv", duration_s=101.0, keyframe_every=50, **SMALL)
    whole, rest = (list(follow(finished(path), SkipCounter(), first=first)) for first in (0, 2))
    assert [arrival.segment for arrival in rest] == [arrival.segment for arrival in whole[2:]]
    for one, other in zip(rest, whole[2:], strict=True):
        np.testing.assert_array_equal(one.pictures, other.pictures)
        np.testing.assert_array_equal(one.sound, other.sound)


def test_segments_come_as_soon_as_they_can(tmp_path: Path) -> None:
    path = videos.write_recording(tmp_path / "a.ts", duration_s=160.0, **SMALL)
    tail = finished(path)
    read = [tail.position / path.stat().st_size * 160.0 for _ in follow(tail, SkipCounter())]
    opening_s = 40.0  # FFmpeg looks that far ahead, once, for streams that begin late
    for segment, read_s in enumerate(read, 1):
        assert read_s < max(segment * 30.0 + 5.0, opening_s)


def test_what_is_held_does_not_grow(tmp_path: Path) -> None:
    path = videos.write_recording(tmp_path / "a.mkv", duration_s=220.0, **SMALL)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (Path.iterdir opens one)
    held, files = [], []
    for _ in follow(finished(path), SkipCounter()):
        held.append(sum(type(one) is av.Packet for one in gc.get_objects()))
        files.append(len(os.listdir("/proc/self/fd")) - before)  # noqa: PTH208
    assert max(held) <= 1.2 * held[1]
    assert set(files) == {1}


@pytest.mark.parametrize("movflags", ["", "faststart"])
def test_an_mp4_in_one_piece_is_refused(tmp_path: Path, movflags: str) -> None:
    path = videos.write_recording(tmp_path / "a.mp4", movflags=movflags, **SMALL)
    with pytest.raises(RecordingError, match=r"not fragmented: it cannot be read before it is finished. Record to MKV"):
        next(follow(finished(path), SkipCounter()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty: the recorder wrote nothing to it \(it did not grow for 0.3 s\)"),
        (b"time,user,text\n1,Ann,hi\n" * 999, "not a recording that can be followed: it must be MKV"),
        (b"#EXTM3U\n#EXTINF:5,\nother.ts\n", "not a recording that can be followed"),
        (b"\x1aE\xdf\xa3" + bytes(50_000), "not a recording that can be followed"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.mkv"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        next(follow(finished(path), SkipCounter()))


def test_three_seconds_are_no_recording(tmp_path: Path) -> None:
    path = videos.write_recording(tmp_path / "a.mkv", duration_s=3.0, **SMALL)
    with pytest.raises(RecordingError, match=r"holds 3.0 s: at least 5 s are needed"):
        next(follow(finished(path), SkipCounter()))


def test_damage_is_skipped_and_counted(tmp_path: Path) -> None:
    whole = videos.write_recording(tmp_path / "a.ts", duration_s=65.0, **SMALL)
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    (tmp_path / "damaged.ts").write_bytes(data)
    faults = SkipCounter()
    arrivals = list(follow(finished(tmp_path / "damaged.ts"), faults))
    assert [arrival.segment.index for arrival in arrivals] == [0, 1, 2]
    assert "a packet is damaged or incomplete" in {skipped.reason for skipped in faults.skipped}


@pytest.mark.parametrize(
    "another",
    [lambda data: b"", lambda data: data[:5000], lambda data: bytes(1000) + data[:-5000], lambda data: 2 * data[188:]],
    ids=["empty", "shorter", "about as long", "longer"],
)
def test_a_recording_that_was_written_over_is_an_error(tmp_path: Path, another: Callable[[bytes], bytes]) -> None:
    path = videos.write_recording(tmp_path / "a.ts", duration_s=65.0, **SMALL)
    arrivals = follow(finished(path), SkipCounter())
    next(arrivals)
    path.write_bytes(another(path.read_bytes()))
    with pytest.raises(RecordingError, match="overwritten with another recording"):
        list(arrivals)


def test_a_recorder_may_write_its_index_into_the_beginning(tmp_path: Path) -> None:
    whole = videos.write_recording(tmp_path / "whole.mkv", duration_s=65.0, **SMALL)
    path = tmp_path / "a.mkv"
    data = bytearray(whole.read_bytes())
    path.write_bytes(data[:-1])
    arrivals = follow(FileTail(path, until_idle_s=2.0), SkipCounter())
    first = next(arrivals)
    at = data.index(b"Lavf")  # the muxer's name, which nobody reads
    data[at : at + 4] = b"DONE"
    with path.open("r+b") as file:
        file.write(data)
    assert_same([first, *arrivals], whole)


def test_ctrl_c_while_it_waits(tmp_path: Path) -> None:
    path = videos.write_recording(tmp_path / "a.ts", duration_s=35.0, **SMALL)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(follow(FileTail(path, until_idle_s=60.0), SkipCounter()))


def test_a_callback_runs_while_it_waits(tmp_path: Path) -> None:
    """``on_wait`` is called repeatedly; an error that it raises ends the recording."""
    path = videos.write_recording(tmp_path / "a.mkv", duration_s=10.0)
    tail, calls = FileTail(path, until_idle_s=60.0), []

    def on_wait() -> None:
        calls.append(tail.position)
        if len(calls) == 3:
            raise CommentLogError("the log is gone")

    tail.on_wait = on_wait
    with pytest.raises(CommentLogError, match="the log is gone"):
        list(follow(tail, SkipCounter()))
    assert calls == [path.stat().st_size] * 3
    assert tail.ended
