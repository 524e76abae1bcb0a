"""Why a step went wrong: the step is run again with hooks, to the same bits, and the first place that is not finite is named.

Every draw is keyed by (seed, step), and no weight has changed: dropout and blending come out as they did. Only a run that is
about to stop pays for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from ...core import random
from ...core.autograd import no_grad
from ...core.nn import Module
from ...core.ops.logical import isfinite
from ...core.tensor import Tensor
from ..data.batches import Batch
from .objectives import Objective
from .watchdog import DivergenceError

FIX = "lower optim.lr, set train.clip_norm, add schedule.warmup, or look at these samples"


@dataclass(frozen=True)
class Attempt:
    """An update that cannot be made.

    Attributes:
        model: in the mode and with the weights it had before the step.
        parts: the batches.
        pairs: their inputs and targets, blended where the recipe blends.
        objective: the loss.
        key: (seed, step), what dropout draws by.
    """

    model: Module
    parts: Sequence[Batch]
    pairs: Sequence[tuple[Any, Tensor]]
    objective: Objective
    key: tuple[int, int]

    def samples(self, number: int | None = None) -> np.ndarray:
        """The samples of one batch, or of all."""
        chosen = self.parts if number is None else [self.parts[number]]
        return np.concatenate([part.indices for part in chosen])


@dataclass(frozen=True)
class Place:
    """Where something was first not finite: ``module`` by name (empty: in none), in words, and in which samples."""

    module: str
    words: str
    samples: np.ndarray


def bad_loss(attempt: Attempt, number: int, value: float) -> DivergenceError:
    """The error for a loss of batch ``number`` that is not finite."""
    with undone(attempt.model):
        place = _of_weights(attempt, number) or _of_inputs(attempt, number) or _of_outputs(attempt, number)
    return _error(attempt, f"the loss is {value}", place)


def bad_norm(attempt: Attempt, value: float) -> DivergenceError:
    """The error for a gradient whose norm is not finite."""
    with undone(attempt.model):
        place = _of_gradients(attempt)
    return _error(attempt, f"the gradient's norm is {value}", place)


def exploded(attempt: Attempt, words: str) -> DivergenceError:
    """The error for a loss or norm that the watchdog stops at: names the samples of highest loss and the largest gradient."""
    norms = {n: float(np.linalg.norm(p.grad.numpy())) for n, p in attempt.model.named_parameters() if p.grad is not None}
    largest = max(norms, key=norms.__getitem__)
    with undone(attempt.model):
        losses = _losses(attempt)
    worst = np.argsort(-losses, kind="stable")[:5]
    numbers = attempt.samples()[worst]
    told = ", ".join(f"{i} ({loss:.4g})" for i, loss in zip(numbers, losses[worst], strict=True))
    return DivergenceError(
        f"{words}; step {attempt.key[1] + 1} was not made",
        why=f"the highest losses are of samples {told} of the training part, the largest gradient is of {largest} "
        f"(norm {norms[largest]:.4g})",
        fix=FIX + "; or let the watchdog bear more (train.watchdog)",
        step=attempt.key[1] + 1,
        module=largest.rpartition(".")[0],
        samples=numbers.tolist(),
    )


def bad_weights(model: Module, step: int) -> DivergenceError | None:
    """The error for weights that step ``step`` left not finite, or None where they are well."""
    name = _first_bad(model)
    if name is None:
        return None
    return DivergenceError(
        f"after step {step} the weights {name} are not finite",
        why="its gradient was finite, and the update too large; nothing of this step is kept",
        fix=FIX,
        step=step,
        module=name.rpartition(".")[0],
    )


def _error(attempt: Attempt, what: str, place: Place) -> DivergenceError:
    shown = ", ".join(str(i) for i in place.samples[:16]) + (", ..." if len(place.samples) > 16 else "")
    one = "sample" if len(place.samples) == 1 else "samples"
    return DivergenceError(
        f"{what} in step {attempt.key[1] + 1}, {one} {shown} of the training part",
        why=place.words,
        fix=FIX,
        step=attempt.key[1] + 1,
        module=place.module,
        samples=place.samples.tolist(),
    )


# ---- where it was first seen --------------------------------------------------------------------------------------


def _of_weights(attempt: Attempt, number: int) -> Place | None:
    name = _first_bad(attempt.model)
    if name is None:
        return None
    words = f"the weights {name} are not finite since the last update: the rate was too high, whatever the samples"
    return Place(name.rpartition(".")[0], words, attempt.samples(number))


def _of_inputs(attempt: Attempt, number: int) -> Place | None:
    inputs = attempt.pairs[number][0]
    for value in inputs.values() if isinstance(inputs, dict) else [inputs]:
        rows = _bad_rows(value)
        if rows is not None:
            return Place("", "their inputs are not finite already", _take(attempt, number, rows))
    return None


def _of_outputs(attempt: Attempt, number: int) -> Place:
    """The first module whose output is not finite: a child is seen before the module it is in."""
    first: list[tuple[str, str, np.ndarray]] = []

    def look(name: str, module: Module, output: Any) -> None:
        for tensor in _tensors(output):
            rows = _bad_rows(tensor) if not first else None
            if rows is not None:
                first.append((name, type(module).__name__, rows))

    with no_grad(), random.step_scope(*attempt.key):
        for inputs, _ in attempt.pairs[:number]:  # they draw as they did
            attempt.objective.outputs(attempt.model, inputs)
        inputs, targets = attempt.pairs[number]
        with _watching(attempt.model, look):
            outputs = attempt.objective.outputs(attempt.model, inputs)
        losses = attempt.objective.loss(outputs, targets, "none")
    if not first:
        rows = _bad_rows(losses)
        rows = np.ones(len(attempt.parts[number]), bool) if rows is None else rows
        return Place("", "every module's output is finite, their sum of losses is not", _take(attempt, number, rows))
    name, kind, rows = first[0]
    return Place(name, f"{_called(name)} ({kind}) is the first module whose output is not finite", _take(attempt, number, rows))


def _of_gradients(attempt: Attempt) -> Place:
    """The output nearest to the loss whose gradient is not finite; else the parameter; else the norm alone is too large."""
    first: list[tuple[str, str, int, np.ndarray]] = []

    def look(name: str, module: Module, output: Any) -> None:
        for tensor in _tensors(output):
            if tensor.requires_grad and tensor.grad_fn is not None:
                tensor.register_hook(lambda g: note(name, type(module).__name__, g))

    def note(name: str, kind: str, gradient: Tensor) -> None:
        rows = _bad_rows(gradient) if not first else None
        if rows is not None:
            first.append((name, kind, number, rows))

    total = sum(attempt.objective.count(targets) for _, targets in attempt.pairs) or 1.0
    attempt.model.zero_grad()
    with random.step_scope(*attempt.key), _watching(attempt.model, look):
        for number, (inputs, targets) in enumerate(attempt.pairs):  # noqa: B007 - read by note
            (attempt.objective.loss(attempt.objective.outputs(attempt.model, inputs), targets) / total).backward()
    if first:
        name, kind, where, rows = first[0]
        words = f"on the way back the gradient of the output of {_called(name)} ({kind}) is the first that is not finite"
        return Place(name, words, _take(attempt, where, rows))
    norms = {n: np.abs(p.grad.numpy()).max() for n, p in attempt.model.named_parameters() if p.grad is not None}
    bad = [n for n, v in norms.items() if not np.isfinite(v)]
    name = bad[-1] if bad else max(norms, key=lambda n: float(norms[n]))
    words = f"the gradient of {name} is not finite" if bad else f"the sum of squares overflows, the largest gradient is of {name}"
    return Place(name.rpartition(".")[0], words, attempt.samples())


def _losses(attempt: Attempt) -> np.ndarray:
    """The loss of each sample of the update."""
    with no_grad(), random.step_scope(*attempt.key):
        found = [attempt.objective.loss(attempt.objective.outputs(attempt.model, x), t, "none").numpy() for x, t in attempt.pairs]
    return np.concatenate(found)


# ---- helpers ------------------------------------------------------------------------------------------------------


@contextmanager
def _watching(model: Module, look: Any) -> Iterator[None]:
    """Calls ``look(name, module, output)`` behind each module's forward."""
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.enter_context(module.register_forward_hook(lambda m, _, out, name=name: look(name, m, out)))
        yield


