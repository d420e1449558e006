"""A dataset on disk: one Parquet shard a room, read through a memory map, as windows and batches for training."""

import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kuaihl.errors import LabelError
from kuaihl.features.bag_of_words import MOST_WORDS
from kuaihl.features.chat import CHAT_COLUMNS, SPEECH_COLUMNS
from kuaihl.features.embeddings import SOURCES, SegmentFeatures
from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder, sha256_file
from kuaihl.features.text import TextFeatures
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.inputs import ModelInputs, build_inputs
from kuaihl.records import PICTURES_PER_SEGMENT
from train.files import replacing, write_json

DATASET_FILE = "dataset.json"
ENCODER_FILES = ("visual.safetensors", "distill.json")
"""The visual encoder and how it was trained. They are copied into the dataset, and from there into the checkpoint."""
BLANK = -1
"""Index of a window without segments, for a process that has no window of its own in a batch."""
_ARRAYS = ("pictures", "text_speech", "text_comments", "text_both", "activity", "words", "counts")
_SCALARS = ("has_pictures", "has_speech", "has_comments", "label", "valid")


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Description of a dataset: its encoders and where its labels come from.

    Attributes
    ----------
    encoders
        SHA-256 of the weights of each encoder that computed any of its features, by name.
    target
        What the labels measure.
    source
        A sentence for people.
    made_by
        The command, with file names without folders.
    parameters
        Further settings that determine the rooms.
    ahead
        1 if the segments before one predict it, a forecast; 0 if it is itself seen, as in PHD.
    picture_tokens
        Picture vectors of a segment, each ``picture_dim`` wide.
    """

    visual_encoder: str
    picture_dim: int
    text_encoder: str
    text_dim: int
    encoders: dict[str, str]
    target: str
    source: str
    made_by: str = field(compare=False)
    parameters: dict[str, Any] = field(default_factory=dict)
    ahead: int = 1
    picture_tokens: int = PICTURES_PER_SEGMENT

    def __post_init__(self) -> None:
        if self.ahead not in (0, 1):
            raise ValueError(f"ahead must be 0 or 1, not {self.ahead}")


def schema(info: DatasetInfo) -> pa.Schema:
    """Return the columns of a shard. A shard is a room, a row a segment, in order."""
    half = pa.float16()
    return pa.schema(
        {
            "room": pa.string(),
            "streamer": pa.string(),
            "day": pa.int32(),
            "split": pa.string(),
            "index": pa.int32(),
            "start_s": pa.float32(),
            "pictures": pa.list_(half, info.picture_tokens * info.picture_dim),
            "text_speech": pa.list_(half, info.text_dim),
            "text_comments": pa.list_(half, info.text_dim),
            "text_both": pa.list_(half, info.text_dim),
            "activity": pa.list_(pa.float32(), len(CHAT_COLUMNS) + len(SPEECH_COLUMNS)),
            "words": pa.list_(pa.int16(), MOST_WORDS),
            "counts": pa.list_(half, MOST_WORDS),
            "has_pictures": pa.bool_(),
            "has_speech": pa.bool_(),
            "has_comments": pa.bool_(),
            "impressions": pa.int32(),
            "long_views": pa.int32(),
            "label": pa.float32(),
            "label_kind": pa.string(),
            "valid": pa.bool_(),
            "appeal": pa.float32(),
            "speech": pa.string(),
            "comments": pa.list_(pa.string()),
        }
    )


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Write ``dataset.json``."""
    write_json(folder / DATASET_FILE, asdict(info))


