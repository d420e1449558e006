"""Hostile comment logs and transcripts: reading takes time linear in their length, and any input is read or refused."""

import math
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuaihl.comments.reader import read
from kuaihl.errors import KuaiHLError
from kuaihl.records import CommentLog, segments_of
from kuaihl.speech.transcripts import read_transcript
from tests.fixtures.log_samples import LOGS, START

CHARS = 5_000
INSTANT_S = 0.03
FRAGMENTS = [
    "{\\move(", "{", "}", "[emote:1:a", "[", "<", "<i", "<pre ", "<d ", "<d p='", "</d ", "a=''  ", "&#9", "&", '"',
    "'", ": ", " ", "\t", "(", "*", "1", "1:", "1,", "-->", "-", "|", ",", '{"a":', "},{", '{"a":[{},', "[{", "\\u",
    "\x01ACTION ", "a:", "@a ", "#", "=", ";", "01.05.2024 ", "a\n", "\n", " \n", "1\n", "--> \n",
]  # fmt: skip
"""What regular expressions that take quadratic time stumble over."""

TRANSCRIPTS = {
    "SRT": "1\n00:00:01,000 --> 00:00:02,000\nhi\n",
    "VTT": "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nhi\n",
    "ASS": "[Script Info]\n[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,hi\n",
}
SAMPLES = {**LOGS, **TRANSCRIPTS}
SOAK_EXAMPLES = 1000
EXAMPLES = [15, pytest.param(SOAK_EXAMPLES, marks=pytest.mark.soak)]


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
                long_s = cpu_s(path, second, is_transcript=is_transcript)
                if long_s <= INSTANT_S or long_s <= 3 * cpu_s(path, first, is_transcript=is_transcript):
                    break
            else:
                slow.append((fragment, place, long_s))
    assert not slow


class Guard:
    """While it is entered, reports each other file that is opened, except modules, and each socket that is made."""

    def __init__(self) -> None:
        self.file, self.events = "", []
        sys.addaudithook(self.watch)  # cannot be removed

    def watch(self, event: str, args: tuple[object, ...]) -> None:
        is_open = event == "open" and not str(args[0]).endswith((self.file, ".py", ".pyc", ".so"))
        if self.file and (is_open or event.startswith("socket.")):
            self.events.append((event, str(args[0])))

    @contextmanager
    def only(self, file: Path) -> Iterator[None]:
        self.file, self.events = str(file), []
        try:
            yield
        finally:
            self.file = ""
        assert not self.events, f"reading opened {self.events}"


@pytest.fixture(scope="module")
def guard():
    return Guard()


def check(data: bytes, path: Path, guard: Guard, *, is_transcript: bool) -> object:
    path.write_bytes(data)
    with guard.only(path):
        found = read_any(path, is_transcript=is_transcript)
    if isinstance(found, CommentLog):
        assert all(math.isfinite(c.time_s) and c.text == c.text.strip() != "" for c in found.comments)
        assert [c.time_s for c in found.comments] == sorted(c.time_s for c in found.comments)
    elif isinstance(found, list):
        assert all(0 <= u.start_s <= u.end_s <= 95 and u.text.strip() for u in found)
    return found


def fuzzing(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples < SOAK_EXAMPLES,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


PIECES = [
    b'"x"', b"null", b"[]", b"{}", b"true", b"-1e999", b"NaN", b"9" * 400, b"9" * 5000, b'"1:2:3"', b"[{}]", b"&a;",
    b"\0", b"&#9999999999;", b'"', b"<", b">", b",", b"}", b"{", b"|", b"\n", b"\r", b":", b"\xff", b"\xed\xa0\x80",
    b"0001-01-01 00:00:00", b"9999-12-31 23:59:59-12:00", b"-->", b"\\u0000", b"\x1f\x8b",
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


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_files_are_read_or_refused(tmp_path, guard, name, examples):
    @fuzzing(examples)
    @given(mutations(SAMPLES[name]))
    def run(data: bytes) -> None:
        check(data, tmp_path / "fuzzed", guard, is_transcript=name in TRANSCRIPTS)

    run()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_bytes_are_read_or_refused(tmp_path, guard, examples):
    @fuzzing(examples)
    @given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
    def run(data: bytes) -> None:
        check(data, tmp_path / "fuzzed", guard, is_transcript=False)
        check(data, tmp_path / "fuzzed", guard, is_transcript=True)

    run()


@pytest.mark.parametrize("kind", ["another file", "a socket"])
def test_the_guard_notices(tmp_path, guard, kind):
    with pytest.raises(AssertionError, match="reading opened"), guard.only(tmp_path):
        Path("pyproject.toml").read_bytes() if kind == "another file" else socket.socket().close()


@pytest.mark.parametrize("name", ["Bilibili XML", "TwitchDownloader HTML"])
def test_entities_of_other_files_are_not_read(tmp_path, guard, name):
    secret = tmp_path / "secret"
    secret.write_text("hidden words")
    entity = f'<!DOCTYPE i [<!ENTITY s SYSTEM "{secret.as_uri()}">]>'
    sample = SAMPLES[name].replace(">hi", ">&s;").replace(": hi ", ": &s; ")
    found = check(f"{entity}{sample}".encode(), tmp_path / "fuzzed", guard, is_transcript=False)
    assert "hidden" not in repr(found)
