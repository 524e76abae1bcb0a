"""Words with a tag each: JSON lines ``{"tokens": [...], "tags": [...]}``, or CoNLL's columns with an empty line between texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from ...core.errors import DataError
from .lines import numbered_lines

_WANTED = 'write {"tokens": ["Ada", "slept"], "tags": ["B-PER", "O"]}'


class Tagged(NamedTuple):
    """A text as words, and a tag for each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_tagged(path: str | Path) -> list[Tagged]:
    """All texts of a file: ``.jsonl`` or, with any other name, columns whose first is the word and whose last is the tag.

    Files may be gzipped. ``-DOCSTART-`` lines and, in columns, lines that begin with ``# `` are left out.

    Raises:
        DataError: no such file, damaged, or a line that cannot be read; it names the line.
    """
    path = Path(path)
    lines = numbered_lines(path)
    found = list(_from_json(lines, path) if ".jsonl" in path.suffixes else _from_columns(lines, path))
    if not found:
        raise DataError(f"{path} holds no text", fix=_WANTED)
    return found


def _from_json(lines: Iterator[tuple[int, str]], path: Path) -> Iterator[Tagged]:
    for number, line in lines:
        if line.strip():
            yield _row(line, f"{path}:{number}")


def _row(line: str, where: str) -> Tagged:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}", fix=_WANTED) from None
    words, tags = (row.get("tokens"), row.get("tags")) if isinstance(row, dict) else (None, None)
    if not _texts(words) or not _texts(tags):
        raise DataError(f"{where} has no lists of tokens and tags", fix=_WANTED)
    if len(words) != len(tags):
        raise DataError(f"{where} has {len(words)} token(s) and {len(tags)} tag(s)", fix="give each token one tag")
    return Tagged(tuple(words), tuple(tags))


def _texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) and v for v in value)


def _from_columns(lines: Iterator[tuple[int, str]], path: Path) -> Iterator[Tagged]:
    rows: list[tuple[str, str]] = []
    for number, line in lines:
        columns = line.split()
        if line.startswith("# ") or (columns and columns[0] == "-DOCSTART-"):
            continue
        if len(columns) == 1:
            raise DataError(f"{path}:{number} has one column: {columns[0]!r}", fix="write the word first and its tag last")
        if columns:
            rows.append((columns[0], columns[-1]))
        elif rows:
            yield _text(rows)
            rows = []
    if rows:
        yield _text(rows)


def _text(rows: Sequence[tuple[str, str]]) -> Tagged:
    words, tags = zip(*rows, strict=True)
    return Tagged(words, tags)
