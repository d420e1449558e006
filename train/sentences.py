"""Does what single comments say add to participation? Layers of the text encoder, comments pooled or as tokens.

Run as `python -m train.sentences --dataset D --out F.json`: prints a table. Every row but the first adds what it reads
in the last comments to one prediction, a ridge on all activity; words that are kept whole are there to compare with.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from kuaihl.devices import autocast
from kuaihl.encoders import TextEncoder, even_order
from kuaihl.errors import LabelError
from kuaihl.weights import find_text_encoder
from train.baselines import best_ridge, ridge
from train.console import plain_errors
from train.dataset import Room, Segments
from train.evaluate import write_report
from train.leaderboard import Task, open_task
from train.metrics import paired_interval, taus
from train.past import labels_of, rooms_of_rows, scored_of, whole_activity_table
from train.words import Words

RECENT = 3
"""Segments before the one to predict whose comments are read."""
MOST = 12
"""Comments of a segment that are read, evenly spread over it."""
PIECES = 48
"""Word pieces of a comment that are read."""
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to predict: ``places`` (rows, 3, 12) of the comments before each, the latest segment first, -1 for none.

    ``first`` (rows,) are the predictions to improve on, ``true`` the labels, ``room`` the names of the rooms.
    """

    places: np.ndarray
    first: np.ndarray
    true: np.ndarray
    room: np.ndarray


