"""What every source can do."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Protocol

from ...core.atomic import storage_errors
from ...core.errors import StorageError
from ..cards import SourceSpec
from ..files import Files
from ..storage import logger


class Source(Protocol):
    """One place the files of a model can come from."""

    spec: SourceSpec

    def cached(self) -> Files | None:
        """The files if all are here and have the right hashes, else None. Never touches the network.

        A damaged file in nyala's cache is deleted on the way, so that it is fetched again.
        """

    def present(self) -> Files | None:
        """The files where they lie, if all are here, with the hashes they should have; nothing is read or deleted."""

    def fetch(self, *, patient: bool) -> Files:
        """Get what is missing, verify everything, return the files.

        Args:
            patient: wait longer for a server that is busy, because there is no other source to turn to.

        Raises:
            NyalaError: one of core's errors, saying what failed and what to do.
        """


def discard(path: Path, why: str) -> None:
    """Delete a damaged file from a cache, and what a symbolic link there points to.

    Raises:
        StorageError: it cannot be deleted.
    """
    logger.warning("%s %s: deleting it", path, why)
    target = path.resolve()
    with storage_errors(path, "delete the damaged file"):
        target.unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def try_discard(path: Path, why: str) -> None:
    """As :func:`discard`, but a cache that cannot be written to is left alone: the caller already refuses the file."""
    with contextlib.suppress(StorageError):
        discard(path, why)
