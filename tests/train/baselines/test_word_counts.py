"""Words of the comments before a segment, counted by hand, and what a ridge makes of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from train.baselines.tabular import activity_table, labels_of
from train.baselines.word_counts import Words
from train.data.chat_logs import ChatConfig, prepare_chat
from train.dataset import Room, Segments
from train.experiments import leaderboard
from train.experiments.standings import Task, open_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Chats in which many write after "PauseChamp", and few after "pausechamp", which takes as much writing."""
    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    rows = []
    for vod in range(12):
        emote = rng.random(60) < 0.5
        for t in range(60):
            share = 1.0 if t == 0 else 0.7 if emote[t - 1] else 0.3
            text = "oh PauseChamp PauseChamp" if emote[t] else "oh pausechamp pausechamp"
            writers = np.flatnonzero(rng.random(40) < share)
            rows += [(str(vod), "red", 30 * t + k % 30, int(who), text) for k, who in enumerate(writers)]
    columns = zip(*rows, strict=True)
    pq.write_table(
        pa.table(dict(zip(("vod", "channel", "time_s", "chatter", "text"), columns, strict=True))), folder / "c.parquet"
    )
    prepare_chat(ChatConfig(folder / "c.parquet", folder / "dataset", text=False))
    return open_task(folder / "dataset")


def test_words_stand_in_the_segments_before(task: Task) -> None:
    (room,) = rooms = task.test[:1]
    table = Words(task.segments, task.train).table(rooms).toarray()
    written = task.segments.column("comments", room)
    for row, t in zip(table, range(20, 60), strict=True):
        counts = []
        for k in (t - 1, t - 2, t - 3):
            comments, emote = len(written[k]), "PauseChamp" in written[k][0]
            # In order of the alphabet: PauseChamp, oh, pausechamp; a word counts once in a comment.
            counts.append(np.log1p([comments * emote, comments, comments * (not emote)]))
        np.testing.assert_allclose(row, [*counts[0], *np.mean(counts, axis=0)])


def test_only_the_commonest_words_are_kept(task: Task) -> None:
    table = Words(task.segments, task.train, most=1).table(task.test[:1]).toarray()
    assert table.shape == (40, 2)
    assert table.min() > 0  # "oh" stands in every comment


def test_a_ridge_on_words_finds_what_activity_does_not_tell(task: Task) -> None:
    def activity(rooms: list[Room]) -> np.ndarray:
        return activity_table(task.segments, rooms)

    true = labels_of(task.segments, task.test)
    without = kendalltau(leaderboard.ridge(task, activity), true).statistic
    words = Words(task.segments, task.train)
    assert kendalltau(leaderboard.ridge(task, activity, words=words), true).statistic > without + 0.2


def test_chats_without_a_word(tmp_path: Path) -> None:
    rows = {"vod": [], "channel": [], "time_s": [], "chatter": [], "text": []}
    for t in range(21):
        for who in range(20):
            for name, value in zip(rows, ("1", "red", 30 * t, who, " "), strict=True):
                rows[name].append(value)
    pq.write_table(pa.table(rows), tmp_path / "c.parquet")
    prepare_chat(ChatConfig(tmp_path / "c.parquet", tmp_path / "out", text=False))
    segments = Segments(tmp_path / "out")
    assert not Words(segments, segments.rooms)
