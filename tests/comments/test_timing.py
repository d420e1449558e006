"""Whether a log fits its recording, on logs whose true offset is known."""

import random

import pytest

from kuaihl.comments.selection import outside
from kuaihl.comments.timing import ends, mismatch
from kuaihl.records import Comment, segments_of

HOUR = 3600.0


def chat(start_s, stop_s, count=500):
    rng = random.Random(3)
    return [Comment(t, "hi") for t in sorted(rng.uniform(start_s, stop_s) for _ in range(count))]


def moved(comments, by_s):
    return [Comment(c.time_s + by_s, c.text) for c in comments]


@pytest.mark.parametrize(
    "comments",
    [[], chat(0, HOUR), chat(600, 900), chat(-100, HOUR + 80), moved(chat(0, HOUR), 90), chat(0, HOUR, count=1)],
    ids=["empty", "whole", "a part of it", "a few early and late", "a little late", "one"],
)
def test_what_fits(comments):
    assert mismatch(comments, HOUR) is None


@pytest.mark.parametrize("hours", [-9, -1, 1, 2, 24])
@pytest.mark.parametrize("length_s", [1800.0, 2 * HOUR, 5.3 * HOUR])
def test_whole_hours_are_found_exactly(hours, length_s):
    if abs(hours) * HOUR < length_s * 0.05:
        pytest.skip("almost all are inside")
    found = mismatch(moved(chat(5, length_s - 5), hours * HOUR), length_s)
    assert found is not None
    assert found.offset_s == -hours * HOUR
    assert "time zone" in found.message


@pytest.mark.parametrize("shift_s", [-7000.0, 700.0, 5000.0, 47_111.0])
def test_any_other_shift_is_found_to_the_first_comment(shift_s):
    comments = moved(chat(0, 4000), shift_s)
    found = mismatch(comments, 4010.0)
    assert found is not None
    assert found.offset_s == pytest.approx(-shift_s, abs=15)
    assert outside(moved(comments, found.offset_s), segments_of(4010.0)) == ()


def test_a_part_of_a_stream_with_the_times_of_the_whole():
    """A clip's chat keeps the times of the VOD."""
    found = mismatch(chat(7385, 7385 + 600), 620.0)
    assert found is not None
    assert found.offset_s == pytest.approx(-7385, abs=15)
    assert "100% of the comments are outside the recording, which is 0:10:20 long" in found.message
    assert "from 2:03:0" in found.message


def test_a_recording_that_lacks_its_beginning_or_its_end():
    found = mismatch(chat(0, 2 * HOUR), 1.5 * HOUR)
    assert found is not None
    assert found.offset_s == pytest.approx(-1800, abs=30)  # both end together
    assert "If the recording lacks its end, nothing is wrong; if it lacks its beginning" in found.message


@pytest.mark.parametrize("recording_s", [600.0, 1800.0])
def test_a_short_part_of_a_recording_whose_log_is_whole(recording_s):
    """To begin with the recording, as it does, is nothing to propose."""
    found = mismatch(chat(0, 2 * HOUR), recording_s)
    assert found is not None
    assert "If the recording lacks its end, nothing is wrong; if it lacks its beginning" in found.message
    assert found.offset_s == pytest.approx(recording_s - 2 * HOUR, abs=30)
    found = mismatch(chat(recording_s - 2 * HOUR, recording_s), recording_s)
    assert found is not None
    assert "If the chat was open before, nothing is wrong" in found.message


def test_a_wrong_time_zone_of_a_log_that_is_longer():
    found = mismatch(moved(chat(40, 2200), -2 * HOUR), 745.0)
    assert found is not None
    assert found.offset_s == 2 * HOUR
    assert "time zone" in found.message


@pytest.mark.parametrize(
    ("first_s", "last_s", "recording_s", "is_supported"),
    [
        (HOUR + 5, 2 * HOUR - 5, HOUR, True),  # a wrong time zone
        (5005, 5000 + HOUR - 5, HOUR, True),  # as long as the recording
        (7385, 7385 + 600, HOUR, False),  # shorter, anywhere inside
        (8.3 * HOUR, 11 * HOUR, HOUR, False),  # longer, of another recording
        (-1200, 2 * HOUR, 2 * HOUR, False),  # the chat was open before
        (0, 2 * HOUR, 1.5 * HOUR, False),  # the recording lacks its beginning or its end
    ],
)
def test_only_what_the_lengths_support_is_proposed(first_s, last_s, recording_s, is_supported):
    found = mismatch(chat(first_s, last_s), recording_s)
    assert found is not None
    assert found.is_supported == is_supported


def test_a_chat_that_was_open_before():
    found = mismatch(chat(-1200, 2 * HOUR), 2 * HOUR)
    assert found is not None
    assert found.offset_s == pytest.approx(1200, abs=30)
    assert "If the chat was open before, nothing is wrong" in found.message


def test_longer_and_elsewhere():
    found = mismatch(chat(8.3 * HOUR, 11 * HOUR), HOUR)
    assert found is not None
    assert found.offset_s == pytest.approx(-8.3 * HOUR, abs=30)
    assert "meant to begin with the recording" in found.message


def test_milliseconds_taken_for_seconds():
    found = mismatch([Comment(c.time_s * 1000, c.text) for c in chat(0, 2 * HOUR)], 2 * HOUR)
    assert found is not None
    assert found.offset_s is None
    assert "milliseconds" in found.message
    assert "time_ms" in found.message


def test_strays_do_not_count_as_ends():
    times = [-90_000.0, *(float(t) for t in range(400)), 90_000.0]
    assert ends(times) == (0.0, 399.0)
    assert ends([0.0, 90_000.0]) == (0.0, 90_000.0)  # too few to tell
    assert ends([*(float(t) for t in range(400)), *(90_000.0 + t for t in range(20))]) == (0.0, 90_019.0)
