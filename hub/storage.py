"""Where fetched files live, and the room they need."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..core.atomic import storage_errors
from ..core.cache import cache_folder
from ..core.errors import StorageError
from .mutex import locked
from .quota import in_words, require_quota

__all__ = ["cache_folder", "is_offline", "locked", "logger", "make_folder", "require_space"]

logger = logging.getLogger("nyala.hub")

_SPARE = 64 << 20  # bytes left free beside what a download needs: a disk filled to the brim breaks other programs


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
        StorageError: too little free space, or more than ``NYALA_QUOTA`` allows; the message says how much is missing.
    """
    require_quota(_fetched(), size, what)
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size + _SPARE:
        raise StorageError(
            f"{what} needs {in_words(size)}, but the disk of {folder} has {in_words(free)} free",
            why=f"{in_words(_SPARE)} must stay free for other programs",
            fix=f"free {in_words(size + _SPARE - free)}, or set NYALA_CACHE (HF_HOME for a model hub) to another disk",
        )


def _fetched() -> Iterator[Path]:
    """The folders whose files count as fetched by nyala: its cache, and its repositories in the model hub's cache."""
    from .sources import huggingface

    cache = cache_folder()
    yield from (path for path in (cache.iterdir() if cache.is_dir() else ()) if path.is_dir() and path.name[0] != ".")
    for kind, records in (("models", cache / "hub"), ("datasets", cache / "datasets" / "hub")):
        for record in records.iterdir() if records.is_dir() else ():
            yield huggingface.cache_folder() / f"{kind}--{record.name}"
