"""Subtitle files: formats, encodings, what is no speech, and where words land."""

import re
from pathlib import Path

import pysubs2
import pytest

from kuaihl.errors import CommentLogError
from kuaihl.records import Segment, Utterance, segments_of
from kuaihl.speech.transcripts import read_transcript

SEGMENTS = segments_of(95)


def read(tmp_path: Path, text: str, *, encoding: str = "utf-8", segments: list[Segment] = SEGMENTS) -> list[Utterance]:
    path = tmp_path / "transcript"
    path.write_bytes(text.encode(encoding))
    return read_transcript(path, segments=segments)


def srt(*cues: tuple[str, str, str]) -> str:
    return "\n".join(f"{i}\n{start} --> {end}\n{text}\n" for i, (start, end, text) in enumerate(cues, 1))


def test_srt(tmp_path: Path) -> None:
    text = srt(
        ("00:00:01,500", "00:00:04,000", "<i>Hello</i> there,\n{\\an8}everyone &amp; all"),
        ("00:00:31,000", "00:00:32,000", "2024"),
    )
    assert read(tmp_path, text) == [Utterance(1.5, 4.0, "Hello there, everyone & all"), Utterance(31.0, 32.0, "2024")]


def test_a_cue_is_cut_at_segment_ends_by_words_in_proportion_to_time(tmp_path: Path) -> None:
    words = [f"w{i:02}" for i in range(40)]
    # 40 equal words over 20..60 s: one a second, ten in the first segment and thirty in the second.
    said = read(tmp_path, srt(("00:00:20,000", "00:01:00,000", " ".join(words))))
    assert said == [Utterance(20.0, 30.0, " ".join(words[:10])), Utterance(30.0, 60.0, " ".join(words[10:]))]


def test_a_long_cue_spans_three_segments_and_loses_nothing(tmp_path: Path) -> None:
    words = [f"{'word' * (i % 3 + 1)}{i}" for i in range(50)]
    said = read(tmp_path, srt(("00:00:10,000", "00:01:20,000", " ".join(words))))
    assert [(u.start_s, u.end_s) for u in said] == [(10.0, 30.0), (30.0, 60.0), (60.0, 80.0)]
    assert " ".join(u.text for u in said).split() == words


def test_text_without_spaces_is_cut_between_characters(tmp_path: Path) -> None:
    said = read(tmp_path, srt(("00:00:25,000", "00:00:35,000", "大家好欢迎来到直播间")))
    assert said == [Utterance(25.0, 30.0, "大家好欢迎"), Utterance(30.0, 35.0, "来到直播间")]


def test_what_lies_outside_the_segments_is_left_out(tmp_path: Path) -> None:
    gapped = [Segment(0, 0.0, 30.0), Segment(1, 30.0, 50.0)]
    text = srt(("00:00:49,000", "00:00:51,000", "one two"), ("00:02:00,000", "00:02:01,000", "far away"))
    assert read(tmp_path, text, segments=gapped) == [Utterance(49.0, 50.0, "one")]


def test_vtt_with_notes_styles_identifiers_and_settings(tmp_path: Path) -> None:
    text = """WEBVTT - title

STYLE
::cue { color: lime }

NOTE a note
of two lines

intro
00:01.000 --> 00:02.000 align:start position:0%
<v Ann>Hello <b>you</b>

second
01:00:00.000 --> 01:00:01.000
too late

00:03.000 --> 00:04.000
bye
"""
    assert [u.text for u in read(tmp_path, text)] == ["Hello you", "bye"]


def test_captions_that_roll_up_are_read_once(tmp_path: Path) -> None:
    text = """WEBVTT
Kind: captions

00:00:00.000 --> 00:00:02.000
hello<00:00:00.500><c> there</c><00:00:01.000><c> all</c>

00:00:02.000 --> 00:00:02.010
hello there all

00:00:02.010 --> 00:00:04.000
hello there all
how<00:00:02.500><c> are</c><00:00:03.000><c> you</c>
"""
    assert " ".join(u.text for u in read(tmp_path, text)) == "hello there all how are you"


def test_ass_without_karaoke_drawings_comments_and_layers(tmp_path: Path) -> None:
    text = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:03.00,Default,,0,0,0,,{\\k20}Sing {\\k30}a{\\kf10} song,\\Nloud
