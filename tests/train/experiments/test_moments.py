"""The benchmark of clipped moments: metrics by hand and by slow loops, and the command on made-up streams."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from kuaihl.predictor import DEFAULT_CHECKPOINT
from kuaihl.records import Comment
from train.data.chat_logs import ChatConfig, find_logs, prepare_chat
from train.dataset import Segments
from train.experiments.moments import (
    METRICS,
    Curve,
    chat_curves,
    compare,
    hits,
    keep_for_scoring,
    main,
    moments,
    rate_z,
    read_events,
    read_heads,
    window_auc,
)
from train.scoring import score

STREAMS, STREAM_S = 10, 2700


def write_streams(folder: Path) -> tuple[Path, Path]:
    """Write ten streams, in each of which 30 of 40 chatters laugh at one moment and somebody clips it."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[object]] = {name: [] for name in ("vod", "channel", "time_s", "chatter", "text")}

    def write(vod: int, time_s: float, chatter: int, text: str) -> None:
        for name, value in zip(columns, (str(vod), 0, int(time_s), chatter, text), strict=True):
            columns[name].append(value)

    events = ["kind,vod,posted_s,moment_from_s,moment_to_s", "ask,95,400,360,400", "ask,no such stream,900,860,900"]
    for vod in range(95, 95 + STREAMS):
        for time_s in np.sort(rng.uniform(0, STREAM_S, 1500)):
            write(vod, time_s, int(rng.integers(40)), "well played")
        moment_s = int(rng.integers(800, 2400))
        for chatter in range(30):
            write(vod, moment_s + chatter // 3, chatter, "LOL")
        for chatter in range(40):  # a louder one that must not count
            for k in range(3):
                write(vod, 1500 + k, chatter, "!clip it" if k else "CLIP that LOL")
        events += [f"link,{vod},{moment_s + 100},{moment_s - 20},{moment_s + 80}"]
        events += [f"ask,{vod},{moment_s + 20},{moment_s - 20},{moment_s + 20}"] * (vod % 2)
    table = pa.table(columns)
    pq.write_table(table.take(rng.permutation(len(table))), folder / "chat.parquet")
    (folder / "events.csv").write_text("\n".join(events) + "\n", encoding="utf-8")
    return folder / "chat.parquet", folder / "events.csv"


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_streams(tmp_path_factory.mktemp("streams"))


def test_window_auc_by_hand() -> None:
    values = np.zeros(240)
    values[100:104] = [1, 3, 2, 0]
    # 40 s windows: of those from -60 to +60 bins, 114 lie beside it, and all begin after bin 60 - so 54 fewer before.
    event = np.array([1000.0, 1040.0])
    others = [b for b in range(60, 161) if abs(b - 100) >= 4]
    assert window_auc(Curve(values), event) == 1.0
    values[150] = 3.0  # ties with the four windows that hold it
    values[[70, 75]] = 9.0  # eight windows hold one of these
    holds = [any(b <= k < b + 4 for k in (70, 75)) for b in others]
    ties = [b <= 150 < b + 4 for b in others]
    assert (sum(holds), sum(ties)) == (8, 4)
    expected = (len(others) - 8 - 4 + 4 / 2) / len(others)
    assert window_auc(Curve(values), event) == pytest.approx(expected)


@pytest.mark.parametrize("bin_s", [10.0, 30.0])
def test_window_auc_by_a_slow_loop(bin_s: float) -> None:
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=int(4000 / bin_s)), 1)
    values[rng.random(len(values)) < 0.1] = np.nan
    end_s = len(values) * bin_s

    def best(start_s: float, length_s: float) -> float:
        """The best value at the middle of a 10 s bin from ``start_s`` on."""
        middles = [m for m in np.arange(5, end_s, 10) if start_s <= m < start_s + length_s]
        return max(np.nan_to_num(values[int(m // bin_s)], nan=-np.inf) for m in middles)

    for start_s, length_s in ((1500.0, 40), (1503.0, 40), (1507.0, 100), (700.0, 100), (3890.0, 100)):
        first_s = 10 * np.ceil((start_s - 5) / 10)
        starts = [s for s in np.arange(600, end_s - length_s + 1, 10) if length_s <= abs(s - first_s) <= 600]
        ours, theirs = best(first_s, length_s), np.array([best(s, length_s) for s in starts])
        expected = np.mean(theirs < ours) + np.mean(theirs == ours) / 2
        window = np.array([start_s, start_s + length_s])
        assert window_auc(Curve(values, bin_s), window) == pytest.approx(expected)


def test_window_auc_is_not_defined_beyond_the_curve() -> None:
    for start_s in (-5.0, 970.0, 2000.0):
        assert np.isnan(window_auc(Curve(np.zeros(100)), np.array([start_s, start_s + 40])))
    assert np.isnan(window_auc(Curve(np.zeros(64)), np.array([600.0, 640.0])))  # there is no other window


def test_hits_by_hand() -> None:
    values = np.zeros(400)
    values[30] = 100.0  # greetings
    values[[100, 105, 200]] = [9.0, 8.0, 7.0]  # bin 105 is 50 s after a better one
    values[range(220, 231, 10)] = [6.0, 5.0]
    values[300] = 4.0
    values[320] = 3.0
    # The five best clips begin 20 s before bins 100, 200, 220, 230 and 300: [985, 1045), ..., [2985, 3045).
    windows = np.array([[945, 985], [946, 986], [1044, 1084], [1045, 1085], [3000, 3040], [3200, 3240], [300, 340]])
    expected = [[False, False], [True, True], [True, True], [False, False], [True, True], [False, True], [False, False]]
    np.testing.assert_array_equal(hits(Curve(values), windows), expected)


def test_clips_of_segments_lie_around_their_middle() -> None:
    values = np.full(100, np.nan)
    values[[40, 41, 50]] = [3.0, 2.0, 1.0]  # 41 begins within 60 s of 40
    windows = np.array([[1185, 1195], [1195, 1196], [1254, 1260], [1255, 1260], [1494, 1496]])
    np.testing.assert_array_equal(hits(Curve(values, 30.0), windows)[:, 0], [False, True, True, False, True])


def test_rate_z_by_a_slow_loop() -> None:
    rate = np.random.default_rng(0).poisson(5.0, size=150).astype(float)
    rate[80:] = 4.0
    pasts = [rate[max(0, i - 60) : i] for i in range(1, 150)]
    expected = [(now - past.mean()) / (past.std() or 1.0) for now, past in zip(rate[1:], pasts, strict=True)]
    np.testing.assert_allclose(rate_z(rate), [rate[0], *expected])


def test_chat_curves_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    times_s = np.sort(rng.uniform(0, 1500, 900))
    comments = [Comment(float(t), "hello", f"u{rng.integers(35)}") for t in times_s]
    curves = chat_curves(comments)
    where = times_s // 10
    near = [np.flatnonzero(abs(where - i) <= 1) for i in range(150)]
    np.testing.assert_array_equal(curves["message_rate"].score, [len(k) for k in near])
    np.testing.assert_array_equal(curves["distinct_chatters"].score, [len({comments[j].user for j in k}) for k in near])
    share = curves["participation_measured"]
    assert share.bin_s == 30
    for t in (3, 40):
        writers, present = (
            {c.user for c in comments if 30 * (t - back) <= c.time_s < 30 * (t + 1)} for back in (0, 19)
        )
        assert share.score[t] == len(writers) / len(present)


def test_what_is_left_out() -> None:
    texts = ["hello", "CLIP IT", "eclipse", "!drops", "! yes", "what!"]
    assert [c.text for c in keep_for_scoring([Comment(0, t) for t in texts])] == ["hello", "what!"]


def test_comparison_is_over_events_and_by_stream() -> None:
    good = [np.array([[0.8, 1, 1], [0.6, 1, 1], [np.nan, 0, 1]]), np.array([[1.0, 0, 1]])]
    bad = [matrix - 0.25 for matrix in good]
    methods = compare({"reaction": good, "random": bad})
    assert [methods["reaction"][m] for m in METRICS] == pytest.approx([0.8, 0.5, 1.0])
    assert methods["random"]["reaction_minus_this"] == pytest.approx(dict.fromkeys(METRICS, 0.25))
    for low, high in methods["random"]["reaction_minus_this_interval"].values():
        assert (low, high) == pytest.approx((0.25, 0.25))  # paired: equal in every draw
    # With two streams a draw holds both, or one of them twice.
    assert methods["reaction"]["interval"]["hit@5"] == pytest.approx([0.0, 2 / 3])


def test_the_reaction_wins_where_chatters_react(streams: tuple[Path, Path], tmp_path: Path) -> None:
    chat, events = streams
    main(chat, events, split="all", out=tmp_path / "deep" / "report.json")
    report = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert (report["split"], report["streams"], report["events"]) == ("all", 10, 15)
    methods = report["methods"]
    assert set(methods) == {
        *("random", "message_rate", "rate_z", "participation_measured", "distinct_chatters", "reaction"),
        "reaction_live",
    }
    assert methods["reaction"]["window_auc"] > 0.95
    assert methods["reaction"]["hit@5"] == methods["reaction"]["hit@10"] == 1.0
    assert abs(methods["random"]["window_auc"] - 0.5) < 0.1
    assert methods["random"]["reaction_minus_this_interval"]["hit@5"][0] > 0


def test_splits_are_those_of_participation(streams: tuple[Path, Path]) -> None:
    # 95 and 96 to 104: of ten streams in order of date seven train, one validates, two test.
    counts = {split: moments(*streams, split=split)["streams"] for split in ("train", "validation", "test")}
    assert counts == {"train": 7, "validation": 1, "test": 2}


def test_heads_of_a_checkpoint(streams: tuple[Path, Path], tmp_path: Path) -> None:
    chat, events = streams
    prepare_chat(ChatConfig(logs=chat, out=tmp_path / "data", text=False))
    heads = read_heads(DEFAULT_CHECKPOINT, tmp_path / "data")
    assert heads("no such stream") is None
    curves = heads("97")
    assert set(curves) == {"head_lvtr", "head_lvtr_earlier", "head_participation", "head_participation_earlier"}
    now, earlier = (curves[f"head_participation{name}"].score for name in ("", "_earlier"))
    np.testing.assert_array_equal(now[1:], earlier[:-1])
    assert np.isnan(now[0])
    assert len(now) == len(earlier) == STREAM_S / 30
    segments, (model, _) = Segments(tmp_path / "data"), load(DEFAULT_CHECKPOINT)
    [room] = [room for room in segments.rooms if room.name == "97"]
    valid = segments.scalar("valid", room.start, room.stop)
    np.testing.assert_array_equal(now[valid], score(model, segments, [room]).predicted)
    (tmp_path / "data" / "rooms" / "98.parquet").unlink()
    report = moments(chat, events, split="all", dataset=tmp_path / "data", checkpoint=DEFAULT_CHECKPOINT)
    assert (report["streams"], report["streams_not_in_dataset"]) == (9, 1)
    assert len(report["methods"]) == 11
    with pytest.raises(LabelError, match="--dataset"):
        moments(chat, events, checkpoint=DEFAULT_CHECKPOINT)


def test_events_that_cannot_be_read(streams: tuple[Path, Path], tmp_path: Path) -> None:
    chat, events = streams
    assert {name: len(windows) for name, windows in read_events(events).items()}["95"] == 3
    file = tmp_path / "events.csv"
    for text, match in (
        ("vod,moment_from_s\n1,2\n", "moment_to_s"),
        ("vod,moment_from_s,moment_to_s\n1,700,740\n1,900,900\n", "row 3"),
        ("vod,moment_from_s,moment_to_s\n95,700,\n", "row 2"),
        ("vod,moment_from_s,moment_to_s\n95,soon,900\n", "moment_from_s"),
    ):
        file.write_text(text)
        with pytest.raises(LabelError, match=match):
            read_events(file)
    with pytest.raises(LabelError):
        read_events(tmp_path / "nowhere.csv")
    file.write_text("vod,moment_from_s,moment_to_s\nsomewhere else,700,740\n")
    with pytest.raises(LabelError, match="all"):
        moments(chat, file, split="all")
    assert [log.name for log in find_logs(chat)] == [str(k) for k in range(95, 105)]
