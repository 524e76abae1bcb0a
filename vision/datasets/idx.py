"""The IDX format of MNIST and its family: a type byte, the lengths, then the bytes; usually gzipped."""

from __future__ import annotations

import gzip
import lzma
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError

_LIMIT = 1 << 31  # no file of this family is larger: a header that says so is damaged or hostile
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}


def read_idx(path: str | Path) -> np.ndarray[Any, Any]:
    """The array of an IDX file of unsigned bytes, plain or compressed (``.gz``, ``.xz``).

    Raises:
        DataError: not such a file, or it is damaged; it names the file.
    """
    path = Path(path)
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\x00\x00\x08":
                raise DataError(f"{path} is not an IDX file of bytes", fix="delete it, so that it is fetched again")
            lengths = file.read(4 * head[3])
            if len(lengths) != 4 * head[3]:
                raise DataError(f"{path} ends inside its header", fix="delete it, so that it is fetched again")
            shape = struct.unpack(f">{head[3]}I", lengths)
            size = math.prod(shape)
            if size > _LIMIT:
                raise DataError(f"{path} claims to hold {size} bytes", fix="delete it, so that it is fetched again")
            body = file.read(size + 1)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", fix="check the folder") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} is damaged: {error}", fix="delete it, so that it is fetched again") from error
    if len(body) != size:
        raise DataError(f"{path} holds {len(body)} bytes or more where its header says {size}", fix="fetch it again")
    return np.frombuffer(body, np.uint8).reshape(shape)
