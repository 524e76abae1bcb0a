"""One step of each optimizer, on one parameter or (``..._steps``) on many; where there is a plural, that one is the kernel.

These kernels write: the parameter and its state are updated in place. The gradient is only read. State is float32 (float64 for
float64 parameters); half-precision parameters and gradients are widened, and the new parameter is rounded once. ``maximize``
walks up instead of down. ``step`` counts from 1.

Those named ``..._held`` are for steps on a GPU that wait for nothing: the numbers of a step are a tuple, or an array of float64
on the device, and where ``found`` (an array there without dimensions, or None) is above 0, nothing is written.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...devices import module_of
from .half import widened

__all__ = [
    "adamw_corrections",
    "adamw_held",
    "adamw_steps",
    "clip_held",
    "count_left_out",
    "ema_held",
    "ema_steps",
    "lion_held",
    "lion_steps",
    "scale_steps",
    "sgd_held",
    "sgd_steps",
    "sums_of_squares",
    "unscale_steps",
    "update_scale",
]


def signed(grad: Any, maximize: bool) -> Any:
    """The gradient in the direction of the step down."""
    return -widened(grad) if maximize else widened(grad)


def put(target: Any, value: Any) -> None:
    """``value`` written to ``target``, rounded to its dtype."""
    target[...] = value.astype(target.dtype, copy=False)


def lerp(state: Any, value: Any, weight: float) -> None:
    """state <- state + weight * (value - state)."""
    state += (value - state) * weight


def sum_of_squares(x: Any) -> float:
    """The sum of the squared elements, in float64."""
    return float(squared(x))


def squared(x: Any) -> Any:
    """The same as a number of the array's module, which stays on a GPU."""
    wide = widened(x).astype(np.float64, copy=False)
    return (wide * wide).sum()


def sums_of_squares(arrays: Sequence[Any]) -> Any:
    """The sum of the squared elements of all arrays, in float64, array after array; on a GPU it stays there, as an array."""
    return sum((sum_of_squares(a) for a in arrays), 0.0)


def scale_step(x: Any, factor: float) -> None:
    """``x`` times ``factor``, in place, as clipped gradients are."""
    put(x, widened(x) * factor)


def scale_steps(arrays: Sequence[Any], factor: float) -> None:
    """``scale_step`` of each."""
    for x in arrays:
        scale_step(x, factor)


def clip_held(arrays: Sequence[Any], max_norm: float, total: Any) -> None:
    """Each array times ``max_norm / (total + 1e-6)`` where that is below 1 or NaN, in place; ``total`` is an array."""
    factor = max_norm / (total.astype(np.float64) + 1e-6)
    xp = module_of(total)
    for x in arrays:
        wide = widened(x)
        put(x, xp.where(factor >= 1, wide, wide * factor.astype(wide.dtype)))


def unscale_steps(grads: Sequence[Any], inverse: Any) -> Any:
    """Each gradient times ``inverse``, a float32 array without dimensions, in place; None leaves them as they are.

    Returns:
        A float32 array without dimensions on their device: 1 where an element of any of them was not finite, else 0.
    """
    xp = module_of(grads[0])
    bad = xp.zeros((), np.bool_)
    for g in grads:
        wide = widened(g)
        bad = bad | ~xp.isfinite(wide).all()
        if inverse is not None:
            put(g, wide * inverse.astype(wide.dtype))
    return xp.asarray(bad).astype(np.float32)


def update_scale(scale: Any, tracker: Any, found: Any, growth_factor: float, backoff_factor: float, growth_interval: int) -> None:
    """The next scale of a loss, and the count of steps in a row without overflow: float32 and int32 without dimensions, in place.

    ``found`` above 0 multiplies the scale by ``backoff_factor``; after ``growth_interval`` steps without, ``growth_factor`` does,
    where float32 holds the product.
    """
    xp = module_of(scale)
    failed, count = found > 0, tracker + np.int32(1)
    grows = count == growth_interval
    with np.errstate(over="ignore"):
        grown = scale * np.float32(growth_factor)
    grown = xp.where(xp.isfinite(grown), grown, scale)
    scale[...] = xp.where(failed, scale * np.float32(backoff_factor), xp.where(grows, grown, scale))
    tracker[...] = xp.where(failed | grows, xp.zeros_like(count), count)


def count_left_out(found: Any, left_out: Any) -> None:
    """``left_out``, an int32 without dimensions, goes up by one where ``found`` is above 0."""
    left_out += (found > 0).astype(np.int32)


def ema_step(average: Any, value: Any, weight: float) -> None:
    """``average`` moves towards ``value`` by ``weight`` of their difference."""
    lerp(average, widened(value), weight)