@contextmanager
def undone(model: Module) -> Iterator[None]:
    """Running statistics are put back afterwards, bit for bit, and no gradient is left."""
    kept = [(buffer, buffer.array.copy()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.array[...] = value
        model.zero_grad()


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _tensors(item)
    elif is_dataclass(output) and not isinstance(output, type):
        for field in fields(output):
            yield from _tensors(getattr(output, field.name))


def _bad_rows(tensor: Any) -> np.ndarray | None:
    """Which rows of a tensor hold something that is not finite, bool (N,), or None where nothing does."""
    array = np.asarray(tensor.detach().numpy() if isinstance(tensor, Tensor) else tensor)
    if array.dtype.kind not in "fV" or not array.ndim or np.isfinite(array.astype(np.float32, copy=False)).all():
        return None
    bad = ~np.isfinite(array.astype(np.float32, copy=False)).reshape(len(array), -1)
    return np.asarray(bad.any(1))


def _take(attempt: Attempt, number: int, rows: np.ndarray) -> np.ndarray:
    """The samples of those rows; all of the batch where a tensor's rows are not its samples."""
    indices = attempt.parts[number].indices
    return indices[rows] if len(rows) == len(indices) else indices


def _first_bad(model: Module) -> str | None:
    return next((n for n, p in model.named_parameters() if not isfinite(p.detach()).all().item()), None)


def _called(name: str) -> str:
    return name or "the model"
