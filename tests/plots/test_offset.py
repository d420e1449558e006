"""The figure and the words that show how a log fits its recording."""

from dataclasses import replace

import numpy as np
import pytest

from kuaihl.comments.timing import Mismatch
from kuaihl.demo import panels
from kuaihl.plots import offset
from kuaihl.records import Comment, CommentLog
from kuaihl.sync import Lag, check_log


@pytest.mark.parametrize("bins", [0, 2, 315, 43_200])
def test_two_curves_from_nothing_to_most_over_the_whole_recording(bins):
    figure = offset.plot_offset(np.linspace(-60, -10, bins), np.arange(bins) % 7, bin_s=2.0)
    assert [trace.name for trace in figure.data] == ["sound", "comments"]
    for trace in figure.data:
        assert len(trace.x) == len(trace.y) <= 200
        if bins > 3:
            assert (min(trace.y), max(trace.y)) == (0.0, 1.0)
    assert figure.layout.xaxis.range[1] == np.datetime64(2000 * bins, "ms")


def test_loud_and_busy_stand_where_they_were():
    level_db, rate = np.full(300, -40.0), np.zeros(300)
    level_db[150:156], rate[160:163] = -10.0, 5
    sound, comments = offset.plot_offset(level_db, rate, bin_s=2.0).data
    assert sound.x[np.argmax(sound.y)] == np.datetime64(303_000, "ms")
    assert comments.x[np.argmax(comments.y)] == np.datetime64(321_000, "ms")


def test_words_name_what_is_wrong_and_are_no_markup():
    check = replace(
        check_log("log", CommentLog("made up", (Comment(1.0, "hi"), Comment(9.0, "ho")))),
        mismatch=Mismatch("<b>far</b> off.", 5.0),
        lag=Lag(-45.0, 7.4, -45.0),
    )
    told = panels.fit(check, given_s=5.0)
    assert "2 comments" in told
    assert "&lt;b&gt;far&lt;/b&gt; off." in told
    assert "an offset of -40 s (7.4 standard deviations" in told
