"""Where models look, for pictures: what ``nyala explain`` and the task "image-explanation" run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError, DataError, did_you_mean
from ...core.nn import Model
from ...core.tensor import Tensor
from ...hub.load import task_of
from ...hub.pipeline import Pipeline, as_is
from ...hub.results import shortened, table
from ..several import PerPicture
from . import grids

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

_TASKS = ("image-classification", "image-embedding", "zero-shot-image-classification")  # of the models that are explained


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a model looks in one picture.

    Attributes:
        picture: (H, W, 3) uint8, the part of the picture that the model sees.
        grid: (rows, columns) float32 from 0 to 1; or (rows, columns, 3), colours of which like ones mean like features.
        method: one of :data:`.grids.METHODS`.
        label: the class that the grid speaks for, if it is about one.
        score: that class's probability.
    """

    picture: np.ndarray[Any, Any]
    grid: np.ndarray[Any, Any]
    method: str
    label: str | None = None
    score: float | None = None

    @property
    def peak(self) -> tuple[float, float] | None:
        """Where the grid is largest: x and y from 0 to 1 of what the model sees; None where it is flat or of colours."""
        if self.grid.ndim != 2 or not self.grid.any():
            return None
        y, x = np.unravel_index(int(self.grid.argmax()), self.grid.shape)
        return float((x + 0.5) / self.grid.shape[1]), float((y + 0.5) / self.grid.shape[0])

    def __repr__(self) -> str:
        about = f" for {self.label!r}" if self.label is not None else ""
        return f"Explanation({self.method}{about}, {self.grid.shape[0]} x {self.grid.shape[1]})"


