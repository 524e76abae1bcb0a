"""One file from a model hub into a file of ours: with timeouts, tried again, and going on where an earlier try ended.

The bytes go to a part file that outlives a cut connection, a killed process and a restart. Nothing here is trusted:
whoever calls holds the whole file against its hash, and starts from nothing where the hash is wrong.
"""

from __future__ import annotations

import importlib
import re
import time
from pathlib import Path
from typing import Any

from ...core.atomic import storage_errors
from ...core.errors import NyalaError, StorageError
from ..progress import Show
from ..quota import in_words
from . import huggingface
from .patience import Patience, deadline, within

_WINDOW = 60.0  # seconds
_CRAWL = 6000  # bytes; a connection over which less arrives in that time hardly lives: another may be better
_RENEW_AFTER = 1 << 20  # bytes that must have arrived before the tries are counted anew


class ShortAnswerError(ConnectionError):
    """An answer that ended well before the file did."""


class TooLongError(Exception):
    """An answer that is longer than the file, and so cannot be it."""


def receive(url: str, part: Path, size: int | None, label: str, patient: bool, show: Show) -> None:
    """Bring ``part`` to its full size, from whatever of it is there already.

    Args:
        url: the file's address on the hub.
        part: the part file; its folder exists.
        size: the file's bytes; None where the hub does not say.
        label: what messages call it, e.g. ``model hub org/m: model.safetensors``.
        patient: see :class:`.patience.Patience`.
        show: told how many bytes are there.

    Raises:
        TooLongError: the answer is longer than the file.
        StorageError: the disk refuses; what has arrived stays.
        BaseException: what the hub client raises for a bad answer or network, when no try is left.
    """
    patience = Patience(label, patient)
    while True:
        before = size_of(part)
        try:
            return _once(url, part, size, patient, show)
        except NyalaError:
            raise
        except huggingface.hub_errors() as error:
            if size_of(part) - before >= _RENEW_AFTER:
                patience.renew()
            if not patience.wait(error):
                raise


def size_of(part: Path) -> int:
    """Bytes that have arrived."""
    return part.stat().st_size if part.is_file() else 0


def _once(url: str, part: Path, size: int | None, patient: bool, show: Show) -> None:
    start = size_of(part)
    if start and start == size:
        return
    if size is not None and start > size:
        start = 0  # it cannot be this file's: begin again
    answer = _open(url, start, patient)
    try:
        if answer.status_code == 416:  # nothing follows what is here
            with storage_errors(part, "delete"):
                part.unlink(missing_ok=True)
        importlib.import_module("huggingface_hub.utils").hf_raise_for_status(answer)
        done = _write(answer, part, _offset(answer, start, part), size, show)
    finally:
        answer.close()
    if size is not None and done < size:
        raise ShortAnswerError(f"the answer ended after {done:,} of {size:,} bytes")


def _open(url: str, start: int, patient: bool) -> Any:
    """The answer to a request for the bytes from ``start``, its headers read; redirects lose the token on the way."""
    utils = importlib.import_module("huggingface_hub.utils")
    stall = float(huggingface.client().constants.HF_HUB_DOWNLOAD_TIMEOUT)
    first = deadline(patient)
    headers = {**utils.build_hf_headers(), "Accept-Encoding": "identity"}  # a range of packed bytes cannot be joined
    if start:
        headers["Range"] = f"bytes={start}-"
    session = utils.get_session()
    request = session.build_request("GET", url, headers=headers, timeout=(first, stall, stall, first))
    return within(first + stall + 1.0, lambda: session.send(request, stream=True, follow_redirects=True))


def _offset(answer: Any, start: int, part: Path) -> int:
    """Where in the file the answer begins: a server may ignore the range, and then sends everything."""
    if answer.status_code != 206:
        return 0
    if _is_packed(answer):  # of packed bytes no part can be unpacked: begin again
        with storage_errors(part, "delete"):
            part.unlink(missing_ok=True)
        raise ShortAnswerError(f"the server packed its answer to the range from byte {start:,}")
    stated = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if stated is None or int(stated[1]) != start:
        raise ShortAnswerError(f"the server answered with another range than the one from byte {start:,}")
    return start


def _is_packed(answer: Any) -> bool:
    return answer.headers.get("Content-Encoding", "identity") != "identity"


def _write(answer: Any, part: Path, done: int, size: int | None, show: Show) -> int:
    try:
        with storage_errors(part), open(part, "rb+" if done else "wb") as file:
            file.seek(done)
            file.truncate()
            since, before = time.monotonic(), done
            for chunk in answer.iter_bytes() if _is_packed(answer) else answer.iter_raw():
                done += len(chunk)
                if size is not None and done > size:
                    raise TooLongError(f"is longer than the {size:,} bytes that the hub states")
                file.write(chunk)
                file.flush()  # a killed process loses nothing that has arrived
                show(done)
                if time.monotonic() - since > _WINDOW:
                    if done - before < _CRAWL and done != size:
                        raise ShortAnswerError(f"only {done - before:,} bytes arrived in {_WINDOW:g} s")
                    since, before = time.monotonic(), done
    except StorageError as error:
        error.fix += f"; the {in_words(size_of(part))} that have arrived are kept and the same command goes on from them"
        raise
    return done
