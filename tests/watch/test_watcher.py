"""Watching a recording in progress against predicting from the finished one."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from kuaihl.errors import CommentLogError, KuaiHLError, NothingToPredictFromError, RecordingError
from kuaihl.predictor import Predictor
from kuaihl.records import Comment, Prediction, Utterance, segments_of
from kuaihl.watch.alerts import END_MARGIN, HISTORY, WARM_UP, Alarm
from kuaihl.watch.resume import ResumableSession
from kuaihl.watch.watcher import Watch, WatchedSegment
from tests.fixtures import videos
from tests.fixtures.growing_file import being_written, piped

ROOT = Path(__file__).parents[2]
DURATION_S = 72.0
AT_ONCE = {"until_idle_s": 0.3, "comment_wait_s": 0.0}
"""For what is finished."""
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg, as a recorder")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished recording in several containers, and its comment log."""
    folder = tmp_path_factory.mktemp("finished")
    videos.write_recording(folder / "a.mkv", duration_s=DURATION_S, fps=2, size=(160, 90), draw=drawn)
    rows = [{"time": t, "user": f"viewer{t % 5}", "text": f"what a play {t}"} for t in (*range(0, 70, 2), 90)]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def drawn(time_s: float) -> np.ndarray:
    """A picture that changes: a gradient that wanders and brightens."""
    x, y = np.meshgrid(np.arange(160), np.arange(90))
    return np.stack([(x + 3 * time_s) % 256, (y * 2 + time_s) % 256, np.full_like(x, 40 + time_s)], 2).astype(np.uint8)


@pytest.fixture(scope="module")
def undisturbed(predictor: Predictor, folder: Path) -> list[WatchedSegment]:
    return list(Watch(str(folder / "a.mkv"), comments=folder / "chat.jsonl", **AT_ONCE).run(predictor))


def assert_agrees(seen: list[WatchedSegment], whole: Prediction, *, tolerance: float) -> None:
    assert [(s.segment, s.start_s, s.end_s) for s in seen] == [
        (s.segment.index, s.segment.start_s, s.segment.end_s) for s in whole.segments
    ]
    assert [(s.comments, s.speech) for s in seen] == [(s.comments, s.speech) for s in whole.segments]
    assert seen[0].score is None
    assert [s.score for s in seen[1:]] == [s.next_score for s in seen[:-1]]
    np.testing.assert_allclose([s.next_score for s in seen], [*whole.curve[1:], whole.next_score], atol=tolerance)


def test_numbers_are_those_of_the_finished_recording(
    predictor: Predictor, folder: Path, undisturbed: list[WatchedSegment]
) -> None:
    assert_agrees(undisturbed, predictor.predict(folder / "a.mkv", folder / "chat.jsonl"), tolerance=1e-6)


def test_a_recording_and_a_log_that_grow(
    predictor: Predictor, folder: Path, undisturbed: list[WatchedSegment], tmp_path: Path
) -> None:
    out = tmp_path / "lines.jsonl"
    with (
        being_written(folder / "chat.jsonl", tmp_path / "chat.jsonl", pause_s=0.0, replace=False) as log,
        being_written(folder / "a.mkv", tmp_path / "a.mkv") as path,
    ):
        watch = Watch(str(path), comments=log, comment_wait_s=20.0, out=out, threshold=0.0)
        seen = list(watch.run(predictor))
    assert [(s.next_score, s.comments) for s in seen] == [(s.next_score, s.comments) for s in undisturbed]
    assert [json.loads(line) for line in out.read_text().splitlines()] == [asdict(s) for s in seen]
    assert [s.begins for s in seen] == [True, False, False]
    assert (watch.segments, watch.highlights, watch.ended) == (3, 1, "another file replaced it")


