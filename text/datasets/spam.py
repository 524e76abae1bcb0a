"""Real e-mails, samples of the SpamAssassin public corpus (2002-2005): wanted or not, and which mailing list they went to.

Licence: see ``samples/spam`` and ``samples/topics``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ...core.errors import ArgumentError
from .labelled import LabelledText, read_jsonl

_SAMPLES = Path(__file__).parent / "samples"


class _Sample(LabelledText):
    """A shipped sample: subject and beginning of each message.

    Args:
        split: "train" or "test".
    """

    folder: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

    def __init__(self, split: str) -> None:
        data = read_jsonl(self.file(split), self.names)
        self.texts, self.labels, self.classes = data.texts, data.labels, data.classes

    @classmethod
    def file(cls, split: str) -> Path:
        """The file of a split."""
        if split not in ("train", "test"):
            raise ArgumentError(f"the {cls.folder} sample has no split {split!r}", fix="use 'train' or 'test'")
        return _SAMPLES / cls.folder / f"{split}.jsonl.gz"


class Spam(_Sample):
    """Classes "ham" and "spam".

    Example:
        >>> Spam("test").classes
        ('ham', 'spam')
    """

    folder, names = "spam", ("ham", "spam")


class Topics(_Sample):
    """Which of seven mailing lists a message went to.

    Example:
        >>> Topics("test").classes
        ('linux', 'mail-reader', 'odd-news', 'packages', 'spam-filter', 'spam-reports', 'talk')
    """

    folder = "topics"
    names = ("linux", "mail-reader", "odd-news", "packages", "spam-filter", "spam-reports", "talk")
