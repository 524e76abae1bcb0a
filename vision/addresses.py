"""Pictures from addresses on the network: fetched only where that was allowed, and kept no longer."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import DataError, NetworkError, NyalaError
from ..hub.sources.patience import within
from ..hub.storage import is_offline

MAX_BYTES = 64 << 20
_TIMEOUT = 20.0
_CHUNK = 1 << 16
_kept: list[dict[str, bytes]] = []  # what was fetched, one a block of ``urls_allowed``; threads that decode share it


def is_address(source: Any) -> bool:
    """Whether it is a text that names a place on the network.

    Example:
        >>> is_address("https://example.com/cat.jpg"), is_address("cat.jpg")
        (True, False)
    """
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


@contextmanager
def urls_allowed() -> Iterator[None]:
    """Pictures may be addresses within the block; each is fetched once.

    Example:
        >>> with urls_allowed():
        ...     pass  # pipeline("https://example.com/cat.jpg")
    """
    fetched: dict[str, bytes] = {}
    _kept.append(fetched)
    try:
        yield
    finally:
        _kept.remove(fetched)


def fetched(url: str) -> bytes:
    """The bytes that lie at an address.

    Raises:
        DataError: addresses are not allowed here, or it is none.
        NetworkError: nobody answers, there is no such thing, or it is larger than 64 MiB.
    """
    if not _kept:
        raise DataError(
            f"{url} is an address on the network",
            why="nyala fetches no pictures unless it is told to",
            fix="download it and pass the path; or allow it: --allow-url, in Python vision.addresses.urls_allowed()",
        )
    if url not in _kept[-1]:
        _kept[-1][url] = _fetch(url)
    return _kept[-1][url]


def _fetch(url: str) -> bytes:
    if is_offline():
        raise NetworkError(f"{url} cannot be fetched", why="NYALA_OFFLINE is set", fix="unset it, or pass a file")
    try:
        if not urlsplit(url).hostname:
            raise DataError(f"{url} is no address", why="it names no machine", fix="write https://machine/path")
        request = urllib.request.Request(url, headers={"User-Agent": "nyala", "Accept-Encoding": "identity"})
        return bytes(within(3 * _TIMEOUT, lambda: _answer(request, url)))
    except NyalaError:
        raise
    except urllib.error.HTTPError as error:
        raise NetworkError(f"{url}: HTTP {error.code} {error.reason}", fix="check the address") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NetworkError(
            f"{url} cannot be fetched: {getattr(error, 'reason', None) or error or type(error).__name__}",
            fix="check the address and the network, or download it and pass the path",
        ) from error


def _answer(request: urllib.request.Request, url: str) -> bytes:
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        stated = int(answer.headers.get("Content-Length") or 0)
        found = bytearray()
        while stated <= MAX_BYTES and len(found) <= MAX_BYTES and (chunk := answer.read(_CHUNK)):
            found += chunk
    if max(stated, len(found)) > MAX_BYTES:
        raise NetworkError(f"{url} is larger than {MAX_BYTES >> 20} MiB", fix="download it and make it smaller")
    if len(found) < stated:
        raise NetworkError(f"{url}: the connection ended after {len(found):,} of {stated:,} bytes", fix="try again")
    return bytes(found)
