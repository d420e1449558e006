import random

from kuaihl.comments.selection import by_segment, is_text, outside, text_comments
from kuaihl.records import Comment, Segment, segments_of


def test_what_counts_as_text():
    kinds = ["message", "paid", "bot", "gift", "notice"]
    comments = [Comment(0.0, "x", "u", kind) for kind in kinds]
    assert [is_text(c) for c in comments] == [True, True, False, False, False]
    assert text_comments(comments) == comments[:2]


def test_segments():
    rng = random.Random(5)
    segments = segments_of(100.0)
    comments = [Comment(rng.choice([rng.uniform(-20, 130), rng.randrange(-1, 5) * 30.0]), str(i)) for i in range(400)]
    expected = [[c for c in comments if s.start_s <= c.time_s < s.end_s] for s in segments]
    found = by_segment(comments, segments)
    assert len(found) == 4
    assert found == [sorted(group, key=lambda c: c.time_s) for group in expected]
    early, late = outside(comments, segments)
    assert early.count == sum(c.time_s < 0 for c in comments)
    assert late.count == sum(c.time_s >= 100 for c in comments)
    assert sum(map(len, found)) + early.count + late.count == 400
    assert early.where == f"{min(c.time_s for c in comments):.0f} s"


def test_edges():
    segments = [Segment(0, 0.0, 30.0), Segment(1, 30.0, 41.0)]
    comments = [Comment(t, "x") for t in (0.0, 29.999, 30.0, 41.0)]
    assert [len(group) for group in by_segment(comments, segments)] == [2, 1]
    (late,) = outside(comments, segments)
    assert (late.count, late.where) == (1, "41 s")
    assert outside(comments[:3], segments) == ()
    assert by_segment(comments, []) == []
    assert outside(comments, [])[0].count == 4
    assert by_segment([], segments) == [[], []]
