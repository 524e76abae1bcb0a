"""Optimizer steps in float32: one pass over memory for all parameters together, in place, by the loops of ``steps``.

Other dtypes and memory orders go to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...reference import optim as reference
from ...reference import optim_scaled as scaled
from ..lanes.vector_math import ready
from ..matrix.matmul import matmul
from .steps import (
    ADAM,
    AMSGRAD,
    EMA,
    LAMB,
    LION,
    MOVE,
    SCALE,
    SGD,
    SGD_MOMENTUM,
    SHRINK_MOVE,
    factored,
    moments,
    rows_of,
    total_of_squares,
)

_f = np.float32
_FLOAT32 = np.dtype(np.float32)


# ---- which arrays they can take


def _memory_order(x: Any) -> list[int]:
    return sorted(range(x.ndim), key=lambda i: -x.strides[i])


def _flat(read: Any, *written: Any) -> list[Any] | None:
    """One-dimensional views: the first array written to, the one only read, then the others written to.

    They follow the memory order of the first; None where a kernel could not write through such views. The array that is only
    read is copied where it lies differently.
    """
    if any(a.dtype != _f for a in (read, *written)):
        return None
    order = _memory_order(written[0])
    turned = [a.transpose(order) for a in written]
    if not all(t.flags.c_contiguous and t.flags.behaved for t in turned):
        return None
    first, *rest = [t.reshape(-1) for t in turned]
    return [first, ready(read.transpose(order)).reshape(-1), *rest]


def _sorted(parameters: Iterable[tuple[Any, ...]]) -> tuple[list[Sequence[Any]], list[int], list[int]]:
    """(parameter, gradient, state...) each: the arrays that kernels take, their numbers, and the numbers of the others."""
    taken: list[Sequence[Any]] = []
    numbers, left = [], []
    for i, arrays in enumerate(parameters):
        for a in arrays:
            if a.dtype is not _FLOAT32 or not a.flags.carray:
                flat = _flat(arrays[1], arrays[0], *arrays[2:])
                break
        else:
            flat = arrays  # type: ignore[assignment]  # a tuple of arrays will do as well
        if flat is None:
            left.append(i)
        else:
            taken.append(flat)
            numbers.append(i)
    return taken, numbers, left


# ---- kernels


def sums_of_squares(arrays: Sequence[Any]) -> float:
    """As the reference: a float64 sum of each span, these added in their order."""
    if any(a.dtype != _f for a in arrays):
        return sum((reference.sum_of_squares(a) if a.dtype != _f else sums_of_squares([a]) for a in arrays), 0.0)
    return total_of_squares([ready(a if a.flags.c_contiguous else a.transpose(_memory_order(a))) for a in arrays])


def scale_steps(arrays: Sequence[Any], factor: float) -> None:
    """As the reference."""
    taken = []
    for x in arrays:
        turned = x if x.flags.c_contiguous else x.transpose(_memory_order(x))
        if x.dtype == _f and turned.flags.carray:
            taken.append((turned,))
        else:
            reference.scale_step(x, factor)
    SCALE(taken, factor)


def ema_steps(averages: Sequence[Any], values: Sequence[Any], weight: float) -> None:
    """As the reference."""
    taken, _, left = _sorted(zip(averages, values, strict=True))
    EMA(taken, weight)
    for i in left:
        reference.ema_step(averages[i], values[i], weight)


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
    """As the reference."""
    sign = -1.0 if maximize else 1.0
    if momentum_buffers is None:
        taken, _, left = _sorted(zip(params, grads, strict=True))
        SGD(taken, sign, lr, weight_decay)
    else:
        taken, numbers, left = _sorted(zip(params, grads, momentum_buffers, strict=True))
        own = [(0.0, 1.0) if firsts[i] else (momentum, 1.0 - dampening) for i in numbers]
        SGD_MOMENTUM(taken, sign, weight_decay, *((lr, lr * momentum) if nesterov else (0.0, lr)), own=own)
    for i in left:
        buffer = None if momentum_buffers is None else momentum_buffers[i]
        reference.sgd_step(params[i], grads[i], buffer, firsts[i], lr, momentum, dampening, weight_decay, nesterov, maximize)


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
    """As the reference."""
    tops = () if max_exp_avg_sqs is None else (max_exp_avg_sqs,)
    taken, numbers, left = _sorted(zip(params, grads, exp_avgs, exp_avg_sqs, *tops, strict=True))
    l2, keep = (0.0, 1.0 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    of_step = {n: (1.0 / math.sqrt(1.0 - beta2**n), lr / (1.0 - beta1**n)) for n in {steps[i] for i in numbers}}
    settings = -1.0 if maximize else 1.0, l2, keep, 1.0 - beta1, beta2, 1.0 - beta2, eps
    (AMSGRAD if tops else ADAM)(taken, *settings, own=[of_step[steps[i]] for i in numbers])
    for i in left:
        reference.adamw_step(
            params[i], grads[i], exp_avgs[i], exp_avg_sqs[i], tops[0][i] if tops else None, steps[i], lr, beta1, beta2, eps,
            weight_decay, decoupled, maximize,
        )  # fmt: skip


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
    """As the reference."""
    taken, _, left = _sorted(zip(params, grads, exp_avgs, strict=True))
    LION(taken, -1.0 if maximize else 1.0, lr, 1.0 - lr * weight_decay, 1.0 - beta1, 1.0 - beta2)
    for i in left:
        reference.lion_step(params[i], grads[i], exp_avgs[i], lr, beta1, beta2, weight_decay, maximize)


def lamb_step(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: float,
    bias_correction: bool,
    grad_averaging: bool,
    trust_clip: bool,
    always_adapt: bool,
) -> None:
    """As the reference."""
    flat = _flat(grad, param, exp_avg, exp_avg_sq)
    if flat is None:
        scaled.lamb_step(
            param, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, grad_scale, bias_correction,
            grad_averaging, trust_clip, always_adapt,
        )  # fmt: skip
        return
    p, update = flat[0], np.empty_like(flat[0])
    correction1, correction2 = (1.0 - beta1**step, 1.0 - beta2**step) if bias_correction else (1.0, 1.0)
    new1 = 1.0 - beta1 if grad_averaging else 1.0
    numbers = (beta1, new1, beta2, 1.0 - beta2, 1.0 / math.sqrt(correction2), eps, 1.0 / correction1, weight_decay)
    LAMB([[*flat, update]], grad_scale, *numbers)
    adapt = weight_decay != 0 or always_adapt
    squares = [np.float64(sums_of_squares([a])) for a in (p, update)]
    MOVE([[p, update]], lr * (float(scaled.trust_ratio(*squares, trust_clip)) if adapt else 1.0))


def adafactor_step(
    param: Any,
    grad: Any,
    row_var: Any,
    col_var: Any,
    variance: Any,
    step: int,
    lr: float,
    beta2_decay: float,
    eps1: float,
    eps2: float,
    d: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """As the reference; fused for matrices."""
    whole = variance is not None or param.ndim != 2 or not param.size
    if whole or not param.dtype == grad.dtype == _f or not param.flags.c_contiguous:
        scaled.adafactor_step(
            param, grad, row_var, col_var, variance, step, lr, beta2_decay, eps1, eps2, d, weight_decay, maximize
        )
        return
    g, weight = ready(grad), float(step) ** beta2_decay
    rate = max(eps2, math.sqrt(sums_of_squares([param]) / param.size)) * min(lr, 1.0 / math.sqrt(step))
    rows, columns = _mean_squares(g)
    row_var += (rows[:, None] - row_var) * weight
    col_var += (columns - col_var) * weight
    shares = (row_var / max(row_var.mean(), eps1))[:, 0].astype(_f, copy=False)
    update = np.empty_like(g)
    factored(g, shares, col_var[0], update, _f(-1.0 if maximize else 1.0), _f(scaled.floor_of(eps1, _f)))
    excess = max(1.0, math.sqrt(sums_of_squares([update]) / param.size) / d)
    SHRINK_MOVE([[param, update]], 1.0 - lr * weight_decay, rate / excess)


def _mean_squares(g: Any) -> tuple[Any, Any]:
    """The mean square of each row and of each column of a matrix."""
    rows, columns = np.empty(len(g), _f), np.empty(g.shape[1], _f)
    parts = np.empty((-(-len(g) // rows_of(g.shape[1])), g.shape[1]), _f)
    moments(g, rows, parts, columns)
    return rows / _f(g.shape[1]), columns / _f(len(g))


def muon_step(
    param: Any,
    grad: Any,
    momentum_buffer: Any,
    lr: float,
    adjusted_lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_coefficients: tuple[float, float, float],
    eps: float,
    ns_steps: int,
) -> None:
    """As the reference, with the CPU's own matrix product."""
    p, g = reference.widened(param), reference.widened(grad)
    ema_steps([momentum_buffer], [g], 1.0 - momentum)
    update = g + (momentum_buffer - g) * momentum if nesterov else momentum_buffer
    update = scaled.newton_schulz(update, ns_coefficients, eps, ns_steps, matmul)
    param[...] = (p * (1.0 - lr * weight_decay) - update * adjusted_lr).astype(param.dtype, copy=False)
