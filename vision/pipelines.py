"""Pipelines on pictures: what ``nyala.load`` returns for an image model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.nn import functional as F
from ..core.tensor import Tensor
from ..hub.pipeline import Pipeline
from ..hub.results import Results, table
from .io import load_image
from .preprocess import ImagePreprocess

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one picture, best first.

    Attributes:
        labels: their names; ``indices`` their numbers; ``scores`` their probabilities.
    """

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def label(self) -> str:
        return self.labels[0]

    @property
    def score(self) -> float:
        return self.scores[0]


class Classifications(Results, Sequence[Prediction]):
    """One :class:`Prediction` a picture; prints as a table and draws the pictures with their classes."""

    def __init__(self, predictions: Sequence[Prediction], sources: Sequence[Any]) -> None:
        self.predictions, self.sources = tuple(predictions), tuple(sources)

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, index: Any) -> Any:
        return self.predictions[index]

    def _name(self, i: int) -> str:
        return (
            str(self.sources[i]) if isinstance(self.sources[i], str) or hasattr(self.sources[i], "__fspath__") else f"picture {i}"
        )

    def __repr__(self) -> str:
        rows = [
            [self._name(i) if k == 0 else "", label, score]
            for i, p in enumerate(self.predictions)
            for k, (label, score) in enumerate(zip(p.labels, p.scores, strict=True))
        ]
        return table(["picture", "label", "score"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture its labels, class numbers and probabilities, best first."""
        return [
            {"input": self._name(i), "labels": list(p.labels), "indices": list(p.indices), "scores": list(p.scores)}
            for i, p in enumerate(self.predictions)
        ]

    def draw(self) -> Image:
        """The pictures below each other, each with bars for its classes."""
        from .drawing import classification

        return classification([(load_image(s), p.labels, p.scores) for s, p in zip(self.sources, self.predictions, strict=True)])


@dataclass(frozen=True, eq=False, repr=False)
class ImageClassification(Pipeline):
    """Pictures -> classes. Call it on one picture or a list: paths, bytes, PIL images, uint8 arrays.

    Attributes:
        labels: names of the classes, in the order of the logits.
        top_k: how many classes each prediction names.
        batch_size: pictures that go through the model at once.
    """

    labels: tuple[str, ...] = ()
    top_k: int = 5
    batch_size: int = 32

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> ImageClassification:
        """Preprocessing from ``pretrained_cfg`` or the card; labels from the configuration or the card."""
        described = config.get("pretrained_cfg") or (card.preprocessing if card else {})
        classes = int(model.config.num_classes)
        labels = tuple(_labels(config, card, classes))
        return cls(model, ImagePreprocess.from_config(described), _as_is, card, files, config, labels)

    def logits(self, inputs: Sequence[Any]) -> np.ndarray[Any, Any]:
        """(N, classes) float32: what the model says, before any softmax."""
        from ..core.autograd import no_grad

        parts = []
        with no_grad():
            for i in range(0, len(inputs), self.batch_size):
                batch = self.preprocess(list(inputs[i : i + self.batch_size])).to(next(self.model.parameters()).device)
                parts.append(self.model(batch).cpu().numpy())
        return np.concatenate(parts)

    def __call__(self, inputs: Any, top_k: int | None = None) -> Any:
        """A :class:`Prediction` for one picture, :class:`Classifications` for a list.

        Raises:
            DataError: a picture that cannot be read.
        """
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            return Classifications([], [])
        scores = F.softmax(Tensor(self.logits(sources)), dim=-1).numpy()
        count = min(top_k or self.top_k, scores.shape[1])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        found = [
            Prediction(tuple(self.labels[i] for i in row), tuple(map(int, row)), tuple(float(s[i]) for i in row))
            for row, s in zip(best, scores, strict=True)
        ]
        return Classifications(found, sources) if several else found[0]


def _as_is(output: Tensor) -> Tensor:
    return output


def _labels(config: dict[str, Any], card: Card | None, count: int) -> list[str]:
    """Names of the classes: timm's label descriptions, transformers' id2label, the card's, else their numbers."""
    if isinstance(config.get("id2label"), dict) and len(config["id2label"]) == count:
        return [str(config["id2label"][str(i)]) for i in range(count)]
    if len(config.get("label_names") or ()) == count:
        described = config.get("label_descriptions") or {}
        return [str(described.get(n, n)) for n in config["label_names"]]
    names = card.label_names() if card else []
    return names if len(names) == count else [f"class {i}" for i in range(count)]
