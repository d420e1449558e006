"""Run generators in a child process with limited memory and time, so that a decoder cannot crash or hang the caller.

Processes are started with ``python -m``, not forked: the caller may have threads, and its main module is not imported.
"""

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

MEMORY_BYTES = 2**30
"""Memory that a process may use above what it holds when it starts, by default."""
STALL_S = 120.0
"""A process that yields nothing for so long is ended."""
POLL_S = 0.2
_Item = TypeVar("_Item")


class WorkerError(Exception):
    """The process died, ran out of memory or time, or was killed."""


class _Worker:
    """A child process that runs one generator at a time."""

    def __init__(self) -> None:
        self.connection, remote = Pipe()
        root = str(Path(__file__).resolve().parents[2])
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", "kuaihl.media.worker", str(remote.fileno())],
            pass_fds=[remote.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])},
        )
        remote.close()

    def receive(self, poll: Callable[[], None]) -> tuple[str, Any]:
        """Return the next message; call ``poll`` while waiting for it."""
        deadline = time.monotonic() + STALL_S
        try:
            while not self.connection.poll(POLL_S):
                poll()
                if time.monotonic() > deadline:
                    raise WorkerError(f"made no progress for {STALL_S:.0f} s")
            return self.connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerError("crashed, or ran out of memory or time") from None

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


_idle: list[_Worker] = []
_lock = threading.Lock()


def iterate(
    function: Callable[..., Iterator[_Item]],
    *args: Any,
    cpu_s: float,
    memory_bytes: int = MEMORY_BYTES,
    poll: Callable[[], None] = lambda: None,
) -> Iterator[_Item]:
    """Yield what ``function(*args)`` yields in a child process.

    Function, arguments and items are pickled. An exception that the function raises is raised here.

    Parameters
    ----------
    cpu_s, memory_bytes
        CPU time that the process may use, and memory above what it holds when it starts.
    poll
        Called several times a second while waiting; an exception that it raises ends the process.

    Raises
    ------
    WorkerError
        The process died, exceeded a limit, or yielded nothing for `STALL_S`.
    """
    if os.name != "posix":  # no limits and no passing of file descriptors there
        yield from function(*args)
        return
    with _lock:
        worker = _idle.pop() if _idle else None
    if worker is None or worker.process.poll() is not None:
        worker = _Worker()
    try:
        worker.connection.send((function, args, cpu_s, memory_bytes))
        while (message := worker.receive(poll))[0] == "item":
            yield message[1]
    except BaseException as error:
        worker.kill()
        if isinstance(error, ConnectionError):
            raise WorkerError("crashed") from error
        raise
    with _lock:
        _idle.append(worker)
    if message[0] == "error":
        raise message[1]


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().kill()


def _serve(connection: Connection) -> None:
    """Run generators that come through ``connection`` until it is closed."""
    import resource

    held = 0
    if sys.platform == "linux":
        held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    while True:
        try:
            function, args, cpu_s, memory_bytes = connection.recv()
        except EOFError:
            return
        limits = {resource.RLIMIT_CPU: int(time.process_time() + cpu_s) + 1, resource.RLIMIT_DATA: held + memory_bytes}
        for kind, limit in limits.items():
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
        try:
            for item in function(*args):
                connection.send(("item", item))
        except Exception as error:  # noqa: BLE001 - raised again in the caller
            connection.send(("error", error))
        else:
            connection.send(("end", None))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
