"""PHD's CSVs with all their oddities, and the truth by units."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kuaihl.errors import LabelError
from train.data.phd_csv import Gif, read, spans, unit_labels, units_of

HEADER = "youtubeId,start,duration,user_id,video_duration,is_last"


@pytest.fixture
def phd_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: str, header: str = HEADER) -> Path:
        file = tmp_path / "testing.csv"
        file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return file

    return write


def test_users_their_videos_and_their_gifs(phd_csv: Callable[..., Path]) -> None:
    phd = read(
        phd_csv(
            "aaaaaaaaaaa,204.39,7.08,12999,314.0,True",
            "aaaaaaaaaaa,206.29,5.29,12999,314.0,True",
            "-bbbbbbbbb_,0.0,7.66,12999,8.0,False",
            "aaaaaaaaaaa,10.0,3.0,13000,314.0,True",
            "ccccccccccc,1.0,2.0,13000,60.0,False",
            "-bbbbbbbbb_,3.0,1.0,12999,8.0,False",
        )
    )
    one, other = phd.users
    assert (one.name, other.name) == ("12999", "13000")
    assert one.last.youtube_id == "aaaaaaaaaaa"
    assert one.last.duration_s == 314
    np.testing.assert_allclose(spans(one.last.gifs), [(204.39, 211.47), (206.29, 211.58)])
    (before,) = one.history  # its rows need not stand together
    assert before.youtube_id == "-bbbbbbbbb_"
    assert len(before.gifs) == 2
    # Two users share a last video: each has his own truth, and the video is there once.
    assert [len(user.last.gifs) for user in phd.users] == [2, 1]
    assert {name: len(gifs) for name, gifs in phd.last_videos.items()} == {"aaaaaaaaaaa": 3}
    assert set(phd.videos) == {"aaaaaaaaaaa", "-bbbbbbbbb_", "ccccccccccc"}
    assert phd.notes == ()


@pytest.mark.parametrize(
    ("row", "reason", "kept"),
    [
        ("aaaaaaaaaaa,5.0,3.0,1,-1.0,True", "not known", True),
        ("aaaaaaaaaaa,58.0,7.5,1,60.0,True", "runs over the end", True),
        ("aaaaaaaaaaa,70.0,7.5,1,60.0,True", "runs over the end", True),
        ("aaaaaaaaaaa,-2.0,7.5,1,60.0,True", "before its video", True),
        ("aaaaaaaaaaa,9.0,-3.0,1,60.0,True", "no length", False),
        ("aaaaaaaaaaa,9.0,0.0,1,60.0,True", "no length", False),
        ("aaaaaaaaaaa,-9.0,3.0,1,60.0,True", "no length", False),
        ("aaaaaaaaaaa,nan,3.0,1,60.0,True", "cannot be read", False),
        ("aaaaaaaaaaa,9.0,inf,1,60.0,True", "cannot be read", False),
        ("aaaaaaaaaaa,9.0,3 s,1,60.0,True", "cannot be read", False),
        ("aaaaaaaaaaa,9.0,3.0,1,60.0,perhaps", "cannot be read", False),
        ("aaaaaaaaaaa,9.0,3.0,1,60.0", "cannot be read", False),
        ("aaaaaaaaaaa,9.0,3.0,,60.0,True", "cannot be read", False),
        (",9.0,3.0,1,60.0,True", "cannot be read", False),
    ],
)
def test_odd_rows_are_counted(phd_csv: Callable[..., Path], row: str, reason: str, *, kept: bool) -> None:
    phd = read(phd_csv("bbbbbbbbbbb,1.0,2.0,2,30.0,True", row, row))
    (note,) = phd.notes
    assert reason in note.reason
    assert (note.count, note.where) == (2, "line 3")
    assert len(phd.users) == (2 if kept else 1)
    if kept:
        assert len(phd.users[1].last.gifs) == 2


def test_a_duration_is_known_if_any_row_knows_it(phd_csv: Callable[..., Path]) -> None:
    phd = read(phd_csv("aaaaaaaaaaa,5,3,1,-1.0,True", "aaaaaaaaaaa,5,3,1,60.0,True", "bbbbbbbbbbb,5,3,1,-1,False"))
    assert phd.users[0].last.duration_s == 60
    assert phd.users[0].history[0].duration_s is None


def test_users_without_exactly_one_last_video_are_not_tested(phd_csv: Callable[..., Path]) -> None:
    phd = read(phd_csv("aaaaaaaaaaa,5,3,7,60,False", "aaaaaaaaaaa,5,3,8,60,True", "bbbbbbbbbbb,5,3,8,60,True"))
    assert [user.last for user in phd.users] == [None, None]
    (note,) = phd.notes
    assert (note.count, note.where) == (2, "user 7")
    assert phd.last_videos == {}
    assert set(phd.videos) == {"aaaaaaaaaaa", "bbbbbbbbbbb"}


def test_as_large_and_as_odd_as_the_real_one(phd_csv: Callable[..., Path]) -> None:
    """850 users, five of whom share their last video with another; 210 rows run over the end of their video."""
    rows = [f"last-{max(k - 5, 0):06d},{k % 50}.5,4,{k},60.0,True" for k in range(850)]
    rows += [
        f"past-{k:06d},{70 if k < 210 else 7},5,{k % 850},{-1.0 if k >= 9000 else 60.0},False" for k in range(9377)
    ]
    phd = read(phd_csv(*np.random.default_rng(0).permutation(rows)))
    assert str(phd) == "850 users, 845 distinct last videos of theirs, 10,222 videos in all"
    assert {note.reason.split(":")[0]: note.count for note in phd.notes} == {
        "a GIF runs over the end of its video": 210,
        "the duration of a video is not known": 377,
    }
    assert sum(len(user.last.gifs) for user in phd.users) == sum(map(len, phd.last_videos.values())) == 850
    assert all(user.history for user in phd.users)


def test_columns_in_any_order_with_others_and_a_byte_order_mark(phd_csv: Callable[..., Path]) -> None:
    header = "\ufeffis_last,video_duration,note,user_id,duration,start,youtubeId"
    phd = read(phd_csv("TRUE,60.0,fun,1,3.0,5.0,aaaaaaaaaaa", header=header))
    assert phd.users[0].last.gifs == (Gif(5.0, 8.0),)


def test_what_is_no_csv_of_phd(phd_csv: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no column user_id, video_duration, is_last"):
        read(phd_csv("a,1,2", header="youtubeId,start,duration"))
    with pytest.raises(LabelError, match="cannot be read"):
        read(tmp_path / "missing.csv")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"\x00\xff\xfe" * 50)
    with pytest.raises(LabelError):
        read(film)


def test_units_of_five_seconds() -> None:
    assert [(u.start_s, u.end_s) for u in units_of(12.6)] == [(0, 5), (5, 10), (10, 12.6)]
    assert [(u.start_s, u.end_s) for u in units_of(12.4)] == [(0, 5), (5, 10)]
    assert [u.index for u in units_of(15)] == [0, 1, 2]


def test_a_unit_is_a_highlight_if_filled_by_half_or_at_the_middle() -> None:
    def labels(*gifs: tuple[float, float], units: int = 4) -> list[int]:
        return unit_labels([Gif(*gif) for gif in gifs], units=units).astype(int).tolist()

    assert labels((5.0, 10.0)) == [0, 1, 0, 0]
    assert labels((4.0, 7.0)) == [0, 1, 0, 0]  # its middle is at 5.5 s
    assert labels((3.5, 6.0)) == [1, 0, 0, 0]
    assert labels((2.4, 17.6)) == [1, 1, 1, 1]  # 2.6 s of the first and of the last
    assert labels((2.6, 17.4)) == [0, 1, 1, 0]
    assert labels((5.0, 6.3), (6.3, 7.6)) == [0, 1, 0, 0]
    assert labels((0.0, 1.3), (0.5, 1.0)) == [1, 0, 0, 0]
    assert labels((18.0, 40.0)) == [0, 0, 0, 1]  # what is beyond the end does not count
    assert labels((30.0, 40.0)) == [0, 0, 0, 0]
    assert labels() == [0, 0, 0, 0]
