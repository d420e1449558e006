"""Made-up chats as a Parquet file, for tests of audience participation."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHANNELS = ("red", "blue")


def write_chats(file: Path, *, streams: int = 12, segments: int = 45, seed: int = 0) -> None:
    """Write streams whose 40 chatters are livelier at some times than at others; channels take turns."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {name: [] for name in ("vod", "channel", "time_s", "chatter", "text")}
    for k in range(streams):
        mood = np.clip(0.3 + np.cumsum(rng.normal(scale=0.08, size=segments)), 0.1, 0.9)
        mood[0] = 1.0  # all are present from the start, so that each segment from the 21st on is scored
        written, who = np.nonzero(rng.random((segments, 40)) < mood[:, None])
        count = len(who)
        columns["vod"] += [str(98 + k)] * count  # the order of numbers is not that of letters
        columns["channel"] += [CHANNELS[k % 2]] * count
        columns["time_s"] += (30 * written + rng.integers(30, size=count)).tolist()
        columns["chatter"] += who.tolist()
        columns["text"] += rng.choice(["hi", "lol", "what a play"], size=count).tolist()
    table = pa.table(columns)
    pq.write_table(table.take(rng.permutation(len(table))), file)