Dialogue: 1,0:00:01.00,0:00:03.00,Default,,0,0,0,,{\\k20}Sing {\\k30}a{\\kf10} song,\\Nloud
Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0{\\p0}
Comment: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,never shown
"""
    assert read(tmp_path, text) == [Utterance(1.0, 3.0, "Sing a song, loud")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030", "cp1251"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    line = (
        "Добрый вечер, дорогие друзья, мы начинаем" if encoding == "cp1251" else "欢迎大家来到今天晚上的直播间请多关照"
    )
    text = srt(*((f"00:00:{i:02},000", f"00:00:{i + 1:02},000", line) for i in range(20)))
    assert {u.text for u in read(tmp_path, text, encoding=encoding)} == {line}


@pytest.mark.parametrize(
    "data",
    [b"", b"just words", b"\x00\x01\xff\xfe" * 50, b"WEBVTT\n\n", b"[Script Info]\n[Events]\nDialogue: broken", b"{}"],
)
def test_damaged_input(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "transcript.srt"
    path.write_bytes(data)
    with pytest.raises(CommentLogError, match=r"transcript\.srt"):
        read_transcript(path, segments=SEGMENTS)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CommentLogError, match=r"none\.srt"):
        read_transcript(tmp_path / "none.srt", segments=SEGMENTS)


def test_a_truncated_file_gives_what_is_whole(tmp_path: Path) -> None:
    text = srt(("00:00:01,000", "00:00:02,000", "first"), ("00:00:03,000", "00:00:04,000", "second"))
    assert [u.text for u in read(tmp_path, text[: text.index("00:00:04")])] == ["first"]


LINES = ["today we look at the old bridge", "and at the river below it", "the water is very high now", "stay away"]


def clock(ms: int) -> str:
    return f"00:{ms // 60_000:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def rolling() -> list[tuple[int, int, str]]:
    """Each line below the one before, then alone for 10 ms, as YouTube's captions are after conversion to SRT."""
    cues = []
    for i, line in enumerate(LINES):
        start = 2000 + 2500 * i
        shown = "\n".join(LINES[max(0, i - 1) : i + 1])
        cues += [(start, start + 2490, shown), (start + 2490, start + 2500, f"{line}\n ")]
    return cues


def highlighted(mark: str = "<font color=#0f0>{}</font>") -> list[tuple[int, int, str]]:
    """Each line once for each of its words, which is marked."""
    cues = []
    for i, line in enumerate(LINES):
        words = line.split()
        for j, word in enumerate(words):
            start = 2000 + 2500 * i + 300 * j
            cues.append((start, start + 300, " ".join([*words[:j], mark.format(word), *words[j + 1 :]])))
    return cues


def growing() -> list[tuple[int, int, str]]:
    """Each line word by word."""
    return [
        (2000 + 2500 * i + 300 * j, 2300 + 2500 * i + 300 * j, " ".join(line.split()[: j + 1]))
        for i, line in enumerate(LINES)
        for j in range(len(line.split()))
    ]


@pytest.mark.parametrize("cues", [rolling(), highlighted(), highlighted("<u>{}</u>"), growing()])
@pytest.mark.parametrize("format_", ["srt", "vtt", "ass"])
def test_words_that_captions_repeat_are_read_once(
    tmp_path: Path, cues: list[tuple[int, int, str]], format_: str
) -> None:
    text = srt(*((clock(start), clock(end), text) for start, end, text in cues))
    if format_ == "vtt":
        text = "WEBVTT\n\n" + text.replace(",", ".")
    elif format_ == "ass":
        text = pysubs2.SSAFile.from_string(text, format_="srt").to_string("ass")
    said = read(tmp_path, text)
    assert " ".join(u.text for u in said).split() == " ".join(LINES).split()
    for i, line in enumerate(LINES):  # all its words are inside the time in which it was shown
        inside = [
            u for u in said if 2000 + 2500 * i <= u.start_s * 1000 + 1e-6 and u.end_s * 1000 <= 4500 + 2500 * i + 1e-6
        ]
        assert " ".join(u.text for u in inside) == line


@pytest.mark.parametrize("mark", ["*{}*", "[{}]", "CAPITALS"])
def test_marks_without_markup_make_no_other_word(tmp_path: Path, mark: str) -> None:
    cues = highlighted("<{}>") if mark == "CAPITALS" else highlighted(mark)
    if mark == "CAPITALS":
        cues = [(a, b, re.sub(r"<(\w+)>", lambda match: match[1].upper(), text)) for a, b, text in cues]
    text = " ".join(u.text for u in read(tmp_path, srt(*((clock(a), clock(b), text) for a, b, text in cues))))
    assert re.sub(r"[*\[\]]", "", text).lower() == " ".join(LINES).lower()


def test_words_that_people_repeat_are_kept(tmp_path: Path) -> None:
    """Most captions of this file do not repeat any."""
    lines = ["no", "no", "come on", "come on and see", "what is it", "nothing", "a word", "word", "I see", "so long"]
    text = srt(*((clock(i * 1000), clock(i * 1000 + 1000), line) for i, line in enumerate(lines)))
    assert [u.text for u in read(tmp_path, text)] == lines


def test_signs_and_references_that_are_no_markup(tmp_path: Path) -> None:
    lines = ["a < b > c", "{\\an8}I <3 you", "&lt;b&gt; &#" + "9" * 5000 + "; x", "x } y { z"]
    text = srt(*((clock(i * 1000), clock(i * 1000 + 500), line) for i, line in enumerate(lines)))
    assert [u.text for u in read(tmp_path, text)] == ["a < b > c", "I <3 you", "<b> \ufffd x", "x } y { z"]
