"""A step for which there was no memory: how large a batch there is memory for, found by trying."""

from __future__ import annotations

from typing import Any

from ...core import random
from ...core.errors import OutOfMemoryError
from ...core.memory import out_of_memory
from ...core.tensor import Tensor
from ..language.schema import Train
from .diagnosis import Attempt, undone


def too_large(attempt: Attempt, recipe: Train, error: MemoryError) -> OutOfMemoryError:
    """The error for an update that found no memory, with the batch size that fits and gives the same update.

    The attempt is made again with half the samples, a quarter and so on, until one goes through. No weight is changed.
    """
    largest = max(map(len, attempt.parts))
    attempt.model.zero_grad()
    found = out_of_memory(f"a step with batches of {largest}", recipe.device, error)
    size = largest // 2
    while size and not _goes(attempt, size):
        size //= 2
    if size:
        times = recipe.accumulate * -(-largest // size)
        found.fix = f"set data.batch_size={size} and train.accumulate={times}: the same update, and it fits"
    else:
        found.fix = "not even one sample fits: choose a smaller model or smaller inputs, or set train.checkpointing=true"
    return found


def _goes(attempt: Attempt, size: int) -> bool:
    """Whether forward and backward of the first ``size`` samples find memory."""
    number = max(range(len(attempt.parts)), key=lambda i: len(attempt.parts[i]))
    inputs, targets = attempt.pairs[number]
    count = len(attempt.parts[number])
    try:
        with undone(attempt.model), random.step_scope(*attempt.key):
            outputs = attempt.objective.outputs(attempt.model, _first(inputs, count, size))
            attempt.objective.loss(outputs, targets[:size]).backward()
        return True
    except MemoryError:
        return False
    finally:
        attempt.model.zero_grad()


def _first(inputs: Any, count: int, size: int) -> Any:
    """The first ``size`` of ``count`` rows of whatever has so many."""
    if isinstance(inputs, dict):
        return {name: _first(value, count, size) for name, value in inputs.items()}
    rows = isinstance(inputs, (Tensor, list, tuple)) and (not isinstance(inputs, Tensor) or inputs.ndim) and len(inputs) == count
    return inputs[:size] if rows else inputs
