"""The lines of a text file, gzipped or not, with their numbers, and what lines of JSON hold."""

from __future__ import annotations

import gzip
import json
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


def kind_of_row(path: Path) -> str:
    """What a file of JSON lines holds, by the keys of its first: ``"tags"``, ``"pairs"``, or ``"text"`` where it is neither.

    Raises:
        DataError: no such file, not UTF-8, or a damaged archive.
    """
    first = next((line for _, line in numbered_lines(path) if line.strip()), "")
    try:
        row = json.loads(first)
    except ValueError:
        return "text"  # whose reader names the line
    keys = set(row) if isinstance(row, dict) else set()
    if {"tokens", "tags"} <= keys:
        return "tags"
    return "pairs" if "label" not in keys and any(set(names) <= keys for names in PAIR_KEYS) else "text"


# How the two texts of a pair are called in published data, in the order in which names are tried.
PAIR_KEYS = (("anchor", "positive"), ("query", "positive"), ("question", "answer"), ("sentence1", "sentence2"), ("title", "text"))
