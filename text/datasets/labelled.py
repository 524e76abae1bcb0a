"""Texts with labels, read from JSON lines: ``{"text": "...", "label": "..."}``, gzipped or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.errors import DataError
from .lines import numbered_lines


class LabelledText:
    """Texts and the numbers of their classes.

    Args:
        texts: the texts.
        labels: the class of each, by name.
        classes: all names, in order; left out, the names that occur, sorted (whole numbers by value).

    Raises:
        DataError: nothing there, unequal counts, or a label outside ``classes``, named with its sample.

    Example:
        >>> data = LabelledText(["a", "b"], ["spam", "ham"])
        >>> data.classes, data[0]
        (('ham', 'spam'), ('a', 1))
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], classes: Sequence[str] | None = None) -> None:
        if not texts or len(texts) != len(labels):
            raise DataError(f"{len(texts)} text(s) and {len(labels)} label(s)", fix="give each text one label")
        self.classes = tuple(classes) if classes is not None else tuple(sorted(set(labels), key=_by_value))
        number = {name: i for i, name in enumerate(self.classes)}
        for i, label in enumerate(labels):
            if label not in number:
                raise DataError(
                    f"sample {i} has the label {label!r}", why=f"the classes are {', '.join(self.classes)}", fix="correct it"
                )
        self.texts = list(texts)
        self.labels = [number[label] for label in labels]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.texts[index], self.labels[index]


def _by_value(label: str) -> tuple[bool, int, str]:
    return not label.isdigit(), int(label) if label.isdigit() else 0, label


def read_jsonl(path: str | Path, classes: Sequence[str] | None = None) -> LabelledText:
    """The texts of a file of JSON lines with the keys ``text`` and ``label``.

    Raises:
        DataError: no such file, damaged, or a line that is not such an object; it names the line.
    """
    path = Path(path)
    rows = [_fields(line, f"{path}:{number}") for number, line in numbered_lines(path) if line.strip()]
    if not rows:
        raise DataError(f"{path} holds no text", fix='write one {"text": ..., "label": ...} a line')
    texts, labels = zip(*rows, strict=True)
    return LabelledText(texts, labels, classes)


def _fields(line: str, where: str) -> tuple[str, str]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}", fix='write one {"text": ..., "label": ...} a line') from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not isinstance(row.get("label"), (str, int)):
        raise DataError(f"{where} has no text and label", fix='write {"text": "...", "label": "..."}')
    return row["text"], str(row["label"])
