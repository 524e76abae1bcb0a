"""What a model hub says a commit holds: files with sizes and hashes. None of it is trusted further than it can be checked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from ..integrity import git_blob_id

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Listing:
    """What the hub says a commit holds.

    Args:
        commit: its id, 40 hex digits.
        files: name -> the client's entry (``size``, ``blob_id``, ``lfs``).
        license: as the repository's tags state it; empty where they do not.
        task: what the hub says the model is for, e.g. ``"sentence-similarity"``; empty where it does not.
        gated: whether its owner wants something accepted before a file is given out.
    """

    def __init__(self, commit: str, files: dict[str, Any], license: str = "", task: str = "", gated: bool = False) -> None:
        self.commit = commit
        self.files = files
        self.license = license
        self.task = task
        self.gated = gated

    def size(self, name: str) -> int:
        return int(getattr(self.files[name], "size", 0) or 0)

    def stated_size(self, name: str) -> int | None:
        """Bytes of the file; None where the hub does not say."""
        size = getattr(self.files[name], "size", None)
        return size if isinstance(size, int) and size >= 0 else None

    def states(self, name: str) -> str:
        """The hash the hub states: sha256 of a large file, git id of a small one; empty where it states none."""
        sibling = self.files[name]
        stated = sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id
        return str(stated) if _HASH.fullmatch(str(stated)) else ""  # it becomes a part of paths

    def identity(self, name: str) -> str:
        """What the file is called in the cache while it arrives: its hash, or else a number for its place."""
        return self.states(name) or hashlib.sha1(f"{self.commit}/{name}".encode(), usedforsecurity=False).hexdigest()

    def contradiction(self, name: str, expected: str, authority: str) -> str:
        """Why the file cannot have the expected sha256 to begin with; empty where it may."""
        lfs = self.files[name].lfs
        if not expected or lfs is None or lfs.sha256 == expected:
            return ""
        return f"has sha256 {lfs.sha256} on the hub, {authority} says {expected}"

    def problem(self, name: str, path: Path, digest: str, expected: str, authority: str) -> str:
        """What is wrong with the file at ``path``; empty where nothing is."""
        if expected:
            return "" if digest == expected else f"has sha256 {digest}, {authority} says {expected}"
        sibling = self.files[name]
        if sibling.lfs is not None:
            return "" if digest == sibling.lfs.sha256 else f"has sha256 {digest}, the hub says {sibling.lfs.sha256}"
        stated = sibling.blob_id
        return "" if stated in (None, git_blob_id(path)) else f"does not have the git id {stated} that the hub states"


def about(info: Any) -> dict[str, Any]:
    """What else a repository's description says, as :class:`Listing` takes it."""
    return {
        "license": license_of(info),
        "task": str(getattr(info, "pipeline_tag", None) or ""),
        "gated": bool(getattr(info, "gated", None)),
    }


def license_of(info: Any) -> str:
    """The licence a repository's tags state, e.g. ``apache-2.0``; empty where they state none."""
    tags = [str(tag) for tag in getattr(info, "tags", None) or []]
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")
