"""Pipelines on text: what ``nyala.load`` returns for a text model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.autograd import no_grad
from ..core.errors import MissingFileError
from ..hub.pipeline import Pipeline, Unavailable
from ..hub.results import Classifications, Results, predictions, shortened, table
from .pooling import Pooling
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


class Embeddings(Results, Sequence[Any]):
    """One vector a text. ``.array`` is (N, D) float32; prints the texts' similarities and draws them as a map.

    Example:
        >>> e = Embeddings(np.eye(2, dtype=np.float32), ["a cat", "a share"])
        >>> e.similarity()
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """

    def __init__(self, array: np.ndarray[Any, Any], texts: Sequence[str]) -> None:
        self.array, self.texts = array, tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.array, dtype, copy=copy)

    def similarity(self, other: Embeddings | None = None) -> np.ndarray[Any, Any]:
        """(N, M) cosines between these texts and others, or among themselves."""
        a, b = (e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-12) for e in (self.array, (other or self).array))
        return a @ b.T

    def __repr__(self) -> str:
        if len(self) < 2:
            vectors = [" ".join(f"{v:.4f}" for v in e[:4]) + f" ... ({len(e)} numbers)" for e in self.array]
            return table(["text", "vector"], [[shortened(t, 30), v] for t, v in zip(self.texts, vectors, strict=True)])
        near = self.similarity()
        np.fill_diagonal(near, -2)
        best = near.argmax(axis=1)
        rows = [
            [i, shortened(t, 44), shortened(self.texts[b], 44), float(near[i, b])]
            for i, (t, b) in enumerate(zip(self.texts, best, strict=True))
        ]
        return table(["#", "text", "nearest", "cosine"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each text its vector."""
        return [{"input": t, "embedding": [float(v) for v in row]} for t, row in self._pairs()]

    def _pairs(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        return zip(self.texts, self.array, strict=True)

    def draw(self) -> Image:
        """The cosines between all texts as coloured squares."""
        from .drawing import similarity

        return similarity(self.similarity(), self.texts)


class TextClasses(Classifications):
    """One :class:`Prediction` a text; prints as a table and draws bars."""

    def __repr__(self) -> str:
        rows = [[shortened(t), p.label, p.score] for t, p in zip(self.inputs, self.predictions, strict=True)]
        return table(["text", "label", "score"], rows)

    def draw(self) -> Image:
        """Each text with bars for its classes."""
        from .drawing import classification

        return classification([(t, p.labels, p.scores) for t, p in zip(self.inputs, self.predictions, strict=True)])


@dataclass(frozen=True, eq=False, repr=False)
class _TextPipeline(Pipeline):
    """What both have in common: texts go through the model in batches of similar length, and come back in their order."""

    preprocess: Any
    batch_size: int = 32

    def _run(self, texts: Sequence[str], use: Any) -> np.ndarray[Any, Any]:
        """(N, ...) rows of ``use(output, batch)``, in the order of the texts."""
        if isinstance(self.preprocess, Unavailable):
            self.preprocess(texts)
        rows = self.preprocess.encode(list(texts), None)
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i][0]), i))
        device = next(self.model.parameters()).device
        found: list[Any] = [None] * len(rows)
        with no_grad():
            for start in range(0, len(order), self.batch_size):
                part = order[start : start + self.batch_size]
                batch = {k: v.to(device) for k, v in self.preprocess.pad([rows[i] for i in part]).items()}
                for i, row in zip(part, use(self.model(**batch), batch).cpu().numpy(), strict=True):
                    found[i] = row
        return np.stack(found)


@dataclass(frozen=True, eq=False, repr=False)
class TextEmbedding(_TextPipeline):
    """Texts -> vectors. Call it on one text (a vector comes back) or a list (:class:`Embeddings`).

    Attributes:
        pooling: how the vectors of the tokens become one, as published with the weights.
    """

    pooling: Pooling = field(default_factory=Pooling)

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextEmbedding:
        """Tokenizer, longest input and pooling from the files that sentence-transformers publishes."""
        length = Pooling.max_length(files) or int(model.config.max_position_embeddings)
        tokenizer = tokenizer_of(files, min(length, int(model.config.max_position_embeddings)))
        return cls(model, tokenizer, as_is, card, files, config, pooling=Pooling.from_files(files))

    def __call__(self, inputs: Any) -> Any:
        """One text -> (D,) float32; a list -> :class:`Embeddings`.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        array = self._run(texts, lambda out, batch: self.pooling(out.last_hidden_state, batch["attention_mask"]))
        return array[0] if isinstance(inputs, str) else Embeddings(array, texts)


@dataclass(frozen=True, eq=False, repr=False)
class TextClassification(_TextPipeline):
    """Texts -> classes. Call it on one text (:class:`Prediction`) or a list (:class:`TextClasses`).

    Attributes:
        labels: names of the classes, in the order of the logits.
    """

    labels: tuple[str, ...] = ()

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextClassification:
        """Tokenizer from the files, labels from ``id2label``."""
        count, names = int(model.config.num_labels), config.get("id2label") or {}
        labels = tuple(str(names.get(str(i), f"class {i}")) for i in range(count))
        length = min(Pooling.max_length(files) or 512, int(model.config.max_position_embeddings))
        return cls(model, tokenizer_of(files, length), as_is, card, files, config, labels=labels)

    def logits(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(N, classes) float32: what the model says, before any softmax."""
        return self._run(texts, lambda out, _: out)

    def __call__(self, inputs: Any) -> Any:
        """One text -> :class:`Prediction`; a list -> :class:`TextClasses`.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        found = predictions(self.logits(texts), self.labels)
        return found[0] if isinstance(inputs, str) else TextClasses(found, texts)


def tokenizer_of(files: Files, max_length: int) -> Any:
    """The tokenizer of a model's files, or what says that it is missing."""
    try:
        return Tokenizer.from_files(files, max_length)
    except MissingFileError:
        return Unavailable("tokenizer.json", "turn text into tokens", files.origin)


def as_is(output: Any) -> Any:
    """A postprocessing that changes nothing."""
    return output
