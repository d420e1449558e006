"""Datasets of random features for tests of training, in which the last segment tells the next label.

That of rooms can be read off their pictures, that of chats off their activity.
"""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from kuaihl.activity import CHAT_COLUMNS, SPEECH_COLUMNS, chat_activity, speech_activity
from kuaihl.comments import by_segment
from train.dataset import DatasetInfo, write_info, write_shard
from train.simulator.config import SimulatorConfig
from train.simulator.rooms import Room

INFO = DatasetInfo(
    visual_encoder="swin_compact_128",
    picture_dim=8,
    text_encoder="some-bert",
    text_dim=6,
    encoders={"swin_compact_128": "1" * 64, "some-bert": "2" * 64},
    target="lvtr",
    source="random numbers",
    made_by="tests",
)
HINTED = replace(INFO, hints={"shown": 3, "remembered": 2})
LENGTHS = {"train-0": 30, "train-1": 25, "train-2": 41, "validation-0": 28, "validation-1": 12, "test-0": 33}
TEXTS = ("text_speech", "text_comments", "text_both")


CHAT_INFO = replace(INFO, target="participation", source="made-up chat")
CHAT_LENGTHS = {"train-0": 40, "train-1": 24, "validation-0": 28, "test-0": 22}


def write_room(folder: Path, info: DatasetInfo, name: str, values: dict[str, object]) -> None:
    """Write one room of a dataset of ``info``.

    The split is what comes before the dash in ``name``. ``values`` has pictures (segments, 3 * picture_dim), label
    (segments,) and what is not to be the default: everything valid and present, features of text and activity 0.
    """
    count = len(values["label"])
    activity = len(CHAT_COLUMNS) + len(SPEECH_COLUMNS)
    default = {
        "room": [name] * count,
        "streamer": ["someone"] * count,
        "day": np.zeros(count),
        "split": [name.split("-", maxsplit=1)[0]] * count,
        "index": np.arange(count),
        "start_s": 30.0 * np.arange(count),
        **dict.fromkeys(TEXTS),
        "activity": np.zeros((count, activity)),
        "words": None,
        "counts": None,
        **{f"has_{modality}": np.ones(count, dtype=bool) for modality in ("pictures", "speech", "comments")},
        "impressions": None,
        "long_views": None,
        "label_kind": ["tests"] * count,
        "valid": np.ones(count, dtype=bool),
        "appeal": None,
        "speech": None,
        "comments": None,
        **dict.fromkeys(info.hints),
    }
    (folder / "rooms").mkdir(parents=True, exist_ok=True)
    write_shard(folder / "rooms" / f"{name}.parquet", info, {**default, **values})


def write_dataset(folder: Path, *, info: DatasetInfo = INFO, seed: int = 0) -> None:
    """Write six rooms; each of the first three lacks another modality. Hints, if ``info`` has any, are `hints_of`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_info(folder, info)
    for k, (name, count) in enumerate(LENGTHS.items()):
        pictures = rng.normal(size=(count, 3, info.picture_dim))
        pictures[:, :, 0] = 4 * pictures[:, :1, 0]
        label = np.r_[0.5, 1 / (1 + np.exp(-pictures[:-1, 0, 0] / 2))]
        valid = rng.random(count) > 0.1
        values = {
            "streamer": [f"streamer {k % 2}" if k < 5 else "stranger"] * count,
            "day": np.full(count, k),
            "pictures": pictures.reshape(count, -1),
            **{text: rng.normal(size=(count, info.text_dim)) for text in TEXTS},
            "activity": rng.normal(size=(count, len(CHAT_COLUMNS) + len(SPEECH_COLUMNS))),
            "has_pictures": np.full(count, name != "train-0"),
            "has_speech": np.full(count, name != "train-1"),
            "has_comments": np.full(count, name != "train-2"),
            "label": np.where(valid, label, np.nan),
            "valid": valid,
            "appeal": label,
            **(hints_of(pictures, label) if info.hints else {}),
        }
        write_room(folder, info, name, values)


def hints_of(pictures: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    """What shows is which way the first picture leans, what is remembered of a segment its label, up and down."""
    leans, around = np.sign(pictures[:, :1, 0]), 4 * (label[:, None] - 0.5)
    return {"shown": np.hstack([leans, -leans, leans]), "remembered": np.hstack([around, -around])}


def write_chat_dataset(folder: Path, *, info: DatasetInfo = CHAT_INFO, seed: int = 0, text: bool = True) -> None:
    """Write four chats without pictures and speech, of channels that the rooms do not know."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_info(folder, info)
    for k, (name, count) in enumerate(CHAT_LENGTHS.items()):
        activity = rng.normal(size=(count, len(CHAT_COLUMNS) + len(SPEECH_COLUMNS)))
        values = {
            "streamer": [f"channel {k % 2}"] * count,
            "day": np.full(count, k),
            "pictures": None,
            "text_comments": rng.normal(size=(count, info.text_dim)) if text else None,
            "activity": activity,
            "has_pictures": np.zeros(count, dtype=bool),
            "has_speech": np.zeros(count, dtype=bool),
            "label": np.r_[0.2, 0.4 / (1 + np.exp(-3 * activity[:-1, 3]))],
        }
        write_room(folder, info, name, values)


def simulated(config: SimulatorConfig) -> DatasetInfo:
    """What a dataset of simulated rooms says of itself, but for its encoders."""
    return replace(
        INFO,
        source=f"simulated rooms: {config.size}",
        made_by=f"python -m train.simulator rooms --size {config.size} --seed {config.seed} --out rooms",
        parameters=asdict(config),
    )


def write_simulated(folder: Path, config: SimulatorConfig, made: dict[str, Room]) -> None:
    """Write the rooms of a simulation, without pictures and text."""
    folder.mkdir(parents=True, exist_ok=True)
    info = simulated(config)
    write_info(folder, info)
    for name, one in made.items():
        count = len(one.segments)
        chat = chat_activity(by_segment(one.comments, one.segments), one.segments)
        values = {
            "streamer": [one.streamer] * count,
            "pictures": None,
            "activity": np.hstack([chat, speech_activity([[]] * count)]),
            "label": one.lvtr,
            "appeal": one.appeal,
        }
        write_room(folder, info, name, values)
