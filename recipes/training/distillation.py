"""The teacher of a run: another model that sees the same pictures, and tells what it thinks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import AccessError, NetworkError, RecipeError, UnknownNameError
from ...core.nn import functional as F
from ...core.tensor import Tensor
from ...hub.load import load as hub_load
from ...hub.pipeline import Pipeline
from ...vision.preprocess import ImagePreprocess
from ..language.schema import Distill
from .objectives import Classes, Distilled, Objective


@dataclass(frozen=True)
class Teacher:
    """A model in eval mode, on pictures that were prepared for another one.

    Attributes:
        pipeline: the teacher.
        prepared: how the pictures were prepared; they become what the teacher takes, scaled where its size is another.
    """

    pipeline: Pipeline
    prepared: ImagePreprocess

    def __call__(self, inputs: Tensor) -> Tensor:
        """(N, 3, H, W) -> logits (N, K)."""
        own: Any = self.pipeline.preprocess
        model: Any = self.pipeline.model
        x = inputs * _planes(self.prepared.std) + _planes(self.prepared.mean)  # back to 0..1
        if own.size != self.prepared.size:
            x = F.interpolate(x, own.size, mode="bilinear", align_corners=False, antialias=True)
        found: Tensor = model((x - _planes(own.mean)) / _planes(own.std))
        return found


def _planes(values: Sequence[float]) -> Tensor:
    return from_numpy(np.asarray(values, np.float32).reshape(1, -1, 1, 1))


def load(recipe: Distill, student: Pipeline, labels: Sequence[str]) -> Teacher:
    """The teacher that a recipe names.

    Args:
        recipe: the ``[train.distill]`` table.
        student: the pipeline that is to learn.
        labels: of the data.

    Raises:
        RecipeError: no such model, or one that tells other classes apart.
    """
    try:
        pipeline: Any = hub_load(recipe.teacher, task="image-classification")
    except (UnknownNameError, NetworkError, AccessError) as error:  # a folder that is not there reads as a hub's name
        raise RecipeError(
            f"train.distill.teacher: {error.what}", why=error.why,
            fix="train one first, for instance with `nyala run vision/fashion-lite0`, and name its run folder",
        ) from error  # fmt: skip
    found = tuple(getattr(pipeline, "labels", ()))
    if found != tuple(labels):
        raise RecipeError(
            f"train.distill.teacher: {recipe.teacher} knows {_some(found)}, and the data have {_some(labels)}",
            why="its answers must mean the same classes, in the same order",
            fix="name a model that was trained on these classes",
        )
    pipeline.model.requires_grad_(False)
    prepared: Any = student.preprocess
    return Teacher(pipeline, prepared)


def _some(labels: Sequence[str]) -> str:
    more = f", ... ({len(labels)} classes)" if len(labels) > 4 else ""
    return ", ".join(labels[:4]) + more if labels else "no classes"


def taught(objective: Objective, recipe: Distill, teacher: Teacher) -> Distilled:
    """The objective with a teacher's part."""
    assert isinstance(objective, Classes)  # the recipe's kind of data was checked
    return Distilled(
        objective.classes, objective.smoothing, objective.weights,
        teacher=teacher, share=recipe.weight, temperature=recipe.temperature,
    )  # fmt: skip