class Reader(nn.Module):
    """What the comments of the last segments add to a logit, from their vectors.

    Parameters
    ----------
    dim
        Width of a comment's vector.
    tokens
        Whether learned queries attend to the single comments of a segment; else their mean is taken.
    """

    def __init__(self, dim: int, *, tokens: bool, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width), nn.GELU())
        # With a token of zeros beside the comments, so that there is something where nobody wrote.
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True, add_zero_attn=True) if tokens else None
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(RECENT * width, 1))
        nn.init.zeros_(self.head[1].weight)
        nn.init.zeros_(self.head[1].bias)

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        """Vectors (rows, 3, comments, dim) and where there are any (rows, 3, comments) bool -> logits (rows,)."""
        values = self.project(vectors.flatten(0, 1))
        there = there.flatten(0, 1)
        if self.attend is None:
            pooled = (values * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        else:
            query = self.query.expand(len(values), -1, -1)
            pooled = self.attend(query, values, values, key_padding_mask=~there, need_weights=False)[0][:, 0]
        return self.head(pooled.unflatten(0, (-1, RECENT)).flatten(1))[:, 0]


def study(dataset: Path, *, streams: int, seed: int = 0) -> dict[str, object]:
    """Score each way to read comments, on streams of each split evenly chosen by date: plain values, for JSON.

    Raises
    ------
    LabelError
        It is no dataset, a split has no segment to score, or nothing was written.
    CheckpointError
        The text encoder is missing.
    """
    whole = open_task(dataset)
    segments, splits = whole.segments, (whole.train, whole.validation, whole.test)
    every = max(1, round(sum(map(len, splits)) / streams))
    task = Task(segments, *(rooms[::every] for rooms in splits))
    splits = (task.train, task.validation, task.test)
    chosen = {room.name: _chosen(segments, room) for rooms in splits for room in rooms}
    numbers = {text: k for k, text in enumerate(dict.fromkeys(t for some in chosen.values() for s in some for t in s))}
    if not numbers:
        raise LabelError(f"{dataset} holds no comments: make it anew with train.prepare.")
    tables = [whole_activity_table(segments, rooms) for rooms in splits]
    base = best_ridge(task, *tables[:2])
    parts = [
        Rows(
            np.concatenate([_places(segments, room, chosen[room.name], numbers) for room in rooms]),
            base.predict(table),
            labels_of(segments, rooms),
            rooms_of_rows(segments, rooms),
        )
        for rooms, table in zip(splits, tables, strict=True)
    ]
    test = parts[-1]
    words = ridge(task, lambda rooms: whole_activity_table(segments, rooms), words=Words(segments, task.train))
    found = {"ridge on all activity": test.first, "and words, emotes kept whole": words}
    for layer, vectors in _layers(list(numbers), segments.info.text_encoder):
        for name, tokens in (("mean of the comments", False), ("comments as tokens", True)):
            found[f"and layer {layer}, {name}"] = _read(*parts, vectors=vectors, tokens=tokens, seed=seed)
    return {
        "dataset": segments.info.source,
        "streams": [len(rooms) for rooms in splits],
        "segments": len(test.true),
        "comments": len(numbers),
        "rows": [_row(name, predicted, test, seed=seed) for name, predicted in found.items()],
    }


def _chosen(segments: Segments, room: Room) -> list[list[str]]:
    """The comments of each segment that are read."""
    found = []
    for comments in segments.column("comments", room):
        written = [text for text in (() if comments is None else comments) if text and not text.isspace()]
        found.append([written[k] for k in sorted(even_order(len(written))[:MOST])])
    return found


def _places(segments: Segments, room: Room, chosen: list[list[str]], numbers: dict[str, int]) -> np.ndarray:
    """Numbers of the comments before each scored segment (rows, 3, 12)."""
    of_segment = np.full((RECENT + len(chosen), MOST), -1)
    for row, texts in zip(of_segment[RECENT:], chosen, strict=True):
        row[: len(texts)] = [numbers[text] for text in texts]
    scored = np.flatnonzero(scored_of(segments, room))
    return np.stack([of_segment[RECENT + scored - lag] for lag in range(1, RECENT + 1)], axis=1)


@torch.inference_mode()
def _layers(texts: list[str], name: str) -> Iterator[tuple[int, np.ndarray]]:
    """Layers of the text encoder, from a third of its depth on, and their vectors of the texts (texts, dim) float16."""
    encoder = TextEncoder(name, weights=find_text_encoder(name))
    depth = encoder.bert.config.num_hidden_layers
    layers = [depth // 3, 2 * depth // 3, depth]
    vectors = np.empty((len(layers), len(texts), encoder.dim), dtype=np.float16)
    order = np.argsort([len(text) for text in texts])
    for start in tqdm(range(0, len(texts), _BATCH), "encoding"):
        places = order[start : start + _BATCH]
        batch = encoder.tokenizer(
            [texts[k] for k in places], truncation=True, max_length=PIECES, padding=True, return_tensors="pt"
        ).to(encoder.device)
        real = batch["attention_mask"][..., None]
        with autocast(encoder.device):
            hidden = encoder.bert(**batch, output_hidden_states=True).hidden_states
        for k, layer in enumerate(layers):
            pooled = (hidden[layer].float() * real).sum(1) / real.sum(1)
            vectors[k, places] = pooled.half().cpu().numpy()
    yield from zip(layers, vectors, strict=True)


def _read(
    train: Rows, validation: Rows, test: Rows, *, vectors: np.ndarray, tokens: bool, seed: int, epochs: int = 20
) -> np.ndarray:
    """Train a reader, keep what is best on validation (nothing read, if nothing is better), predict the test rows."""
    torch.manual_seed(seed)
    reader = Reader(vectors.shape[1], tokens=tokens)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3, weight_decay=0.1)
    best, best_epoch, kept = _tau(validation.first, validation), 0, deepcopy(reader.state_dict())
    for epoch in range(1, epochs + 1):
        reader.train()
        for rows in torch.randperm(len(train.true)).split(_BATCH):
            logits = _logits(reader, train, rows.numpy(), vectors)
            loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(train.true[rows]).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        tau = _tau(_predict(reader, validation, vectors), validation)
        if tau > best:
            best, best_epoch, kept = tau, epoch, deepcopy(reader.state_dict())
        if epoch - best_epoch >= 3:
            break
    reader.load_state_dict(kept)
    return _predict(reader, test, vectors)


def _logits(reader: Reader, part: Rows, rows: np.ndarray, vectors: np.ndarray) -> Tensor:
    places = part.places[rows]
    first = torch.from_numpy(np.clip(part.first[rows], 0.01, 0.99)).float().logit()
    return first + reader(torch.from_numpy(vectors[places]).float(), torch.from_numpy(places >= 0))


@torch.inference_mode()
def _predict(reader: Reader, part: Rows, vectors: np.ndarray) -> np.ndarray:
    reader.eval()
    rows = np.array_split(np.arange(len(part.true)), -(-len(part.true) // _BATCH))
    return torch.cat([_logits(reader, part, some, vectors) for some in rows]).sigmoid().numpy()


def _tau(predicted: np.ndarray, part: Rows) -> float:
    return taus(predicted, part.true, part.room, deltas=[None])[0].pooled or 0.0


def _row(name: str, predicted: np.ndarray, test: Rows, *, seed: int) -> dict[str, object]:
    """Tau of a row, and how much better it is than the first, with a 95 % interval over streams."""
    generator = np.random.default_rng(seed)
    low, high = paired_interval(predicted, test.first, test.true, test.room, generator=generator)
    (tau,) = taus(predicted, test.true, test.room, deltas=[None])
    return {"name": name, **asdict(tau), "more": tau.pooled - _tau(test.first, test), "interval": [low, high]}


def main(dataset: Path, out: Path, streams: int = 350, seed: int = 0) -> None:
    """Read comments in every way, and print how much each adds.

    Parameters
    ----------
    dataset
        Folder that train.prepare chat wrote.
    out
        JSON file for the numbers.
    streams
        How many streams to use: encoding comments takes most of the time.
    seed
        Of the readers and the intervals.
    """
    report = study(dataset, streams=streams, seed=seed)
    write_report(report, out)
    train, validation, test = report["streams"]
    print(f"{report['dataset']}: {report['comments']:,} different comments")
    print(f"of {train} streams to train, {validation} to validate and {test} to test")
    print(f"tau of {report['segments']:,} test segments, pooled and per stream; more than the first, 95 % interval")
    width = max(len(row["name"]) for row in report["rows"])
    for row in report["rows"]:
        low, high = row["interval"]
        taus_of = f"{row['pooled']:.4f}  {row['per_room']:.4f}"
        print(f"{row['name']:<{width}}  {taus_of}  {row['more']:+.4f}  {low:+.4f} to {high:+.4f}")


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
