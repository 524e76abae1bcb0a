"""What a recipe does that its author may not expect, said at the start of the run."""

from __future__ import annotations

import numpy as np

from ...core import nn
from ...core.nn import Module
from ..data.datasets import Source
from ..language.schema import Data, Recipe
from .objectives import Objective, Pairs

_BATCHWISE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def of_accumulation(model: Module, objective: Objective, recipe: Recipe) -> list[str]:
    """Batch norms that learn and losses of pairs look at each batch, so accumulated batches are no large one to them."""
    count, size = recipe.train.accumulate, recipe.data.batch_size
    if count == 1:
        return []
    if isinstance(objective, Pairs):
        return [f"note: each of the {count} accumulated batches compares its own {size} pairs only, not {count * size}"]
    learning = [m for m in model.modules() if isinstance(m, _BATCHWISE) and any(p.requires_grad for p in m.parameters())]
    if not learning:
        return []
    return [
        f"note: {len(learning)} batch norms learn, and each of the {count} accumulated batches has statistics of its own: they "
        f"see {size} samples at a time, not {count * size}. Freeze them (model.freeze) to make it one batch of {count * size}"
    ]


def of_balance(recipe: Recipe) -> list[str]:
    """Rare classes that come more often and weigh more count twice over."""
    if recipe.data.sampling != "balanced" or recipe.train.class_weights is None:
        return []
    return ["note: data.sampling shows rare classes more often already, and train.class_weights come on top of it"]


def of_folds(data: Data, source: Source) -> list[str]:
    """Classes with fewer samples than there are folds are missing from some of them."""
    if data.folds is None:
        return []
    counts = np.bincount(np.concatenate([p.labels for p in (source.train, source.validation, source.test)]))
    few = [source.labels[k] for k in np.flatnonzero((counts > 0) & (counts < data.folds))]
    return [f"note: fewer samples than folds, so some folds are without them: {', '.join(few[:10])}"] if few else []
