"""A server removes the files of visitors at its end, and at its start those of servers that were killed."""

import os
import signal

import psutil
import pytest

from kuaihl.demo.sessions import Limits, parse_size
from kuaihl.errors import KuaiHLError
from tests.fixtures.serving import served


def folders(path):
    return {file for file in (path / "gradio").glob("server-*") if file.is_dir()}


def test_files_of_a_killed_server_are_removed_at_the_next_start(tmp_path):
    with served(tmp_path) as first:
        (killed,) = folders(tmp_path)
        (killed / "run-1").mkdir()
        with served(tmp_path) as second:
            assert killed in folders(tmp_path)
            os.kill(second.pid, signal.SIGTERM)
            psutil.Process(second.pid).wait(30)
        os.kill(first.pid, signal.SIGKILL)
        psutil.Process(first.pid).wait(30)
    assert killed.exists()
    with served(tmp_path):
        (own,) = folders(tmp_path)
        assert own != killed


def test_limits_of_the_environment():
    assert Limits.from_environment({}) == Limits()
    space = Limits.from_environment({"SPACE_ID": "owner/demo"})
    assert (space.max_upload, space.max_disk) == ("2gb", 20 * 1024**3)
    limits = Limits.from_environment({"KUAIHL_MAX_DISK": "1.5 MB", "KUAIHL_KEEP_S": "60", "KUAIHL_MAX_WAITING": "2"})
    assert limits == Limits(max_disk=1_572_864, keep_s=60, max_waiting=2)


@pytest.mark.parametrize("text", ["", "many", "-1gb", "1e9", "2 gigabytes"])
def test_other_sizes_are_refused(text):
    with pytest.raises(KuaiHLError, match="is not a size"):
        parse_size(text)
