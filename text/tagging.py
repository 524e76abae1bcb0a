"""The pipeline that marks stretches of a text: names, places, links, or whatever a model's tags say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.autograd import no_grad
from ..core.errors import DataError, kind_of
from ..hub.pipeline import Pipeline, Unavailable
from ..hub.results import Results, shortened, table
from . import tags
from .pipelines import as_is, tokenizer_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


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
            [shortened(text, 44), shortened(m.text, 30), m.label, m.score]
            for text, marks in zip(self.texts, self.found, strict=True)
            for m in marks or (Mark("-", "(nothing)", 0, 0, float("nan")),)
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

    Words are what stands between spaces. Each token gets its likeliest tag; a stretch begins at ``B-`` and where the kind
    changes, and the pieces of one word stay together.

    Attributes:
        labels: the tags, in the order of the logits.
        batch_size: texts that go through the model at once.
    """

    preprocess: Any
    labels: tuple[str, ...] = ()
    batch_size: int = 32

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TokenClassification:
        """Tokenizer from the files, tags from ``id2label``."""
        names = config.get("id2label") or {}
        labels = tuple(str(names.get(str(i), f"class {i}")) for i in range(int(model.config.num_labels)))
        tokenizer = tokenizer_of(files, int(model.config.max_position_embeddings))
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
        found: list[tuple[Mark, ...]] = []
        for start in range(0, len(texts), self.batch_size):
            found += self._marks(texts[start : start + self.batch_size])
        return found[0] if isinstance(inputs, str) else Marks(found, texts)

    def _marks(self, texts: Sequence[str]) -> list[tuple[Mark, ...]]:
        words = [list(re.finditer(r"\S+", text)) for text in texts]
        rows = self.preprocess.encode_words([[w.group() for w in line] for line in words])
        device = next(self.model.parameters()).device
        batch = {k: v.to(device) for k, v in self.preprocess.pad([row[:2] for row in rows]).items()}
        with no_grad():
            logits = self.model(**batch).float().cpu().numpy()
        found = []
        for text, line, row, scores in zip(texts, words, rows, logits, strict=True):
            whole = [(p, scores[i]) for i, p in enumerate(row.pieces) if p >= 0]
            found.append(tuple(self._of_one(text, line, whole)))
        return found

    def _of_one(self, text: str, words: Sequence[re.Match[str]], tokens: Sequence[tuple[int, Any]]) -> list[Mark]:
        """The marks of one text from its tokens: (word, logits)."""
        if not tokens:
            return []
        probabilities = _softmax(np.stack([scores for _, scores in tokens]))
        best = probabilities.argmax(1)
        chosen = [self.labels[k] for k in best]
        for i in range(1, len(chosen)):  # a word's later piece does not begin a second stretch of the same kind
            if tokens[i][0] == tokens[i - 1][0] and tags.kind_of(chosen[i]) == tags.kind_of(chosen[i - 1]):
                chosen[i] = tags.inside(chosen[i], self.labels)
        marks: list[Mark] = []
        for kind, first, behind in tags.spans(chosen):
            start, end = words[tokens[first][0]].start(), words[tokens[behind - 1][0]].end()
            score = float(probabilities[np.arange(first, behind), best[first:behind]].mean())
            if marks and start < marks[-1].end:  # two kinds in one word: the first stands
                continue
            marks.append(Mark(kind, text[start:end], start, end, score))
        return marks


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
