"""Pairs of texts that belong together: JSON lines ``{"anchor": "...", "positive": "..."}``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .lines import PAIR_KEYS, two_texts


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
    return [Pair(*both) for both in two_texts(Path(path), PAIR_KEYS, '{"anchor": "...", "positive": "..."}')]
