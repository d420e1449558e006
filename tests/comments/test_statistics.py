import random

import numpy as np

from kuaihl.comments.statistics import sparkline, summarize
from kuaihl.records import Comment, CommentLog, Skipped

LOG = CommentLog(
    "Twitch text",
    tuple(
        Comment(t, "hi", user, kind) for t, user, kind in [(-5, "a", "message"), (10, "b", "bot"), (95, "a", "message")]
    ),
    (Skipped("comments without text", 2, "line 3"),),
)


def test_numbers():
    found = summarize(LOG, bins=10)
    assert (found.comments, found.users, found.kinds) == (3, 2, {"message": 2, "bot": 1})
    assert (found.first_s, found.last_s, found.inside) == (-5, 95, None)
    assert (found.rate, found.bin_s, found.rate_start_s) == ((1, 1, 0, 0, 0, 0, 0, 0, 0, 1), 10.0, -5)
    assert found.skipped == LOG.skipped


def test_the_rate_is_over_the_recording_if_any_is_in_it():
    found = summarize(LOG, bins=4, duration_s=40.0)
    assert (found.rate, found.rate_start_s, found.bin_s, found.inside, found.peak) == ((0, 1, 0, 0), 0.0, 10.0, 1, 1)
    late = summarize(LOG, bins=4, duration_s=5.0)
    assert (sum(late.rate), late.inside) == (3, 0)


def test_rates_are_histograms():
    rng = random.Random(1)
    times = sorted(rng.uniform(0, 1000) for _ in range(5000))
    found = summarize(CommentLog("x", tuple(Comment(t, "hi") for t in times)), bins=60, duration_s=1000.0)
    assert list(found.rate) == np.histogram(times, bins=60, range=(0, 1000))[0].tolist()
    assert found.users == 0
    assert found.rate[found.peak] == max(found.rate)


def test_an_empty_log_and_one_moment():
    assert summarize(CommentLog("x", ()), bins=5).rate == (0,) * 5
    assert summarize(CommentLog("x", (Comment(7.0, "hi"),)), bins=5).rate == (1, 0, 0, 0, 0)


def test_sparkline():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8]) == " ▁▂▃▄▅▆▇█"
    assert sparkline([0, 1, 1000]) == " ▁█"
    assert sparkline([0, 1, 2], blocks=".#") == " .#"
    assert sparkline([0, 0]) == "  "
