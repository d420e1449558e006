"""Follow bytes while they are being written: a recording, in a file or through a pipe, and the entries of a log."""

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
"""How long to wait before looking for new bytes again."""
_CHUNK_BYTES, _MAX_ENTRY_BYTES = 2**20, 16 * 2**20
_HEAD_BYTES, _SEAM_BYTES = 4096, 256


@dataclass(frozen=True, slots=True)
class Mark:
    """By what a file that was read up to byte ``at`` is known again: hashes of its beginning, and of what is before."""

    at: int
    head: str
    seam: str

    @classmethod
    def of(cls, file: BinaryIO, at: int) -> "Mark":
        """Mark a place in a file, whose position stays as it is."""
        seam_at = max(at - _SEAM_BYTES, 0)
        parts = os.pread(file.fileno(), min(at, _HEAD_BYTES), 0), os.pread(file.fileno(), at - seam_at, seam_at)
        return cls(at, *(hashlib.sha256(part).hexdigest() for part in parts))

    def is_in(self, file: BinaryIO) -> bool:
        """Whether a file is that one: recorders write over one of the two, where they note sizes, never over both."""
        now = Mark.of(file, self.at)
        is_shorter = os.fstat(file.fileno()).st_size < self.at
        return not is_shorter and (now.head == self.head or now.seam == self.seam)


class Tail(ABC):
    """What a recorder writes, as a file that cannot be sought in: reading waits for more, and nothing means the end.

    It ends once nothing came for ``until_idle_s``. FFmpeg, which calls ``read``, would lose or swallow exceptions:
    Ctrl-C and errors make the end come at once, and are raised by ``check``.

    Attributes
    ----------
    name
        For messages.
    position
        Bytes handed out.
    waited
        Whether a reading had to wait; whoever has taken note sets it back.
    ended
        Why there is no more; empty as long as there may be.
    mark
        How far a file was read; None for a pipe.
    meanwhile
        What to do again and again while a reading waits.
    """

    mark: Mark | None = None

    def __init__(self, name: str, *, until_idle_s: float) -> None:
        self.name = name
        self.position = 0
        self.waited = False
        self.ended = ""
        self._until_idle_s = until_idle_s
        self.meanwhile: Callable[[], None] | None = None
        self._head = b""
        self._error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return at least one byte and at most ``size``; none at the end."""
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._wait(size)
        self.position += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes without taking them; fewer only at the end."""
        while len(self._head) < size and (more := self._wait(size - len(self._head))):
            self._head += more
        return self._head[:size]

    def check(self) -> None:
        """Raise what made the end come early: KeyboardInterrupt, or an error.

        Raises
        ------
        RecordingError
            The recording cannot be read any further.
        KuaiHLError
            What ``meanwhile`` raised.
        """
        if self._error is not None:
            raise self._error

    def _wait(self, size: int) -> bytes:
        since_s = time.monotonic()
        try:
            while not self.ended:
                if data := self._take(size):
                    return data
                self.waited = True
                if self.meanwhile is not None:
                    self.meanwhile()
                if not self.ended and time.monotonic() - since_s > self._until_idle_s:
                    self.ended = f"nothing came for {self._until_idle_s:g} s"
        except KeyboardInterrupt as stop:
            self.ended, self._error = "stopped", stop
        except OSError as error:
            self.ended = "it cannot be read any further"
            self._error = RecordingError(f"{self.name} cannot be read any further: {error.strerror or error}.")
        except KuaiHLError as error:
            self.ended, self._error = "it cannot be read any further", error
        return b""

    @abstractmethod
    def close(self) -> None:
        """Let go of what was opened here."""

    @abstractmethod
    def _take(self, size: int) -> bytes:
        """Return what is there, at most ``size`` bytes; where there is nothing, wait ``POLL_S`` for it."""


class FileTail(Tail):
    """A file that a recorder appends to.

    A new file at the same path is another recording: the old one then ends with what is in it.

    Raises
    ------
    RecordingError
        The file cannot be opened, or (by ``check``) another recording was written over it while it was read.
    """

    def __init__(self, path: Path, *, until_idle_s: float) -> None:
        super().__init__(str(path), until_idle_s=until_idle_s)
        if not path.is_file():
            raise RecordingError(f"{path} is {'a folder' if path.is_dir() else 'not there'}: start the recorder first.")
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {error.strerror or error}.") from error
        self.mark = Mark.of(self._file, 0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, size: int) -> bytes:
        if not self.mark.is_in(self._file):
            raise RecordingError(f"Another recording was written over {self.name} while it was watched. Watch it anew.")
        if data := self._file.read(size):
            self.mark = Mark.of(self._file, self._file.tell())
            return data
        if self._path.exists() and not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
            self.ended = "another file took its place"
            return self._file.read(size)
        time.sleep(POLL_S)
        return b""


