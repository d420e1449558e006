"""Hostile comment logs and transcripts: reading takes time linear in their length, and any input is read or refused."""

import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuaihl.comments.reader import read
from kuaihl.errors import KuaiHLError
from kuaihl.records import CommentLog, segments_of
from kuaihl.speech.transcripts import read_transcript
from tests.fixtures.log_samples import LOGS, START

CHARS = 20_000
FRAGMENTS = [
    "{\\move(", "{", "}", "[emote:1:a", "[", "<", "<i", "<pre ", "<d ", "<d p='", "</d ", "a=''  ", "&#9", "&", '"', "'",
    ": ", " ", "\t", "(", "*", "1", "1:", "1,", "-->", "-", "|", ",", '{"a":', "},{", '{"a":[{},', "[{", "\\u", "\x01ACTION ",
    "a:", "@a ", "#", "=", ";", "01.05.2024 ", "a\n", "\n", " \n", "1\n", "--> \n",
]  # fmt: skip
"""What regular expressions that take quadratic time stumble over."""

TRANSCRIPTS = {
    "SRT": "1\n00:00:01,000 --> 00:00:02,000\nhi\n",
    "VTT": "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nhi\n",
    "ASS": "[Script Info]\n[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,hi\n",
}
SAMPLES = {**LOGS, **TRANSCRIPTS}


def read_any(path: Path, *, is_transcript: bool) -> object:
    """Read a log or a transcript, or return why it is refused."""
    try:
        return read_transcript(path, segments=segments_of(95)) if is_transcript else read(path, stream_start=START)
    except KuaiHLError as error:
        return error


def cpu_s(path: Path, text: str, *, is_transcript: bool) -> float:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    begin_s = time.process_time()
    read_any(path, is_transcript=is_transcript)
    return time.process_time() - begin_s


def placed(sample: str, hostile: str) -> list[str]:
    """Put hostile text inside the last comment of a sample, behind it, before it, and in place of it."""
    before, _, after = sample.rpartition("hi")
    return [f"{before}{hostile}{after}", f"{sample}\n{hostile}", f"{hostile}{sample}", hostile]


@pytest.mark.parametrize("name", SAMPLES)
def test_time_is_linear_in_the_length(tmp_path, name):
    path, is_transcript = tmp_path / "hostile", name in TRANSCRIPTS
    slow = []
    for fragment in FRAGMENTS:
        short, long = (placed(SAMPLES[name], fragment * (n // len(fragment))) for n in (CHARS, 2 * CHARS))
        for place, (first, second) in enumerate(zip(short, long, strict=True)):
            for _ in range(3):  # other processes may disturb one measurement
                short_s = cpu_s(path, first, is_transcript=is_transcript)
                long_s = cpu_s(path, second, is_transcript=is_transcript)
                if long_s <= 3 * short_s + 0.05:
                    break
            else:
                slow.append((fragment, place, short_s, long_s))
    assert not slow


def check(data: bytes, tmp_path: Path, *, is_transcript: bool) -> None:
    path = tmp_path / "fuzzed"
    path.write_bytes(data)
    found = read_any(path, is_transcript=is_transcript)
    if isinstance(found, CommentLog):
        assert all(math.isfinite(c.time_s) and c.text == c.text.strip() != "" for c in found.comments)
        assert [c.time_s for c in found.comments] == sorted(c.time_s for c in found.comments)
    elif isinstance(found, list):
        assert all(0 <= u.start_s <= u.end_s <= 95 and u.text.strip() for u in found)


fuzzing = settings(
    max_examples=int(os.environ.get("KUAIHL_FUZZ_EXAMPLES", "25")),
    deadline=None,
    derandomize="KUAIHL_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PIECES = [
    b'"x"', b"null", b"[]", b"{}", b"true", b"-1e999", b"NaN", b"9" * 400, b"9" * 5000, b'"1:2:3"', b"[{}]", b"&a;", b"\0",
    b"&#9999999999;", b'"', b"<", b">", b",", b"}", b"{", b"|", b"\n", b"\r", b":", b"\xff", b"\xed\xa0\x80", b"0001-01-01 00:00:00",
    b"9999-12-31 23:59:59-12:00", b"-->", b"\\u0000", b"\x1f\x8b",
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, sample: str) -> bytes:
    """Cut, repeat, and overwrite parts of a sample."""
    data = bytearray(sample.encode())
    for _ in range(draw(st.integers(1, 5))):
        at, size = draw(st.integers(0, len(data))), draw(st.sampled_from([0, 0, 1, 2, 8, 64]))
        piece = draw(
            st.one_of(st.sampled_from(PIECES), st.binary(max_size=4), st.just(bytes(data[at : at + size]) * 3))
        )
        data[at : at + size] = piece
    return bytes(data[: draw(st.one_of(st.none(), st.integers(0, len(data))))])


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    @fuzzing
    @given(mutations(SAMPLES[name]))
    def run(data: bytes) -> None:
        check(data, tmp_path, is_transcript=name in TRANSCRIPTS)

    run()


@fuzzing
@given(data=st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_read_or_refused(tmp_path, data):
    check(data, tmp_path, is_transcript=False)
    check(data, tmp_path, is_transcript=True)
