"""Where the hub client keeps a repository's files, so that it and nyala share them.

``models--ORG--NAME/blobs/ID`` holds the bytes, under the sha256 (large files) or git id (small ones) that the hub states;
``snapshots/COMMIT/NAME`` is a link to it. A file that is still arriving lies beside the blobs as ``ID.nyala.incomplete``:
the client's own tools see it as an unfinished download, and the next call goes on from it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ...core.atomic import fsync_folder, storage_errors
from ..storage import make_folder
from . import huggingface

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class HubCache:
    """The place of one repository in the client's cache.

    Args:
        repo: ``org/name``.
        kind: ``"model"`` or ``"dataset"``.
    """

    def __init__(self, repo: str, kind: str = "model") -> None:
        self.root = huggingface.cache_folder()
        self.folder = self.root / f"{kind}s--{repo.replace('/', '--')}"

    def snapshot(self, commit: str, name: str) -> Path:
        """Where the file ``name`` of a commit is found."""
        return self.folder / "snapshots" / commit / name

    def blob(self, identity: str) -> Path:
        """Where the bytes with this id lie."""
        return self.folder / "blobs" / _checked(identity)

    def part(self, identity: str) -> Path:
        """Where the bytes with this id lie while they arrive."""
        return self.folder / "blobs" / f"{_checked(identity)}.nyala.incomplete"

    def lock(self, identity: str) -> Path:
        """The file that the client, too, locks while it fetches these bytes."""
        return self.root / ".locks" / self.folder.name / f"{_checked(identity)}.lock"

    def commit_of(self, revision: str) -> str:
        """The commit that a branch or tag meant when something was last fetched from it; empty where nothing was."""
        ref = self.folder / "refs" / revision
        return ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""

    def keep(self, part: Path, identity: str, commit: str, name: str) -> Path:
        """Make verified bytes a blob, and ``name`` of the commit a link to it; returns the link.

        Raises:
            StorageError: the disk refuses.
        """
        blob = self.blob(identity)
        with storage_errors(blob):
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, blob)
            fsync_folder(blob.parent)
        return self.link(identity, commit, name)

    def link(self, identity: str, commit: str, name: str) -> Path:
        """Make ``name`` of the commit a link to the blob; the blob itself where links cannot be made.

        Raises:
            StorageError: the disk refuses.
        """
        blob, path = self.blob(identity), self.snapshot(commit, name)
        make_folder(path.parent)
        with storage_errors(path):
            path.unlink(missing_ok=True)
            try:
                if not _may_link():
                    raise NotImplementedError
                os.symlink(os.path.relpath(blob, path.parent), path)
            except (NotImplementedError, PermissionError):  # Windows without developer mode, some network disks
                os.replace(blob, path)
        return path


def _checked(identity: str) -> str:
    """It comes from a server and becomes part of a path."""
    if not _ID.fullmatch(identity):
        raise ValueError(f"{identity!r} is no sha1 or sha256")
    return identity


def _may_link() -> bool:
    constants = sys.modules.get("huggingface_hub.constants")
    return not getattr(constants, "HF_HUB_DISABLE_SYMLINKS", False)
