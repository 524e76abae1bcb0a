"""What pipelines return: rows that print as a table, turn into plain data, and draw themselves as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.atomic import atomic_write
from ..core.errors import ArgumentError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns in plain text, numbers to the right.

    Example:
        >>> print(table(["label", "score"], [["cat", 0.91234], ["a dog", 0.05]]))
        label   score
        -----  ------
        cat    0.9123
        a dog  0.0500
    """
    shown = [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(str(v)) for v in (name, *(r[i] for r in shown))) for i, name in enumerate(columns)]
    right = [bool(rows) and all(isinstance(r[i], (int, float)) for r in rows) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)).rstrip()

    return "\n".join([line(columns), line(["-" * w for w in widths]), *(line(r) for r in shown)])


def shortened(text: str, width: int = 60) -> str:
    """A text on one line, cut in the middle of nowhere if it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


class Results:
    """One result for each input; subclasses say how they look."""

    def to_dict(self) -> Any:
        """Plain lists, dictionaries, strings and numbers."""
        raise NotImplementedError

    def draw(self) -> Image:
        """The results as a picture."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Draw into a picture file; PNG, JPEG or WebP by its ending.

        Raises:
            ArgumentError: another ending.
            StorageError: the file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() not in PICTURES:
            raise ArgumentError(f"{path} is no picture file", fix=f"end the name in one of {', '.join(PICTURES)}")
        buffer = io.BytesIO()
        kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(target.suffix.lower(), "PNG")
        self.draw().save(buffer, format=kind)
        atomic_write(target, buffer.getvalue())


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one input, best first.

    Attributes:
        labels: their names; indices: their numbers; scores: their probabilities.
    """

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.labels[0]

    @property
    def score(self) -> float:
        """Its probability."""
        return self.scores[0]


def predictions(logits: np.ndarray[Any, Any], labels: Sequence[str], top_k: int | None = None) -> list[Prediction]:
    """(N, classes) logits -> a :class:`Prediction` each, of the ``top_k`` likeliest classes.

    Example:
        >>> predictions(np.array([[0.0, 2.0]]), ["cat", "dog"])[0].labels
        ('dog', 'cat')
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = shifted / shifted.sum(axis=1, keepdims=True)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return [
        Prediction(tuple(labels[i] for i in row), tuple(map(int, row)), tuple(float(s[i]) for i in row))
        for row, s in zip(best, scores, strict=True)
    ]


class Classifications(Results, Sequence[Prediction]):
    """One :class:`Prediction` an input, and the inputs; subclasses say how they are called and drawn."""

    def __init__(self, found: Sequence[Prediction], inputs: Sequence[Any]) -> None:
        self.predictions, self.inputs = tuple(found), tuple(inputs)

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, index: Any) -> Any:
        return self.predictions[index]

    def name(self, index: int) -> str:
        """What an input is called in tables and files."""
        return str(self.inputs[index])

    def to_dict(self) -> list[dict[str, Any]]:
        """For each input its labels, class numbers and probabilities, best first."""
        return [
            {"input": self.name(i), "labels": list(p.labels), "indices": list(p.indices), "scores": list(p.scores)}
            for i, p in enumerate(self.predictions)
        ]
