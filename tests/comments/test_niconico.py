from kuaihl.comments.reader import read


def chat(vpos, text, more=""):
    return f'<chat thread="1" vpos="{vpos}" date="1591778293" mail="184" user_id="u1"{more}>{text}</chat>'


def test_video_or_thread(log):
    result = read(
        log(
            "<packet><thread thread='1'/>"
            + chat(1250, "888")
            + chat(-100, "w&amp;w")
            + chat(0, "", ' deleted="1"')
            + chat(300, "/nicoad {}", ' premium="3"')
            + chat(400, "/info 10 x", ' premium="3"')
            + chat(500, "/me too", ' premium="1"')
            + "</packet>"
        )
    )
    assert result.format.startswith("Niconico XML (times count from the opening")
    assert [(c.time_s, c.user, c.text, c.kind) for c in result.comments] == [
        (-1.0, "u1", "w&w", "message"),
        (3.0, "u1", "/nicoad {}", "gift"),
        (4.0, "u1", "/info 10 x", "notice"),
        (5.0, "u1", "/me too", "message"),
        (12.5, "u1", "888", "message"),
    ]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "element 3 (<chat>)")]


def test_broadcasts_open_before_they_start(log):
    result = read(
        log(
            '\ufeff<?xml version="1.0"?>\n<NiconamaComment xmlns="http://example.org/commentlog/"><Stream>'
            "<BaseTime>1591775400</BaseTime><OpenTime>1591775400</OpenTime><StartTime>1591776000</StartTime></Stream>"
            "<LiveCommentDataArray>"
            + chat(61000, "hi")
            + chat(59000, "soon", ' NCV:n="x"')
            + "\n</LiveCommentDataArray></NiconamaComment>"
        )
    )
    assert [(c.time_s, c.text) for c in result.comments] == [(-10.0, "soon"), (10.0, "hi")]
    assert "600 s after its opening" in result.format


def test_a_thread_that_tells_no_start_is_placed_by_its_dates(log):
    """Its opening may be minutes before the start of the broadcast: that of the recording is known better."""
    path = log("<packet>" + chat(60500, "hi", ' date_usec="250000"') + "</packet>")
    found = read(path, stream_start="2020-06-10T17:38:08+09:00")
    assert [c.time_s for c in found.comments] == [5.25]
    assert found.format == "Niconico XML"
