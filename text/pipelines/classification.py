"""The pipeline that sorts texts into the classes a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...hub.pipeline import as_is
from ...hub.results import Classifications, predictions, shortened, table
from ..tokenizers.tokenizer import TooLong
from .batching import TextPipeline, length_of, logits_of, texts_of, tokenizer_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files


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
class TextClassification(TextPipeline):
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
        return cls(model, tokenizer_of(files, length_of(files, model), model), as_is, card, files, config, labels=labels)

    def logits(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, too_long: TooLong | None = None
    ) -> np.ndarray[Any, Any]:
        """(N, classes) float32: what the model says of the texts, or of pairs of texts, before any softmax."""
        return self.run(texts, logits_of, pairs=pairs, too_long=too_long)

    def __call__(self, inputs: Any, *, too_long: TooLong | None = None) -> Any:
        """One text -> :class:`Prediction`; a list -> :class:`TextClasses`.

        Args:
            inputs: texts.
            too_long: what happens to a text that is longer than the model reads: "notice" (its end is cut off, and you are
                told), "cut", or "raise".

        Raises:
            DataError: something that is not a text, or one that is too long, where that is an error.
            MissingFileError: the model came without a tokenizer.
        """
        texts, single = texts_of(inputs)
        found = predictions(self.logits(texts, too_long=too_long), self.labels)
        return found[0] if single else TextClasses(found, texts)
