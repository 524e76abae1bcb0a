"""The pipeline that sorts pictures into classes it has never seen: the classes are given as words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import ArgumentError, MissingFileError
from ..core.tensor import Tensor
from ..hub.pipeline import Pipeline, Unavailable, no_grad
from ..hub.results import Prediction
from .captions import Captions
from .pipelines import PictureClasses, preprocessing_of

if TYPE_CHECKING:
    from ..hub.cards import Card
    from ..hub.files import Files


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShotImages(Pipeline):
    """Pictures and names of classes -> classes. Call it on one picture (:class:`Prediction`) or a list (:class:`PictureClasses`).

    The model must have two towers (CLIP, SigLIP): each label becomes a sentence, and the sentence that fits a picture best wins.

    Attributes:
        captions: texts -> token ids.
        batch_size: pictures or texts that go through the model at once.

    Example:
        >>> import nyala
        >>> pipe = nyala.load("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> pipe("cat.jpg", labels=["cat", "dog"]).label  # doctest: +SKIP
        'cat'
    """

    captions: Callable[..., Any] = field(
        default_factory=lambda: Unavailable("tokenizer.json", "turn texts into tokens", "the model")
    )
    batch_size: int = 32

    @classmethod
    def from_files(cls, model: Any, files: Files, card: Card | None, config: dict[str, Any]) -> ZeroShotImages:
        """Preprocessing and tokenizer from the files.

        Raises:
            ArgumentError: the model has no tower for texts.
        """
        if not hasattr(model, "get_text_features"):
            raise ArgumentError(
                f"{type(model).__name__} compares no pictures with texts",
                why="classes that are given as words need a tower for texts",
                fix="choose a CLIP or a SigLIP, or load it for another task",
            )
        longest = model.config.text_config.max_position_embeddings
        try:
            captions: Any = Captions.from_files(files, longest, model.whole_length)
        except MissingFileError:
            captions = Unavailable("tokenizer.json", "turn texts into tokens", files.origin)
        return cls(model, preprocessing_of(files, card, config), _as_is, card, files, config, captions)

    def __call__(
        self,
        inputs: Any,
        labels: Sequence[str] | None = None,
        *,
        template: str | Sequence[str] = "a photo of a {}.",
        top_k: int | None = None,
    ) -> Any:
        """One picture -> :class:`Prediction` over the labels, best first; a list -> :class:`PictureClasses`.

        Args:
            inputs: paths, bytes, PIL images, uint8 arrays.
            labels: names of the classes, at least two; of a SigLIP one is enough, as it judges each for itself, and its scores
                do not sum to 1.
            template: the sentence that a label makes, ``{}`` stands for the label; of several the mean counts.
            top_k: how many classes each prediction names; None for all.

        Raises:
            ArgumentError: too few labels, a label twice, or a template without ``{}``.
            DataError: a picture that cannot be read.
        """
        names = [] if labels is None else [labels] if isinstance(labels, str) else list(labels)
        templates = [template] if isinstance(template, str) else list(template)
        self._check(names, templates)
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            return PictureClasses([], [])
        shares = self._shares(self._classes(names, templates), self.embed_images(sources))
        best = np.argsort(-shares, axis=1, kind="stable")[:, :top_k]
        found = [
            Prediction(tuple(names[i] for i in order), tuple(map(int, order)), tuple(float(row[i]) for i in order))
            for order, row in zip(best, shares, strict=True)
        ]
        return PictureClasses(found, sources) if several else found[0]

    def embed_images(self, inputs: Any) -> np.ndarray[Any, Any]:
        """One picture or several -> (N, D) float32, vectors of length 1, comparable with those of :meth:`embed_texts`.

        Raises:
            DataError: a picture that cannot be read.
        """
        sources = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        return self._vectors(sources, lambda part: self.model.get_image_features(self._here(self.preprocess(part))))

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray[Any, Any]:
        """One text or several -> (M, D) float32, vectors of length 1.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        given = [texts] if isinstance(texts, str) else list(texts)

        def features(part: Sequence[str]) -> Tensor:
            return self.model.get_text_features(**{name: self._here(t) for name, t in self.captions(part).items()})

        return self._vectors(given, features)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(next(self.model.parameters()).device)

    def _vectors(self, given: Sequence[Any], features: Callable[[Any], Tensor]) -> np.ndarray[Any, Any]:
        parts = []
        with no_grad():
            for i in range(0, len(given), self.batch_size):
                parts.append(features(given[i : i + self.batch_size]).to("float32").cpu().numpy())
        if not parts:
            return np.zeros((0, 0), np.float32)
        return _unit(np.concatenate(parts))

    def _classes(self, names: Sequence[str], templates: Sequence[str]) -> np.ndarray[Any, Any]:
        """A unit vector a class: the mean over the templates."""
        sentences = [template.replace("{}", name) for name in names for template in templates]
        vectors = self.embed_texts(sentences).reshape(len(names), len(templates), -1)
        return vectors[:, 0] if len(templates) == 1 else _unit(vectors.mean(axis=1))

    def _shares(self, classes: np.ndarray[Any, Any], pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(N, classes): probabilities."""
        with no_grad():
            logits = self.model.scores(self._here(Tensor(classes)), self._here(Tensor(pictures))).to("float32").cpu().numpy()
        logits = logits.T.astype(np.float64)
        if self.model.each_alone:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))

    def _check(self, names: Sequence[str], templates: Sequence[str]) -> None:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ArgumentError(f"the label {twice!r} is given twice", fix="give each label once")
        if len(names) < (1 if self.model.each_alone else 2):
            raise ArgumentError(
                f"{len(names)} label(s)", why="there is nothing to choose from", fix='labels=["cat", "dog"], or --labels cat,dog'
            )
        wrong = next((t for t in templates if "{}" not in t), None) if templates else ""
        if wrong is not None:
            raise ArgumentError(f"template={wrong!r}", why="{} stands for the label in it", fix='e.g. "a photo of a {}."')


def _unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _as_is(output: Tensor) -> Tensor:
    return output