def ema_held(averages: Sequence[Any], values: Sequence[Any], numbers: Any) -> None:
    """``ema_step`` of each, with the weight as the one number of ``numbers``."""
    for average, value in zip(averages, values, strict=True):
        ema_step(average, value, *rounded_numbers(numbers, average.dtype))


def rounded_numbers(numbers: Any, dtype: Any) -> Any:
    """The numbers of a step, each to be computed with as a Python number is: in the other operand's dtype."""
    return numbers if isinstance(numbers, tuple) else [numbers[i].astype(dtype) for i in range(numbers.size)]


@contextlib.contextmanager
def unless(found: Any, *targets: Any) -> Iterator[None]:
    """What is written to ``targets`` inside stays unwritten where ``found`` is above 0."""
    written = [] if found is None else [t for t in targets if t is not None]
    before = [t.copy() for t in written]
    yield
    for target, old in zip(written, before, strict=True):
        target[...] = module_of(target).where(found > 0, widened(old), widened(target)).astype(target.dtype, copy=False)


def ema_steps(averages: Sequence[Any], values: Sequence[Any], weight: float) -> None:
    """``ema_step`` of each."""
    for average, value in zip(averages, values, strict=True):
        ema_step(average, value, weight)


def _decayed(g: Any, p: Any, decay: Any) -> Any:
    """``g + p * decay``; ``g`` itself without decay, whatever ``p`` is."""
    if isinstance(decay, float):
        return g + p * decay if decay else g
    return module_of(p).where(decay != 0, g + p * decay, g)


def sgd_step(
    param: Any,
    grad: Any,
    momentum_buffer: Any,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """Gradient descent; ``momentum_buffer`` is None without momentum, and becomes the gradient in the ``first`` step."""
    numbers = sgd_numbers(lr, momentum, dampening, weight_decay)
    sgd_by(param, grad, momentum_buffer, first, numbers, nesterov, maximize)


def sgd_numbers(lr: float, momentum: float, dampening: float, weight_decay: float) -> tuple[float, ...]:
    """A step's numbers: the rate, what is left of the buffer, what it takes of the gradient, the decay added to that."""
    return float(lr), float(momentum), 1 - float(dampening), float(weight_decay)


def sgd_by(
    param: Any,
    grad: Any,
    momentum_buffer: Any,
    first: bool,
    numbers: Any,
    nesterov: bool,
    maximize: bool,
    found: Any = None,
) -> None:
    """Gradient descent by the numbers of ``sgd_numbers``."""
    p, g = widened(param), signed(grad, maximize)
    lr, momentum, take, decay = rounded_numbers(numbers, p.dtype)
    g = _decayed(g, p, decay)
    with unless(found, param, momentum_buffer):
        if momentum_buffer is not None:
            momentum_buffer[...] = g if first else momentum_buffer * momentum + g * take
            g = g + momentum_buffer * momentum if nesterov else momentum_buffer
        put(param, p - g * lr)


def sgd_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    momentum_buffers: Sequence[Any] | None,
    numbers: Any,
    nesterov: bool,
    maximize: bool,
    found: Any,
) -> None:
    """``sgd_by`` of each parameter, none of them for the first time."""
    buffers = [None] * len(params) if momentum_buffers is None else momentum_buffers
    for param, grad, buffer in zip(params, grads, buffers, strict=True):
        sgd_by(param, grad, buffer, False, numbers, nesterov, maximize, found)


def sgd_steps(
    params: Sequence[Any],
    grads: Sequence[Any],
    momentum_buffers: Sequence[Any] | None,
    firsts: Sequence[bool],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """``sgd_step`` of each parameter."""
    buffers = [None] * len(params) if momentum_buffers is None else momentum_buffers
    for param, grad, buffer, first in zip(params, grads, buffers, firsts, strict=True):
        sgd_step(param, grad, buffer, first, lr, momentum, dampening, weight_decay, nesterov, maximize)


def adamw_numbers(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool
) -> tuple[float, ...]:
    """A step's numbers: what is left of a parameter, the decay added to its gradient, what the averages take of it, what the
    second keeps, ``eps``, the correction of the second's root, the corrected rate."""
    return *adamw_bases(lr, beta1, beta2, eps, weight_decay, decoupled), math.sqrt(1 - beta2**step), lr / (1 - beta1**step)


def adamw_bases(
    lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool
) -> tuple[float, float, float, float, float, float]:
    """The first six of ``adamw_numbers``: all that do not depend on the step."""
    decay, l2 = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, float(weight_decay))
    return decay, l2, 1 - beta1, 1 - beta2, float(beta2), float(eps)