def read_info(folder: Path) -> DatasetInfo:
    """Read ``dataset.json``; LabelError if it is missing or damaged."""
    try:
        return DatasetInfo(**json.loads((folder / DATASET_FILE).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise LabelError(f"{folder} is not a dataset: {DATASET_FILE} is missing or damaged ({error}).") from error


def encoder_hashes(config: KuaiHLConfig, checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of the weights of the visual and the text encoder, by name.

    Weights in the folder ``checkpoint`` come first; CheckpointError if there are none anywhere.
    """
    visual = find_visual_encoder(config.visual_encoder, checkpoint=checkpoint)
    text = find_text_encoder(config.text_encoder, checkpoint=checkpoint) / "model.safetensors"
    return {config.visual_encoder: sha256_file(visual), config.text_encoder: sha256_file(text)}


def copy_encoder(source: Path, out: Path) -> None:
    """Copy those of `ENCODER_FILES` that exist."""
    for name in ENCODER_FILES:
        if (file := source / name).exists():
            (out / name).write_bytes(file.read_bytes())


def write_shard(file: Path, info: DatasetInfo, values: dict[str, object]) -> None:
    """Write one room. Values are arrays, lists, columns of another table, or None for nulls and zeros."""
    columns = schema(info)
    count = len(values["label"])
    arrays = [_array(values[column.name], column.type, count) for column in columns]
    with replacing(file) as part:
        pq.write_table(pa.Table.from_arrays(arrays, schema=columns), part, compression="zstd")


def _array(values: object, kind: pa.DataType, count: int) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    if pa.types.is_fixed_size_list(kind):
        rows = np.zeros((count, kind.list_size)) if values is None else values
        flat = np.ascontiguousarray(rows, dtype=kind.value_type.to_pandas_dtype()).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, type=kind.value_type), kind.list_size)
    return pa.nulls(count, kind) if values is None else pa.array(values, type=kind)


@dataclass(frozen=True, slots=True)
class Room:
    """A room: rows ``start`` to ``stop`` (exclusive) of the dataset."""

    name: str
    streamer: str
    split: str
    start: int
    stop: int


class Segments:
    """All segments of a dataset, memory-mapped. Rows are returned as NumPy arrays."""

    def __init__(self, folder: Path) -> None:
        self.info = read_info(folder)
        shards = sorted(str(p) for p in (folder / "rooms").glob("*.parquet"))
        if not shards:
            raise LabelError(f"{folder / 'rooms'} has no shards. Run train.prepare again.")
        loaded = datasets.load_dataset("parquet", data_files=shards, split="train", cache_dir=str(folder / "cache"))
        self._table: pa.Table = loaded.data.table
        if missing := [name for name in (*_ARRAYS, *_SCALARS) if name not in self._table.column_names]:
            raise LabelError(
                f"{folder} is from another version: it has no {', '.join(missing)}. Run train.prepare again."
            )
        self._chunks = np.cumsum([0, *(len(c) for c in self._table.column("label").chunks)])
        self._views = {name: [_view(c) for c in self._table.column(name).chunks] for name in _ARRAYS}
        self._scalars = {name: self._table.column(name).to_numpy() for name in _SCALARS}
        self.rooms = self._find_rooms()

    def column(self, name: str, room: Room) -> np.ndarray:
        """Return a plain column of a room (segments,); missing numbers are NaN."""
        return self._table.column(name).slice(room.start, room.stop - room.start).to_numpy()

    def array(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return rows of a feature column (stop - start, size)."""
        first, last = np.searchsorted(self._chunks, [start, max(start, stop - 1)], side="right") - 1
        rows = [
            self._views[name][k][max(start - self._chunks[k], 0) : stop - self._chunks[k]]
            for k in range(first, last + 1)
        ]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def scalar(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return rows of a flag or of the label (stop - start,)."""
        return self._scalars[name][start:stop]

    def features(self, room: Room, *, streamer: int, excluded: Collection[str] = ()) -> ModelInputs:
        """Build the model's inputs of a whole room, a batch of one; see `build_inputs`."""
        return self.inputs([self.window(room.start, room.stop)], streamers=[streamer], excluded=[excluded])

    def inputs(
        self,
        windows: Sequence[SegmentFeatures],
        *,
        streamers: Sequence[int],
        excluded: Sequence[Collection[str]],
        length: int | None = None,
    ) -> ModelInputs:
        """Build the model's inputs of windows; see `build_inputs`."""
        return build_inputs(
            windows,
            picture_dim=self.info.picture_dim,
            text_dim=self.info.text_dim,
            picture_tokens=self.info.picture_tokens,
            streamers=streamers,
            excluded=excluded,
            length=length,
        )

    def window(self, start: int, stop: int) -> SegmentFeatures:
        """Return the features of rows ``start`` to ``stop``."""
        activity = self.array("activity", start, stop)
        texts = (self.array(f"text_{kind}", start, stop) for kind in ("speech", "comments", "both"))
        masks = {f"{source}_mask": self.scalar(f"has_{source}", start, stop) for source in SOURCES}
        return SegmentFeatures(
            pictures=self.array("pictures", start, stop).reshape(-1, self.info.picture_tokens, self.info.picture_dim),
            text=TextFeatures(*texts),
            chat_activity=activity[:, : len(CHAT_COLUMNS)],
            speech_activity=activity[:, len(CHAT_COLUMNS) :],
            words=self.array("words", start, stop),
            word_counts=self.array("counts", start, stop),
            **masks,
        )

    def _find_rooms(self) -> list[Room]:
        # As numbers: millions of rows would be as many strings.
        codes = np.concatenate([c.indices.to_numpy() for c in self._table.column("room").dictionary_encode().chunks])
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        stops = np.r_[starts[1:], len(codes)]
        streamers = self._table.column("streamer").take(starts).to_pylist()
        splits = self._table.column("split").take(starts).to_pylist()
        names = self._table.column("room").take(starts).to_pylist()
        return [Room(*values) for values in zip(names, streamers, splits, starts.tolist(), stops.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one dataset for training.

    Attributes
    ----------
    label
        (batch, segments): the label that each position predicts, see `DatasetInfo.ahead`.
    label_mask
        (batch, segments) bool: True where there is a label.
    segment_mask
        (batch, segments) bool: False for padding.
    seeds
        (batch,): seed of the randomness of each window.
    target
        Row of the head to train.
    """

    features: ModelInputs
    label: Tensor
    label_mask: Tensor
    segment_mask: Tensor
    seeds: Tensor
    target: int = 0

    def to(self, device: torch.device | str) -> "Batch":
        """Move every tensor."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "target"}
        return Batch(**moved, target=self.target)


class Windows(Dataset[Batch]):
    """All training windows of some rooms, with stride 1. Streamers and modalities are masked at random.

    Parameters
    ----------
    streamer_dropout
        Share of windows with the unknown streamer.
    modality_dropout
        Probability for each modality of a window to be masked. One that the window has always remains.
    seed
        Random numbers depend on (seed, epoch, window) alone, not on batches or processes.
    """

    def __init__(
        self,
        segments: Segments,
        rooms: Sequence[Room],
        config: KuaiHLConfig,
        *,
        streamer_dropout: float = 0.1,
        modality_dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        self._segments, self._rooms = segments, list(rooms)
        self._window, self._seed, self.epoch = config.window, seed, 0
        self.target = config.target_index(segments.info.target)
        self._excluded = frozenset(config.targets[self.target].excluded_inputs)
        self._streamer_dropout, self._modality_dropout = streamer_dropout, modality_dropout
        index = {name: k + 1 for k, name in enumerate(config.streamers)}
        self._streamer = [index.get(room.streamer, 0) for room in rooms]
        self._ahead = segments.info.ahead
        # A window ends at each segment that predicts one.
        self._first = np.cumsum([0, *(room.stop - room.start - self._ahead for room in rooms)])

    def __len__(self) -> int:
        return int(self._first[-1])

    def rooms_of(self, indices: Sequence[int]) -> list[Room]:
        """Return the room of each window."""
        return [self._rooms[k] for k in np.searchsorted(self._first, indices, side="right") - 1]

    def disjoint(self) -> np.ndarray:
        """Return the indices of windows that do not overlap. The last of each ends with its room."""
        ends = (np.arange(stop - 1, start - 1, -self._window)[::-1] for start, stop in itertools.pairwise(self._first))
        return np.concatenate([*ends])

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Read a whole batch at once, as DataLoader asks for it: a list of one `Batch`."""
        n, size = self._window, len(indices)
        label = np.zeros((size, n), dtype=np.float32)
        label_mask, segment_mask = np.zeros((size, n), dtype=bool), np.zeros((size, n), dtype=bool)
        seeds = np.zeros(size, dtype=np.int64)
        windows, streamers, excluded = [], [], []
        for row, index in enumerate(indices):
            if index == BLANK:
                streamers.append(0)
                windows.append(self._segments.window(0, 0))
                excluded.append(())
                continue
            k = int(np.searchsorted(self._first, index, side="right")) - 1
            room = self._rooms[k]
            stop = room.start + int(index - self._first[k]) + 1
            start = max(room.start, stop - n)
            length = stop - start
            random = np.random.default_rng((self._seed, self.epoch, index))
            streamers.append(0 if random.random() < self._streamer_dropout else self._streamer[k])
            windows.append(self._segments.window(start, stop))
            excluded.append(self._draw_excluded(random, start, stop))
            seeds[row] = random.integers(2**62)
            segment_mask[row, :length] = True
            label_mask[row, :length] = self._segments.scalar("valid", start + self._ahead, stop + self._ahead)
            shifted = self._segments.scalar("label", start + self._ahead, stop + self._ahead)
            label[row, :length] = np.nan_to_num(shifted)
        tensors = (torch.from_numpy(values) for values in (label, label_mask, segment_mask, seeds))
        features = self._segments.inputs(windows, streamers=streamers, excluded=excluded, length=n)
        return [Batch(features, *tensors, self.target)]

    def _draw_excluded(self, random: np.random.Generator, start: int, stop: int) -> frozenset[str]:
        present = {x for x in SOURCES if self._segments.scalar(f"has_{x}", start, stop).any()} - self._excluded
        drawn = frozenset(x for x, u in zip(SOURCES, random.random(3), strict=True) if u < self._modality_dropout)
        return self._excluded if drawn.issuperset(present) else self._excluded | drawn


def _view(chunk: pa.FixedSizeListArray) -> np.ndarray:
    """Return a (rows, size) view into the memory map."""
    return chunk.flatten().to_numpy(zero_copy_only=True).reshape(len(chunk), -1)
