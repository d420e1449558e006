"""Train the paper preset on simulated rooms, on a CPU or a GPU: `python -m train.experiments.paper_preset --out DIR`.

Swin-T and BERT-base encode the rooms once. Their weights come from the Hub, or are random where it cannot be reached:
then the run shows that the preset trains, not how well it predicts.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import tyro
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import BertConfig, BertModel

from kuaihl.errors import CheckpointError
from kuaihl.features.pretrained import TEXT_FOLDER, VISUAL_FILE, find_text_encoder, find_visual_encoder
from kuaihl.features.vision import build_swin
from kuaihl.model.config import PRESETS
from train.command import plain_errors
from train.data.simulated_rooms import RoomsConfig, prepare_rooms
from train.fit import TERMS, FitConfig, fit
from train.mixture import open_training_sets
from train.simulator.settings import SimulatorConfig

LOSSES_FILE = "losses.csv"


@dataclass(frozen=True)
class PaperConfig:
    """Train the paper preset."""

    out: Path
    """Folder for encoders, dataset, run and losses.csv. An interrupted run continues."""
    steps: int = 200
    """Steps at least, in whole epochs."""
    segments: int = 24
    """Length of each of the eight rooms."""
    batch_size: int = 8
    """Windows in a step."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    bf16: bool = False
    """Compute in bfloat16, for a GPU."""


def train_paper(config: PaperConfig) -> pd.DataFrame:
    """Prepare and train; return the losses by step, which are written to losses.csv too."""
    encoders, dataset, run = (config.out / name for name in ("encoders", "dataset", "run"))
    make_encoders(encoders)
    simulation = SimulatorConfig(size="tiny", min_segments=config.segments, max_segments=config.segments)
    prepare_rooms(RoomsConfig(size="tiny", preset="paper", checkpoint=encoders, out=dataset), simulation)
    windows = sum(room.stop - room.start - 1 for room in open_training_sets([dataset])[0].train)
    epochs = math.ceil(config.steps / math.ceil(windows / config.batch_size))
    fit(
        FitConfig(
            (dataset,),
            run,
            preset="paper",
            epochs=epochs,
            patience=epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            warmup_steps=min(20, config.steps),
            bf16=config.bf16,
            log_every=1,
        )
    )
    events = EventAccumulator(str(run / "curves"), size_guidance={"scalars": 0}).Reload()
    losses = pd.DataFrame({term: [event.value for event in events.Scalars(f"loss/{term}")] for term in TERMS})
    losses.index += 1
    losses.round(5).to_csv(config.out / LOSSES_FILE, index_label="step")
    return losses


def make_encoders(folder: Path, *, seed: int = 0) -> None:
    """Write random weights for those encoders of the paper that are neither in the folder nor on the Hub."""
    preset = PRESETS["paper"]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    try:
        find_visual_encoder(preset.visual_encoder, checkpoint=folder)
    except CheckpointError as error:
        print(f"{error} Its weights are random.")
        save_file(build_swin(preset.visual_encoder).state_dict(), folder / VISUAL_FILE)
    try:
        find_text_encoder(preset.text_encoder, checkpoint=folder)
    except CheckpointError as error:
        print(f"{error} Its weights are random.")
        vocabulary = find_text_encoder(PRESETS["compact"].text_encoder)  # the uncased word pieces of BERT
        BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder / TEXT_FOLDER)
        for file in (*vocabulary.glob("tokenizer*"), *vocabulary.glob("vocab.txt")):
            shutil.copyfile(file, folder / TEXT_FOLDER / file.name)


def main(config: PaperConfig) -> None:
    """Train, and print the losses over the run."""
    losses = train_paper(config)
    rows = [losses[start : start + 20].mean() for start in range(0, len(losses) - 19, 20)]
    print(f"{'steps':>12}" + "".join(f"{term:>10}" for term in TERMS))
    for k, row in enumerate(rows):
        print(f"{f'{20 * k + 1}-{20 * k + 20}':>12}" + "".join(f"{value:10.4f}" for value in row))


if __name__ == "__main__":
    with plain_errors():
        main(tyro.cli(PaperConfig, prog="python -m train.experiments.paper_preset", description=__doc__))