class Explanations(PerPicture):
    """One :class:`Explanation` a picture; prints as a table, and draws each picture beside where the model looks.

    Example:
        >>> cat = Explanation(np.zeros((4, 4, 3), np.uint8), np.eye(2, dtype=np.float32), "grad-cam", "cat", 0.9)
        >>> Explanations([cat], ["cat.jpg"])
        picture  method    class   score  most at
        -------  --------  -----  ------  ----------
        cat.jpg  grad-cam  cat    0.9000  25 %, 25 %
    """

    def __repr__(self) -> str:
        rows = []
        for i, one in enumerate(self.found):
            place = "nowhere" if one.grid.ndim == 2 else "-"
            if one.peak is not None:
                place = f"{100 * one.peak[0]:.0f} %, {100 * one.peak[1]:.0f} %"
            about = ["-", "-"] if one.label is None else [one.label, float(one.score or 0.0)]
            rows.append([shortened(PurePath(self.name(i)).name, 44), one.method, *about, place])
        return table(["picture", "method", "class", "score", "most at"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each picture the method, the class and its probability, where the grid is largest, and the grid row by row."""
        return [
            {
                "input": self.name(i), "method": one.method, "label": one.label, "score": one.score,
                "peak": None if one.peak is None else {"x": one.peak[0], "y": one.peak[1]},
                "grid": np.round(one.grid.astype(float), 6).tolist(),
            }
            for i, one in enumerate(self.found)
        ]  # fmt: skip

    def draw(self) -> Image:
        """The pictures below each other, each beside where the model looks, bright where it looks most."""
        from .drawing import sheet

        return sheet([(self.name(i), one) for i, one in enumerate(self.found)])


@dataclass(frozen=True, eq=False, repr=False)
class ImageExplanation(Pipeline):
    """Pictures -> where the model looks. Call it on one picture (:class:`Explanation`) or a list (:class:`Explanations`).

    Attributes:
        labels: names of the classes, in the order of the logits.

    Example:
        >>> import nyala
        >>> look = nyala.load("tf_efficientnet_lite0", task="image-explanation")  # doctest: +SKIP
        >>> look(["coffee.jpg"], label="espresso").save("where.png")  # doctest: +SKIP
    """

    labels: tuple[str, ...] = ()

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> ImageExplanation:
        """Preprocessing and labels as for classification.

        Raises:
            ArgumentError: a model of another kind than those that turn one picture into features.
        """
        from ..pipelines import labels_of, preprocessing_of

        meant = task_of(config, files, card)
        if meant not in _TASKS or not isinstance(model, Model):
            what = f"{type(model).__name__} is for {meant}"
            raise ArgumentError(
                what, why="only what turns a picture into classes or a vector is explained", fix="choose such a model"
            )
        classes = grids.classes_of(model)
        labels = tuple(labels_of(config, card, classes)) if classes else ()
        return cls(model, preprocessing_of(files, card, config), as_is, card, files, config, labels)

    def resized(self, size: int) -> ImageExplanation:
        """The same on pictures of ``size`` x ``size`` pixels: a finer grid, where the architecture takes any size.

        Raises:
            ArgumentError: fewer than 16 pixels.
        """
        if size < 16:
            raise ArgumentError(f"a size of {size} pixels", fix="use at least 16")
        return replace(self, preprocess=replace(self.preprocess, size=(size, size)))  # type: ignore[type-var]

    def number(self, label: str | int) -> int:
        """The number of a class, by its name or by its number as text.

        Raises:
            ArgumentError: no such class.
        """
        wanted = str(label).strip().lower()
        names = [name.lower() for name in self.labels]
        if wanted in names:
            return names.index(wanted)
        if wanted.isdecimal() and int(wanted) < len(names):
            return int(wanted)
        begins = [i for i, name in enumerate(names) if wanted and wanted in [part.strip() for part in name.split(",")]]
        if len(begins) == 1:  # ImageNet's classes have several names each
            return begins[0]
        near = did_you_mean(str(label), self.labels) or "use one of its names or numbers"
        raise ArgumentError(f"the model has no class {label!r}", why=f"it has {len(names)} classes", fix=near)

    def __call__(self, inputs: Any, method: str | None = None, label: str | int | None = None, layer: str | None = None) -> Any:
        """Explain one picture or several.

        Args:
            inputs: a path, bytes, a PIL image or a uint8 array, or a list of them.
            method: one of :data:`.grids.METHODS`; what shows most of the model unless given.
            label: with grad-cam, the class to speak for; by default each picture's likeliest.
            layer: with grad-cam or components, the name of the module whose result is used.

        Raises:
            ArgumentError: a method that does not fit the model, no such class, or no such layer.
            DataError: no picture, or one that cannot be read.
        """
        chosen = method or grids.usual_method(self._model)
        self._check(chosen, label, layer)
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            raise DataError("no picture to work on", fix="pass at least one")
        crops = [self.preprocess.crop(source) for source in sources]  # type: ignore[attr-defined]
        if chosen == "components":
            maps = grids.components([grids.features(self._model, self._prepared(crop), layer) for crop in crops])
            found = [Explanation(crop, grid, chosen) for crop, grid in zip(crops, maps, strict=True)]
        elif chosen == "grad-cam":
            number = None if label is None else self.number(label)
            found = [self._spoken_for(crop, number, layer) for crop in crops]
        else:
            rolled = chosen == "rollout"
            found = [Explanation(c, grids.attention(self._model, self._prepared(c), rolled), chosen) for c in crops]
        return Explanations(found, sources) if several else found[0]

    @property
    def _model(self) -> Model:
        assert isinstance(self.model, Model)
        return self.model

    def _check(self, method: str, label: Any, layer: str | None) -> None:
        if method not in grids.METHODS:
            near = did_you_mean(method, grids.METHODS) or f"use one of {', '.join(grids.METHODS)}"
            raise ArgumentError(f"no method is called {method!r}", fix=near)
        if method == "grad-cam" and not self.labels:
            raise ArgumentError("grad-cam of a model without classes", fix="use attention, rollout or components")
        if label is not None and method != "grad-cam":
            raise ArgumentError(f"{method} speaks for no class", fix="leave the label out, or use grad-cam")
        if layer is not None and method in ("attention", "rollout"):
            raise ArgumentError(f"{method} has no layer to choose", fix="leave it out")

    def _prepared(self, crop: np.ndarray[Any, Any]) -> Tensor:
        prepared = self.preprocess.normalise(crop)[None]  # type: ignore[attr-defined]
        first = next(self.model.parameters())
        return Tensor(prepared).to(device=first.device, dtype=first.dtype)

    def _spoken_for(self, crop: np.ndarray[Any, Any], number: int | None, layer: str | None) -> Explanation:
        grid, number, score = grids.grad_cam(self._model, self._prepared(crop), number, layer)
        return Explanation(crop, grid, "grad-cam", self.labels[number], score)
