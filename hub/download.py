"""Fetching one file of a dataset from its mirrors into the cache, verified by what it holds.

Weights come through the sources of a card; this is for data that lies on plain web servers. As there, every request has
time limits, a busy server is asked again, and a download that was cut or killed goes on where it ended.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from ..core.atomic import atomic_write, fsync_folder, storage_errors
from ..core.errors import IntegrityError, NetworkError, NyalaError
from .integrity import sha256_file
from .mutex import locked
from .progress import Show, download_bar
from .sources.huggingface import status_of
from .sources.patience import Patience, within
from .sources.transfer import ShortAnswerError, size_of
from .storage import cache_folder, is_offline, logger, require_space

_TIMEOUT = 20.0
_CHUNK = 1 << 16
_FAILURES = (OSError, HTTPException, ValueError)  # of urllib: refused, cut, too late, a bad answer, a bad address


@dataclass(frozen=True)
class Download:
    """A file and where to get it.

    Attributes:
        name: its name in the cache.
        urls: mirrors, in the order to try them.
        content_sha256: of the file's bytes; for a ``.gz`` file of what it unpacks to, since mirrors may pack differently.
        folder: folder inside the cache.
        max_bytes: a larger answer is refused.
        sha256: of the file's own bytes, packed as they are, instead of ``content_sha256``. Where neither is known, what comes
            first is kept, its hash is noted beside it, and it is checked against that from then on.
        verified: whether the hash was computed from bytes that were read here; otherwise it is one that others publish.
    """

    name: str
    urls: tuple[str, ...]
    content_sha256: str = ""
    folder: str = ""
    max_bytes: int = 1 << 31
    sha256: str = ""
    verified: bool = True

    @property
    def pinned(self) -> str:
        """The hash that it must have; empty where none is known."""
        return self.sha256 or self.content_sha256

    @property
    def path(self) -> Path:
        """Where it lies in the cache, once it is there."""
        return cache_folder() / self.folder / self.name


def fetch(download: Download) -> Path:
    """The path of the file in the cache, fetched if it is not there. Nothing wrong is left behind.

    Raises:
        NetworkError: every mirror failed, or the network is forbidden; the message lists what each said.
        IntegrityError: a mirror served other content, and no mirror the right one.
        StorageError: the cache cannot be written, or has no room.
    """
    path = download.path
    if path.is_file() and is_wanted(download, path):
        return path
    if is_offline():
        raise NetworkError(
            f"{download.name} is not in the cache {path.parent}",
            why="the network is forbidden (NYALA_OFFLINE or HF_HUB_OFFLINE)",
            fix=f"copy the file there, or fetch it once with a network from {download.urls[0]}",
        )
    with locked(path.with_name(f".{download.name}.lock"), download.name):
        if path.is_file():
            if is_wanted(download, path):
                return path  # another process has fetched it meanwhile
            path.unlink()
        return _from_mirrors(download, path)


def _from_mirrors(download: Download, path: Path) -> Path:
    reasons, wrong = [], False
    for number, url in enumerate(download.urls, 1):
        # mirrors may pack differently, so each has a part file of its own; it ends as the file does, which says how to unpack
        part = path.with_name(f".{hashlib.sha256(url.encode()).hexdigest()[:12]}.incomplete{path.suffix}")
        try:
            if _is_right(download, url, part, patient=number == len(download.urls)):
                return _keep(part, path)
        except NetworkError as error:
            reasons.append(f"{url}: {error.what}")
        except NyalaError:
            raise
        except _FAILURES as error:
            reasons.append(f"{url}: {_in_words(error)}")
        else:
            wrong = True
            reasons.append(f"{url}: its content has another sha256 than the pinned {download.pinned[:12]}...")
    kind = IntegrityError if wrong else NetworkError
    raise kind(
        f"{download.name} could not be fetched. " + "; ".join(reasons),
        why="the pinned hash is one that others publish" if wrong and not download.verified else "",
        fix=f"check the network, or put the file into {path.parent}",
    )


def _is_right(download: Download, url: str, part: Path, *, patient: bool) -> bool:
    """Bring the part file to its end and look whether it is the file; if not, it is deleted."""
    for went_on in (size_of(part) > 0, False):  # where an earlier process began, it may be to blame: once more from nothing
        if download.pinned and size_of(part) and is_wanted(download, part):
            return True  # that process was killed after the last byte
        _receive(download, url, part, patient=patient)
        if not download.pinned:
            _note(download, part)
        if is_wanted(download, part):
            return True
        part.unlink()
        if not went_on:
            return False
    return False


def is_wanted(download: Download, path: Path) -> bool:
    """Whether a file has the hash that it should have; where none is known, the one that was noted when it came, if any."""
    if download.sha256:
        return sha256_file(path) == download.sha256
    if download.content_sha256:
        return content_sha256(path) == download.content_sha256
    with storage_errors(path, "read"):
        note = _noted(download)
        return not note.is_file() or sha256_file(path) == note.read_text(encoding="ascii", errors="replace").strip()


def _noted(download: Download) -> Path:
    return download.path.with_name(f"{download.name}.sha256")


def _note(download: Download, part: Path) -> None:
    """Writes down what came under a name that no hash is known for."""
    found = sha256_file(part)
    logger.warning("no sha256 is known for %s; what came has %s and is checked against that from now on", download.name, found)
    atomic_write(_noted(download), found + "\n")


def _keep(part: Path, path: Path) -> Path:
    with storage_errors(path):
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        fsync_folder(path.parent)
    return path


def _receive(download: Download, url: str, part: Path, *, patient: bool) -> None:
    """Bring the part file to its end, trying again where that is likely to help."""
    patience = Patience(download.name, patient)
    while True:
        try:
            return _once(download, url, part)
        except NyalaError:
            raise
        except _FAILURES as error:
            if status_of(error) == 416:  # nothing follows what is here
                part.unlink(missing_ok=True)
            if not patience.wait(_cause(error)):
                raise


def _once(download: Download, url: str, part: Path) -> None:
    start = size_of(part)
    headers = {"User-Agent": "nyala", "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    request = urllib.request.Request(url, headers=headers)
    answer: HTTPResponse = within(2 * _TIMEOUT, lambda: urllib.request.urlopen(request, timeout=_TIMEOUT))
    with answer:
        start = _offset(answer, start)
        length = int(answer.headers.get("Content-Length") or 0)
        total = start + length if length else None
        require_space(part.parent, length, download.name)
        with download_bar(download.name, total, start) as show:
            done = _write(answer, part, start, download.max_bytes, show)
    if total and done != total:
        raise ShortAnswerError(f"the connection ended after {done:,} of {total:,} bytes")


def _offset(answer: HTTPResponse, start: int) -> int:
    if answer.status != 206:
        return 0
    stated = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(stated[1]) if stated and int(stated[1]) <= start else 0


def _write(answer: HTTPResponse, part: Path, done: int, limit: int, show: Show) -> int:
    with storage_errors(part), open(part, "rb+" if done else "wb") as file:
        file.seek(done)
        file.truncate()
        while chunk := answer.read1(_CHUNK):
            done += len(chunk)
            if done > limit:
                part.unlink()
                raise NetworkError(
                    f"the answer is larger than {limit} bytes",
                    why="it cannot be this file",
                    fix="check the address, and whether the card names the right file",
                )
            file.write(chunk)
            file.flush()  # a killed process loses nothing that has arrived
            show(done)
    return done


def _cause(error: Any) -> Any:
    """What lies below urllib's wrapper."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, BaseException) and not isinstance(error, urllib.error.HTTPError) else error


def _in_words(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(_cause(error)) or type(error).__name__


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
