"""The pipeline that marks stretches of a text: names, places, links, or whatever a model's tags say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import no_grad
from ...core.errors import DataError, kind_of
from ...hub.pipeline import Pipeline, Unavailable, as_is
from ...hub.results import Results, shortened, table
from ..scores import tags
from .batching import longest_of, tokenizer_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files


NO_TAG = -100  # the label of a token that carries no tag


@dataclass(frozen=True)
class Mark:
    """A marked stretch of a text.

    Attributes:
        label: what it is, e.g. ``"PER"``.
        text: the stretch itself.
        start, end: where it stands in the text, in characters.
        score: mean probability of its tokens' tags.
    """

    label: str
    text: str
    start: int
    end: int
    score: float


class Marks(Results, Sequence[Any]):
    """The marks of each text, in their order. Prints as a table and draws the texts with colours."""

    def __init__(self, found: Sequence[tuple[Mark, ...]], texts: Sequence[str]) -> None:
        self.found, self.texts = tuple(found), tuple(texts)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        rows = [
            row
            for text, marks in zip(self.texts, self.found, strict=True)
            for row in [[shortened(text, 44), shortened(m.text, 30), m.label, f"{m.score:.4f}"] for m in marks]
            or [[shortened(text, 44), "(nothing)", "-", "-"]]
        ]
        return table(["text", "marked", "label", "score"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each text its marks."""
        return [
            {"input": text, "marks": [vars(mark) for mark in marks]} for text, marks in zip(self.texts, self.found, strict=True)
        ]

    def draw(self) -> Image:
        """Each text with its marks in colours."""
        from .drawing import marked

        return marked([(t, [(m.start, m.end, m.label) for m in found]) for t, found in zip(self.texts, self.found, strict=True)])


@dataclass(frozen=True, eq=False, repr=False)
class TokenClassification(Pipeline):
    """Texts -> marked stretches. Call it on one text (a tuple of :class:`Mark`) or a list (:class:`Marks`).

    Words are what stands between spaces, brackets and punctuation at their ends being words of their own. A word has the tag of
    its first token; a stretch begins at ``B-`` and where the kind changes. Texts of any length are read in windows.

    Attributes:
        labels: the tags, in the order of the logits.
        batch_size: windows that go through the model at once.
    """

    preprocess: Any
    labels: tuple[str, ...] = ()
    batch_size: int = 32

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TokenClassification:
        """Tokenizer from the files, tags from ``id2label``."""
        names = config.get("id2label") or {}
        labels = tuple(str(names.get(str(i), f"class {i}")) for i in range(int(model.config.num_labels)))
        tokenizer = tokenizer_of(files, longest_of(model), model)
        return cls(model, tokenizer, as_is, card, files, config, labels=labels)

    def __call__(self, inputs: Any) -> Any:
        """One text -> its marks; a list -> :class:`Marks`.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        if isinstance(self.preprocess, Unavailable):
            self.preprocess(inputs)
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"input {i} is {kind_of(text)}, not a text", fix="pass strings")
        words = [_words(text) for text in texts]
        rows = self._probabilities([[text[a:b] for a, b in line] for text, line in zip(texts, words, strict=True)])
        found = [tuple(self._of_one(*one)) for one in zip(texts, words, rows, strict=True)]
        return found[0] if isinstance(inputs, str) else Marks(found, texts)

    def _probabilities(self, texts: Sequence[Sequence[str]]) -> list[np.ndarray[Any, Any]]:
        """For each text (words, tags): how likely each word has each tag."""
        windows = [(i, start, row) for i, text in enumerate(texts) for start, row in self._windows(text)]
        found = [np.zeros((len(text), len(self.labels)), np.float32) for text in texts]
        device = next(self.model.parameters()).device
        for first in range(0, len(windows), self.batch_size):
            part = windows[first : first + self.batch_size]
            batch = {k: v.to(device) for k, v in self.preprocess.pad([row[:2] for _, _, row in part]).items()}
            with no_grad():
                logits = self.model(**batch).float().cpu().numpy()
            for (i, start, row), scores in zip(part, logits, strict=True):
                for word, place in first_pieces(row.pieces):
                    found[i][start + word] = _softmax(scores[place])
        return found

    def _windows(self, words: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """The words in runs that the model can read at once: (number of the first, its tokens)."""
        start = 0
        while start < len(words):
            row = self.preprocess.encode_words([words[start : start + self.preprocess.max_length]])[0]
            yield start, row
            start += max(row.pieces, default=0) + 1 if max(row.pieces, default=-1) >= 0 else 1

    def _of_one(self, text: str, words: Sequence[tuple[int, int]], probabilities: np.ndarray[Any, Any]) -> list[Mark]:
        """The marks of one text."""
        best = probabilities.argmax(1) if len(words) else np.zeros(0, np.int64)
        marks = []
        for kind, first, behind in tags.spans([self.labels[k] for k in best]):
            start, end = words[first][0], words[behind - 1][1]
            score = float(probabilities[np.arange(first, behind), best[first:behind]].mean())
            marks.append(Mark(kind, text[start:end], start, end, score))
        return marks


_EDGES = re.compile(r"""([(\["'<{]*)(.*?)([)\]"'>},.;:!?]*)$""", re.DOTALL)


def _words(text: str) -> list[tuple[int, int]]:
    """Where the words of a text stand."""
    found = []
    for run in re.finditer(r"\S+", text):
        cut = _EDGES.match(run.group())
        found += [(run.start() + a, run.start() + b) for a, b in (cut.span(i) for i in (1, 2, 3)) if a < b] if cut else []
    return found


def first_pieces(pieces: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(word, place of its first token) for each word of which a token is there.

    Example:
        >>> list(first_pieces([-1, 0, 0, 1, -1]))
        [(0, 1), (1, 3)]
    """
    last = -1
    for place, word in enumerate(pieces):
        if word > last:
            yield word, place
            last = word


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
