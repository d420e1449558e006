"""Memory and files after Cancel: ``python -m tests.benchmarks.bench_cancelling RECORDING [COMMENTS] [TIMES]``.

Starts the app and cancels a run through the API at a different time in each round. Prints how long the work went on, in
wall-clock and CPU time, and the memory of the server afterwards. Use a long recording: a run that ends before it is
cancelled says nothing about Cancel.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from gradio_client import Client, handle_file

from tests.fixtures.serving import served

LIMIT_S = 2.0
TIMES = 12
FIRST_S, LAST_S = 1.0, 20.0
"""Seconds after which the first and the last run are cancelled."""
FREED_S = 3.0
"""Seconds between the end of the work and the reading of the memory."""


def main(recording: str, comments: str | None = None, times: int = TIMES) -> None:
    """Print a line for each run, then the maximum."""
    worst_s = 0.0
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        process, runs = psutil.Process(server.pid), Path(folder) / "gradio"
        client = Client(server.url, verbose=False)
        files = [handle_file(path) for path in (recording, comments) if path]
        for after_s in np.linspace(FIRST_S, LAST_S, times):
            job = client.submit(*files, api_name="/highlights")
            while not list(runs.glob("run-*")):
                time.sleep(0.01)
            time.sleep(after_s)
            over = job.done()
            began_s, computed_s = time.perf_counter(), sum(process.cpu_times()[:2])
            job.cancel()
            while list(runs.glob("run-*")):
                time.sleep(0.01)
            took_s = time.perf_counter() - began_s
            computed_s = sum(process.cpu_times()[:2]) - computed_s
            time.sleep(FREED_S)
            held_mib = process.memory_info().rss / 2**20
            worst_s = max(worst_s, took_s)
            end = "was over" if over else f"stopped in {took_s:.2f} s, {computed_s:.2f} s on the processor"
            print(f"after {after_s:4.1f} s: {end}; the server holds {held_mib:,.0f} MiB", flush=True)
    print(f"longest: {worst_s:.2f} s, limit {LIMIT_S:g} s")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
