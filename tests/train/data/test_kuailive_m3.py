"""KuaiLive-M3: labels and metrics of a made-up release equal brute force; a model trains and is scored on it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from train.data.kuailive import KuaiLiveConfig
from train.data.kuailive_m3 import LABELS_FILE, M3Config
from train.data.labels import LabelOptions
from train.data.m3_metrics import score_predictions
from train.dataset import Segments
from train.evaluate import evaluate_m3
from train.fit import FitConfig, fit

START_MS = 1_750_000_000_000
ROOMS, LENGTH = 20, 12


def text(ms: np.ndarray) -> pd.Series:
    return pd.Series(pd.to_datetime(ms, unit="ms")).dt.strftime("%Y-%m-%d %H:%M:%S.%f").str[:-3]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("release"), np.random.default_rng(0)
    live = folder / "live"
    (live / "live_emb_128_ts").mkdir(parents=True)
    ids = 100 + np.arange(ROOMS)
    starts = START_MS + 3_600_000 * rng.permutation(ROOMS)
    begin = pd.Series(pd.to_datetime(starts, unit="ms")).astype("datetime64[ms]")
    pd.DataFrame({"live_id": ids, "author_id": ids % 3, "start_timestamp": begin}).to_parquet(
        live / "live_room_meta.parquet"
    )
    room = rng.integers(ROOMS, size=900)
    start = starts[room] + rng.integers(0, 250_000, 900)
    length = rng.integers(-3_000, 200_000, 900)
    end = text(start + length).where(rng.random(900) > 0.05)
    sessions = {"user_id": rng.integers(99, size=900), "live_id": ids[room], "live_play_start_timestamp": text(start)}
    pd.DataFrame(sessions | {"live_play_end_timestamp": end, "play_duration": length.clip(0)}).to_csv(
        live / "live_interaction.csv", index=False
    )
    room = rng.integers(ROOMS, size=600)
    time = starts[room] + rng.integers(-20_000, 380_000, 600)
    pd.DataFrame({"live_stream_id": ids[room], "user_id": 1, "content": 'a "b", c', "comment_ts": time}).to_csv(
        live / "live_comment.csv", index=False
    )
    pd.DataFrame({"user_id": 1, "live_id": ids[room], "like_timestamp": text(time + 500)}).to_csv(
        live / "live_like.csv", index=False
    )
    rows = [
        (str(ids[r]), f"{ids[r]}_{k}", rng.normal(size=128), starts[r] + 30_000 * (k + 1))
        for r in range(ROOMS)
        for k in range(LENGTH)
    ]
    order = rng.permutation(len(rows))
    for part in range(2):
        columns = list(zip(*(rows[k] for k in order[part::2]), strict=True))
        names = ("live_stream_id", "segment_id", "feature_128", "timestamp")
        table = pa.table({n: pa.array([*map(_plain, c)]) for n, c in zip(names, columns, strict=True)})
        pq.write_table(table, live / "live_emb_128_ts" / f"live_emb_128_ts_part{part:02}.parquet")
    return folder


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, (np.ndarray, np.integer)) else value


@pytest.fixture(scope="module")
def dataset(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("m3") / "dataset"
    M3Config(folder=release, out=out, exact_start=True).run()
    return out


def test_labels_equal_brute_force(release: Path, dataset: Path) -> None:
    labels = pd.read_parquet(dataset / LABELS_FILE)
    sessions = pd.read_csv(release / "live/live_interaction.csv")
    first, last = (
        pd.to_datetime(sessions[f"live_play_{name}_timestamp"]).astype("datetime64[ms]") for name in ("start", "end")
    )
    sessions = sessions.assign(first=first, last=last)[last >= first]
    likes = pd.read_csv(release / "live/live_like.csv", parse_dates=["like_timestamp"])
    comments = pd.read_csv(release / "live/live_comment.csv")
    when = pd.to_datetime(comments["comment_ts"], unit="ms")
    assert len(labels) == ROOMS * LENGTH
    for row in labels.itertuples():
        start, end = (pd.Timestamp(round(s * 1000), unit="ms") for s in (row.seg_start_ts, row.seg_end_ts))
        own = sessions[sessions["live_id"] == row.live_stream_id]
        entered = own[own["first"] <= start]
        liked = likes[likes["live_id"] == row.live_stream_id]["like_timestamp"]
        written = when[comments["live_stream_id"] == row.live_stream_id]
        counts = [int(((times >= start) & (times < end)).sum()) for times in (liked, written)]
        assert [row.like_cnt_seg, row.comment_cnt_seg, row.viewers_entered] == [*counts, len(entered)]
        assert row.lvtr == pytest.approx((entered["last"] >= end).sum() / max(len(entered), 1))
        assert row.ed == pytest.approx((counts[0] + 2 * counts[1]) / max(len(entered), 1))
    order = labels.groupby("live_stream_id").agg({"seg_start_ts": "min", "split": "first"}).sort_values("seg_start_ts")
    assert [*order["split"]] == ["train"] * 14 + ["val"] * 2 + ["test"] * 4


def test_metrics_equal_brute_force(dataset: Path, tmp_path: Path) -> None:
    labels = pd.read_parquet(dataset / LABELS_FILE)
    labels["mine"] = np.random.default_rng(1).random(len(labels))
    labels.sample(frac=1, random_state=0).to_parquet(tmp_path / "predictions.parquet")
    report = score_predictions(dataset / LABELS_FILE, tmp_path / "predictions.parquet", "mine")
    taus = []
    for _, room in labels[labels["split"] == "test"].groupby("live_stream_id"):
        true, mine = (room[name].to_numpy(np.float32)[1:] for name in ("hl_score", "mine"))
        pairs = [(mine[i] - mine[j], true[i] - true[j]) for j in range(len(true)) for i in range(j)]
        far = np.array([pair for pair in pairs if abs(pair[1]) > 0.2])
        taus.append(kendalltau(*far.T).statistic)
    metrics = report["metrics_of_mine_on_test"]
    assert report["rooms"] == 4
    assert metrics["Kendall_tau_d0.2"] == pytest.approx(np.mean(taus), abs=1e-6)
    with pytest.raises(LabelError):
        score_predictions(dataset / LABELS_FILE, tmp_path / "predictions.parquet", "absent")


def test_model_trains_and_is_scored(dataset: Path, tmp_path: Path) -> None:
    checkpoint = fit(FitConfig(dataset=(dataset,), out=tmp_path / "run", preset="debug", epochs=1, batch_size=32))
    report = evaluate_m3(checkpoint, dataset)
    assert report["rooms"] == 4
    assert all(np.isfinite(value) for value in report["metrics_of_kuaihl_on_test"].values())
    json.dumps(report, allow_nan=False)


def test_lvtr_of_kuailive_is_the_share_of_long_views(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    folder = tmp_path / "release"
    folder.mkdir()
    room = pd.DataFrame({"live_id": range(4), "streamer_id": 7, "start_timestamp": START_MS + np.arange(4) * 10**7})
    room.assign(end_timestamp=room["start_timestamp"] + 300_000).to_csv(folder / "room.csv", index=False)
    clicks = pd.DataFrame({"user_id": 1, "live_id": rng.integers(4, size=400), "streamer_id": 7})
    clicks["timestamp"] = START_MS + clicks["live_id"] * 10**7 + rng.integers(300_000, size=400)
    clicks.assign(watch_live_time=rng.integers(120_000, size=400)).to_csv(folder / "click.csv", index=False)
    for name in ("comment", "like", "gift"):
        clicks.assign(gift_price=3).to_csv(folder / f"{name}.csv", index=False)
    config = KuaiLiveConfig(folder=folder, out=tmp_path / "ds", options=LabelOptions(min_impressions=5))
    config.run()
    clicks = pd.read_csv(folder / "click.csv")
    segments = Segments(tmp_path / "ds")
    for stored in segments.rooms:
        own = clicks[clicks["live_id"] == int(stored.name)]
        index = (own["timestamp"] - START_MS - int(stored.name) * 10**7) // 30_000
        for k, label in enumerate(segments.column("label", stored)):
            views = own["watch_live_time"][index == k]
            if len(views) >= 5:
                assert label == pytest.approx((views >= 60_000).mean())
            else:
                assert np.isnan(label)
    (folder / "gift.csv").write_text("user_id,live_id\n1,1\n", encoding="utf-8")
    with pytest.raises(LabelError, match="timestamp"):
        KuaiLiveConfig(folder=folder, out=tmp_path / "other").run()
