import gzip

import pytest

from kuaihl.comments import source
from kuaihl.comments.reader import read
from kuaihl.errors import CommentLogError

TABLE = "time,user,text\n" + "".join(f"{i},Ann,caf\u00e9 {i} 你好 😀\n" for i in range(2000))


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)  # fmt: skip
def test_unicode(log, encoding):
    result = read(log(TABLE, encoding))
    assert [c.text for c in result.comments] == [f"caf\u00e9 {i} 你好 😀" for i in range(2000)]
    assert result.skipped == ()


def test_big_endian_marks(log):
    assert len(read(log("\ufeff" + TABLE, "utf-16-be")).comments) == 2000
    assert len(read(log("\ufeff" + TABLE, "utf-32-be")).comments) == 2000


def test_other_encodings_are_named(log):
    lines = ["主播今天真好看", "这个游戏太难了吧", "哈哈哈哈哈笑死我了", "下次什么时候直播", "谢谢大家的礼物"] * 50
    rows = "".join(f"{i},观众,{line}\n" for i, line in enumerate(lines))
    result = read(log("time,user,text\n" + rows, "gb18030"))
    assert [c.text for c in result.comments] == lines
    assert "read as" in result.format


def test_declared_encoding(log):
    rows = "".join(f'<d p="{i},1,25,1,1,0,a,1">好看 {i}</d>' for i in range(9))
    content = f'<?xml version="1.0" encoding="GBK"?><i><chatid>1</chatid>{rows}</i>'
    assert [c.text for c in read(log(content, "gbk")).comments] == [f"好看 {i}" for i in range(9)]


def test_a_few_wrong_bytes(log):
    result = read(log(TABLE.encode() + b"5000,Ann,broken \xf0\x9f here\n"))
    assert result.comments[-1].text == "broken \ufffd here"
    (wrong,) = result.skipped
    assert (wrong.count, wrong.where) == (1, f"byte {len(TABLE.encode()) + len('5000,Ann,broken ')}")


@pytest.mark.parametrize("members", [1, 3])
def test_gzip(log, members):
    data = TABLE.encode()
    size = len(data) // members + 1
    packed = b"".join(gzip.compress(data[i : i + size]) for i in range(0, len(data), size))
    result = read(log(packed))
    assert len(result.comments) == 2000
    assert result.skipped == ()


def test_cut_off_gzip(log):
    packed = gzip.compress(TABLE.encode())
    result = read(log(packed[: len(packed) * 2 // 3]))
    assert 800 < len(result.comments) < 2000
    assert [c.time_s for c in result.comments] == list(map(float, range(len(result.comments))))
    assert "cut off" in " ".join(s.reason for s in result.skipped)


def test_damaged_gzip(log):
    packed = bytearray(gzip.compress(TABLE.encode(), compresslevel=0))
    packed[40_000:40_100] = b"\xff" * 100
    packed[-8:] = b"\0" * 8
    result = read(log(bytes(packed)))
    assert any("damaged gzip" in s.reason for s in result.skipped)
    assert result.comments


def test_bombs_are_refused(log, monkeypatch):
    monkeypatch.setattr(source, "MAX_UNPACKED_BYTES", 2**22)
    with pytest.raises(CommentLogError, match="unpacks to more than"):
        read(log(gzip.compress(b"1,a,b\n" * 2**20)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \r\n\t\n", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"PK\x03\x04 and so on", "ZIP"),
        (b"\0\0\0 ftypisom\0\0", "swapped"),
        (b"\x1aE\xdf\xa3\x93", "swapped"),
        (bytes(range(256)) * 99, "binary"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\6\0\0\0", "binary"),
    ],
)
def test_not_text(log, content, says):
    with pytest.raises(CommentLogError, match=says):
        read(log(content))


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(CommentLogError, match="cannot be opened"):
            read(path)


def test_overlong_lines(log, monkeypatch):
    monkeypatch.setattr(source, "MAX_LINE_CHARS", 1000)
    result = read(log("time,user,text\n1,a,b\n2,a," + "x" * 5000 + "\n3,a,c\n"))
    assert [c.time_s for c in result.comments] == [1.0, 3.0]
    assert [(s.count, s.where) for s in result.skipped] == [(1, "line 3")]
