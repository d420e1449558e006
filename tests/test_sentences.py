"""What single comments add, on made-up chat whose next label is told by one comment among others and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kuaihl.activity import CHAT_COLUMNS, SPEECH_COLUMNS
from kuaihl.errors import LabelError
from tests.small_dataset import CHAT_INFO, write_room
from train.baselines import ridge
from train.dataset import Segments, write_info
from train.leaderboard import open_task
from train.past import whole_activity_table
from train.sentences import MOST, RECENT, _chosen, _places, main, study

TELLS, OTHERS = "that goal was magnificent", ("hello there", "what is this song", "good night all", "i like soup")
INFO = replace(CHAT_INFO, text_encoder="sentence-transformers/all-MiniLM-L6-v2")


def write_told(folder: Path, *, told: bool = True, segments: int = 120) -> None:
    """Write chats in which a segment's label is high where somebody praised the goal in the segment before."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    write_info(folder, INFO)
    for day, name in enumerate(["train-0", "train-1", "train-2", "train-3", "validation-0", "test-0", "test-1"]):
        praised = rng.random(segments) < 0.4
        comments = [[*rng.choice(OTHERS, 3), *([TELLS] * bool(now and told))] for now in praised]
        for some in comments:
            rng.shuffle(some)
        values = {
            "pictures": None,
            "label": np.r_[0.3, np.where(praised[:-1], 0.6, 0.2)] + rng.normal(scale=0.02, size=segments),
            "activity": rng.normal(size=(segments, len(CHAT_COLUMNS) + len(SPEECH_COLUMNS))),
            "comments": comments,
            "day": np.full(segments, day),
        }
        write_room(folder, INFO, name, values)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told") / "chat"
    write_told(folder)
    return folder


def test_comments_that_tell_are_read_in_every_way(
    told: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(told, tmp_path / "report.json", streams=7)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["streams"] == [4, 1, 2]
    assert report["comments"] == 1 + len(OTHERS)
    first, *rows = report["rows"]
    task = open_task(told)
    predicted = ridge(task, lambda rooms: whole_activity_table(task.segments, rooms))
    assert first["pooled"] == pytest.approx(0, abs=0.15)
    assert len(predicted) == report["segments"] == 2 * 119
    assert len(rows) == 1 + 3 * 2  # words, and three layers, each pooled and as tokens
    for row in rows:
        assert row["pooled"] > 0.25  # a label that takes two values can be ordered no better than about 0.5
        assert 0.2 < row["interval"][0] <= row["more"] <= row["interval"][1]
    printed = capsys.readouterr().out
    for row in rows:
        assert f"{row['name']} " in printed


def test_nothing_is_added_where_comments_tell_nothing(tmp_path: Path) -> None:
    write_told(tmp_path / "chat", told=False)
    first, _, *rows = study(tmp_path / "chat", streams=7)["rows"]
    for row in rows:
        assert row["interval"][0] < 0.1
        assert abs(row["pooled"] - first["pooled"]) < 0.2


def test_a_row_reads_the_segments_before_it_alone(told: Path) -> None:
    segments = Segments(told)
    room = segments.rooms[0]
    chosen = _chosen(segments, room)
    numbers = {text: k for k, text in enumerate([TELLS, *OTHERS])}
    places = _places(segments, room, chosen, numbers)
    assert places.shape == (room.stop - room.start - 1, RECENT, MOST)
    for row, index in zip(places, range(1, room.stop - room.start), strict=True):
        for lag, found in enumerate(row, start=1):
            expected = [numbers[text] for text in chosen[index - lag]] if index >= lag else []
            assert found[found >= 0].tolist() == expected


def test_a_dataset_without_comments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    write_info(tmp_path / "chat", INFO)
    for name in ("train-0", "validation-0", "test-0"):
        write_room(tmp_path / "chat", INFO, name, {"pictures": None, "label": np.linspace(0.1, 0.9, 40)})
    with pytest.raises(LabelError, match="holds no comments"):
        study(tmp_path / "chat", streams=3)
