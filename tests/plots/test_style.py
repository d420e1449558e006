"""Times as people write them."""

import pytest

from kuaihl.plots import style


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "0:00:00"),
        (59.4, "0:00:59"),
        (59.6, "0:01:00"),
        (3599.9, "1:00:00"),
        (43_200, "12:00:00"),
        (90_061, "25:01:01"),
    ],
)
def test_clock(time_s, text):
    assert style.clock(time_s) == text
