"""Words of the comments before a segment, counted by hand, and ridge regression on them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from train.baselines.ridge import predict_ridge
from train.baselines.tabular import activity_table
from train.baselines.task import Task, open_task
from train.baselines.word_counts import WordCounts
from train.data.chat_logs import ChatConfig, prepare_chat

COLUMNS = ("vod", "channel", "time_s", "chatter", "text")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Chats in which many write after "PauseChamp", and few after "pausechamp"."""
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
    pq.write_table(pa.table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))), folder / "c.parquet")
    prepare_chat(ChatConfig(logs=folder / "c.parquet", out=folder / "dataset", text=False))
    return open_task(folder / "dataset")


def test_counts_are_of_the_segments_before(task: Task) -> None:
    (room,) = rooms = task.test[:1]
    table = WordCounts(task).table(rooms).toarray()
    written = task.segments.column("comments", room)
    for row, t in zip(table, range(20, 60), strict=True):
        counts = []
        for k in (t - 1, t - 2, t - 3):
            comments, emote = len(written[k]), "PauseChamp" in written[k][0]
            # In alphabetical order: PauseChamp, oh, pausechamp. A word counts once per comment.
            counts.append(np.log1p([comments * emote, comments, comments * (not emote)]))
        np.testing.assert_allclose(row, [*counts[0], *np.mean(counts, axis=0)])
    most_common = WordCounts(task, max_words=1).table(rooms).toarray()
    assert most_common.shape == (40, 2)
    assert most_common.min() > 0  # "oh" is in every comment


def test_ridge_on_words_finds_what_activity_lacks(task: Task) -> None:
    true = task.labels(task.test)
    activity, words = (
        kendalltau(predict_ridge(task, lambda rooms: activity_table(task, rooms), words=words), true).statistic
        for words in (None, WordCounts(task))
    )
    assert words > activity + 0.2


def test_chats_without_words(tmp_path: Path) -> None:
    rows = [(vod, "red", 30 * t, who, " ") for vod in ("1", "2", "3") for t in range(21) for who in range(20)]
    pq.write_table(pa.table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))), tmp_path / "c.parquet")
    prepare_chat(ChatConfig(logs=tmp_path / "c.parquet", out=tmp_path / "out", text=False))
    assert not WordCounts(open_task(tmp_path / "out"))
