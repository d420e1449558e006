"""Read files while they are being written: recordings, from a file or a pipe, and the entries of comment logs."""

import glob
import hashlib
import os
import re
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kuaihl.errors import KuaiHLError, RecordingError

POLL_S = 0.1
"""Time between two looks for new bytes."""
_CHUNK_BYTES, _MAX_ENTRY_BYTES = 2**20, 16 * 2**20
_HEAD_BYTES, _SEAM_BYTES = 4096, 256


@dataclass(frozen=True, slots=True)
class Mark:
    """Identify a file that was read up to byte ``at``, by hashes of its first bytes and of the last before ``at``."""

    at: int
    head: str
    seam: str

    @classmethod
    def of(cls, file: BinaryIO, at: int) -> "Mark":
        """Return the mark at a byte of a file; the position of the file does not change."""
        seam_at = max(at - _SEAM_BYTES, 0)
        blocks = os.pread(file.fileno(), min(at, _HEAD_BYTES), 0), os.pread(file.fileno(), at - seam_at, seam_at)
        return cls(at, *(hashlib.sha256(block).hexdigest() for block in blocks))

    def is_in(self, file: BinaryIO) -> bool:
        """Return whether a file is the marked one.

        One matching hash is enough: recorders overwrite their first bytes to note sizes.
        """
        now = Mark.of(file, self.at)
        is_shorter = os.fstat(file.fileno()).st_size < self.at
        return not is_shorter and (now.head == self.head or now.seam == self.seam)


