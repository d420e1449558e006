"""How well the alignment of comments with pictures finds the lag of the comments, which is known of simulated rooms.

Run as `python -m train.experiments.comment_lag`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import tyro
from scipy.stats import spearmanr
from tqdm import tqdm

from kuaihl.comments import selection
from kuaihl.features.embeddings import segment_features
from kuaihl.features.text import TextFeatures
from kuaihl.model.inputs import build_inputs
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor, align
from kuaihl.records import Alignment
from train.command import plain_errors
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.comment_bank import read_bank
from train.simulator.rooms.photo_scenes import read_scenes
from train.simulator.rooms.room import Room, room_ids, simulate_room
from train.simulator.settings import SimulatorConfig, SizeName


@torch.inference_mode()
def align_room(predictor: Predictor, room: Room) -> Alignment:
    """Align the comments of a room with its pictures."""
    segments = room.segments
    comments = selection.by_segment(selection.text_comments(room.comments), segments)
    frames = np.concatenate([draw_segment(room, i) for i in range(len(segments))])
    written = predictor.text_encoder.encode(None, [[c.text for c in some] for some in comments]).comments
    features = segment_features(
        segments,
        pictures=predictor.visual_encoder.encode(frames).reshape(len(segments), -1, predictor.visual_encoder.dim),
        speech=None,
        comments=comments,
        text=TextFeatures(None, written, None),
    )
    config = predictor.config
    inputs = build_inputs(
        [features], picture_dim=config.picture_dim, text_dim=config.text_dim, streamers=[0], excluded=[()]
    )
    tokens = predictor.model.tokenize(inputs)
    text, pictures = (x[0].float().numpy() for x in (tokens.text, tokens.pictures))
    return align(text, pictures, source="comments", other="pictures")


def lag_errors(alignments: Sequence[Alignment], lags: Sequence[int]) -> dict[str, float]:
    """Compare alignments with the true lags of their rooms, in segments.

    Returns
    -------
    Mean absolute errors of the cells of the path, and of its median in each room; those of the diagonal; and
    Spearman's correlation of the medians with the true lags.
    """
    true = np.array(lags)
    cells = [np.abs(np.subtract(*np.array(a.path).T) - lag).mean() for a, lag in zip(alignments, lags, strict=True)]
    medians = np.array([a.lag for a in alignments])
    return {
        "path": float(np.mean(cells)),
        "median_of_path": float(np.abs(medians - true).mean()),
        "diagonal": float(true.mean()),
        "spearman": float(spearmanr(medians, true).statistic),
    }


def main(
    checkpoint: Path = DEFAULT_CHECKPOINT,
    rooms: int = 60,
    size: SizeName = "base",
    seed: int = 0,
    scenes: Path | None = None,
    comment_bank: Path | None = None,
) -> None:
    """Print errors over the last rooms of a simulation, which are of its test split.

    Parameters
    ----------
    checkpoint
        Its encoders and projections are used.
    rooms
        How many.
    size, seed
        Of the simulation.
    scenes, comment_bank
        As for train.prepare rooms.
    """
    predictor = Predictor.from_pretrained(checkpoint, device="cpu")
    config = SimulatorConfig(size=size, seed=seed)
    photos, bank = scenes and read_scenes(scenes), comment_bank and read_bank(comment_bank)
    split = [i for i, name in enumerate(room_ids(config)) if name.startswith("test")][-rooms:]
    simulated = [simulate_room(config, i, scenes=photos, bank=bank) for i in split]
    alignments = [align_room(predictor, room) for room in tqdm(simulated, unit="room")]
    for name, value in lag_errors(alignments, [room.comment_lag for room in simulated]).items():
        print(f"{name.replace('_', ' '):<16} {value:.3f}")


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
