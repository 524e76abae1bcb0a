"""Fetching one file of a dataset from its mirrors into the cache, verified by what it holds.

Weights come through the sources of a card; this is for data that lies on plain web servers.
"""

from __future__ import annotations

import gzip
import hashlib
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..core.atomic import atomic_write, storage_errors
from ..core.errors import IntegrityError, NetworkError
from .progress import download_bar
from .storage import cache_folder, is_offline, locked, require_space

_TIMEOUT = 20.0
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Download:
    """A file and where to get it.

    Attributes:
        name: its name in the cache.
        urls: mirrors, in the order to try them.
        content_sha256: of the file's bytes; for a ``.gz`` file of what it unpacks to, since mirrors may pack differently.
        folder: folder inside the cache.
        max_bytes: a larger answer is refused.
    """

    name: str
    urls: tuple[str, ...]
    content_sha256: str
    folder: str
    max_bytes: int = 1 << 31


def fetch(download: Download) -> Path:
    """The path of the file in the cache, fetched if it is not there. Nothing half-fetched or wrong is left behind.

    Raises:
        NetworkError: every mirror failed, or the network is forbidden; the message lists what each said.
        IntegrityError: a mirror served other content, and no mirror the right one.
        StorageError: the cache cannot be written.
    """
    path = cache_folder() / download.folder / download.name
    if path.is_file() and content_sha256(path) == download.content_sha256:
        return path
    if is_offline():
        raise NetworkError(
            f"{download.name} is not in the cache {path.parent}",
            why="the network is forbidden (NYALA_OFFLINE or HF_HUB_OFFLINE)",
            fix=f"copy the file there, or fetch it once with a network from {download.urls[0]}",
        )
    with locked(path.with_name(f".{download.name}.lock"), download.name):
        if path.is_file():
            if content_sha256(path) == download.content_sha256:
                return path  # another process has fetched it meanwhile
            path.unlink()
        return _from_mirrors(download, path)


def _from_mirrors(download: Download, path: Path) -> Path:
    reasons, wrong = [], False
    for url in download.urls:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
                size = int(answer.headers.get("Content-Length") or 0)
                require_space(path.parent, size, download.name)
                atomic_write(path, _writer(download, answer, size))
        except (urllib.error.URLError, TimeoutError, ConnectionError, NetworkError) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        if content_sha256(path) == download.content_sha256:
            return path
        path.unlink()
        wrong = True
        reasons.append(f"{url}: its content has another sha256 than the pinned {download.content_sha256[:12]}...")
    kind = IntegrityError if wrong else NetworkError
    raise kind(
        f"{download.name} could not be fetched. " + "; ".join(reasons),
        fix=f"check the network, or put the file into {path.parent}",
    )


def _writer(download: Download, answer: BinaryIO, size: int) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        done = 0
        with download_bar(download.name, size or None) as show:
            while chunk := answer.read(_CHUNK):
                done += len(chunk)
                if done > download.max_bytes:
                    raise NetworkError(
                        f"the answer is larger than {download.max_bytes} bytes",
                        why="it cannot be this file",
                        fix="check the address, and whether the card names the right file",
                    )
                file.write(chunk)
                show(done)
        if size and done != size:
            raise NetworkError(f"the connection ended after {done} of {size} bytes", fix="try again")

    return write


def content_sha256(path: Path) -> str:
    """sha256 of a file's bytes, or of what a ``.gz`` file unpacks to; empty where that is damaged."""
    digest = hashlib.sha256()
    try:
        with storage_errors(path, "read"), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ""
    return digest.hexdigest()