def test_standard_input(
    predictor: Predictor, folder: Path, undisturbed: list[WatchedSegment], monkeypatch: pytest.MonkeyPatch
) -> None:
    with piped(folder / "a.mkv") as descriptor, os.fdopen(os.dup(descriptor)) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        seen = list(Watch("-", comments=folder / "chat.jsonl", comment_wait_s=0.0).run(predictor))
    assert seen == undisturbed


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["flv", "pipe"])
def test_a_real_recorder(
    predictor: Predictor, folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg records at 20 times the real speed, into a file or through a pipe; a file is then moved away."""
    source, target, done = folder / "a.mkv", tmp_path / f"a.{suffix}", tmp_path / f"done.{suffix}"
    record = f"ffmpeg -v error -nostdin -readrate 20 -i {source} -c copy -flush_packets 1"
    if suffix == "pipe":
        command = f"{record} -f mpegts - | tee {done}"
    else:
        command = f"touch {target}; {record} -y {target}; ln {target} {done}; touch next; mv next {target}"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, cwd=tmp_path) as recorder:
        while not (done if suffix == "pipe" else target).exists():
            assert recorder.poll() is None
        with os.fdopen(os.dup(recorder.stdout.fileno())) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            recording = "-" if suffix == "pipe" else str(target)
            seen = list(
                Watch(recording, comments=folder / "chat.jsonl", until_idle_s=60.0, comment_wait_s=0.0).run(predictor)
            )
    assert_agrees(seen, predictor.predict(done, folder / "chat.jsonl"), tolerance=1e-6)


def test_after_a_sudden_death_it_goes_on_as_if_nothing_had_been(
    predictor: Predictor, folder: Path, undisturbed: list[WatchedSegment], tmp_path: Path
) -> None:
    out, state, path = tmp_path / "lines.jsonl", tmp_path / "watch.state", tmp_path / "a.mkv"
    log = folder / "chat.jsonl"
    data = (folder / "a.mkv").read_bytes()
    path.write_bytes(data[: len(data) * 4 // 5])  # up to about 58 s: one segment is complete
    command = [sys.executable, "-m", "kuaihl", "watch", str(path), "--comments", str(log), "--state", str(state)]
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert any(line.startswith("0:00:00") for line in process.stdout)
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == ""
    assert [json.loads(line)["segment"] for line in out.read_text().splitlines()] == [0]
    path.write_bytes(data)

    watch = Watch(str(path), comments=log, state=state, out=out, **AT_ONCE)
    assert list(watch.run(predictor)) == undisturbed[1:]
    assert [WatchedSegment.from_json(line) for line in out.read_text().splitlines()] == undisturbed
    assert list(Watch(str(path), comments=log, state=state, out=out, **AT_ONCE).run(predictor)) == []
    assert len(out.read_text().splitlines()) == 3
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("left", [0, 30])
def test_a_line_that_was_not_written_any_more_comes_after_a_restart(
    predictor: Predictor, folder: Path, undisturbed: list[WatchedSegment], tmp_path: Path, left: int
) -> None:
    """Killed when the state was noted, and all of its line but ``left`` bytes was still to be written."""
    options = {"comments": folder / "chat.jsonl", **AT_ONCE}
    files = {"out": tmp_path / "lines.jsonl", "state": tmp_path / "watch.state"}
    run = Watch(str(folder / "a.mkv"), **options, **files).run(predictor)
    assert [next(run), next(run)] == undisturbed[:2]
    run.close()
    whole = files["out"].read_bytes()
    files["out"].write_bytes(whole[: whole.index(b"\n") + 1 + left])
    assert list(Watch(str(folder / "a.mkv"), **options, **files).run(predictor)) == undisturbed[1:]
    assert [WatchedSegment.from_json(line) for line in files["out"].read_text().splitlines()] == undisturbed


def test_a_restored_session_is_the_session(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    given = [
        {
            "segment": segment,
            "speech": [Utterance(segment.start_s, segment.start_s + rng.random() * 20, "well played indeed")],
            "comments": [
                Comment(segment.start_s, "hi", rng.choice([None, *"abcdefgh"]), rng.choice(["message", "bot"]))
                for _ in range(rng.integers(12))
            ],
        }
        for segment in segments_of(25 * 30.0)
    ]
    one, other = ResumableSession(predictor), ResumableSession(predictor)
    for arguments in given[:-2]:
        one.feed(**arguments)
    tensors, values = one.state()
    other.restore(tensors, json.loads(json.dumps(values)))
    assert [other.feed(**arguments) for arguments in given[-2:]] == [one.feed(**arguments) for arguments in given[-2:]]
    with pytest.raises(KuaiHLError, match="another version"):
        ResumableSession(predictor).restore(dict([*tensors.items()][1:]), values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streamer": "ann"}, "its streamer was None, not ann"),
        ({"comments": None}, "its comments was"),
        ({"threshold": 0.5}, "its threshold was None, not 0.5"),
    ],
)
def test_a_state_of_another_watch_is_refused(
    predictor: Predictor, folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    options = {"comments": folder / "chat.jsonl", "state": tmp_path / "state", **AT_ONCE}
    next(Watch(str(folder / "a.mkv"), **options).run(predictor))
    with pytest.raises(KuaiHLError, match=message):
        Watch(str(folder / "a.mkv"), **(options | change))


def test_states_of_other_things_are_refused(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "a.mkv"
    state.write_text("no state")
    with pytest.raises(KuaiHLError, match="not the state of a watch"):
        Watch(str(folder / "a.mkv"), state=state)
    state.unlink()
    shutil.copy(folder / "a.mkv", path)
    next(Watch(str(path), state=state).run(predictor))
    data = path.read_bytes()
    for other in (data[:5000], videos.write_recording(tmp_path / "b.mkv", duration_s=90.0).read_bytes()):
        path.write_bytes(other)
        with pytest.raises(KuaiHLError, match="state of another recording"):
            Watch(str(path), state=state)


@pytest.mark.parametrize(("full", "limit"), [("state", 2000), ("out", 300)])
def test_a_full_disk_leaves_nothing_half_written(
    predictor: Predictor, folder: Path, tmp_path: Path, full: str, limit: int
) -> None:
    """A file size limit stands for a full disk: the state does not fit, of ``out`` only the first line does."""
    path = tmp_path / full
    watch = Watch(str(folder / "a.mkv"), **{full: path}, **AT_ONCE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(KuaiHLError, match=f"{full} cannot be written"):
            list(watch.run(predictor))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == (["out"] if full == "out" else [])
    if full == "out":
        assert [json.loads(line)["segment"] for line in path.read_text().splitlines()] == [0]


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RecordingError, match="Standard input is closed"):
        Watch("-")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"recording": "gone.mkv"}, RecordingError, "gone.mkv does not exist"),
        ({"recording": "."}, RecordingError, "is a folder"),
        ({"comments": Path("gone.log")}, CommentLogError, "start its recorder first"),
        ({"comments": Path(__file__)}, CommentLogError, "not a comment log of a known format"),
        ({"until_idle_s": 0.0}, KuaiHLError, "until_idle_s must be"),
        ({"comment_wait_s": -1.0}, KuaiHLError, "comment_wait_s must be"),
        ({"threshold": float("nan")}, KuaiHLError, "threshold must be"),
        ({"out": Path()}, KuaiHLError, "it is a folder"),
        ({"out": Path("gone/lines.jsonl")}, KuaiHLError, "its folder does not exist"),
        ({"recording": "-", "state": Path("state")}, KuaiHLError, "write standard input to a file"),
    ],
)
def test_wrong_parameters_are_errors(
    folder: Path, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Watch(**{"recording": str(folder / "a.mkv"), **options})


@pytest.fixture(scope="module")
def cheered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 12 min, and its log, in which many laugh at 693 s, 713 s and 793 s."""
    folder = tmp_path_factory.mktemp("cheered")
    videos.write_recording(folder / "a.mkv", duration_s=840.0, fps=1, audio=None)
    usual = [(t, f"viewer{t % 61}", "hello there") for t in range(0, 840, 3)]
    laughs = [(t, f"guest{k}", "LOL haha") for t in (693, 713, 793) for k in range(40)]
    rows = [{"time": t, "user": user, "text": text} for t, user, text in sorted(usual + laughs)]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_moment_is_raised_before_its_segment_has_ended(predictor: Predictor, cheered: Path, tmp_path: Path) -> None:
    """The recording is written to 694 s; the log has what shows the moment at 685 s, which is known at 700 s."""
    lines = (cheered / "chat.jsonl").read_text().splitlines(keepends=True)
    (log := tmp_path / "chat.jsonl").write_text("".join(line for line in lines if json.loads(line)["time"] <= 702))
    noise = np.random.default_rng(0).integers(256, size=(96, 128, 3), dtype=np.uint8)  # so that it is not read at once
    draw = lambda time_s: np.roll(noise, int(37 * time_s))  # noqa: E731
    videos.write_recording(path := tmp_path / "a.mkv", duration_s=694.0, fps=1, audio=None, draw=draw)
    raised: list[float] = []
    options = {"comments": log, "sources": ("comments",), "on_moment": lambda moment: raised.append(moment.peak_s)}
    watch = Watch(str(path), **options, **AT_ONCE)
    assert [s.moments for s in watch.run(predictor)] == [[]] * 23
    assert raised == [685.0]


def test_moments_go_on_after_a_restart(predictor: Predictor, cheered: Path, tmp_path: Path) -> None:
    options = {"comments": cheered / "chat.jsonl", "sources": ("comments",), **AT_ONCE}
    whole = list(Watch(str(cheered / "a.mkv"), **options).run(predictor))
    moments = [moment for segment in whole for moment in segment.moments]
    assert [m.peak_s for m in moments] == [685.0, 795.0]
    assert {m.strength for m in moments} == {"strong"}
    assert all("haha" in m.why and m.start_s < m.peak_s < m.end_s for m in moments)

    options |= {"out": tmp_path / "lines.jsonl", "state": tmp_path / "state"}
    run = Watch(str(cheered / "a.mkv"), **options).run(predictor)
    seen = [next(run) for _ in range(25)]
    run.close()
    again = Watch(str(cheered / "a.mkv"), **options)
    assert seen + list(again.run(predictor)) == whole
    assert again.moments == 1
    assert [WatchedSegment.from_json(line) for line in options["out"].read_text().splitlines()] == whole


def test_an_alarm_by_hand() -> None:
    alarm = Alarm(0.4)
    heard = [alarm.update(f) for f in (0.39, 0.41, 0.5, 0.39, 0.37, 0.405, 0.4)]
    assert [a.begins for a in heard] == [False, True, False, False, False, True, False]
    assert [a.highlight for a in heard] == [False, True, True, True, False, True, True]
    assert 0.37 < 0.4 * (1 - END_MARGIN) < 0.39


def test_the_alarm_knows_only_the_past() -> None:
    rng = np.random.default_rng(0)
    forecasts = np.clip(0.35 + np.cumsum(rng.normal(scale=0.01, size=600)), 0, 1).tolist()
    alarm, raised, inside = Alarm(), [], False
    for i, forecast in enumerate(forecasts):
        found = alarm.update(forecast)
        past = sorted(forecasts[max(i - HISTORY, 0) : i])
        if i < WARM_UP:
            assert (found.threshold, found.highlight) == (None, False)
            continue

        def quantile(share: float, past: list[float] = past) -> float:
            at = share * (len(past) - 1)
            low = int(at)
            return past[low] + (at - low) * (past[min(low + 1, len(past) - 1)] - past[low])

        assert found.threshold == pytest.approx(quantile(0.9))
        now = forecast >= quantile(0.75) if inside else forecast > quantile(0.9)
        assert found.highlight == now
        assert found.begins == (now and not inside)
        raised += [i] * found.begins
        inside = now
        alarm = Alarm(**alarm.state)  # which another process would go on from
    assert 2 <= len(raised) <= 60


def test_a_flat_forecast_raises_nothing() -> None:
    alarm = Alarm()
    assert not any(alarm.update(0.4).highlight for _ in range(50))


def test_choices_of_sources_and_kinds_are_those_of_predict(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    (log := tmp_path / "chat.txt").write_text("[0:00:01] Ann: hi\n[0:00:02] Nightbot: drops\n[0:00:33] Bo: !drops\n")
    choices = {"counted": ("message", "bot"), "sources": ("pictures", "comments")}
    watched = list(Watch(str(folder / "a.mkv"), comments=log, **choices, **AT_ONCE).run(predictor))
    assert [w.comments for w in watched] == [2, 0, 0]
    assert all(w.speech == "" for w in watched)
    assert_agrees(watched, predictor.predict(folder / "a.mkv", log, **choices), tolerance=0.01)


@pytest.mark.parametrize("sources", [("pictures", "speech", "comments"), ("pictures", "speech")])
def test_a_target_without_its_sources_is_refused(predictor: Predictor, folder: Path, sources: tuple[str, ...]) -> None:
    log = None if "comments" in sources else folder / "chat.jsonl"
    watch = Watch(str(folder / "a.mkv"), comments=log, sources=sources, target="participation", **AT_ONCE)
    with pytest.raises(NothingToPredictFromError, match="takes comments"):
        next(watch.run(predictor))


def test_with_an_unreadable_log_pictures_and_speech_go_on(
    predictor: Predictor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kuaihl.watch.log_follower.UNKNOWN_FORMAT_S", 0.0)
    (log := tmp_path / "nonsense.txt").write_text("words that are no log\n")
    recording, warnings = str(folder / "a.mkv"), []
    watched = list(Watch(recording, comments=log, warn=warnings.append, **AT_ONCE).run(predictor))
    assert len(warnings) == 1
    assert "nonsense.txt" in warnings[0]
    assert watched == list(Watch(recording, **AT_ONCE).run(predictor))
    with pytest.raises(NothingToPredictFromError, match="takes comments"):
        next(Watch(recording, comments=log, target="participation", **AT_ONCE).run(predictor))
