"""Real e-mails, wanted or not: a sample of the SpamAssassin public corpus (2002-2005). Licence: see ``samples/spam``."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import ArgumentError
from .labelled import LabelledText, read_jsonl

_SAMPLE = Path(__file__).parent / "samples" / "spam"


class Spam(LabelledText):
    """The shipped sample: subject and beginning of each message, classes "ham" and "spam".

    Args:
        split: "train" or "test".

    Example:
        >>> Spam("test").classes
        ('ham', 'spam')
    """

    def __init__(self, split: str) -> None:
        data = read_jsonl(self.file(split), ("ham", "spam"))
        self.texts, self.labels, self.classes = data.texts, data.labels, data.classes

    @staticmethod
    def file(split: str) -> Path:
        """The file of a split."""
        if split not in ("train", "test"):
            raise ArgumentError(f"the spam sample has no split {split!r}", fix="use 'train' or 'test'")
        return _SAMPLE / f"{split}.jsonl.gz"
