"""Reactions in many languages, what is none, the file's own patterns, and the work on long input."""

import time
from pathlib import Path

import pytest

from kuaihl.errors import CommentLogError
from kuaihl.lexicon import KINDS, LEXICON_FILE, Lexicon, in_capitals, is_counted
from kuaihl.records import Comment


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.read()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("that was lol", "laugh"),
        ("LOOOOOL", "laugh"),
        ("(haha)", "laugh"),
        ("ahahahahaha", "laugh"),
        ("no puede ser jajajaja", "laugh"),
        ("kkkkkkk", "laugh"),
        ("rsrsrs", "laugh"),
        ("mdr", "laugh"),
        ("ахахах", "laugh"),
        ("wwww", "laugh"),
        ("まって草", "laugh"),
        ("哈哈哈哈哈", "laugh"),
        ("主播2333", "laugh"),
        ("ㅋㅋㅋㅋ", "laugh"),
        ("5555555", "laugh"),
        ("wkwkwk", "laugh"),
        ("ههههه", "laugh"),
        ("fl0mKEKW", "laugh"),
        ("😂", "laugh"),
        ("ggggg", "hype"),
        ("GG.", "hype"),
        ("what!!", "hype"),
        ("OMG", "hype"),
        ("pokiPog", "hype"),
        ("666", "hype"),
        ("卧槽", "hype"),
        ("すごい", "hype"),
        ("ㄷㄷ", "hype"),
        ("жесть", "hype"),
    ],
)
def test_reactions(lexicon: Lexicon, text: str, kind: str) -> None:
    pattern = lexicon.find(text)
    assert pattern is not None
    assert pattern.kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello there",
        "kk",
        "glow",
        "what?",
        "egg",
        "www.example.com",
        "good evening",
        "room 3552",
        "安静",
        "안녕",
    ],
)
def test_what_is_no_reaction(lexicon: Lexicon, text: str) -> None:
    assert lexicon.find(text) is None


def test_every_pattern_of_the_file_is_valid_and_needed(lexicon: Lexicon) -> None:
    texts = []
    for line in LEXICON_FILE.read_text(encoding="utf-8").splitlines():
        if line and line[0] != "#":
            _, kind, text = line.split()
            word = text[1:-1] if len(text) > 2 and text[0] == text[-1] == "*" else text
            pattern = lexicon.find(word)
            assert pattern is not None
            assert pattern.text == word, f"{text} is never used: {pattern} comes first"
            assert kind in KINDS
            texts.append(word.casefold())
    assert len(texts) == len(set(texts)) > 300


def test_a_lexicon_of_your_own(tmp_path: Path) -> None:
    file = tmp_path / "lexicon.txt"
    file.write_text("# mine\n\nnl laugh hihi\nxx hype *zap*\nxx hype *\n", encoding="utf-8")
    with pytest.raises(CommentLogError, match="line 5"):
        Lexicon.read(file)
    file.write_text("# mine\n\nnl laugh hihi\nxx hype *Zap*\nxx hype 99\n", encoding="utf-8")
    lexicon = Lexicon.read(file)
    matches = [lexicon.find(text) for text in ("HIHI", "hihihi", "blitzzapped", "9999", "9", "lol")]
    assert [m and m.language for m in matches] == ["nl", None, "xx", "xx", None, None]
    with pytest.raises(CommentLogError, match="nowhere"):
        Lexicon.read(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("unit", ["a", "lo", "kе", "omg-", "草x", ")", "xd ", "笑的", "aab", "p", "wor d"])
def test_work_is_linear_in_the_length(lexicon: Lexicon, unit: str) -> None:
    def cpu_s(text: str) -> float:
        times_s = []
        for _ in range(5):
            began_s = time.process_time()
            for _ in range(5):
                lexicon.find(text)
            times_s.append(time.process_time() - began_s)
        return min(times_s)

    once, twice = (cpu_s(unit * length) for length in (20_000, 40_000))
    assert twice < 3 * once + 0.001


def test_capitals() -> None:
    assert [in_capitals(t) for t in ("WHAT", "WOW 11", "OK", "O K!", "OMg", "ЖЕСТЬ", "123", "哈哈哈", "LOL哈")] == [
        *(True, True, False, False, False, True, False, False, True)
    ]


def test_what_counts() -> None:
    def comment(text: str, kind: str = "message") -> Comment:
        return Comment(1.0, text, "anna", kind)

    assert is_counted(comment("hello"))
    assert is_counted(comment("!!!"))
    assert is_counted(comment("hello", "paid"))
    assert not any(is_counted(comment("hello", kind)) for kind in ("bot", "gift", "notice"))
    assert not any(is_counted(comment(text)) for text in ("!drops", "!8ball will it", "!привет"))