class PipeTail(Tail):
    """A pipe, such as standard input; it ends when its writer closes it."""

    def __init__(self, descriptor: int, *, name: str, until_idle_s: float) -> None:
        super().__init__(name, until_idle_s=until_idle_s)
        self._descriptor = descriptor

    def close(self) -> None:
        """Leave the pipe to those who opened it."""

    def _take(self, size: int) -> bytes:
        ready, _, _ = select.select([self._descriptor], [], [], POLL_S)
        if not ready:
            return b""
        data = os.read(self._descriptor, size)
        if not data:
            self.ended = "its writer ended it"
        return data


class EntryTail:
    """A log that grows by whole entries, from its beginning.

    It goes on in a file that takes its place, as where logs are rotated. Where that holds the same and more, as where
    a recorder writes the log anew each time, or where a shorter file has become as long again, nothing is read twice.
    Of a log that is cut to nothing in place, what had not been read is taken from its copy, if one lies beside it under
    its name and more, as logrotate's copytruncate leaves it; what is written between copy and cut is in neither.

    Parameters
    ----------
    path
        A file that exists.
    entry_end
        What stands at the end of an entry.
    """

    def __init__(self, path: Path, entry_end: re.Pattern[bytes]) -> None:
        self._path, self._entry_end = path, entry_end
        self._file = path.open("rb", buffering=0)
        self._at = 0
        self._head = self._seam = b""  # the first bytes, and the last before _at

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, *, finished: bool = False) -> bytes:
        """Return entries that have not been read, not all at once; if ``finished``, also a last one without an end."""
        if not self._is_continued():
            rest = self._rest_of_copy()
            if not rest and self._is_being_rewritten():
                return b""
            self._begin_anew()
            if rest:
                return rest
        data = self._entries(finished=finished)
        if not data and self._is_replaced():
            data = self._follow() or self._entries(finished=finished)
        return data

    def _entries(self, *, finished: bool) -> bytes:
        data, limit = b"", _CHUNK_BYTES
        while not data and limit <= _MAX_ENTRY_BYTES:
            self._file.seek(self._at)
            found = self._file.read(limit)
            everything = (finished and len(found) < limit) or len(found) == _MAX_ENTRY_BYTES
            ends = (end.end() for end in self._entry_end.finditer(found))
            data = found if everything else found[: max(ends, default=0)]
            if len(found) < limit:
                break
            limit *= 2
        if data:
            self._at += len(data)
            self._head = self._part(0, min(self._at, _HEAD_BYTES))
            self._seam = (self._seam + data)[-_SEAM_BYTES:]
        return data.lstrip(b"\0")  # the hole before what is written by who goes on where the log was before it was cut

    def _part(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)

    def _is_continued(self) -> bool:
        seam_at = self._at - len(self._seam)
        return self._part(seam_at, len(self._seam)) == self._seam and self._part(0, len(self._head)) == self._head

    def _is_being_rewritten(self) -> bool:
        is_shorter = os.fstat(self._file.fileno()).st_size < self._at
        return is_shorter and self._head.startswith(self._part(0, len(self._head)))

    def _rest_of_copy(self) -> bytes:
        """Return what a copy of the log holds behind what was read."""
        cut = self._file
        try:
            for path in self._path.parent.glob(f"{glob.escape(self._path.name)}[.-]*"):
                with path.open("rb", buffering=0) as self._file:
                    if self._seam and self._is_continued():
                        return self._part(self._at, _MAX_ENTRY_BYTES)
        finally:
            self._file = cut
        return b""

    def _begin_anew(self) -> None:
        self._at, self._head, self._seam = 0, b"", b""

    def _is_replaced(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False  # between the old and the new one

    def _follow(self) -> bytes:
        """Go on in the file that took the place of this one: the rest of this one, where it does not hold it."""
        old, self._file = self._file, self._path.open("rb", buffering=0)
        with old:
            if self._is_continued():
                return b""
            old.seek(self._at)
            self._begin_anew()
            return old.read(_MAX_ENTRY_BYTES)
