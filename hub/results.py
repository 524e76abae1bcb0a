"""What pipelines return: rows that print as a table, turn into plain data, and draw themselves as a picture."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category, east_asian_width

import numpy as np

from ..core.atomic import atomic_write
from ..core.errors import ArgumentError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?( [A-Za-z%]+)?")
_BIDI = {ord(c): None for c in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """Columns in plain text, numbers to the right.

    Args:
        columns: their titles.
        rows: a cell a column each; numbers with a fraction get four digits.
        width: of the screen in characters: a last column that does not fit goes on below itself.

    Example:
        >>> print(table(["label", "score"], [["cat", 0.91234], ["a dog", 0.05]]))
        label   score
        -----  ------
        cat    0.9123
        a dog  0.0500
    """
    shown = [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    right = [bool(shown) and all(_NUMBER.fullmatch(r[i]) for r in shown) for i in range(len(columns))]
    if width is not None:
        shown = _wrapped(columns, shown, width)
    widths = [max(cells_wide(v) for v in (name, *(r[i] for r in shown))) for i, name in enumerate(columns)]

    def line(cells: Sequence[str]) -> str:
        gaps = [" " * (w - cells_wide(c)) for c, w in zip(cells, widths, strict=True)]
        return "  ".join(g + c if r else c + g for c, g, r in zip(cells, gaps, right, strict=True)).rstrip()

    return "\n".join([line(columns), line(["-" * w for w in widths]), *(line(r) for r in shown)])


def _wrapped(columns: Sequence[str], rows: Sequence[list[str]], width: int) -> list[list[str]]:
    """The rows with their last cells cut into lines that fit beside the other columns."""
    before = sum(2 + max(cells_wide(v) for v in (name, *(r[i] for r in rows))) for i, name in enumerate(columns[:-1]))
    found = []
    for *first, last in rows:
        lines = textwrap.wrap(last, max(width - before, 24), break_long_words=False, break_on_hyphens=False) or [""]
        found += [[*first, lines[0]], *([*[""] * len(first), more] for more in lines[1:])]
    return found


def cells_wide(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese, Japanese and Korean characters take two, accents none.

    Example:
        >>> cells_wide("cat"), cells_wide("猫")
        (3, 2)
    """
    if text.isascii():
        return len(text)
    return sum(0 if category(c) in ("Mn", "Me", "Cf") else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, width: int = 60) -> str:
    """A text on one line, its end cut off if it is long; what would turn the line around is left out.

    Example:
        >>> shortened("one\\ntwo", 20), shortened("", 20), shortened("a long text", 8)
        ('one two', '(empty)', 'a lon...')
    """
    flat = "".join(c for c in " ".join(text.split()).translate(_BIDI) if category(c) != "Cc") or "(empty)"
    if cells_wide(flat) <= width:
        return flat
    while cells_wide(flat) > width - 3:
        flat = flat[: -max(1, (cells_wide(flat) - width + 3) // 2)]
    return flat + "..."


def picture_path(path: str | Path) -> Path:
    """The path of a picture that is to be written.

    Raises:
        ArgumentError: an ending that is no picture format's, or a folder that is not there.
    """
    target = Path(path)
    if target.suffix.lower() not in PICTURES:
        raise ArgumentError(f"{path} is no picture file", fix=f"end the name in one of {', '.join(PICTURES)}")
    if not target.parent.is_dir():
        raise ArgumentError(f"{path}: there is no folder {target.parent}", fix="make it first, or correct the path")
    return target


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
            ArgumentError: another ending, or no such folder.
            StorageError: the file cannot be written.
        """
        target = picture_path(path)
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
