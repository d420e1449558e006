"""Preparing an archive: recordings per hour by engine and workers, and the memory of the driver for a long manifest.

`python -m tests.benchmarks.bench_scale [RECORDINGS]` encodes copies of a made recording with the local engine and with
1 and 2 Ray workers, then runs a manifest of 20,000 rows through the engine with a step that does nothing.
"""

import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import psutil

from kuaihl.engine import EngineOptions, run_each
from tests.fixtures.videos import write_recording
from train.data.labels import LabelOptions
from train.data.manifest import Entry
from train.data.recordings import RecordingsConfig, prepare_recordings

ROWS = 20_000
DURATION_S = 140.0


def main(count: int) -> None:
    """Print recordings per hour as ratios of one run, and the memory of the driver."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_channel(folder, count=count)
        warm_up = EngineOptions(engine="ray", workers=2)
        list(run_each(time.sleep, [0.1, 0.1], options=warm_up))  # Ray and its workers start
        rates = {}
        for label, options in {
            "local": EngineOptions(),
            "ray, 1 worker": EngineOptions(engine="ray", workers=1),
            "ray, 2 workers": EngineOptions(engine="ray", workers=2),
        }.items():
            rates[label] = measure_rate(replace(config, out=folder / label, execution=options))
            print(f"{label}: {rates[label]:.0f} recordings of {DURATION_S:g} s per hour", flush=True)
        print(f"engine against local loop: {rates['local'] / rates['ray, 1 worker'] - 1:+.1%}")
        print(f"efficiency of 2 workers: {rates['ray, 2 workers'] / rates['ray, 1 worker'] / 2:.2f}")
    measure_memory()


def write_channel(folder: Path, *, count: int) -> RecordingsConfig:
    """Write links to a recording, and their manifest."""
    recording = write_recording(folder / "recording.mp4", duration_s=DURATION_S, fps=5)
    (folder / "views.csv").write_text("time_s,view_s\n5,70\n35,10\n", encoding="utf-8")
    rows = ["recording,labels,streamer,date"]
    for k in range(count):
        (folder / f"{k}.mp4").hardlink_to(recording)
        rows.append(f"{k}.mp4,views.csv,Ann,2024-01-{1 + k % 28:02}")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return RecordingsConfig(folder / "manifest.csv", folder / "out", labels=LabelOptions(min_impressions=1))


def measure_rate(config: RecordingsConfig) -> float:
    """Return recordings per hour, from the intervals between reports: without the time to start and to load."""
    times_s: list[float] = []
    prepare_recordings(config, report=lambda _: times_s.append(time.perf_counter()))
    workers = config.execution.workers or 1
    return 3600 * (len(times_s) - workers) / (times_s[-1] - times_s[workers - 1])


def measure_memory() -> None:
    """Print how long the engine takes for many items that need no work, and the memory of this process."""
    entry = Entry("", "", Path(), None, None, None, None, "Ann", date(2024, 1, 1), "train", None, 0.0)
    entries = [replace(entry, name=f"room-{k}", where=f"line {k}") for k in range(ROWS)]
    before = psutil.Process().memory_info().rss
    began_s = time.perf_counter()
    done = np.zeros(ROWS, dtype=bool)
    for index, _ in run_each(describe, entries, options=EngineOptions(engine="ray", workers=2)):
        done[index] = True
    took_s, peak = time.perf_counter() - began_s, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{ROWS:,} rows: {took_s:.0f} s, {1000 * took_s / ROWS:.1f} ms a row, all done: {done.all()}; driver had"
        f" {before / 1e6:.0f} MB before, at most {peak / 1e6:.0f} MB"
    )


def describe(entry: Entry) -> str:
    """Return a line, as the real step does."""
    return f"unchanged {entry.name}"


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        measure_memory()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
