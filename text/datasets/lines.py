"""The lines of a text file, gzipped or not, with their numbers, and what lines of JSON hold."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
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


def whole_text(path: Path) -> str:
    """All of a file.

    Raises:
        DataError: as of :func:`numbered_lines`.
    """
    return "".join(line for _, line in numbered_lines(path))


def kind_of_row(path: Path) -> str:
    """What a file of JSON lines holds, by the keys of its first: ``"tags"``, ``"questions"``, ``"seq2seq"``, ``"pairs"``, or
    ``"text"`` for none.

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
    if "label" not in keys and {"question", "context"} <= keys:
        return "questions"
    if "label" not in keys and any(set(names) <= keys for names in REWRITE_KEYS):
        return "seq2seq"
    return "pairs" if "label" not in keys and any(set(names) <= keys for names in PAIR_KEYS) else "text"


# How the two texts of a pair are called in published data, in the order in which names are tried.
PAIR_KEYS = (("anchor", "positive"), ("query", "positive"), ("question", "answer"), ("sentence1", "sentence2"), ("title", "text"))
# The same of a text and what is to be made of it.
REWRITE_KEYS = (
    *(("source", "target"), ("document", "summary"), ("article", "highlights"), ("article", "summary"), ("text", "summary")),
    *(("dialogue", "summary"), ("body", "subject"), ("input", "output"), ("text", "translation")),
)


def two_texts(path: Path, keys: Sequence[tuple[str, str]], example: str) -> Iterator[tuple[str, str]]:
    """Two texts of each line of JSON, by the first two keys that are there.

    Raises:
        DataError: no such file, damaged, no line, or one that has no two texts; it names the line.
    """
    found = False
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        found, where = True, f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} is not JSON: {error}", fix=f"write {example}") from None
        named = keys if isinstance(row, dict) else ()
        both = next(((row[a], row[b]) for a, b in named if isinstance(row.get(a), str) and isinstance(row.get(b), str)), None)
        if both is None:
            raise DataError(f"{where} has no two texts", fix=f"write {example}")
        yield both
    if not found:
        raise DataError(f"{path} holds no texts", fix=f"write {example} a line")
