"""The card of a checkpoint has the numbers of the files beside it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from kuaihl.errors import CheckpointError
from kuaihl.predictor import DEFAULT_CHECKPOINT
from tests.fixtures.small_dataset import CHAT_INFO, INFO, write_chat_dataset, write_dataset
from tests.fixtures.training_runs import config
from train.calibrate import calibrate
from train.evaluate import evaluate
from train.files import write_json
from train.fit import fit
from train.release.card import write_card

MADE_BY = {
    "rooms": "python -m train.prepare rooms --size small --seed 0 --out rooms",
    "chats": "python -m train.prepare chat --logs logs --out chats --no-text",
}


def test_the_card_describes_each_target(tmp_path: Path) -> None:
    rooms, chats = tmp_path / "rooms", tmp_path / "chats"
    write_dataset(rooms, info=replace(INFO, made_by=MADE_BY["rooms"], source="simulated rooms: random"))
    write_chat_dataset(chats, info=replace(CHAT_INFO, made_by=MADE_BY["chats"]))
    checkpoint = fit(config((rooms, chats), tmp_path / "run", epochs=1))
    calibrate(checkpoint, chats)
    reports = {}
    for target, dataset in (("lvtr", rooms), ("participation", chats)):
        with pytest.raises(CheckpointError, match=f"evaluation of {target}, which is missing"):
            write_card(checkpoint)
        reports[target] = evaluate(checkpoint, dataset)
        write_json(checkpoint / f"evaluation-{target}.json", reports[target])
    card = ModelCard.load(write_card(checkpoint))
    values = {(r.dataset_type, r.metric_name, r.dataset_config): r.metric_value for r in card.data.eval_results}
    for kind, target in (("klive-sim", "lvtr"), ("chats", "participation")):
        pooled = reports[target]["kuaihl"][0]["pooled"]
        assert values[kind, "Kendall's tau-b, pooled", None] == round(pooled, 4)
        assert f"| kuaihl | all | {pooled:.4f} |" in card.text
    assert "simulated-data" in card.data.tags
    assert "from pictures, speech, comments.\n  **Trained on simulated rooms: random.**" in card.text
    assert "from comments.\n  **Trained on made-up chat.**" in card.text
    commands = card.text.partition("Commands:")[2].split("```")[1].strip().splitlines()
    assert commands[:2] == [*MADE_BY.values()]
    assert commands[2].startswith("python -m train.fit --dataset rooms --dataset chats --out run ")
    assert commands[3:] == ["python -m train.calibrate --checkpoint run/checkpoint --dataset chats"]
    write_json(checkpoint / "evaluation-lvtr.json", reports["lvtr"] | {"left_out": ["stranger"]})
    with pytest.raises(CheckpointError, match="evaluation of lvtr, which is of other weights"):
        write_card(checkpoint)


def test_the_shipped_card_is_up_to_date(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEFAULT_CHECKPOINT, tmp_path / "checkpoint"))
    text = write_card(folder).read_text()
    assert text == (DEFAULT_CHECKPOINT / "README.md").read_text()
    board = json.loads((folder / "leaderboard-lvtr.json").read_text())
    for row in board["entries"][:-1]:
        assert f"| {row['name']} | {row['pooled']:.3f} |" in text
    board["entries"][-1]["sha256"] = "0" * 64
    write_json(folder / "leaderboard-lvtr.json", board)
    with pytest.raises(CheckpointError, match="leaderboard of lvtr"):
        write_card(folder)
