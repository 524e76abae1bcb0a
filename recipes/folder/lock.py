"""One process a run folder: the operating system drops the lock when its holder dies, however it dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.atomic import storage_errors
from ...core.errors import StorageError


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds ``folder/.lock`` for the length of the block.

    Raises:
        StorageError: another process holds it, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(str(folder / ".lock"))
    with storage_errors(folder / ".lock"):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                f"another process is writing to {folder}",
                why="two processes in one run folder would destroy it",
                fix="wait until it ends, or give another folder with --folder",
            ) from error
    try:
        yield
    finally:
        lock.release()
