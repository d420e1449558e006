import pysubs2

from kuaihl.comments.reader import read


def test_as_written_by_pysubs2(log):
    """Their writer is the oracle; one comment does not move but stands at the bottom."""
    subtitles = pysubs2.SSAFile()
    texts = [
        r"{\move(1920, 0, -100, 0)\c&HD7FF61&}hello, there",
        r"{\an2\pos(960, 1080)}two\Nlines",
        r"{\p1}m 0 0 l 1 1{\p0}",
    ]
    for second, text in enumerate(texts, 59):
        subtitles.append(pysubs2.SSAEvent(start=second * 1000 + 250, end=second * 1000 + 5000, text=text))
    subtitles.append(pysubs2.SSAEvent(start=0, end=1, text=r"{\move(0,0,1,1)}"))
    result = read(log("\ufeff" + subtitles.to_string("ass")))
    assert result.format == "Danmaku ASS"
    assert [(c.time_s, c.user, c.text) for c in result.comments] == [
        (59.25, None, "hello, there"),
        (60.25, None, "two lines"),
    ]
    assert {(s.reason, s.count) for s in result.skipped} == {("drawings", 1), ("comments without text", 1)}


def test_columns_in_another_order_and_damage(log):
    events = [
        "Format: Start, End, Text",
        r"Dialogue: 27:00:01.50,27:00:05.00,{\move(1,2,3,4)}a, b",
        r"Dialogue: 27:00:02.00,27:00:05.00,{\move(1,2,3,4)}e",
        "Dialogue: soon",
        r"Dialogue: soon,0:00:02.00,{\move(1,2,3,4)}c",
        r"Comment: 0:00:01.00,0:00:02.00,{\move(1,2,3,4)}d",
    ]
    result = read(log("[Script Info]\nTitle: x\n\n[Events]\n" + "\n".join(events)))
    assert [(c.time_s, c.text) for c in result.comments] == [(97201.5, "a, b"), (97202.0, "e")]
    assert {s.where for s in result.skipped} == {"line 8", "line 9"}
