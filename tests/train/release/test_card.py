"""The card of a checkpoint has the numbers of the files beside it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from kuaihl.errors import CheckpointError
from kuaihl.model.kuaihl import load, sha256_of
from kuaihl.predictor import DEFAULT_CHECKPOINT
from train.files import write_json
from train.release.card import write_card


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the shipped checkpoint."""
    return Path(shutil.copytree(DEFAULT_CHECKPOINT, tmp_path / "checkpoint"))


def read_json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def test_the_shipped_card_is_up_to_date(checkpoint: Path) -> None:
    text = write_card(checkpoint).read_text()
    assert text == (DEFAULT_CHECKPOINT / "README.md").read_text()
    for file in checkpoint.glob("*.safetensors"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in text
    for log in read_json(checkpoint / "calibration.json").values():
        assert f"{log['error_before']:.4f} to {log['error_after']:.4f}" in text
    assert write_card(checkpoint.rename(checkpoint.with_name("elsewhere"))).read_text() == text


def write_leaderboard(checkpoint: Path, sha256: str) -> None:
    """Write a made-up leaderboard of LVTR: one baseline, and the checkpoint."""
    difference = {"pooled": 0.1, "interval": [0.05, 0.15], "per_room": 0.2, "per_room_interval": [0.1, 0.3]}
    baseline = {"name": "a rule", "note": "", "sha256": None, "pooled": 0.25, "per_room": 0.125}
    entries = [
        baseline | {"checkpoint_minus_this": {"KuaiHL": difference}},
        {
            "name": "KuaiHL",
            "note": "",
            "sha256": sha256,
            "pooled": 0.35,
            "per_room": 0.325,
            "checkpoint_minus_this": {},
        },
    ]
    write_json(checkpoint / "leaderboard-lvtr.json", {"target": "lvtr", "left_out": [], "entries": entries})


def test_a_leaderboard_becomes_a_table(checkpoint: Path) -> None:
    write_leaderboard(checkpoint, sha256_of(checkpoint))
    text = write_card(checkpoint).read_text()
    assert "| a rule | 0.250 | +0.050 to +0.150 | 0.125 | +0.100 to +0.300 |" in text


def test_the_hub_reads_data_and_metrics(checkpoint: Path) -> None:
    data = ModelCard.load(write_card(checkpoint)).data
    assert data.model_name == "KuaiHL"
    assert (data.license, data.metrics, data.library_name) == ("apache-2.0", ["kendalltau"], "kuaihl")
    assert "simulated-data" in data.tags
    results = {(r.dataset_type, r.dataset_config, r.metric_name): r for r in data.eval_results}
    for target, kind in (("lvtr", "klive-sim"), ("participation", "chat")):
        report = read_json(checkpoint / f"evaluation-{target}.json")
        tables = ((None, "kuaihl"), ("known streamers", "known_streamers"), ("new streamers", "new_streamers"))
        for config, table in tables:
            for column, name in (("pooled", "pooled"), ("per_room", "per room")):
                if (value := report[table][0][column]) is not None:
                    result = results.pop((kind, config, f"Kendall's tau-b, {name}"))
                    assert result.metric_value == round(value, 4)
                    assert (result.dataset_name, result.dataset_split) == (report["dataset"], "test")
    assert not results


def test_the_card_lists_the_commands_in_order(checkpoint: Path) -> None:
    card = ModelCard.load(write_card(checkpoint))
    commands = card.text.partition("Commands:")[2].split("```")[1].strip().splitlines()
    modules = [command.split()[2] for command in commands]
    assert modules == [
        *["train.distill"] * 5,
        "train.prepare",
        "train.experiments.foresee",
        "train.prepare",
        "train.fit",
        *["train.calibrate"] * 2,
    ]
    assert commands[8] == read_json(checkpoint / "fit.json")["command"]
    assert commands[-1] == "python -m train.calibrate --checkpoint run/checkpoint --dataset chat"
    runs = [
        line.split("|")[4].strip() for line in card.text.splitlines() if line.startswith("| ") and line[2].isdecimal()
    ]
    accuracy = read_json(checkpoint / "distill.json")["probe"]["student_accuracy"]
    assert runs == [*["-"] * 4, f"{accuracy:.1%}"]  # only the last run has recorded a probe


def test_real_labels_are_not_called_simulated(checkpoint: Path) -> None:
    config, fit = (read_json(checkpoint / name) for name in ("config.json", "fit.json"))
    config["targets"][0]["trained_on"] = "recordings of one channel"
    fit["datasets"][0]["made_by"] = "python -m train.prepare recordings list.csv --out streams"
    write_json(checkpoint / "config.json", config)
    write_json(checkpoint / "fit.json", fit)
    write_json(checkpoint / "distill.json", read_json(checkpoint / "distill.json") | {"content_frames": 0})
    card = ModelCard.load(write_card(checkpoint))
    assert "simulated-data" not in card.data.tags
    assert {result.dataset_type for result in card.data.eval_results} == {"streams", "chat"}
    assert "simulator" not in card.text
    assert "gifts in about" not in card.text


def test_reports_of_other_weights_are_refused(checkpoint: Path) -> None:
    evaluation = checkpoint / "evaluation-lvtr.json"
    report = read_json(evaluation)
    for change in ({"checkpoint_sha256": "0" * 64}, {"left_out": ["stranger"]}, {"without": "speech"}):
        write_json(evaluation, report | change)
        with pytest.raises(CheckpointError, match="evaluation of lvtr, which is of other weights"):
            write_card(checkpoint)
    evaluation.unlink()
    with pytest.raises(CheckpointError, match=r"which is missing. Run train\.evaluate"):
        write_card(checkpoint)
    write_json(evaluation, report)
    write_leaderboard(checkpoint, "0" * 64)
    with pytest.raises(CheckpointError, match="leaderboard of lvtr"):
        write_card(checkpoint)
    (checkpoint / "leaderboard-lvtr.json").unlink()
    model, _ = load(checkpoint)
    with torch.no_grad():
        model.head.bias += 1
    model.save_pretrained(checkpoint)
    with pytest.raises(CheckpointError, match="of other weights"):
        write_card(checkpoint)
