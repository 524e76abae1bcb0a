"""The lines of a text file, gzipped or not, with their numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import DataError


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number, from 1.

    Raises:
        DataError: no such file, not UTF-8, or a damaged archive.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            yield from enumerate(file, 1)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", fix="check the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason}", fix="save it as UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}", fix="get the file again") from error
