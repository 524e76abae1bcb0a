"""Cross-entropy of classes, with label smoothing and class weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....core.create import from_numpy
from ....core.errors import RecipeError, did_you_mean
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ...data.batches import Batch
from ..evaluate import Evaluation, evaluate
from .base import Objective


@dataclass(frozen=True)
class Classes(Objective):
    """Each sample has one class.

    Attributes:
        classes: K.
        smoothing: share of each target that is spread over all classes.
        weights: float32 (K,), or None where every class counts alike.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    classes: int
    smoothing: float = 0.0
    weights: np.ndarray | None = None

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """The summed loss of a batch; ``reduction="none"`` gives that of each sample.

        Args:
            outputs: logits (N, K).
            targets: labels int64 (N,), or shares of the classes float32 (N, K).
            reduction: "sum" or "none".
        """
        place = outputs.device
        weights = None if self.weights is None else from_numpy(self.weights).to(place)
        return F.cross_entropy(outputs, targets.to(place), weights, label_smoothing=self.smoothing, reduction=reduction)

    def count(self, targets: Tensor) -> float:
        """What a batch counts for, as PyTorch's mean has it: the weights of its labels; its samples where targets are shares.

        Example:
            >>> import nyala
            >>> weighted = Classes(2, weights=np.array([0.5, 2.0], np.float32))
            >>> weighted.count(nyala.tensor([0, 1, 1])), Classes(2).count(nyala.tensor([0, 1, 1]))
            (4.5, 3.0)
        """
        if self.weights is None or targets.ndim == 2:
            return float(targets.shape[0])
        return float(self.weights[targets.numpy()].sum(dtype=np.float64))

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> Evaluation:
        return evaluate(model, batches, self.classes)


def class_weights(
    given: str | Sequence[float] | Mapping[str, float] | None, labels: np.ndarray, names: Sequence[str]
) -> np.ndarray | None:
    """The weight of each class.

    Args:
        given: ``train.class_weights`` of the recipe.
        labels: of the training part, int64 (N,).
        names: the classes by number.

    Returns:
        float32 (K,), or None where every class counts alike.

    Raises:
        RecipeError: another number of weights than of classes, or a class that there is not.

    Example:
        >>> class_weights("balanced", np.array([0, 0, 0, 1]), ["ham", "spam"])
        array([0.6666667, 2.       ], dtype=float32)
        >>> class_weights({"spam": 3.0}, np.array([0, 1]), ["ham", "spam"])
        array([1., 3.], dtype=float32)
    """
    if given is None:
        return None
    if given == "balanced":
        counts = np.bincount(labels, minlength=len(names))
        seen = np.count_nonzero(counts)
        return np.where(counts > 0, len(labels) / (seen * np.maximum(counts, 1)), 1.0).astype(np.float32)
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                fix = did_you_mean(name, names) or f"classes: {', '.join(names[:20])}"
                raise RecipeError(f"train.class_weights: no class is called {name!r}", fix=fix)
        return np.array([given.get(name, 1.0) for name in names], np.float32)
    if len(given) != len(names):
        raise RecipeError(
            f"train.class_weights has {len(given)} numbers and there are {len(names)} classes",
            why=f"they count for {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}, in this order",
            fix='give a number for each, a table by name such as { "' + names[0] + '" = 2.0 }, or "balanced"',
        )
    return np.array(given, np.float32)
