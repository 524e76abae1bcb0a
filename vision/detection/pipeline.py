"""Pictures -> the objects in them: what each is, where, and how sure the model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import no_grad
from ...core.errors import ArgumentError
from ...hub.pipeline import Pipeline, as_is
from ...hub.results import Results, table
from ..io import load_image
from ..models.detecting import read_classes
from ..ops import box_convert
from ..pipelines import labels_of
from ..several import picture_name
from .preprocess import DetectionPreprocess, padded

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files


@dataclass(frozen=True)
class Detections:
    """The objects in one picture, the surest first.

    Attributes:
        labels: what they are; indices: the numbers of these classes; scores: their probabilities.
        boxes: left, top, right and bottom of each, in pixels of the picture as it was given.
    """

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, float, float, float], ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"{len(self)} objects\n" + table(_COLUMNS, [row for _, row in self.rows()]) if len(self) else "no objects"

    def rows(self) -> list[tuple[int, list[object]]]:
        """The number of each object, and its cells in a table."""
        cells = zip(self.labels, self.scores, self.boxes, strict=True)
        return [(i, [label, score, *(round(v) for v in box)]) for i, (label, score, box) in enumerate(cells)]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists."""
        boxes = [list(box) for box in self.boxes]
        return {"labels": list(self.labels), "indices": list(self.indices), "scores": list(self.scores), "boxes": boxes}


_COLUMNS = ["label", "score", "left", "top", "right", "bottom"]


class PictureObjects(Results, Sequence[Detections]):
    """One :class:`Detections` a picture; prints as a table and draws the boxes into the pictures."""

    def __init__(self, found: Sequence[Detections], inputs: Sequence[Any]) -> None:
        self.detections, self.inputs = tuple(found), tuple(inputs)

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, index: Any) -> Any:
        return self.detections[index]

    def name(self, index: int) -> str:
        """The file's path, or the picture's number."""
        return picture_name(self.inputs[index], index)

    def __repr__(self) -> str:
        rows: list[list[object]] = []
        for i, found in enumerate(self.detections):
            named = [[self.name(i) if not k else "", *cells] for k, cells in found.rows()]
            rows += named or [[self.name(i), "nothing", *[""] * 5]]
        return table(["picture", *_COLUMNS], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture its labels, class numbers, probabilities and boxes in pixels, the surest first."""
        return [{"input": self.name(i), **found.to_dict()} for i, found in enumerate(self.detections)]

    def draw(self) -> Image:
        """The pictures below each other, with a frame around each object."""
        from .drawing import framed, stacked

        return stacked([framed(load_image(source), found) for source, found in zip(self.inputs, self.detections, strict=True)])


@dataclass(frozen=True, eq=False, repr=False)
class ObjectDetection(Pipeline):
    """Pictures -> objects. Call it on one picture or a list: paths, bytes, PIL images, uint8 arrays.

    Attributes:
        labels: names of the classes, in the order of the logits.
        threshold: probability from which on an object is told.
        batch_size: pictures that go through the model at once.
    """

    labels: tuple[str, ...] = ()
    threshold: float = 0.5
    batch_size: int = 8

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> ObjectDetection:
        """Preprocessing from ``preprocessor_config.json`` or the card; labels from configuration or card."""
        labels = tuple(labels_of(config, card, int(model.config.num_labels)))  # type: ignore[union-attr, arg-type]
        multiple = 1 if getattr(model, "takes_mask", False) else int(model.config.patch_size)  # type: ignore[union-attr, arg-type]
        if "preprocessor_config.json" in files:
            said = files.read_json("preprocessor_config.json")
        else:
            said = card.preprocessing if card else {}
        return cls(model, DetectionPreprocess.from_processor(said, multiple), as_is, card, files, config, labels)

    def __call__(self, inputs: Any, threshold: float | None = None) -> Any:
        """:class:`Detections` for one picture, :class:`PictureObjects` for a list.

        Args:
            inputs: the pictures.
            threshold: in place of the pipeline's own.

        Raises:
            ArgumentError: a threshold that is no probability.
            DataError: a picture that cannot be read.
        """
        least = self.threshold if threshold is None else threshold
        if not 0 <= least < 1:
            raise ArgumentError(f"threshold={least}", why="it is a probability", fix="choose one from 0 to below 1, e.g. 0.5")
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        images = [load_image(source) for source in sources]
        found: list[Detections | None] = [None] * len(images)
        for batch in self._batches(images):
            for i, one in zip(batch, self._detect([images[i] for i in batch], least), strict=True):
                found[i] = one
        whole = [one for one in found if one is not None]
        return PictureObjects(whole, sources) if several else whole[0]

    def _batches(self, images: Sequence[Image]) -> list[list[int]]:
        """Numbers of pictures that the model sees in one size: so none is filled up, and each has its own result."""
        preprocess: Any = self.preprocess
        sizes: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            sizes.setdefault(preprocess.target(image.height, image.width), []).append(i)
        return [rows[k : k + self.batch_size] for rows in sizes.values() for k in range(0, len(rows), self.batch_size)]

    def _detect(self, images: Sequence[Image], threshold: float) -> list[Detections]:
        preprocess: Any = self.preprocess
        given = padded([preprocess.one(image) for image in images])["pixel_values"]
        with no_grad():
            output = self.model(given.to(next(self.model.parameters()).device))
            classes, scores = (t.cpu().numpy() for t in read_classes(output.logits.float()))
            boxes = box_convert(output.pred_boxes.float().cpu(), "cxcywh", "xyxy").numpy()
        sides = np.array([[im.width, im.height, im.width, im.height] for im in images], np.float32)
        return [self._told(k, s, b, threshold) for k, s, b in zip(classes, scores, boxes * sides[:, None], strict=True)]

    def _told(self, classes: np.ndarray, scores: np.ndarray, boxes: np.ndarray, threshold: float) -> Detections:
        best = [i for i in np.argsort(-scores, kind="stable") if scores[i] > threshold]
        corners = [tuple(float(v) for v in boxes[i]) for i in best]
        indices = tuple(int(classes[i]) for i in best)
        labels = tuple(self.labels[i] for i in indices)
        return Detections(labels, indices, tuple(float(scores[i]) for i in best), tuple(corners))  # type: ignore[arg-type]