def adamw_corrections(numbers: Any, left_out: Any) -> Any:
    """The numbers of a step of which ``left_out`` before it were left out, as an array on the device.

    ``numbers``: those of ``adamw_bases``, then the count of steps, the learning rate, ``beta1``.
    """
    xp = module_of(left_out)
    given = xp.asarray(numbers, dtype=np.float64) if isinstance(numbers, tuple) else numbers
    taken = given[6:7] - left_out
    correction, rate = xp.sqrt(1 - given[4:5] ** taken), given[7:8] / (1 - given[8:9] ** taken)
    return xp.concatenate([given[:6], correction, rate])


def adamw_by(
    param: Any, grad: Any, exp_avg: Any, exp_avg_sq: Any, max_exp_avg_sq: Any, numbers: Any, maximize: bool, found: Any = None
) -> None:
    """AdamW or Adam by the numbers of ``adamw_numbers``; ``max_exp_avg_sq`` is None without AMSGrad."""
    p, g, xp = widened(param), signed(grad, maximize), module_of(param)
    decay, l2, take1, take2, beta2, eps, correction, rate = rounded_numbers(numbers, p.dtype)
    with unless(found, param, exp_avg, exp_avg_sq, max_exp_avg_sq):
        p = p * decay
        g = _decayed(g, p, l2)
        lerp(exp_avg, g, take1)
        exp_avg_sq[...] = exp_avg_sq * beta2 + g * g * take2
        second = exp_avg_sq
        if max_exp_avg_sq is not None:
            second = max_exp_avg_sq
            second[...] = xp.maximum(second, exp_avg_sq)
        denominator = xp.sqrt(second) / correction + eps
        put(param, p - exp_avg / denominator * rate)


def adamw_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    max_exp_avg_sqs: Sequence[Any] | None,
    numbers: Any,
    maximize: bool,
    found: Any,
) -> None:
    """``adamw_by`` of each parameter."""
    tops = [None] * len(params) if max_exp_avg_sqs is None else max_exp_avg_sqs
    for arrays in zip(params, grads, exp_avgs, exp_avg_sqs, tops, strict=True):
        adamw_by(*arrays, numbers, maximize, found)


def adamw_step(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    max_exp_avg_sq: Any,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """AdamW, or Adam where the decay is not ``decoupled``; ``max_exp_avg_sq`` is None without AMSGrad."""
    numbers = adamw_numbers(step, lr, beta1, beta2, eps, weight_decay, decoupled)
    adamw_by(param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, numbers, maximize)


def adamw_steps(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    max_exp_avg_sqs: Sequence[Any] | None,
    steps: Sequence[int],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """``adamw_step`` of each parameter."""
    tops = [None] * len(params) if max_exp_avg_sqs is None else max_exp_avg_sqs
    for i, (param, grad, step) in enumerate(zip(params, grads, steps, strict=True)):
        adamw_step(
            param, grad, exp_avgs[i], exp_avg_sqs[i], tops[i], step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize
        )


def lion_step(
    param: Any, grad: Any, exp_avg: Any, lr: float, beta1: float, beta2: float, weight_decay: float, maximize: bool
) -> None:
    """Lion: a step of size ``lr`` in the sign of an average between momentum and gradient; then the momentum moves."""
    lion_by(param, grad, exp_avg, lion_numbers(lr, beta1, beta2, weight_decay), maximize)


def lion_numbers(lr: float, beta1: float, beta2: float, weight_decay: float) -> tuple[float, ...]:
    """A step's numbers: what is left of a parameter, what both averages take of the gradient, the step's size."""
    return 1 - lr * weight_decay, 1 - beta1, 1 - beta2, float(lr)


def lion_by(param: Any, grad: Any, exp_avg: Any, numbers: Any, maximize: bool, found: Any = None) -> None:
    """Lion by the numbers of ``lion_numbers``."""
    p, g = widened(param), signed(grad, maximize)
    decay, take1, take2, lr = rounded_numbers(numbers, p.dtype)
    with unless(found, param, exp_avg):
        direction = module_of(param).sign(exp_avg + (g - exp_avg) * take1)
        put(param, p * decay - direction * lr)
        lerp(exp_avg, g, take2)


def lion_held(
    params: Sequence[Any], grads: Sequence[Any], exp_avgs: Sequence[Any], numbers: Any, maximize: bool, found: Any
) -> None:
    """``lion_by`` of each parameter."""
    for arrays in zip(params, grads, exp_avgs, strict=True):
        lion_by(*arrays, numbers, maximize, found)


def lion_steps(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """``lion_step`` of each parameter."""
    for arrays in zip(params, grads, exp_avgs, strict=True):
        lion_step(*arrays, lr, beta1, beta2, weight_decay, maximize)
