"""The CSVs of PHD with their oddities, and labels of units."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kuaihl.errors import LabelError
from train.data.phd_csv import Gif, cut_units, group_by_video, last_videos, read_gifs, spans, unit_labels

HEADER = "youtubeId,start,duration,user_id,video_duration,is_last"


@pytest.fixture
def phd_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: str, header: str = HEADER) -> Path:
        file = tmp_path / "testing.csv"
        file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return file

    return write


def test_users_videos_and_gifs(phd_csv: Callable[..., Path]) -> None:
    gifs, skipped = read_gifs(
        phd_csv(
            "aaaaaaaaaaa,204.39,7.08,12999,314.0,True",
            "aaaaaaaaaaa,206.29,5.29,12999,314.0,True",
            "-bbbbbbbbb_,0.0,7.66,12999,8.0,False",
            "aaaaaaaaaaa,10.0,3.0,13000,-1.0,True",
            "ccccccccccc,1.0,2.0,13000,60.0,False",
            "-bbbbbbbbb_,3.0,1.0,12999,8.0,False",
        )
    )
    assert skipped == ()
    assert last_videos(gifs) == {"12999": "aaaaaaaaaaa", "13000": "aaaaaaaaaaa"}
    by_video = group_by_video(gifs)
    assert {video: len(some) for video, some in by_video.items()} == {
        "aaaaaaaaaaa": 3, "-bbbbbbbbb_": 2, "ccccccccccc": 1
    }  # fmt: skip
    np.testing.assert_allclose(spans(by_video["aaaaaaaaaaa"]), [(204.39, 211.47), (206.29, 211.58), (10, 13)])
    assert [gif.duration_s for gif in by_video["aaaaaaaaaaa"]] == [314, 314, None]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("aaaaaaaaaaa,58.0,7.5,1,60.0,True", None),  # beyond the end
        ("aaaaaaaaaaa,-2.0,7.5,1,60.0,True", None),
        ("aaaaaaaaaaa,9.0,-3.0,1,60.0,True", "no length"),
        ("aaaaaaaaaaa,9.0,0.0,1,60.0,True", "no length"),
        ("aaaaaaaaaaa,-9.0,3.0,1,60.0,True", "no length"),
        ("aaaaaaaaaaa,nan,3.0,1,60.0,True", "damaged"),
        ("aaaaaaaaaaa,9.0,inf,1,60.0,True", "damaged"),
        ("aaaaaaaaaaa,9.0,3 s,1,60.0,True", "damaged"),
        ("aaaaaaaaaaa,9.0,3.0,1,60.0,perhaps", "damaged"),
        ("aaaaaaaaaaa,9.0,3.0,1,60.0", "damaged"),
        ("aaaaaaaaaaa,9.0,3.0,,60.0,True", "damaged"),
        (",9.0,3.0,1,60.0,True", "damaged"),
    ],
)
def test_skipped_rows_are_counted(phd_csv: Callable[..., Path], row: str, reason: str | None) -> None:
    gifs, skipped = read_gifs(phd_csv("bbbbbbbbbbb,1.0,2.0,2,30.0,True", row, row))
    assert len(gifs) == (3 if reason is None else 1)
    assert [(rows.count, rows.where) for rows in skipped] == ([] if reason is None else [(2, "line 3")])
    assert all(reason in rows.reason for rows in skipped)


def test_users_without_exactly_one_last_video_are_not_scored(phd_csv: Callable[..., Path]) -> None:
    rows = ("aaaaaaaaaaa,5,3,7,60,False", "aaaaaaaaaaa,5,3,8,60,True", "bbbbbbbbbbb,5,3,8,60,True")
    assert last_videos(read_gifs(phd_csv(*rows))[0]) == {}


def test_columns_in_any_order_with_others_and_a_byte_order_mark(phd_csv: Callable[..., Path]) -> None:
    header = "\ufeffis_last,video_duration,note,user_id,duration,start,youtubeId"
    gifs, _ = read_gifs(phd_csv("TRUE,60.0,fun,1,3.0,5.0,aaaaaaaaaaa", header=header))
    assert gifs == [Gif("aaaaaaaaaaa", "1", 5.0, 8.0, duration_s=60.0, is_last=True)]


def test_what_is_not_a_csv_of_phd(phd_csv: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no column user_id, video_duration, is_last"):
        read_gifs(phd_csv("a,1,2", header="youtubeId,start,duration"))
    with pytest.raises(LabelError, match="cannot be read"):
        read_gifs(tmp_path / "missing.csv")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"\x00\xff\xfe" * 50)
    with pytest.raises(LabelError):
        read_gifs(film)


def test_units_of_five_seconds() -> None:
    assert [(unit.start_s, unit.end_s) for unit in cut_units(12.6)] == [(0, 5), (5, 10), (10, 12.6)]
    assert [(unit.start_s, unit.end_s) for unit in cut_units(12.4)] == [(0, 5), (5, 10)]
    assert [unit.index for unit in cut_units(15)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(5.0, 10.0)], [0, 1, 0, 0]),
        ([(4.0, 7.0)], [0, 1, 0, 0]),  # its middle is at 5.5 s
        ([(3.5, 6.0)], [1, 0, 0, 0]),
        ([(2.4, 17.6)], [1, 1, 1, 1]),  # 2.6 s of the first and of the last
        ([(2.6, 17.4)], [0, 1, 1, 0]),
        ([(5.0, 6.3), (6.3, 7.6)], [0, 1, 0, 0]),
        ([(0.0, 1.3), (0.5, 1.0)], [1, 0, 0, 0]),
        ([(18.0, 40.0)], [0, 0, 0, 1]),  # beyond the end nothing counts
        ([(30.0, 40.0)], [0, 0, 0, 0]),
        ([], [0, 0, 0, 0]),
    ],
)
def test_a_unit_is_a_highlight_if_filled_by_half_or_at_the_middle(
    intervals: list[tuple[float, float]], expected: list[int]
) -> None:
    gifs = [Gif("video", "user", *interval, duration_s=None, is_last=True) for interval in intervals]
    assert unit_labels(gifs, units=4).tolist() == expected
