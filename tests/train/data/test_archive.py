"""An archive in object storage, prepared by a Ray cluster: the same dataset as from local files in one process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from upath import UPath

from kuaihl.engine import EngineOptions
from tests.fixtures.object_storage import serve_s3
from tests.fixtures.ray_cluster import ray_cluster, without_gpus
from tests.fixtures.videos import write_recording
from train.data.labels import LabelOptions
from train.data.recordings import RecordingsConfig, prepare_recordings
from train.dataset import read_info
from train.files import open_path

NAMES = ("a", "b", "c", "d")
FEW = LabelOptions(min_impressions=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Object storage, and a cluster whose workers know it."""
    with serve_s3("archive"), ray_cluster() as address:
        yield address


@pytest.fixture(scope="module")
def channel(cluster: str, tmp_path_factory: pytest.TempPathFactory, short_log: Path) -> Path:
    """Four recordings, of which one has a comment log, and one that is no recording; here and in object storage."""
    folder = tmp_path_factory.mktemp("channel")
    rows = ["recording,log,labels,streamer,date"]
    for k, name in enumerate(NAMES):
        write_recording(folder / f"{name}.mp4", duration_s=65.0, fps=5)
        rows.append(f"{name}.mp4,{'chat.csv' if name == 'a' else ''},views.csv,Ann,2024-01-0{k + 1}")
    (folder / "poisoned.mp4").write_bytes(b"no recording")
    rows.append("poisoned.mp4,,views.csv,Ann,2024-02-01")
    (folder / "chat.csv").write_bytes(short_log.read_bytes())
    (folder / "views.csv").write_text("time_s,view_s\n5,70\n35,10\n", encoding="utf-8")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    for file in folder.iterdir():
        (UPath("s3://archive/channel") / file.name).write_bytes(file.read_bytes())
    return folder


def read_shards(out: Path) -> dict[str, bytes]:
    return {shard.name: shard.read_bytes() for shard in sorted((out / "rooms").glob("*.parquet"))}


def test_ray_resumes_after_its_driver_was_killed(
    cluster: str, channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = open_path("s3://archive/out")
    command = "-m train.prepare recordings s3://archive/channel/manifest.csv --out s3://archive/out --min-impressions 1"
    driver = subprocess.Popen(
        [sys.executable, *command.split(), "--engine", "ray", "--address", cluster, "--workers", "1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 300
    while not (out / "inputs").exists() and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait(timeout=30) == -signal.SIGKILL, "it ended before it was killed"

    without_gpus(monkeypatch)
    config = RecordingsConfig(open_path("s3://archive/channel/manifest.csv"), out, labels=FEW)
    lines: list[str] = []
    summary = prepare_recordings(replace(config, execution=EngineOptions(engine="ray")), report=lines.append)
    assert set(summary.done) == set(NAMES)
    assert {"unchanged", "encoded"} == set(summary.done.values())
    assert list(summary.failed) == ["poisoned"]
    assert any("poisoned: skipped: line 6" in line for line in lines)

    local = RecordingsConfig(channel / "manifest.csv", tmp_path / "out", labels=FEW)
    prepare_recordings(local, report=lines.append)
    assert read_shards(out) == read_shards(local.out)
    assert asdict(read_info(out)) == asdict(read_info(local.out))

    # Only the split, which depends on how many can be used, is written anew; nothing is encoded again.
    assert set(prepare_recordings(config, report=lines.append).done.values()) <= {"unchanged", "labelled"}
