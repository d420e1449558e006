"""Memory and speed of reading a dataset as large as the paper's: 19,334 h of 17,897 rooms, 2.3 million segments.

Run as `python -m tests.benchmarks.bench_dataset [--segments N] [--folder DIR]`. Writes shards of that many segments
with features of the compact sizes and no text, reads random training batches, and scores the validation rooms with a
narrow model. Most numbers are zero, so that the shards are small; the memory map has its full size of about 9 GiB. The
files are deleted at the end.

Pages of memory-mapped files count as memory of the process, but the system reclaims them when it needs them: they are
shown apart.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import tyro
from tqdm import tqdm

from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import KuaiHL
from tests.fixtures.small_dataset import write_room
from train.dataset import DatasetInfo, Segments, Windows, write_info
from train.scoring import score
from train.splits import select_rooms

PAPER_SEGMENTS, PAPER_ROOMS = 2_320_080, 17_897
STREAMERS = 2_000
BATCH = 64
_USED = 8  # numbers of a feature vector that are not zero


@dataclass
class Memory:
    """Peak memory of this process in bytes: all, and without pages of files."""

    resident: int = 0
    own: int = 0


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Print the time and peak memory of a block."""
    process, memory, done = psutil.Process(), Memory(), threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            now = process.memory_info()
            memory.resident = max(memory.resident, now.rss)
            memory.own = max(memory.own, now.rss - now.shared)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
    own, mapped = memory.own / 2**30, (memory.resident - memory.own) / 2**30
    print(f"{what}: {seconds:.1f} s; peak memory {own:.2f} GiB, and {mapped:.2f} GiB of mapped pages", flush=True)


def write_rooms(folder: Path, *, segments: int) -> None:
    """Write rooms of about 130 segments; a tenth validates, a tenth tests."""
    rng, preset = np.random.default_rng(0), PRESETS["compact"]
    info = DatasetInfo(
        visual_encoder=preset.visual_encoder,
        picture_dim=preset.picture_dim,
        text_encoder=preset.text_encoder,
        text_dim=preset.text_dim,
        encoders={},
        target="lvtr",
        source="random numbers",
        made_by="tests.benchmarks.bench_dataset",
    )
    write_info(folder, info)
    rooms = max(round(segments * PAPER_ROOMS / PAPER_SEGMENTS), 10)
    ends = np.linspace(0, segments, rooms + 1).astype(int)
    for k in tqdm(range(rooms), "writing rooms", mininterval=30):
        count = int(ends[k + 1] - ends[k])
        features = {
            name: np.zeros((count, size), dtype=np.float16)
            for name, size in (("pictures", 3 * info.picture_dim), ("text_both", info.text_dim))
        }
        for values in features.values():
            values[:, :_USED] = rng.normal(size=(count, _USED))
        split = {8: "validation", 9: "test"}.get(k % 10, "train")
        streamer = [f"streamer {k % STREAMERS}"] * count
        write_room(folder, info, f"{split}-{k:05d}", {"streamer": streamer, "label": rng.random(count), **features})


def main(segments: int = PAPER_SEGMENTS, batches: int = 2_000, folder: Path | None = None) -> None:
    """Print time and memory of each stage.

    Parameters
    ----------
    segments
        How many to write.
    batches
        How many random batches of 64 windows to read.
    folder
        Where to write, on a disk with 6 kB free for each segment; the system's temporary folder if not given.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        write_rooms(place, segments=segments)
        shards = [*(place / "rooms").iterdir()]
        print(f"{len(shards)} shards, {sum(shard.stat().st_size for shard in shards) / 2**30:.2f} GiB")
        with watched("opened for the first time"):
            Segments(place)
        print(f"memory map: {sum(f.stat().st_size for f in place.rglob('*.arrow')) / 2**30:.2f} GiB")
        with watched("opened again"):
            data = Segments(place)
        rooms = select_rooms(data, "train")
        config = replace(PRESETS["compact"], streamers=tuple(sorted({room.streamer for room in rooms})))
        windows = Windows(data, rooms, config)
        with watched(f"{batches} random batches of {BATCH} of {len(windows)} windows"):
            order = np.random.default_rng(0).permutation(len(windows))
            began = time.perf_counter()
            for start in range(0, batches * BATCH, BATCH):
                windows.__getitems__(order[start : start + BATCH])
            print(f"{batches / (time.perf_counter() - began):.0f} batches/s")
        narrow = KuaiHL(replace(config, dim=16, heads=2, perceiver_layers=1, decoder_layers=1)).eval()
        validation = select_rooms(data, "validation")
        with watched(f"swept over {len(validation)} validation rooms"):
            score(narrow, data, validation)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    tyro.cli(main)
