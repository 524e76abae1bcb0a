"""The lock that lets several processes fetch once, and the note beside it that says who holds it.

The kernel's file lock ends with its process, however that ends. Some network disks grant it to everybody, though. So the
holder leaves a note with its host and process id: whoever comes second can say whom it waits for, waits for a live
process of the same host even where the lock did not stop it, and learns that a process of another host may be at work.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core.atomic import atomic_write, storage_errors
from ..core.errors import StorageError

logger = logging.getLogger("nyala.hub")

LOCK_SECONDS = 3600.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Owner:
    """A process that holds, or held, a lock.

    Attributes:
        pid, host: which process, and where.
        born: its start, as the system counts it, so that another process with the same number is not taken for it; empty
            where the system does not tell.

    Example:
        >>> Owner.me().is_alive(), Owner(pid=2**22 + 1, host=Owner.me().host, born="1").is_alive()
        (True, False)
    """

    pid: int
    host: str
    born: str

    @classmethod
    def me(cls) -> Owner:
        return cls(os.getpid(), socket.gethostname(), _born(os.getpid()))

    @classmethod
    def read(cls, note: Path) -> Owner | None:
        """Whoever signed ``note``; None where there is none, or nobody can read it."""
        try:
            content = json.loads(note.read_text(encoding="utf-8"))
            return cls(int(content["pid"]), str(content["host"]), str(content["born"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_here(self) -> bool:
        """Whether it is a process of this host."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether it is a process of this host that surely runs still."""
        return self.is_here() and bool(self.born) and _born(self.pid) == self.born

    def __str__(self) -> str:
        return f"process {self.pid}" if self.is_here() else f"process {self.pid} on {self.host}"


def _born(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@contextmanager
def locked(path: Path, what: str) -> Iterator[Owner | None]:
    """Hold the lock file ``path``; a second process waits until the first is done, and then finds the work done.

    Yields:
        None, or a process of another host that left its note and may be at work all the same.

    Raises:
        StorageError: the lock file cannot be made, or another process held it for an hour.
    """
    from filelock import FileLock

    from .storage import make_folder

    make_folder(path.parent)
    note = path.with_name(f"{path.name}.owner")
    lock = FileLock(path)
    with storage_errors(path, "lock"):
        _acquire(lock, note, path, what)
    before = Owner.read(note)
    stranger = before if before is not None and not before.is_here() else None
    try:
        _sign(note)
        yield stranger
    finally:
        if Owner.read(note) == Owner.me():
            with suppress(OSError):
                note.unlink()
        lock.release()


def _sign(note: Path) -> None:
    with suppress(StorageError):  # a convenience: the lock itself is held
        atomic_write(note, json.dumps(asdict(Owner.me())))


def _acquire(lock: object, note: Path, path: Path, what: str) -> None:
    """Get the lock, and wait for a live holder whom the lock did not stop."""
    from filelock import BaseFileLock, Timeout

    assert isinstance(lock, BaseFileLock)
    try:
        lock.acquire(timeout=1.0)
    except Timeout:
        logger.warning("%s is fetching %s: waiting for it", Owner.read(note) or "another process", what)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise _held_too_long(note, path) from error
    since = time.monotonic()
    while (owner := Owner.read(note)) is not None and owner.pid != os.getpid() and owner.is_alive():
        if time.monotonic() - since > LOCK_SECONDS:
            lock.release()
            raise _held_too_long(note, path)
        time.sleep(_POLL_SECONDS)


def _held_too_long(note: Path, path: Path) -> StorageError:
    owner = Owner.read(note) or "another process"
    return StorageError(f"{owner} has held {path} for an hour", fix="end that process, then try again")
