"""The pipeline that sorts texts into classes it has never seen: the classes are given as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from ...hub.pipeline import as_is
from ...hub.results import Prediction
from ..tokenizers.tokenizer import TooLong
from .batching import TextPipeline, logits_of, longest_of, texts_of, tokenizer_of
from .classification import TextClasses
from .pooling import Pooling

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

_SCALE = 20.0  # what cosines are multiplied by before they become probabilities, as embeddings are trained


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShot(TextPipeline):
    """Texts and names of classes -> classes. Call it on one text (:class:`Prediction`) or a list (:class:`TextClasses`).

    A model of entailment (trained on MNLI and its kind) is asked whether "This example is about sports." follows from the text
    (Yin et al., arXiv:1909.00161). A model that embeds texts works too, by the cosines of text and sentence.

    Attributes:
        entails, contradicts: numbers of these two labels of a model of entailment.
        pooling: of a model that embeds texts; None for a model of entailment.
    """

    entails: int = 0
    contradicts: int = 0
    pooling: Pooling | None = field(default=None)

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> ZeroShot:
        """Tokenizer from the files, and which label says that something follows.

        Raises:
            DataError: a classifier without such a label.
        """
        longest = longest_of(model)
        tokenizer = tokenizer_of(files, min(Pooling.max_length(files) or longest, longest), model)
        if not any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or []):
            return cls(model, tokenizer, as_is, card, files, config, pooling=Pooling.from_files(files))
        names = {int(i): str(name).lower() for i, name in (config.get("id2label") or {}).items()}
        entails = next((i for i, name in names.items() if name.startswith("entail")), None)
        against = next((i for i, name in names.items() if name.startswith(("contra", "not_entail", "not entail"))), None)
        if entails is None or against is None:
            raise DataError(
                f"{files.origin} has the classes {', '.join(names.values()) or 'without names'}",
                why="a model for classes of any name says whether a sentence is entailed or contradicted",
                fix="choose one that was trained on MNLI, or an embedding model such as all-MiniLM-L6-v2",
            )
        return cls(model, tokenizer, as_is, card, files, config, entails=entails, contradicts=against)

    def __call__(
        self,
        inputs: Any,
        labels: Sequence[str] | None = None,
        *,
        template: str = "This example is about {}.",
        multi_label: bool = False,
        too_long: TooLong | None = None,
    ) -> Any:
        """One text -> :class:`Prediction` over the labels; a list -> :class:`TextClasses`.

        Args:
            inputs: texts.
            labels: names of the classes, at least two (one is enough with ``multi_label``).
            template: the sentence that a label makes; ``{}`` stands for the label.
            multi_label: each label is true or not for itself, so that the scores do not sum to 1.
            too_long: what happens to a text that is longer than the model reads; see
                :class:`~nyala.text.tokenizers.tokenizer.Tokenizer`.

        Raises:
            ArgumentError: too few labels, a label twice, a template without ``{}``, or ``multi_label`` of a model that embeds.
            DataError: something that is not a text.
        """
        names = [] if labels is None else [labels] if isinstance(labels, str) else list(labels)
        self._check(names, template, multi_label)
        texts, single = texts_of(inputs)
        sentences = [template.replace("{}", name) for name in names]
        if self.pooling is not None:
            unit = self.unit_vectors([*texts, *sentences], self.pooling, too_long)
            shares = _softmax(_SCALE * unit[: len(texts)] @ unit[len(texts) :].T)
        else:
            shares = self._entailed(texts, sentences, multi_label, too_long)
        best = np.argsort(-shares, axis=1, kind="stable")
        found = [
            Prediction(tuple(names[i] for i in order), tuple(map(int, order)), tuple(float(row[i]) for i in order))
            for order, row in zip(best, shares, strict=True)
        ]
        return found[0] if single else TextClasses(found, texts)

    def _check(self, names: Sequence[str], template: str, multi_label: bool) -> None:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ArgumentError(f"the label {twice!r} is given twice", fix="give each label once")
        if len(names) < (1 if multi_label else 2):
            raise ArgumentError(
                f"{len(names)} label(s)", why="there is nothing to choose from", fix='labels=["sports", "politics"]'
            )
        if "{}" not in template:
            raise ArgumentError(
                f"template={template!r}", why="{} stands for the label in it", fix='e.g. "This text is about {}."'
            )
        if multi_label and self.pooling is not None:
            why = "cosines say which label is nearer, not whether one is true"
            raise ArgumentError("multi_label needs a model of entailment", why=why, fix="choose one that was trained on MNLI")

    def _entailed(
        self, texts: Sequence[str], sentences: Sequence[str], multi_label: bool, too_long: TooLong | None
    ) -> np.ndarray[Any, Any]:
        """(texts, sentences): how likely each sentence is, of all or for itself."""
        first, second = [t for t in texts for _ in sentences], [s for _ in texts for s in sentences]
        logits = self.run(first, logits_of, pairs=second, too_long=too_long)
        if multi_label:
            shares = _softmax(logits[:, [self.contradicts, self.entails]])[:, 1]
            return np.asarray(shares.reshape(len(texts), len(sentences)))
        return _softmax(logits[:, self.entails].reshape(len(texts), len(sentences)))


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
