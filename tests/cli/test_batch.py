import csv
import dataclasses
import gc
import importlib
import json
import shutil
import unicodedata
from pathlib import Path

import pytest

from kuaihl.cli.discovery import find_log, find_recordings, name_results, sought_text
from kuaihl.cli.summary import Row, table_text
from kuaihl.errors import CheckpointError, CommentLogError, KuaiHLError
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from kuaihl.records import Prediction
from tests.fixtures.predictions import made_up
from tests.fixtures.stub_predictor import NAMES, stand_in
from tests.fixtures.videos import write_recording

cli = importlib.import_module("kuaihl.cli.main")
LOG = "time,user,text\n1,Ann,hi\n2,Bo,hello\n"


def rows_of(folder):
    with Path(folder, "kuaihl-summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def put(folder, *names, text=""):
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("My stream.json", True),
        ("My stream.live_chat.json", True),
        ("My stream.xml", True),
        ("my stream_chat.CSV.gz", True),
        ("My stream [chat].ass", False),
        ("My stream-comments.txt", True),
        ("My stream.info.json", False),
        ("My stream.en.vtt", False),
        ("My stream 2.json", False),
        (".My stream.json", False),
        ("My stream.live_chat.json.part", False),
        ("chat.json", False),
    ],
)
def test_a_log_is_known_by_its_name(tmp_path, name, counts):
    put(tmp_path, "My stream.mp4", "My stream 2.mp4")
    put(tmp_path, name, text=LOG)
    assert find_log(tmp_path / "My stream.mp4") == (tmp_path / name if counts else None)


@pytest.mark.parametrize(
    ("recording", "name"),
    [
        ("Talk [x1].mp4", "Talk [x1].rechat.json"),
        ("Talk.mp4.part", "Talk.live_chat.json"),
        ("Talk.f140.m4a", "Talk.live_chat.json"),
        ("Talk.f299-drc.mp4.part", "Talk.live_chat.json"),
        ("Talk.fhls-720.mp4", "Talk.rechat.json"),
        ("v17-video.mp4", "v17-chat.json"),
        ("v17-video.mp4", "v17-live-chat.json"),
        ("Talk.ts", "Talk.xml"),
    ],
)
def test_logs_are_found_by_the_names_that_downloaders_give(tmp_path, recording, name):
    put(tmp_path, recording, "other.mp4", "v1-video.mp4")
    put(tmp_path, name, "v1-chat.json", text=LOG)
    assert find_log(tmp_path / recording) == tmp_path / name
    assert find_log(tmp_path / "other.mp4") is None
    assert Path(name).name.split(".")[0].removesuffix("-chat").removesuffix("-live") in sought_text(Path(recording))


def test_a_log_with_the_whole_name_comes_first(tmp_path):
    put(tmp_path, "a-video.mp4", "a.mp4")
    put(tmp_path, "a.json", "a-video.json", text=LOG)
    assert find_log(tmp_path / "a-video.mp4") == tmp_path / "a-video.json"
    assert find_log(tmp_path / "a.mp4") == tmp_path / "a.json"


def test_a_log_for_the_only_recording_in_a_folder_need_not_have_its_name(tmp_path):
    put(tmp_path, "recording.mp4", ".hidden.mp4")
    put(tmp_path, "comments.json", text=LOG)
    assert find_log(tmp_path / "recording.mp4") == tmp_path / "comments.json"
    put(tmp_path, "recording.csv", text=LOG)
    assert find_log(tmp_path / "recording.mp4") == tmp_path / "recording.csv"


