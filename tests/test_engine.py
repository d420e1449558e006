"""Both engines give the same results; Ray survives dying workers, and sets aside what kills them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuaihl.engine import RETRIES, EngineOptions, run_each
from kuaihl.errors import KuaiHLError, LabelError, RecordingError
from tests.fixtures.ray_cluster import Step, decode, ray_cluster, without_gpus

LOCAL, RAY = EngineOptions(), EngineOptions(engine="ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


def attempts(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text().splitlines()


def test_both_engines_give_the_same_and_ray_survives_dying_workers(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gpus(monkeypatch)
    items = ["good 0", "kill once 1", "kill always 2", "damaged 3", "good 4", "good 5"]
    outcomes = dict(run_each(Step(tmp_path), items, options=RAY, decode=decode))
    assert isinstance(outcomes[2], RecordingError)
    assert [len(attempts(tmp_path, str(k))) for k in range(6)] == [1, 2, 1 + RETRIES, 1, 1, 1]
    processes = {outcome[1] for outcome in outcomes.values() if isinstance(outcome, tuple)}
    loads = attempts(tmp_path, "loaded")
    assert processes <= {int(process) for process in loads} - {os.getpid()}
    assert len(loads) == len(set(loads)) <= 2 + 1 + 1 + RETRIES  # each worker loads once, and again after each death

    (tmp_path / "local").mkdir()
    others = [k for k in range(6) if k != 2]
    (tmp_path / "local" / "1").write_text("died before\n")
    expected = dict(run_each(Step(tmp_path / "local"), [items[k] for k in others], options=LOCAL, decode=decode))
    for k, outcome in zip(others, expected.values(), strict=True):
        if k == 3:
            assert (type(outcomes[k]), str(outcomes[k])) == (LabelError, str(outcome))
        else:
            assert outcomes[k][0] == outcome[0] == items[k]
            assert outcome[1] == os.getpid()


@pytest.mark.parametrize("options", [LOCAL, RAY], ids=["local", "ray"])
def test_an_error_of_the_program_stops(
    request: pytest.FixtureRequest, options: EngineOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options is RAY:
        request.getfixturevalue("cluster")
        without_gpus(monkeypatch)
    with pytest.raises((ZeroDivisionError, RuntimeError), match="bug 0"):
        list(run_each(Step(tmp_path), ["bug 0"], options=options))


def test_an_error_that_is_not_expected_stops(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="damaged 0"):
        list(run_each(Step(tmp_path), ["damaged 0"], options=LOCAL, expected=(RecordingError,)))


def test_with_gpus_the_cpu_cores_decode(cluster: str, tmp_path: Path) -> None:
    outcomes = dict(run_each(Step(tmp_path), ["good 0", "undecodable 1", "good 2"], options=RAY, decode=decode))
    assert isinstance(outcomes[1], LabelError)
    for k in (0, 2):
        item, process = outcomes[k]
        name, decoder = item.split(" by ")
        assert name == f"good {k}"
        assert decoder != str(process)


def test_wrong_options_and_no_cluster() -> None:
    assert list(run_each(str, [], options=RAY)) == []
    for wrong in ({"workers": 2}, {"address": "auto"}, {"engine": "ray", "workers": 0}):
        with pytest.raises(KuaiHLError):
            EngineOptions(**wrong)


def test_ray_listens_on_loopback_and_sends_no_statistics(cluster: str) -> None:
    pytest.importorskip("ray")
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False).stdout.splitlines()
    ours = [line.split()[3] for line in listening if any(name in line for name in ("raylet", "gcs_server", "ray::"))]
    assert ours
    assert all("127.0.0.1" in address for address in ours), ours


def test_without_ray_the_local_engine_works_and_ray_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from kuaihl.engine import EngineOptions, run_each\n"
        "print(list(run_each(str, [1], options=EngineOptions())))\n"
        "try: list(run_each(str, [1], options=EngineOptions(engine='ray')))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    results, error = done.stdout.splitlines()
    assert results == "[(0, '1')]"
    assert error.startswith("KuaiHLError")
    assert "kuaihl[ray]" in error
