"""Whether a log matches its recording, and that it is shifted without being read again."""

import json

import pytest

from kuaihl.comments.reader import read
from kuaihl.media.recording import open_recording
from kuaihl.records import Comment, CommentLog
from kuaihl.sync import check_log, lag_text
from tests.fixtures.cheering_stream import write_stream


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    recording, log = write_stream(tmp_path_factory.mktemp("cheers"), late_s=45.0)
    return check_log(log.name, read(log), recording=open_recording(recording))


def test_a_late_log_is_to_be_moved(late):
    assert late.suggested_offset_s == pytest.approx(-45, abs=4)
    assert f"an offset of {late.suggested_offset_s:g} s" in lag_text(late.lag)
    assert f"an offset of {late.suggested_offset_s + 10:g} s" in lag_text(late.lag, current_s=10.0)


def test_moved_as_proposed_it_fits(late):
    moved = late.shifted(late.suggested_offset_s)
    assert moved.suggested_offset_s is None
    assert "as they should" in lag_text(moved.lag)
    assert moved.summary.first_s == pytest.approx(late.summary.first_s + late.suggested_offset_s)


def test_moving_is_like_reading_with_an_offset(late, tmp_path):
    recording, log = write_stream(tmp_path, late_s=45.0)
    read_so = check_log("late.csv", read(log, offset_s=-30.0), recording=open_recording(recording))
    moved, read_so = late.shifted(-30.0).as_dict(), read_so.as_dict()
    assert moved.pop("lag")["offset_s"] == read_so.pop("lag")["offset_s"]
    assert moved == read_so


def test_a_wrong_time_zone_and_a_lag_are_found_together(late, tmp_path):
    recording, log = write_stream(tmp_path, late_s=2 * 3600 + 45.0)
    found = check_log(log.name, read(log), recording=open_recording(recording))
    assert found.mismatch.offset_s == -7200.0
    assert found.suggested_offset_s == pytest.approx(-7245, abs=4)


def test_length_alone_proposes_where_sound_tells_nothing(short_recording):
    log = CommentLog("made up", tuple(Comment(7200.0 + i, "hi") for i in range(60)))
    found = check_log("log", log, recording=open_recording(short_recording))
    assert found.suggested_offset_s == found.mismatch.offset_s
    assert "too little" in lag_text(found.lag)


def test_a_guess_is_not_proposed(short_recording):
    """Sound shows nothing, and a log that is longer than its recording can belong anywhere, or elsewhere."""
    log = CommentLog("made up", tuple(Comment(2177.0 + 10 * i, "hi") for i in range(60)))
    check = check_log("log", log, recording=open_recording(short_recording))
    assert check.mismatch is not None
    assert check.suggested_offset_s is None
    assert check.as_dict()["suggested_offset_s"] is None


def test_told_as_json(late):
    document = json.loads(json.dumps(late.as_dict()))
    assert document["log"] == "late.csv"
    assert document["lag"]["offset_s"] == late.lag.offset_s
    assert document["mismatch"] is None
    assert document["comments"] == len(late.log.comments)


def test_without_a_recording_there_is_nothing_to_fit(late):
    found = check_log("log", late.log)
    assert (found.recording_s, found.mismatch, found.lag, found.suggested_offset_s) == (None, None, None, None)
