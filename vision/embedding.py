"""One vector a picture, and which pictures are most alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.autograd import no_grad
from ..core.errors import ArgumentError, DataError
from ..hub.pipeline import Pipeline, as_is
from ..hub.results import Results, shortened, table
from .io import load_image
from .several import picture_name

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


class ImageVectors(Results, Sequence[Any]):
    """One vector a picture. ``.array`` is (N, D) float32; prints each picture with the one that is most alike.

    Example:
        >>> found = ImageVectors(np.eye(2, dtype=np.float32), ["a.png", "b.png"])
        >>> found.similarity().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        >>> found.nearest(found[0], k=1)
        [(0, 1.0)]
    """

    def __init__(self, array: np.ndarray[Any, Any], inputs: Sequence[Any]) -> None:
        self.array, self.inputs = array, list(inputs)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.array, dtype, copy=copy)

    def name(self, index: int) -> str:
        """The file's path, or the picture's number."""
        return picture_name(self.inputs[index], index)

    def similarity(self, other: ImageVectors | None = None) -> np.ndarray[Any, Any]:
        """(N, M) cosines between these pictures and others, or among themselves."""
        return _unit(self.array) @ _unit((other or self).array).T

    def nearest(self, vector: Any, k: int = 5) -> list[tuple[int, float]]:
        """The ``k`` pictures most alike to a vector (D,): their numbers and cosines, the best first.

        Raises:
            ArgumentError: a vector of another width.
        """
        wanted = np.asarray(vector, np.float32)
        if wanted.shape != self.array.shape[1:]:
            raise ArgumentError(
                f"a vector of shape {wanted.shape}", why=f"these have {self.array.shape[1:]}", fix="use one model"
            )
        cosines = _unit(self.array) @ _unit(wanted[None])[0]
        return [(int(i), float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:k]]

    def _best(self) -> list[tuple[int, float]]:
        """For each picture the number and cosine of the one that is most alike."""
        near = self.similarity()
        np.fill_diagonal(near, -2)
        return [(int(b), float(near[i, b])) for i, b in enumerate(near.argmax(1))]

    def __repr__(self) -> str:
        if len(self) < 2:
            rows = [[self.name(i), " ".join(f"{v:.4f}" for v in row[:4]) + " ..."] for i, row in enumerate(self.array)]
            return table(["picture", "vector"], rows)
        names = [shortened(self.name(i), 44) for i in range(len(self))]
        return table(["picture", "nearest", "cosine"], [[names[i], names[b], s] for i, (b, s) in enumerate(self._best())])

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture its vector."""
        return [{"input": self.name(i), "embedding": [float(v) for v in row]} for i, row in enumerate(self.array)]

    def draw(self) -> Image:
        """The pictures below each other, each with a bar for how like the others are, the likest first."""
        from .drawing import classification

        rows = []
        for i, source in enumerate(self.inputs):
            found = [(b, s) for b, s in self.nearest(self.array[i], 6) if b != i][:5]
            labels = [PurePath(self.name(b)).name for b, _ in found]
            rows.append((load_image(source), labels, [max(s, 0.0) for _, s in found]))
        return classification(rows)


def _unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, eq=False, repr=False)
class ImageEmbedding(Pipeline):
    """Pictures -> vectors: what the model's head reads. Call it on one picture ((D,) float32) or a list (:class:`ImageVectors`).

    Attributes:
        batch_size: pictures that go through the model at once.
    """

    batch_size: int = 32

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> ImageEmbedding:
        """Preprocessing as for classification."""
        from .pipelines import preprocessing_of

        return cls(model, preprocessing_of(files, card, config), as_is, card, files, config)

    def __call__(self, inputs: Any) -> Any:
        """One picture -> its vector; a list -> :class:`ImageVectors`.

        Raises:
            DataError: no picture, or one that cannot be read.
        """
        sources = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if not sources:
            raise DataError("no picture to work on", fix="pass at least one")
        parts = [self._vectors(sources[i : i + self.batch_size]) for i in range(0, len(sources), self.batch_size)]
        rows = np.concatenate(parts)
        return ImageVectors(rows, sources) if isinstance(inputs, (list, tuple)) else rows[0]

    def _vectors(self, sources: list[Any]) -> np.ndarray[Any, Any]:
        model: Any = self.model
        with no_grad():
            batch = self.preprocess(sources).to(next(model.parameters()).device)
            found = model.forward_head(model.forward_features(batch), pre_logits=True)
        return found.float().cpu().numpy()
