"""The figure of comment rate and loudness."""

import numpy as np
import pytest

from kuaihl.plots import offset


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
