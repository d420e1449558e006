"""Participation by hand and by a slow loop; which segments are scored; the splits; finding chats."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kuaihl.errors import CommentLogError, LabelError
from tests.fixtures.chats import write_chats
from train.data.chat_logs import prepare_chat
from train.data.participation import Participation, find_logs, leave_out, participation, split_by_date
from train.dataset import Segments


def measured(lines: list[tuple[int, int]], *, segments: int) -> Participation:
    segment, chatter = np.array(lines, dtype=np.int64).reshape(-1, 2).T
    return participation(segment, chatter, segments=segments)


def test_by_hand() -> None:
    first = [(0, who) for who in range(20)]
    found = measured([*first, (0, 3), (2, 3), (2, 7), (2, 20), (2, 7)], segments=24)
    np.testing.assert_array_equal(found.writers, [20, 0, 3, *[0] * 21])
    # Those of segment 0 are present up to segment 19, those of segment 2 up to segment 21.
    np.testing.assert_array_equal(found.present, [20, 20, *[21] * 18, 3, 3, 0, 0])
    np.testing.assert_array_equal(found.share[:3], [1.0, 0.0, 3 / 21])
    assert np.isfinite(found.share).sum() == 20


@pytest.mark.parametrize(("chatters", "defined"), [(19, False), (20, True)])
def test_twenty_must_be_present(chatters: int, defined: bool) -> None:  # noqa: FBT001  (a parameter of the table above)
    assert np.isfinite(measured([(0, who) for who in range(chatters)], segments=1).share[0]) == defined


def test_by_a_slow_loop_in_any_order() -> None:
    rng = np.random.default_rng(0)
    segment, chatter = rng.integers(70, size=900), rng.integers(60, size=900)
    segment[segment > 50] //= 5  # silence at the end
    found = participation(segment, chatter, segments=75)
    for t in range(75):
        writers = set(chatter[segment == t])
        present = set(chatter[(segment <= t) & (segment > t - 20)])
        assert (found.writers[t], found.present[t]) == (len(writers), len(present))
        expected = len(writers) / len(present) if len(present) >= 20 else np.nan
        np.testing.assert_equal(found.share[t], expected)
    order = rng.permutation(900)
    np.testing.assert_array_equal(participation(segment[order], chatter[order], segments=75).share, found.share)


def test_scored_are_those_with_twenty_defined_before() -> None:
    share = np.full(70, 0.5)
    share[[3, 30]] = np.nan
    scored = Participation(share, share, share).scored
    expected = [t >= 20 and np.isfinite(share[t - 20 : t + 1]).all() for t in range(70)]
    np.testing.assert_array_equal(scored, expected)
    assert scored.sum() == 6 + 19
    assert not measured([], segments=0).scored.any()
    assert len(measured([(0, 1)], segments=3).scored) == 3


def test_the_split_is_that_of_the_published_numbers() -> None:
    found = split_by_date(350)
    assert [found.count(name) for name in ("train", "validation", "test")] == [244, 36, 70]
    assert found == sorted(found, key=("train", "validation", "test").index)


def test_leaving_a_channel_out(tmp_path: Path) -> None:
    write_chats(tmp_path / "chats.parquet")
    prepare_chat(tmp_path / "chats.parquet", tmp_path / "out", text=False)
    rooms = leave_out(Segments(tmp_path / "out"), ["red"])
    names = {split: [r.name for r in rooms if r.split == split] for split in ("train", "validation", "test")}
    assert names["test"] == ["98", "100", "102", "104", "106", "108"]
    assert names["train"] == ["99", "101", "103", "105", "107"]
    assert names["validation"] == ["109"]  # the latest of the others
    with pytest.raises(LabelError, match="no rooms of green; it has those of blue, red"):
        leave_out(Segments(tmp_path / "out"), ["green"])
    with pytest.raises(LabelError, match="nothing to train"):
        leave_out(Segments(tmp_path / "out"), ["red", "blue"])


def test_chats_of_a_table(tmp_path: Path) -> None:
    columns = {
        "vod": ["v10", "v9", "v10", "v10", "v9"],
        "channel": [1, 2, 1, 1, 2],
        "time_s": [70, 5, 3, 70, 1],
        "chatter": [1, 0, None, 0, 0],
        "text": ["b", "d", "a", "c", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "chats.parquet")
    old, new = find_logs(tmp_path / "chats.parquet")
    assert [(log.name, log.channel) for log in (old, new)] == [("v9", "2"), ("v10", "1")]
    assert [(c.time_s, c.user, c.text) for c in old.read()] == [(1, "0", ""), (5, "0", "d")]
    assert [(c.time_s, c.user, c.text) for c in new.read()] == [(3, None, "a"), (70, "1", "b"), (70, "0", "c")]


def test_chats_of_a_folder(tmp_path: Path) -> None:
    for channel in ("red", "blue"):
        (tmp_path / channel).mkdir()
    (tmp_path / "red" / "2024-05-02.txt").write_text("[0:00:07] anna: hi\n[0:00:40] ben: hello\n")
    (tmp_path / "blue" / "2024-05-01.csv").write_text("time,user,text\n3,carl,well\n")
    entry = {"content_offset_seconds": 1.5, "commenter": {"display_name": "dora"}, "message": {"body": "yes"}}
    (tmp_path / "blue" / "2024-05-02.json").write_text(json.dumps({"comments": [entry]}))
    (tmp_path / "blue" / "2024-05-03.csv").write_text("nothing to see\n")
    (tmp_path / "blue" / ".hidden").write_text("")
    found = find_logs(tmp_path)
    assert [log.name for log in found] == ["2024-05-01-blue", "2024-05-02-blue", "2024-05-02-red", "2024-05-03-blue"]
    assert [log.channel for log in found] == ["blue", "blue", "red", "blue"]
    said = [[(c.time_s, c.user, c.text) for c in log.read()] for log in found[:3]]
    assert said == [[(3, "carl", "well")], [(1.5, "dora", "yes")], [(7, "anna", "hi"), (40, "ben", "hello")]]
    with pytest.raises(CommentLogError):
        found[3].read()


def test_what_is_no_chat_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"vod": ["1"], "time_s": [1]}), tmp_path / "few.parquet")
    with pytest.raises(LabelError, match="vod, channel, time_s, chatter, text"):
        find_logs(tmp_path / "few.parquet")
    columns = {"vod": ["a/b", "a b"], "channel": [1, 1], "time_s": [1, 1], "chatter": [1, 1], "text": ["", ""]}
    pq.write_table(pa.table(columns), tmp_path / "twice.parquet")
    with pytest.raises(LabelError, match="two recordings of one name"):
        find_logs(tmp_path / "twice.parquet")
    pq.write_table(pa.table(columns | {"time_s": [1, None]}), tmp_path / "timeless.parquet")
    with pytest.raises(LabelError, match="0 and 1 lack it"):
        find_logs(tmp_path / "timeless.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="a folder for each channel"):
        find_logs(tmp_path / "empty")
    with pytest.raises(LabelError, match="not a Parquet file"):
        find_logs(tmp_path / "missing.parquet")
