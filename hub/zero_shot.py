"""What pipelines share that sort things into classes they have never seen: the classes are given as words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..core.errors import ArgumentError, MissingFileError
from ..core.tensor import Tensor
from .files import Files
from .pipeline import Pipeline, Unavailable, no_grad
from .results import Prediction


@dataclass(frozen=True, eq=False, repr=False)
class ComparedWithTexts(Pipeline):
    """Things and names of classes -> classes, by a model of two towers: each label becomes a sentence, and the best one wins.

    The model has ``get_text_features``, ``scores`` and ``each_alone``. Subclasses say what the things are.

    Attributes:
        captions: texts -> token ids.
        batch_size: things or texts that go through the model at once.
    """

    captions: Callable[..., Any] = field(
        default_factory=lambda: Unavailable("tokenizer.json", "turn texts into tokens", "the model")
    )
    batch_size: int = 32
    template: ClassVar[str] = "{}"
    """The sentence that a label makes where nothing else is said."""

    @staticmethod
    def captions_of(model: Any, files: Files, read: Callable[[Any], Any], *, things: str, choose: str) -> Any:
        """Texts -> token ids, from the files, or what says that they have no tokenizer.

        Args:
            model: of two towers.
            files: of the model.
            read: makes the captions from the settings of the model's tower for texts.
            things: what the model compares with texts, for the message.
            choose: models that do, for the message.

        Raises:
            ArgumentError: the model has no tower for texts.
        """
        if not hasattr(model, "get_text_features"):
            raise ArgumentError(
                f"{type(model).__name__} compares no {things} with texts",
                why="classes that are given as words need a tower for texts",
                fix=f"choose a {choose}, or load it for another task",
            )
        try:
            return read(model.config.text_config)
        except MissingFileError:
            return Unavailable("tokenizer.json", "turn texts into tokens", files.origin)

    def features(self, part: Sequence[Any]) -> Tensor:
        """(N, D), one vector a thing, of any length."""
        raise NotImplementedError(f"{type(self).__name__}.features")

    def results(self, found: Sequence[Prediction], things: Sequence[Any]) -> Any:
        """What a list of things gives."""
        raise NotImplementedError(f"{type(self).__name__}.results")

    @staticmethod
    def several(inputs: Any) -> bool:
        """Whether these are a list of things, and not one."""
        return isinstance(inputs, (list, tuple))

    def __call__(
        self,
        inputs: Any,
        labels: Sequence[str] | None = None,
        *,
        template: str | Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> Any:
        """One thing -> :class:`Prediction` over the labels, best first; a list -> one each.

        Args:
            inputs: what the pipeline is for.
            labels: names of the classes, at least two; where the model judges each for itself (SigLIP) one is enough, and its
                scores do not sum to 1.
            template: the sentence that a label makes, ``{}`` stands for the label; of several the mean counts.
            top_k: how many classes each prediction names; None for all.

        Raises:
            ArgumentError: too few labels, a label twice, or a template without ``{}``.
            DataError: an input that cannot be read.
        """
        return self.sorter(labels, template=template, top_k=top_k)(inputs)

    def sorter(
        self, labels: Sequence[str] | None, *, template: str | Sequence[str] | None = None, top_k: int | None = None
    ) -> Callable[[Any], Any]:
        """What sorts things into these classes, with arguments as the pipeline's: the labels are read once.

        Raises:
            ArgumentError: as the pipeline.
            MissingFileError: the model came without a tokenizer.
        """
        names = [] if labels is None else [labels] if isinstance(labels, str) else list(labels)
        told = self.template if template is None else template
        templates = [told] if isinstance(told, str) else list(told)
        check_labels(names, templates, 1 if self._two_towers.each_alone else 2, self.template)
        classes = self._classes(names, templates)

        def sort(inputs: Any) -> Any:
            many = self.several(inputs)
            things = list(inputs) if many else [inputs]
            if not things:
                return self.results([], [])
            shares = self._shares(classes, self.vectors(things, self.features))
            best = np.argsort(-shares, axis=1, kind="stable")[:, :top_k]
            found = [
                Prediction(tuple(names[i] for i in order), tuple(map(int, order)), tuple(float(row[i]) for i in order))
                for order, row in zip(best, shares, strict=True)
            ]
            return self.results(found, things) if many else found[0]

        return sort

    def embed(self, inputs: Any) -> np.ndarray[Any, Any]:
        """One thing or several -> (N, D) float32, vectors of length 1, comparable with those of :meth:`embed_texts`.

        Raises:
            DataError: one that cannot be read.
        """
        return self.vectors(list(inputs) if self.several(inputs) else [inputs], self.features)

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray[Any, Any]:
        """One text or several -> (M, D) float32, vectors of length 1.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        given, model = [texts] if isinstance(texts, str) else list(texts), self._two_towers
        return self.vectors(
            given, lambda part: model.get_text_features(**{name: self.here(t) for name, t in self.captions(part).items()})
        )

    @property
    def _two_towers(self) -> Any:
        return self.model

    def here(self, tensor: Tensor) -> Tensor:
        """A tensor on the model's device."""
        return tensor.to(next(self.model.parameters()).device)

    def vectors(self, given: Sequence[Any], features: Callable[[Any], Tensor]) -> np.ndarray[Any, Any]:
        """(N, D) float32 of length 1, in batches."""
        parts = []
        with no_grad():
            for i in range(0, len(given), self.batch_size):
                parts.append(features(given[i : i + self.batch_size]).to("float32").cpu().numpy())
        if not parts:
            return np.zeros((0, 0), np.float32)
        return unit(np.concatenate(parts))

    def _classes(self, names: Sequence[str], templates: Sequence[str]) -> np.ndarray[Any, Any]:
        """A unit vector a class: the mean over the templates."""
        sentences = [template.replace("{}", name) for name in names for template in templates]
        vectors = self.embed_texts(sentences).reshape(len(names), len(templates), -1)
        return vectors[:, 0] if len(templates) == 1 else unit(vectors.mean(axis=1))

    def _shares(self, classes: np.ndarray[Any, Any], things: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(N, classes): probabilities."""
        model = self._two_towers
        with no_grad():
            logits = model.scores(self.here(Tensor(classes)), self.here(Tensor(things))).to("float32").cpu().numpy()
        logits = logits.T.astype(np.float64)
        if model.each_alone:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def check_labels(names: Sequence[str], templates: Sequence[str], least: int = 2, example: str = "This is {}.") -> None:
    """Whether labels and templates make sense.

    Args:
        names: of the classes.
        templates: sentences with ``{}`` in them.
        least: how many classes there must be.
        example: of a template, for the message.

    Raises:
        ArgumentError: they do not.

    Example:
        >>> check_labels(["cat", "dog"], ["a photo of a {}."])
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"the label {twice!r} is given twice", fix="give each label once")
    if len(names) < least:
        why = "there is nothing to choose from"
        raise ArgumentError(f"{len(names)} label(s)", why=why, fix='labels=["cat", "dog"], or --labels cat,dog')
    wrong = next((t for t in templates if "{}" not in t), None) if templates else ""
    if wrong is not None:
        raise ArgumentError(f"template={wrong!r}", why="{} stands for the label in it", fix=f'e.g. "{example}"')


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Vectors with length 1.

    Example:
        >>> unit(np.array([[3.0, 4.0]]))
        array([[0.6, 0.8]])
    """
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
