"""Memory of the served app: before, after runs that are cancelled, after whole ones, and when their files are gone.

Run as `python -m tests.benchmarks.bench_memory [RECORDING]`. The recording, by default the example, is repeated to two
hours.
"""

import sys
import tempfile
import time
from pathlib import Path

import psutil
from gradio_client import Client, handle_file

from tests.benchmarks.bench_pipeline import EXAMPLE, HOUR_S, repeat, write_log
from tests.fixtures.serving import Server, served

CANCELS = 3
"""Of each stage."""
STAGES = ("Recognising speech", "Encoding pictures")
KEEP_S = 300


def resident_mib(server: Server) -> float:
    """Return the memory of the server and its children."""
    process = psutil.Process(server.pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


def cancel_in(client: Client, stage: str, files: Path, *given: object) -> float:
    """Start a run, cancel it in a stage, and return the seconds until its thread ended."""
    before = set(files.glob("run-*"))
    job = client.submit(*given, api_name="/highlights")
    while not any((unit.desc or "").startswith(stage) for unit in job.status().progress_data or []):
        if job.done():
            raise RuntimeError(f"the run never came to {stage}: {job.exception()}")
        time.sleep(0.05)
    began = time.perf_counter()
    job.cancel()
    while set(files.glob("run-*")) - before:
        time.sleep(0.02)
    return time.perf_counter() - began


def main(source: Path = EXAMPLE) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, served(folder := Path(name), KUAIHL_KEEP_S=str(KEEP_S)) as server:
        recording, log, files = folder / "long.mp4", folder / "long.csv", folder / "gradio"
        repeat(source, recording, duration_s=2 * HOUR_S)
        write_log(log, duration_s=2 * HOUR_S)
        patient = {"timeout": 600}
        client = Client(server.url, verbose=False, download_files=str(folder / "answers"), httpx_kwargs=patient)
        short, long = [handle_file(source)], [handle_file(recording), handle_file(log)]

        def tell(when: str, note: str = "") -> None:
            print(f"{when:<34}{resident_mib(server):8.0f} MiB  {note}", flush=True)

        client.predict(*short, api_name="/highlights")  # everything is loaded now
        tell("after a first run")
        for stage in STAGES:
            for number in range(CANCELS):
                ended_s = cancel_in(client, stage, files, *long)
                tell(f"after cancel {number + 1} while {stage.lower()}", f"ended in {ended_s:.2f} s")
        for number in range(3):
            client.predict(*short, api_name="/predict")
            tell(f"after whole run {number + 1}")
        deadline = time.monotonic() + 4 * KEEP_S
        while any(files.glob("run-*")) and time.monotonic() < deadline:
            time.sleep(1.0)
        left = sum(file.is_file() for file in files.rglob("*"))
        tell("when their time is over", f"{left} files left")


if __name__ == "__main__":
    main(*(Path(a) for a in sys.argv[1:]))
