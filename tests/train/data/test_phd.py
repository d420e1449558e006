"""PHD: videos and captions by their ids, the dataset, and mean average precision by user."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kuaihl.errors import LabelError
from kuaihl.model.config import Target
from kuaihl.model.kuaihl import load
from kuaihl.predictor import DEFAULT_CHECKPOINT
from tests.fixtures.videos import write_recording
from tests.train.data.test_phd_csv import HEADER
from train.data.phd import CAPTION_SUFFIXES, VIDEO_SUFFIXES, PhdConfig, find_files, prepare_phd, score_users
from train.data.phd_csv import read_gifs
from train.dataset import Segments
from train.evaluate import evaluate, print_report
from train.init_model import extend

TEST, TRAIN, SHORT = "testtestte-", "_traintrain", "shortshort1"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PhdConfig:
    """CSVs and three videos, one of them too short and one with captions; others are missing."""
    folder = tmp_path_factory.mktemp("phd")
    videos = folder / "videos"
    videos.mkdir()
    write_recording(videos / f"{TEST}.mp4", duration_s=23, fps=5)
    write_recording(videos / f"Some title [{TRAIN}].mp4", duration_s=12, fps=5)
    write_recording(videos / f"{SHORT}.mp4", duration_s=3, fps=5)
    (videos / f"{TEST}.en.vtt").write_text("WEBVTT\n\n00:06.000 --> 00:08.000\nlook at that\n", encoding="utf-8")
    rows = {
        "training": [f"{TRAIN},5.5,4,1,12,True", f"{SHORT},0,2,1,3,False", f"{TEST},0,5,1,23,False"],
        "testing": [
            f"{TEST},5,5,7,23,True",
            "missing_one,1,2,7,60,False",
            f"{TEST},10.5,4,8,23,True",
            "missing_one,1,2,8,60,False",
            f"{TEST},10.5,4,9,23,True",
            "missing_one,1,2,10,60,True",
        ],
    }
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return PhdConfig(folder / "training.csv", folder / "testing.csv", videos, folder / "dataset")


@pytest.fixture(scope="module")
def dataset(config: PhdConfig) -> Path:
    prepare_phd(config)
    return config.out


def test_videos_are_units_with_pictures_and_captions_only(dataset: Path) -> None:
    segments = Segments(dataset)
    rooms = {room.name: room for room in segments.rooms}
    assert set(rooms) == {TEST, TRAIN}
    test, train = rooms[TEST], rooms[TRAIN]
    assert test.split == "test"
    assert train.split in {"train", "validation"}
    # 23 s: the rest of 3 s is a unit too; 12 s: the rest of 2 s is not.
    assert segments.column("start_s", test).tolist() == [0, 5, 10, 15, 20]
    assert segments.column("start_s", train).tolist() == [0, 5]
    # All test users' GIFs; the one that a training user made of the test video is not among them.
    assert segments.scalar("label", test.start, test.stop).tolist() == [0, 1, 1, 0, 0]
    assert segments.scalar("label", train.start, train.stop).tolist() == [0, 1]
    assert segments.column("speech", test).tolist() == ["", "look at that", "", "", ""]
    for room, has_captions in ((test, True), (train, False)):
        assert segments.scalar("has_pictures", room.start, room.stop).all()
        assert (segments.scalar("has_speech", room.start, room.stop) == has_captions).all()
        assert not segments.scalar("has_comments", room.start, room.stop).any()
    assert segments.info.target == "highlight"
    assert segments.info.ahead == 0


def test_an_interrupted_run_continues_and_bad_videos_are_skipped(
    dataset: Path, config: PhdConfig, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    stamps = {file: file.stat().st_mtime_ns for file in (dataset / "rooms").glob("*.parquet")}
    with caplog.at_level(logging.WARNING):
        prepare_phd(config)
    printed = capsys.readouterr().out
    assert "3 of 4 videos are in" in printed
    assert printed.endswith(f"2 videos are in {dataset}; 1 could not be read\n")
    assert f"{SHORT}.mp4" in caplog.text
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


def test_files_are_found_by_their_ids(tmp_path: Path) -> None:
    for name in (
        "-dash_score.mp4", "A title.. [with_brack1].webm", "-dash_score.fr.vtt", "-dash_score.en.vtt",
        "-dash_score.info.json", "half_loaded.mp4.part", "a title of its own.mp4", "[too_long_for_id].mp4",
    ):  # fmt: skip
        (tmp_path / name).touch()
    videos = {name: path.name for name, path in find_files(tmp_path, VIDEO_SUFFIXES).items()}
    assert videos == {"-dash_score": "-dash_score.mp4", "with_brack1": "A title.. [with_brack1].webm"}
    captions = find_files(tmp_path, CAPTION_SUFFIXES)
    assert {name: path.name for name, path in captions.items()} == {"-dash_score": "-dash_score.en.vtt"}
    with pytest.raises(LabelError, match="is not a folder"):
        find_files(tmp_path / "nowhere", VIDEO_SUFFIXES)


def precision_by_hand(rows: list[list[float]], duration_s: float, curve: np.ndarray) -> float:
    """Compute average precision frame by frame and threshold by threshold; ``rows`` are start and length of GIFs."""
    frames = range(round(duration_s * 30))
    truth = [any(round(max(a, 0) * 30) <= f < round((a + n) * 30) for a, n in rows) for f in frames]
    scores = [float(np.float32(curve[min(f // 150, len(curve) - 1)])) for f in frames]
    points = []  # recall and precision of all that scores as much or more
    for threshold in set(scores):
        selected = [is_cut for is_cut, score in zip(truth, scores, strict=True) if score >= threshold]
        points.append((sum(selected) / sum(truth), sum(selected) / len(selected)))
    levels = {recall for recall, _ in points if recall}
    return sum(max(p for r, p in points if r >= level) for level in levels) / len(levels)


def test_the_mean_precision_of_a_csv_with_every_oddity(tmp_path: Path) -> None:
    """Shared last videos, durations unknown, GIFs over either end, recordings longer or shorter than listed, ties."""
    rng = np.random.default_rng(1)
    curves = {f"last-{k:06d}": rng.integers(0, 4, units) / 7 for k, units in enumerate(rng.integers(3, 9, 12))}
    lines, expected = [HEADER], []
    for user in range(20):
        name = f"last-{user % 12:06d}"
        duration_s = -1.0 if user % 5 == 0 else 25.0 + user % 3
        known_s = 5.0 * len(curves[name]) if duration_s < 0 else duration_s
        cut = [[float(a), float(n)] for a, n in zip(rng.uniform(-2, 22, 3), rng.uniform(2.1, 9, 3), strict=True)]
        lines += [f"{name},{a},{n},{user},{duration_s},True" for a, n in cut]
        lines.append(f"{name},12,-3,{user},{duration_s},True")
        if user % 4:
            lines.append(f"past-000000,1,2,{user},60,False")
            if min(a for a, n in cut if a + n > 0) < known_s:
                expected.append(precision_by_hand(cut, known_s, curves[name]))
    (tmp_path / "testing.csv").write_text("\n".join(lines) + "\n")
    result = score_users(read_gifs(tmp_path / "testing.csv")[0], curves)
    assert result.precision.mean == pytest.approx(np.mean(expected))
    assert result.precision.users == len(expected) > 10
    assert result.precision.without_history == 5


def test_the_report_has_the_mean_average_precision(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = load(DEFAULT_CHECKPOINT)
    extend(model, replace(model.config, targets=(Target("highlight"),), streamers=())).save_pretrained(tmp_path)
    (tmp_path / "visual.safetensors").write_bytes((DEFAULT_CHECKPOINT / "visual.safetensors").read_bytes())
    report = evaluate(tmp_path, dataset)
    precision = report["phd"]["precision"]
    # Users 7 and 8 have a history, 9 has none, and the video of 10 is missing.
    assert (precision["users"], precision["without_history"], report["phd"]["without_video"]) == (2, 1, 1)
    assert report["phd"]["chance"] == pytest.approx((5 / 23 + 4 / 23) / 2)
    # By hand: each unit is one block, so ranks among units suffice; user 7 cut out unit 1, user 8 most of unit 2.
    model, _ = load(tmp_path)
    segments = Segments(dataset)
    (room,) = (room for room in segments.rooms if room.split == "test")
    curve = model.sweep(segments.features(room, streamer=0)).numpy()[1:]  # the score of a unit has seen it
    seconds = np.array([5, 5, 5, 5, 3])
    expected = [cut_s / seconds[curve >= curve[unit]].sum() for unit, cut_s in ((1, 5), (2, 4))]
    assert precision["mean"] == pytest.approx(np.mean(expected), rel=1e-6)
    print_report(report)
    assert f"mean average precision {precision['mean']:.4f}" in capsys.readouterr().out
