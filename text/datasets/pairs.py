"""Pairs of texts that belong together: JSON lines ``{"anchor": "...", "positive": "..."}``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import DataError
from .lines import PAIR_KEYS, numbered_lines


class Pair(NamedTuple):
    """Two texts that mean the same, or a question and its answer."""

    anchor: str
    positive: str


def read_pairs(path: str | Path) -> list[Pair]:
    """All pairs of a ``.jsonl`` file, gzipped or not.

    The keys are anchor and positive; query, question, title or sentence1 serve as the former, answer, text or sentence2 as the
    latter.

    Raises:
        DataError: no such file, damaged, or a line that has no two texts; it names the line.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "pairs.jsonl")
        >>> _ = file.write_text('{"question": "Who?", "answer": "Ada."}')
        >>> read_pairs(file)
        [Pair(anchor='Who?', positive='Ada.')]
    """
    path = Path(path)
    found = [_pair(line, f"{path}:{number}") for number, line in numbered_lines(path) if line.strip()]
    if not found:
        raise DataError(f"{path} holds no pair", fix='write {"anchor": "...", "positive": "..."} a line')
    return found


def _pair(line: str, where: str) -> Pair:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}", fix='write {"anchor": "...", "positive": "..."}') from None
    for first, second in PAIR_KEYS if isinstance(row, dict) else ():
        if isinstance(row.get(first), str) and isinstance(row.get(second), str):
            return Pair(row[first], row[second])
    raise DataError(f"{where} has no two texts", fix='write {"anchor": "...", "positive": "..."}')