def test_other_files_are_left_out_and_logs_with_more_information_come_first(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    put(tmp_path, "a.json", text='{"title": "no chat"}')
    put(tmp_path, "a.txt", text="notes to myself")
    assert find_log(tmp_path / "a.mp4") is None
    put(tmp_path, "a.txt", "a.xml", text=LOG)
    assert find_log(tmp_path / "a.mp4") == tmp_path / "a.xml"
    put(tmp_path, "a.chat.jsonl", text=LOG)
    with pytest.raises(CommentLogError, match=r"a\.chat\.jsonl and a\.xml"):
        find_log(tmp_path / "a.mp4")


def test_logs_may_lie_in_a_folder_of_their_own(tmp_path):
    put(tmp_path, "vods/a.mp4", "vods/b.mp4")
    put(tmp_path, "chats/a.json", "chats/chat.json", text=LOG)
    assert find_log(tmp_path / "vods/a.mp4", tmp_path / "chats") == tmp_path / "chats" / "a.json"
    assert find_log(tmp_path / "vods/b.mp4", tmp_path / "chats") is None


def test_a_folder_stands_for_its_recordings(tmp_path):
    put(tmp_path, "b.MKV", "a.mp4", "c.ts", "a.json", ".hidden.mp4", "deeper/d.mp4", "a-kuaihl/prediction.json")
    found = find_recordings([tmp_path / "c.ts", tmp_path, tmp_path / "a-kuaihl", tmp_path / "deeper"])
    assert [path.name for path in found] == ["c.ts", "a.mp4", "b.MKV", "d.mp4"]
    put(tmp_path, "empty/notes.txt")
    for wrong, message in [
        ("empty", "holds no recordings"),
        ("gone", "does not exist"),
        ("a-kuaihl", "not of results"),
    ]:
        with pytest.raises(KuaiHLError, match=message):
            find_recordings([tmp_path / wrong])


def test_recordings_with_one_name_get_different_folders():
    vods = [
        Path(name) for name in ("/x/a.mp4", "/x/a.mkv", "/x/b.mp4", "/y/B.mp4", "/x/c.mp4", "/z/x/d.mp4", "/x/d.mp4")
    ]
    assert [*name_results(vods, {}).values()] == [
        "a.mp4-kuaihl", "a.mkv-kuaihl", "x-b-kuaihl", "y-B-kuaihl", "c-kuaihl", "d-1-kuaihl", "d-2-kuaihl",
    ]  # fmt: skip
    named = name_results([Path("/y/a.mp4"), Path("/x/a.mp4")], {Path("/x/a.mp4"): "a-kuaihl"})
    assert named == {Path("/x/a.mp4"): "a-kuaihl", Path("/y/a.mp4"): "y-a-kuaihl"}


@pytest.fixture
def predictor(monkeypatch, tmp_path, short_recording):
    """A stand-in, and two good recordings with a bad one between them, in vods."""
    standing = stand_in(monkeypatch, tmp_path, recording=short_recording)
    standing.outcome = lambda recording: dataclasses.replace(made_up(), recording=recording.info)
    Path("vods").mkdir()
    shutil.copy(short_recording, "vods/one.mp4")
    Path("vods/two.mp4").symlink_to(short_recording)  # a link counts by its own name
    put("vods", "rotten.mp4", text="rotten")
    put("vods", "two.json", text=LOG)
    return standing


def test_a_batch_loads_the_model_once_and_skips_bad_recordings(predictor, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert cli.run(["predict", "vods", "--out", "results"]) == 1
    assert predictor.checkpoints == [DEFAULT_CHECKPOINT]
    assert [call["recording"].name for call in predictor.calls] == ["one.mp4", "two.mp4"]
    for name in ("one", "two"):
        assert sorted(path.name for path in Path(f"results/{name}-kuaihl").iterdir()) == NAMES
    assert sorted(path.name for path in Path("results").iterdir()) == ["kuaihl-summary.csv", "one-kuaihl", "two-kuaihl"]
    one, rotten, two = rows_of("results")
    best = made_up().highlights[0]
    assert (one["status"], one["results"], one["comment_log"], one["comments"]) == ("done", "one-kuaihl", "", "")
    assert (float(one["duration_s"]), float(one["took_s"])) == (pytest.approx(140, abs=0.3), 10.8)
    assert (float(one["highlight_start_s"]), float(one["highlight_end_s"])) == (best.start_s, best.end_s)
    assert float(one["highlight_predicted"]) == best.score
    assert (rotten["status"], rotten["results"]) == ("failed", "")
    assert "rotten.mp4" in rotten["reason"]
    assert Path(two["recording"]) == Path("vods").resolve() / "two.mp4"
    assert Path(two["comment_log"]) == Path("vods/two.json").resolve()
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "rotten.mp4" in err
    steps, table = out.split("\n\n", 1)
    assert [line[:6] for line in steps.splitlines() if line[0] == "["] == ["[1/3] ", "[2/3] ", "[3/3] "]
    assert "two.json" in steps.splitlines()[-1]
    lines = table.splitlines()
    assert lines[1].split()[:3] == ["one", "0:02:20", "-"]
    assert lines[1].split()[4:] == [f"{best.score:.1%}", "11", "s"]
    assert lines[2].startswith("rotten     failed: vods/rotten.mp4")
    assert lines[3].split()[2] == f"{sum(segment.comments for segment in made_up().segments)}"
    assert "done           2 of 3, 1 failed" in lines


def test_ctrl_c_keeps_what_is_done_and_skip_done_goes_on(predictor, capsys):
    predict = predictor.outcome

    def stop_at_two(recording):
        if recording.path.name == "two.mp4":
            raise KeyboardInterrupt
        return predict(recording)

    predictor.outcome = stop_at_two
    Path("vods/rotten.mp4").unlink()
    assert cli.run(["predict", "vods"]) == 130
    out, err = capsys.readouterr()
    assert "done           1 of 2\n" in out
    assert err == "kuaihl: stopped\n"
    assert sorted(path.name for path in Path("one-kuaihl").iterdir()) == NAMES
    assert not Path("two-kuaihl").exists()
    predictor.outcome = predict

    def predicted(*options):
        predictor.calls.clear()
        assert cli.run(["predict", "vods", "--skip-done", *options]) == 0
        return [call["recording"].name for call in predictor.calls]

    assert predicted() == ["two.mp4"]
    assert "done           2 of 2, 1 done before\n" in capsys.readouterr().out
    loaded = len(predictor.checkpoints)
    assert predicted() == []
    assert len(predictor.checkpoints) == loaded  # nothing in vain
    assert [row["status"] for row in rows_of(".")] == ["done before"] * 2
    put("vods", "two.json", text=f"{LOG}3,Cy,one more\n")
    assert predicted() == ["two.mp4"]
    shutil.rmtree("one-kuaihl")
    assert predicted() == ["one.mp4"]
    assert predicted("--highlights", "3") == ["one.mp4", "two.mp4"]


def test_recordings_of_one_name_do_not_overwrite_each_other_in_later_batches_either(predictor):
    for name in ("a", "b", "c"):
        put(f"channel/{name}", "chat.csv", text=LOG)
        shutil.copy("vods/one.mp4", f"channel/{name}/stream.mp4")
    assert cli.run(["predict", "channel/a", "channel/b", "--out", "results"]) == 0
    assert cli.run(["predict", "channel/c", "channel/b", "--out", "results"]) == 0
    rows = rows_of("results")
    assert [Path(row["recording"]).parent.name for row in rows] == ["a", "b", "c"]
    assert [row["results"] for row in rows] == ["a-stream-kuaihl", "b-stream-kuaihl", "stream-kuaihl"]
    assert all(Path("results", row["results"], "report.html").exists() for row in rows)
    assert {Path(row["comment_log"]).name for row in rows} == {"chat.csv"}


def test_an_error_of_all_recordings_stops_the_batch(predictor, capsys):
    predictor.outcome = CheckpointError("no speech model")
    assert cli.run(["predict", "vods"]) == 2
    assert len(predictor.calls) == 1
    assert capsys.readouterr() == ("", "kuaihl: no speech model\n")


def test_an_unexpected_error_does_not_stop_the_batch(predictor):
    predictor.outcome = IndexError("no such stream")
    assert cli.run(["predict", "vods", "--out", "results"]) == 1
    one, _, two = rows_of("results")
    assert (one["status"], two["status"]) == ("failed", "failed")
    assert "IndexError: no such stream" in one["reason"]


def test_another_csv_of_that_name_is_not_overwritten(predictor, capsys):
    put(".", "kuaihl-summary.csv", text="my,own\n1,2\n")
    assert cli.run(["predict", "vods"]) == 2
    assert "kuaihl-summary.csv" in capsys.readouterr().err
    assert Path("kuaihl-summary.csv").read_text() == "my,own\n1,2\n"


def test_a_batch_keeps_no_predictions(predictor):
    alive, predict = [], predictor.outcome

    def count(recording):
        gc.collect()
        alive.append(sum(type(thing) is Prediction for thing in gc.get_objects()))
        return predict(recording)

    predictor.outcome = count
    shutil.copy("vods/one.mp4", "vods/three.mp4")
    cli.run(["predict", "vods"])
    assert len(set(alive)) == 1


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ["a", "2024-05-01 [Milo Star] Speedrunning any% with friends, part 3 (v2134567890)" * 2, "回放" * 40]
    done = [
        Row(
            recording=f"/vods/{name}.mp4", status="done", duration_s=86399, comments=1_234_567, target="lvtr",
            highlight_start_s=86340, highlight_end_s=86399, highlight_predicted=0.5, took_s=1234,
            results=f"{name}-kuaihl",
        )
        for name in names
    ]  # fmt: skip
    lines = table_text(done, Path("out"), count=3).splitlines()[1:5]
    widths = [sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line) for line in lines]
    assert len(set(widths)) == 1
    assert widths[0] <= columns
    assert lines[2].startswith("2024-05")
    assert "90)  23:59:59" in lines[2]


def test_a_real_batch_has_the_numbers_of_a_single_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bare.mp4", "talked.mp4"):
        write_recording(tmp_path / name, duration_s=35.0, fps=5)
    put(".", "talked.json", text=LOG)
    loads, load = [], Predictor.from_pretrained
    monkeypatch.setattr(Predictor, "from_pretrained", lambda path: loads.append(path) or load(path))
    assert cli.run(["predict", ".", "--out", "both"]) == 0
    assert len(loads) == 1
    assert cli.run(["predict", "talked.mp4"]) == 0
    alone, among, bare = (
        json.loads(Path(folder, "prediction.json").read_text(encoding="utf-8"))
        for folder in ("talked-kuaihl", "both/talked-kuaihl", "both/bare-kuaihl")
    )
    del alone["timings_s"], among["timings_s"]
    assert alone == among
    assert [segment["comments"] for segment in alone["segments"]] == [2, 0]
    assert alone["next_score"] != bare["next_score"]
