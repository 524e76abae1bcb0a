"""Texts and what is to be made of them, summaries or translations: JSON lines ``{"source": "...", "target": "..."}``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .lines import REWRITE_KEYS, two_texts


class Rewrite(NamedTuple):
    """A text, and its summary, its translation, or whatever else is to be written of it."""

    source: str
    target: str


def read_rewrites(path: str | Path) -> list[Rewrite]:
    """All texts of a ``.jsonl`` file, gzipped or not, with what is to be made of them.

    The keys are source and target; document, article, text, dialogue, body or input serve as the former, summary, highlights,
    subject, translation or output as the latter.

    Raises:
        DataError: no such file, damaged, or a line that has no two texts; it names the line.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "news.jsonl")
        >>> _ = file.write_text('{"article": "It rained all day in Oslo.", "highlights": "Rain in Oslo."}')
        >>> read_rewrites(file)
        [Rewrite(source='It rained all day in Oslo.', target='Rain in Oslo.')]
    """
    return [Rewrite(*both) for both in two_texts(Path(path), REWRITE_KEYS, '{"source": "...", "target": "..."}')]
