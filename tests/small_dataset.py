"""A dataset of random features in which the next label can be read off the last picture, for tests of training."""

from pathlib import Path

import numpy as np

from kuaihl.activity import CHAT_COLUMNS, SPEECH_COLUMNS
from train.dataset import DatasetInfo, write_info, write_shard

INFO = DatasetInfo(
    visual_encoder="swin_compact_224",
    picture_dim=8,
    text_encoder="some-bert",
    text_dim=6,
    encoders={"swin_compact_224": "1" * 64, "some-bert": "2" * 64},
    target="lvtr",
    source="random numbers",
    made_by="tests",
)
LENGTHS = {"train-0": 30, "train-1": 25, "train-2": 41, "validation-0": 28, "validation-1": 12, "test-0": 33}


def write_dataset(folder: Path, *, seed: int = 0) -> None:
    """Write six rooms."""
    rng = np.random.default_rng(seed)
    (folder / "rooms").mkdir(parents=True)
    write_info(folder, INFO)
    for k, (name, count) in enumerate(LENGTHS.items()):
        pictures = rng.normal(size=(count, 3, 8))
        pictures[:, :, 0] = 4 * pictures[:, :1, 0]
        label = np.r_[0.5, 1 / (1 + np.exp(-pictures[:-1, 0, 0] / 2))]
        valid = rng.random(count) > 0.1
        values = {
            "room": [name] * count,
            "streamer": [f"streamer {k % 2}" if k < 5 else "stranger"] * count,
            "day": np.full(count, k),
            "split": [name.split("-")[0]] * count,
            "index": np.arange(count),
            "start_s": 30.0 * np.arange(count),
            "pictures": pictures.reshape(count, -1),
            **{f"text_{x}": rng.normal(size=(count, 6)) for x in ("speech", "comments", "both")},
            "activity": rng.normal(size=(count, len(CHAT_COLUMNS) + len(SPEECH_COLUMNS))),
            "has_pictures": np.full(count, name != "train-0"),
            "has_speech": np.full(count, name != "train-1"),
            "has_comments": np.full(count, name != "train-2"),
            "impressions": None,
            "long_views": None,
            "label": np.where(valid, label, np.nan),
            "label_kind": ["tests"] * count,
            "valid": valid,
            "appeal": label,
            "speech": None,
            "comments": None,
        }  # fmt: skip
        write_shard(folder / "rooms" / f"{name}.parquet", INFO, values)
