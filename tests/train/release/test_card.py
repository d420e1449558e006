"""The card of a checkpoint that predicts two things tells of each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from kuaihl.errors import CheckpointError
from tests.fixtures.small_dataset import CHAT_INFO, INFO, write_chat_dataset, write_dataset
from train import calibrate, evaluate
from train.files import write_json
from train.fit import FitConfig, fit
from train.release.card import write_card

MADE_BY = {
    "rooms": "python -m train.prepare rooms --size small --seed 0 --out rooms",
    "chats": "python -m train.prepare chat --logs logs --out chats --no-text",
}


def test_the_card_tells_of_each_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (evaluate, calibrate):  # the encoders are made up
        monkeypatch.setattr(module, "check_encoders", lambda *_: None)
    rooms, chats = tmp_path / "rooms", tmp_path / "chats"
    write_dataset(rooms, info=replace(INFO, made_by=MADE_BY["rooms"]))
    write_chat_dataset(chats, info=replace(CHAT_INFO, made_by=MADE_BY["chats"]))
    checkpoint = fit(
        FitConfig(
            (rooms, chats),
            tmp_path / "run",
            preset="debug",
            epochs=3,
            learning_rate=3e-3,
            warmup_steps=5,
            batch_size=16,
        )
    )
    calibrate.calibrate(checkpoint, chats)
    reports = {}
    for target, dataset in (("lvtr", rooms), ("participation", chats)):
        with pytest.raises(CheckpointError, match=f"evaluation of {target}, which is missing"):
            write_card(checkpoint)
        file = checkpoint / f"evaluation-{target}.json"
        write_json(file, evaluate.evaluate(checkpoint, dataset))
        reports[target] = json.loads(file.read_text())
    card = ModelCard.load(write_card(checkpoint))
    told = {(r.dataset_type, r.metric_name, r.dataset_config): r.metric_value for r in card.data.eval_results}
    for kind, target in (("klive-sim", "lvtr"), ("chats", "participation")):
        pooled = reports[target]["kuaihl"][0]["pooled"]
        assert told[kind, "Kendall's tau-b, pooled", None] == round(pooled, 4)
        assert f"| kuaihl | all | {pooled:.4f} |" in card.text
    assert "from pictures, speech, comments.\n  **Trained on random numbers.**" in card.text
    assert "from comments.\n  **Trained on made-up chat.**" in card.text
    assert 'target="participation"' in card.text
    made_by = card.text.partition("Made by:")[2].split("```")[1].strip().splitlines()
    assert made_by == [
        *MADE_BY.values(),
        "python -m train.fit --dataset rooms --dataset chats --out run --preset debug --epochs 3 --batch-size 16 "
        "--learning-rate 0.003 --warmup-steps 5",
        "python -m train.calibrate --checkpoint run/checkpoint --dataset chats",
    ]
    report = json.loads((checkpoint / "evaluation-lvtr.json").read_text())
    write_json(checkpoint / "evaluation-lvtr.json", report | {"left_out": ["stranger"]})
    with pytest.raises(CheckpointError, match="evaluation of lvtr, which is about other weights"):
        write_card(checkpoint)