class Tail(ABC):
    """A growing recording as a file that cannot seek: ``read`` waits for more bytes and returns none at the end.

    The recording ends when it does not grow for ``until_idle_s``. FFmpeg calls ``read`` and would lose exceptions:
    Ctrl-C and errors end the recording, and `check` raises them.

    Attributes
    ----------
    name
        Name for messages.
    position
        Number of bytes read.
    has_waited
        Whether a read had to wait; the caller resets it.
    ended
        Why the recording ended; empty while it may grow.
    mark
        How far a file was read; None for a pipe.
    on_wait
        Called repeatedly while a read waits.
    """

    mark: Mark | None = None

    def __init__(self, name: str, *, until_idle_s: float) -> None:
        self.name = name
        self.position = 0
        self.has_waited = False
        self.ended = ""
        self.on_wait: Callable[[], None] | None = None
        self._until_idle_s = until_idle_s
        self._peeked = b""
        self._error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return between one and ``size`` bytes; none at the end."""
        data, self._peeked = self._peeked[:size], self._peeked[size:]
        data = data or self._wait(size)
        self.position += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, which stay to be read; fewer only at the end."""
        while len(self._peeked) < size and (data := self._wait(size - len(self._peeked))):
            self._peeked += data
        return self._peeked[:size]

    def check(self) -> None:
        """Raise the exception that ended the recording, if any.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C.
        RecordingError
            The recording cannot be read any further.
        KuaiHLError
            From ``on_wait``.
        """
        if self._error is not None:
            raise self._error

    def _wait(self, size: int) -> bytes:
        start_s = time.monotonic()
        try:
            while not self.ended:
                if data := self._read_available(size):
                    return data
                self.has_waited = True
                if self.on_wait is not None:
                    self.on_wait()
                if not self.ended and time.monotonic() - start_s > self._until_idle_s:
                    self.ended = f"it did not grow for {self._until_idle_s:g} s"
        except KeyboardInterrupt as interrupt:
            self.ended, self._error = "stopped", interrupt
        except OSError as error:
            self.ended = "it cannot be read any further"
            self._error = RecordingError(f"{self.name} cannot be read any further: {error.strerror or error}.")
        except KuaiHLError as error:
            self.ended, self._error = "it cannot be read any further", error
        return b""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened here."""

    @abstractmethod
    def _read_available(self, size: int) -> bytes:
        """Return at most ``size`` available bytes; wait ``POLL_S`` if there are none."""


class FileTail(Tail):
    """A file to which a recorder appends.

    A new file at the same path is another recording: this one then ends.

    Raises
    ------
    RecordingError
        The file cannot be opened, or (from ``check``) it was overwritten with another recording.
    """

    mark: Mark

    def __init__(self, path: Path, *, until_idle_s: float) -> None:
        super().__init__(str(path), until_idle_s=until_idle_s)
        if not path.is_file():
            raise RecordingError(
                f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: start the recorder first."
            )
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {error.strerror or error}.") from error
        self.mark = Mark.of(self._file, 0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_available(self, size: int) -> bytes:
        if not self.mark.is_in(self._file):
            raise RecordingError(f"{self.name} was overwritten with another recording. Watch it again.")
        if data := self._file.read(size):
            self.mark = Mark.of(self._file, self._file.tell())
            return data
        if self._path.exists() and not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
            self.ended = "another file replaced it"
            return self._file.read(size)
        time.sleep(POLL_S)
        return b""


class PipeTail(Tail):
    """A pipe, such as standard input; it ends when its writer closes it."""

    def __init__(self, descriptor: int, *, name: str, until_idle_s: float) -> None:
        super().__init__(name, until_idle_s=until_idle_s)
        self._descriptor = descriptor

    def close(self) -> None:
        """Leave the pipe open for its owner."""

    def _read_available(self, size: int) -> bytes:
        ready, _, _ = select.select([self._descriptor], [], [], POLL_S)
        if not ready:
            return b""
        data = os.read(self._descriptor, size)
        if not data:
            self.ended = "its writer closed it"
        return data


class EntryTail:
    """The complete entries of a growing log, from its beginning.

    A file that replaces the log (log rotation) is read after it. If the new file begins with the same entries, as when
    a recorder rewrites its log each time, nothing is read twice. If the log is truncated, the unread rest is read from
    a copy whose name begins with that of the log, as logrotate's copytruncate makes; what was written between the copy
    and the truncation is lost.

    Parameters
    ----------
    path
        An existing file.
    entry_end
        Matches the end of an entry.
    """

    def __init__(self, path: Path, entry_end: re.Pattern[bytes]) -> None:
        self._path, self._entry_end = path, entry_end
        self._file = path.open("rb", buffering=0)
        self._at = 0
        self._head = self._seam = b""  # the first bytes, and the last ones before _at

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, *, finished: bool = False) -> bytes:
        """Return some unread entries; if ``finished``, also a last entry without an end."""
        if not self._is_continued():
            rest = self._rest_of_copy()
            if not rest and self._is_being_rewritten():
                return b""
            self._restart()
            if rest:
                return rest
        data = self._entries(finished=finished)
        if not data and self._is_replaced():
            data = self._open_replacement() or self._entries(finished=finished)
        return data

    def _entries(self, *, finished: bool) -> bytes:
        data, limit = b"", _CHUNK_BYTES
        while not data and limit <= _MAX_ENTRY_BYTES:
            self._file.seek(self._at)
            block = self._file.read(limit)
            whole_block = (finished and len(block) < limit) or len(block) == _MAX_ENTRY_BYTES
            ends = (end.end() for end in self._entry_end.finditer(block))
            data = block if whole_block else block[: max(ends, default=0)]
            if len(block) < limit:
                break
            limit *= 2
        if data:
            self._at += len(data)
            self._head = self._read_at(0, min(self._at, _HEAD_BYTES))
            self._seam = (self._seam + data)[-_SEAM_BYTES:]
        return data.lstrip(b"\0")  # a recorder that goes on at its old position leaves a hole in a truncated log

    def _read_at(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)

    def _is_continued(self) -> bool:
        seam_at = self._at - len(self._seam)
        return self._read_at(seam_at, len(self._seam)) == self._seam and self._read_at(0, len(self._head)) == self._head

    def _is_being_rewritten(self) -> bool:
        is_shorter = os.fstat(self._file.fileno()).st_size < self._at
        return is_shorter and self._head.startswith(self._read_at(0, len(self._head)))

    def _rest_of_copy(self) -> bytes:
        """Return the unread bytes of a copy of the log, if there is one."""
        log_file = self._file
        try:
            for path in self._path.parent.glob(f"{glob.escape(self._path.name)}[.-]*"):
                with path.open("rb", buffering=0) as self._file:
                    if self._seam and self._is_continued():
                        return self._read_at(self._at, _MAX_ENTRY_BYTES)
        finally:
            self._file = log_file
        return b""

    def _restart(self) -> None:
        self._at, self._head, self._seam = 0, b"", b""

    def _is_replaced(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False  # the new file is not there yet

    def _open_replacement(self) -> bytes:
        """Open the new file, and return the unread rest of the old one if the new one does not contain it."""
        old, self._file = self._file, self._path.open("rb", buffering=0)
        with old:
            if self._is_continued():
                return b""
            old.seek(self._at)
            self._restart()
            return old.read(_MAX_ENTRY_BYTES)
