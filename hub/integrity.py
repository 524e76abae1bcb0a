"""sha256 of files, remembered so that a big file is hashed once and not at every start.

What is remembered is the hash of a file with a given path, inode, size and modification time. If any of them changes,
the file is hashed again. The memory is a small JSON file; it is a convenience, so a read-only cache works without it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

from ..core.atomic import atomic_write, storage_errors
from ..core.errors import StorageError
from ..core.part import FilePart, open_binary

_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file's bytes, 64 lower-case hex digits.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(path, "read"), open_binary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id(path: str | os.PathLike[str]) -> str:
    """The id git gives a file's content: sha1 over a header and the bytes. Model hubs name small files so."""
    with storage_errors(path, "read"), open(path, "rb") as file:
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class Memory:
    """Remembers hashes in ``record``; see the top of this file.

    Args:
        record: the JSON file. It and its folder need not exist.
    """

    def __init__(self, record: Path) -> None:
        self.record = record
        self._known: dict[str, list[object]] = self._load()

    def _load(self) -> dict[str, list[object]]:
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # absent, unreadable or damaged: every file is simply hashed again
            return {}
        return known if isinstance(known, dict) else {}

    def sha256(self, path: Path | FilePart) -> str:
        """The sha256 of ``path``, from memory where the file is unchanged.

        Raises:
            StorageError: it cannot be read.
        """
        with storage_errors(path, "read"):
            stat = path.stat()
        state = [stat.st_ino, stat.st_size, stat.st_mtime_ns]
        entry = self._known.get(str(path))
        if isinstance(entry, list) and entry[:3] == state and len(entry) == 4:
            return str(entry[3])
        digest = sha256_file(path)
        self.remember(path, digest)
        return digest

    def remember(self, path: Path | FilePart, digest: str) -> None:
        """The bytes of ``path`` have just been hashed, under another name perhaps.

        Raises:
            StorageError: it is not there.
        """
        with storage_errors(path, "read"):
            stat = path.stat()
        self._known[str(path)] = [stat.st_ino, stat.st_size, stat.st_mtime_ns, digest]
        self._save()

    def _save(self) -> None:
        try:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.record, json.dumps(self._known, indent=1, sort_keys=True))
        except (OSError, StorageError) as error:
            if error.errno not in _UNWRITABLE:
                raise
