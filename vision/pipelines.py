"""Pipelines on pictures: what ``nyala.load`` returns for an image model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..hub import registry
from ..hub.pipeline import Pipeline, as_is
from ..hub.results import Classifications, predictions, table
from .io import load_image
from .preprocess import ImagePreprocess
from .several import picture_name

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


class PictureClasses(Classifications):
    """One :class:`Prediction` a picture; prints as a table and draws the pictures with their classes."""

    def name(self, index: int) -> str:
        """The file's path, or the picture's number."""
        return picture_name(self.inputs[index], index)

    def __repr__(self) -> str:
        rows = [
            [self.name(i) if k == 0 else "", label, score]
            for i, p in enumerate(self.predictions)
            for k, (label, score) in enumerate(zip(p.labels, p.scores, strict=True))
        ]
        return table(["picture", "label", "score"], rows)

    def draw(self) -> Image:
        """The pictures below each other, each with bars for its classes."""
        from .drawing import classification

        return classification([(load_image(s), p.labels, p.scores) for s, p in zip(self.inputs, self.predictions, strict=True)])


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
        """Preprocessing from ``pretrained_cfg``, ``preprocessor_config.json`` or the card; labels from configuration or card."""
        classes = int(getattr(model.config, "num_classes", None) or model.config.num_labels)
        labels = tuple(labels_of(config, card, classes))
        return cls(model, preprocessing_of(files, card, config), as_is, card, files, config, labels)

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
        """A :class:`Prediction` for one picture, :class:`PictureClasses` for a list.

        Raises:
            DataError: a picture that cannot be read.
        """
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            return PictureClasses([], [])
        found = predictions(self.logits(sources), self.labels, top_k or self.top_k)
        return PictureClasses(found, sources) if several else found[0]


def preprocessing_of(files: Files, card: Card | None, config: dict[str, Any]) -> ImagePreprocess:
    """What the files of a model say of its preprocessing: timm's ``pretrained_cfg``, transformers' file, or the card.

    Where none of them does, what the architecture was trained on, if its module says it in ``preprocessing(config)``.
    """
    if "pretrained_cfg" not in config and "preprocessor_config.json" in files:
        return ImagePreprocess.from_processor(files.read_json("preprocessor_config.json"))
    described = config.get("pretrained_cfg") or (card.preprocessing if card else {})
    usual = getattr(registry.get(registry.architecture_of(config)), "preprocessing", None) if "model_type" in config else None
    return ImagePreprocess.from_processor(usual(config)) if usual and not described else ImagePreprocess.from_config(described)


def labels_of(config: dict[str, Any], card: Card | None, count: int) -> list[str]:
    """Names of the classes: timm's label descriptions, transformers' id2label, the card's, else their numbers."""
    if isinstance(config.get("id2label"), dict) and len(config["id2label"]) == count:
        return [str(config["id2label"][str(i)]) for i in range(count)]
    if count and len(config.get("label_names") or ()) == count:
        described = config.get("label_descriptions") or {}
        return [str(described.get(n, n)) for n in config["label_names"]]
    names = card.label_names() if card else []
    return names if len(names) == count else [f"class {i}" for i in range(count)]
