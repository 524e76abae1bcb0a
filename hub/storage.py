"""Where fetched files live, the room they need, and the lock that keeps two processes from fetching the same twice."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.atomic import storage_errors
from ..core.errors import StorageError

logger = logging.getLogger("nyala.hub")

_SPARE = 64 << 20  # bytes left free beside what a download needs: a disk filled to the brim breaks other programs
_LOCK_SECONDS = 3600.0


def cache_folder() -> Path:
    """``$NYALA_CACHE``, or ``~/.cache/nyala``. Files of a model hub lie in that hub client's own cache instead."""
    return Path(os.environ.get("NYALA_CACHE") or Path.home() / ".cache" / "nyala").expanduser()


def is_offline() -> bool:
    """Whether ``NYALA_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids every network call."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in ("NYALA_OFFLINE", "HF_HUB_OFFLINE"))


def make_folder(folder: Path) -> Path:
    """Create ``folder`` and its parents.

    Raises:
        StorageError: a read-only or full disk, or a file in the way.
    """
    try:
        with storage_errors(folder, "create"):
            folder.mkdir(parents=True, exist_ok=True)
    except StorageError as error:
        error.fix += ", or set NYALA_CACHE to a folder of yours"
        raise
    return folder


def require_space(folder: Path, size: int, what: str) -> None:
    """Refuse to start a download that cannot fit.

    Args:
        folder: where it would go; it need not exist yet.
        size: bytes it needs, temporaries included.
        what: what is to be downloaded.

    Raises:
        StorageError: too little free space; the message says how much is missing.
    """
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size + _SPARE:
        raise StorageError(
            f"{what} needs {megabytes(size)}, but the disk of {folder} has {megabytes(free)} free",
            fix=f"free {megabytes(size + _SPARE - free)}, or set NYALA_CACHE (HF_HOME for a model hub) to another disk",
        )


def megabytes(size: int) -> str:
    """``size`` bytes for people: ``"18.8 MB"``."""
    return f"{size / 1e6:.1f} MB"


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; a second process waits until the first is done, and then finds the work done.

    Raises:
        StorageError: the lock file cannot be made, or another process held it for an hour.
    """
    from filelock import FileLock, Timeout

    make_folder(path.parent)
    lock = FileLock(path)
    with storage_errors(path, "lock"):
        try:
            lock.acquire(timeout=1.0)
        except Timeout:
            logger.warning("another process is fetching %s: waiting for it", what)
            try:
                lock.acquire(timeout=_LOCK_SECONDS)
            except Timeout as error:
                raise StorageError(
                    f"another process has held {path} for an hour", fix="end that process, then try again"
                ) from error
    try:
        yield
    finally:
        lock.release()
