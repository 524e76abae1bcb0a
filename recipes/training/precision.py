"""Where a run computes, and in what precision: its model, its objective and its optimizers, as ``train.device`` and
``train.precision`` say.

On the CPU in float32 nothing is changed: such runs give the bits they always gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ...core import devices, dtypes
from ...core.amp import GradScaler
from ...core.autocast import autocast
from ...core.data import prefetched, to_device
from ...core.errors import DeviceError, RecipeError
from ...core.nn import Module
from ...core.tensor import Tensor
from ..data.batches import Batch
from ..language.schema import Train
from .evaluate import Evaluation
from .objectives import Objective, Result

_LOWER = {"bf16": dtypes.bfloat16, "fp16": dtypes.float16, "bf16-weights": dtypes.bfloat16}


def device_of(recipe: Train) -> str:
    """The full name of the recipe's device.

    Raises:
        RecipeError: it is not there.
    """
    try:
        return devices.parse(recipe.device)
    except DeviceError as error:
        raise RecipeError(f"train.device: {error.what}", why=error.why, fix=error.fix) from error


def placed(model: Module, recipe: Train) -> Module:
    """The model on its device, its parameters in the dtype that they are kept in."""
    model.to(device_of(recipe))
    if recipe.precision == "bf16-weights":
        for p in model.parameters():
            if p.dtype == dtypes.float32:
                p.data = p.detach().to(dtypes.bfloat16)
    return model


def has_masters(recipe: Train) -> bool:
    """Whether the optimizers keep float32 masters."""
    return recipe.precision == "bf16-weights"


def scaler_for(recipe: Train) -> GradScaler | None:
    """What scales the loss, where float16 needs it."""
    return GradScaler(device_of(recipe)) if recipe.precision == "fp16" else None


def fitted(objective: Objective, recipe: Train) -> Objective:
    """The objective, on the device and in the precision of the recipe."""
    if recipe.device == "cpu" and recipe.precision == "fp32":
        return objective
    return Fitted(objective, device_of(recipe), _LOWER.get(recipe.precision))


class Fitted(Objective):
    """An objective whose batches go to a device and whose products are computed in half precision.

    Args:
        inner: the objective itself; what is not here is asked of it.
        device: where the model is.
        dtype: of products; None leaves them in float32.
    """

    def __init__(self, inner: Objective, device: str, dtype: np.dtype[Any] | None) -> None:
        self.inner, self.device, self.dtype = inner, device, dtype
        self.classes = inner.classes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    def casting(self) -> AbstractContextManager[Any]:
        """Half precision for the block, where it is asked for."""
        return nullcontext() if self.dtype is None else autocast(self.device, self.dtype)

    def outputs(self, model: Module, inputs: Any) -> Tensor:
        with self.casting():
            return self.inner.outputs(model, to_device(inputs, self.device))

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        with self.casting():
            return self.inner.loss(outputs, targets, reduction)

    def count(self, targets: Tensor) -> float:
        return self.inner.count(targets)

    def answers(self, labels: np.ndarray) -> int:
        return self.inner.answers(labels)

    def correct(self, outputs: Tensor, labels: np.ndarray) -> int:
        return self.inner.correct(outputs, labels)

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> Evaluation | Result:
        with self.casting():
            return self.inner.evaluate(model, prefetched(batches, self.device))


def overflowing(scaler: GradScaler | None) -> AbstractContextManager[Any]:
    """No warning of NumPy where gradients of a scaled loss overflow: the scaler looks for that itself."""
    return nullcontext() if scaler is None else np.errstate(over="ignore", invalid="ignore")


def unscale(scaler: GradScaler | None, optimizers: Sequence[Any]) -> None:
    """Gradients as they would be without a scaled loss."""
    if scaler is not None:
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
