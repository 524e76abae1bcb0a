"""Steps that are scaled by norms of whole parameters: LAMB, Adafactor, Muon. Kernels as those of ``optim.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...devices import module_of
from .half import widened
from .linalg import matmul
from .optim import lerp, put, rounded_numbers, signed, squared, unless

__all__ = [
    "adafactor_corrections",
    "adafactor_held",
    "adafactor_step",
    "lamb_corrections",
    "lamb_held",
    "lamb_step",
    "muon_held",
    "muon_step",
]


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
    """LAMB: Adam's direction plus weight decay, scaled to the parameter's norm. ``grad_scale`` multiplies the gradient first."""
    numbers = lamb_numbers(step, lr, beta1, beta2, eps, weight_decay, bias_correction, grad_averaging)
    lamb_by(param, grad, exp_avg, exp_avg_sq, numbers, grad_scale, trust_clip, always_adapt)


def lamb_numbers(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, corrected: bool, averaging: bool
) -> tuple[float, ...]:
    """A step's numbers: those of ``lamb_bases``, the correction of the first average, and that of the second's root."""
    corrections = (1 - beta1**step, math.sqrt(1 - beta2**step)) if corrected else (1.0, 1.0)
    return *lamb_bases(lr, beta1, beta2, eps, weight_decay, averaging), *corrections


def lamb_bases(lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, averaging: bool) -> tuple[float, ...]:
    """What does not depend on the step: what each average keeps and takes, ``eps``, the decay, the rate."""
    return float(beta1), 1 - beta1 if averaging else 1.0, float(beta2), 1 - beta2, float(eps), float(weight_decay), float(lr)


def lamb_corrections(numbers: Any, left_out: Any, corrected: bool) -> Any:
    """The numbers of a step of which ``left_out`` before it were left out, as an array on the device.

    ``numbers``: those of ``lamb_bases``, then the count of steps.
    """
    xp = module_of(left_out)
    given = xp.asarray(numbers, dtype=np.float64) if isinstance(numbers, tuple) else numbers
    taken = given[7:8] - left_out
    first, second = (1 - given[0:1] ** taken, xp.sqrt(1 - given[2:3] ** taken)) if corrected else [xp.ones(1)] * 2
    return xp.concatenate([given[:7], first, second])


def lamb_by(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    numbers: Any,
    grad_scale: Any,
    trust_clip: bool,
    always_adapt: bool,
    found: Any = None,
) -> None:
    """LAMB by the numbers of ``lamb_numbers``; ``grad_scale`` may be a float64 array without dimensions."""
    p, g, xp = widened(param), widened(grad), module_of(param)
    g = g * (grad_scale if isinstance(grad_scale, float) else grad_scale.astype(g.dtype))
    keep1, take1, keep2, take2, eps, decay, _, correction1, correction2 = rounded_numbers(numbers, p.dtype)
    with unless(found, param, exp_avg, exp_avg_sq):
        exp_avg[...] = exp_avg * keep1 + g * take1
        exp_avg_sq[...] = exp_avg_sq * keep2 + g * g * take2
        update = exp_avg / correction1 / (xp.sqrt(exp_avg_sq) / correction2 + eps) + p * decay
        ratio = trust_ratio(squared(p), squared(update), trust_clip)
        adapts, one = always_adapt or numbers[5] != 0, xp.ones_like(ratio)
        if adapts is not True:  # False, or an array on the device
            ratio = one if adapts is False else xp.where(adapts, ratio, one)
        put(param, p - update * (ratio * numbers[6]).astype(p.dtype))


def trust_ratio(param_squares: Any, update_squares: Any, clip: bool) -> Any:
    """The norm of a parameter over the norm of its update, of float64 without dimensions; 1 where either is 0."""
    xp = module_of(param_squares)
    one = xp.ones_like(param_squares)
    moves = (param_squares > 0) & (update_squares > 0)
    ratio = xp.where(moves, xp.sqrt(param_squares) / xp.sqrt(xp.where(moves, update_squares, one)), one)
    return xp.minimum(ratio, one) if clip else ratio


def lamb_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    numbers: Any,
    grad_scale: Any,
    trust_clip: bool,
    always_adapt: bool,
    found: Any,
) -> None:
    """``lamb_by`` of each parameter."""
    for arrays in zip(params, grads, exp_avgs, exp_avg_sqs, strict=True):
        lamb_by(*arrays, numbers, grad_scale, trust_clip, always_adapt, found)


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
    """Adafactor: second moments over the last two dimensions as ``row_var`` (..., R, 1) times ``col_var`` (..., 1, C).

    For vectors these are None and ``variance`` holds the moments whole.
    """
    numbers = adafactor_numbers(step, lr, beta2_decay, eps1, eps2, d, weight_decay, widened(param).dtype)
    adafactor_by(param, grad, row_var, col_var, variance, numbers, maximize)


def adafactor_numbers(
    step: int, lr: float, beta2_decay: float, eps1: float, eps2: float, d: float, weight_decay: float, dtype: Any
) -> tuple[float, ...]:
    """A step's numbers: those of ``adafactor_bases``, the weight of the newest squares, and the bound of the relative step."""
    return *adafactor_bases(lr, eps1, eps2, d, weight_decay, dtype), float(step) ** beta2_decay, min(lr, 1 / math.sqrt(step))


def adafactor_bases(lr: float, eps1: float, eps2: float, d: float, weight_decay: float, dtype: Any) -> tuple[float, ...]:
    """What does not depend on the step: ``eps1``, the floor of the moments, ``eps2``, ``d``, what is left of a parameter."""
    return float(eps1), floor_of(eps1, dtype), float(eps2), float(d), 1 - lr * weight_decay


def adafactor_corrections(numbers: Any, left_out: Any) -> Any:
    """The numbers of a step of which ``left_out`` before it were left out, as an array on the device.

    ``numbers``: those of ``adafactor_bases``, then the count of steps, the learning rate, ``beta2_decay``.
    """
    xp = module_of(left_out)
    given = xp.asarray(numbers, dtype=np.float64) if isinstance(numbers, tuple) else numbers
    taken = given[5:6] - left_out
    return xp.concatenate([given[:5], taken ** given[7:8], xp.minimum(given[6:7], 1 / xp.sqrt(taken))])


def adafactor_by(
    param: Any, grad: Any, row_var: Any, col_var: Any, variance: Any, numbers: Any, maximize: bool, found: Any = None
) -> None:
    """Adafactor by the numbers of ``adafactor_numbers``."""
    p, g, xp = widened(param), signed(grad, maximize), module_of(param)
    eps1, floor, _, _, keep, weight, _ = rounded_numbers(numbers, p.dtype)
    size, (eps2, d, bound) = max(param.size, 1), [numbers[i] for i in (2, 3, 6)]
    rate = xp.maximum(xp.sqrt(squared(p) / size), eps2) * bound
    squares = g * g
    with unless(found, param, row_var, col_var, variance):
        if variance is None:
            lerp(row_var, squares.mean(axis=-1, keepdims=True), weight)
            lerp(col_var, squares.mean(axis=-2, keepdims=True), weight)
            estimate = row_var * col_var / xp.maximum(row_var.mean(axis=-2, keepdims=True), eps1)
        else:
            lerp(variance, squares, weight)
            estimate = variance
        update = g / xp.sqrt(xp.maximum(estimate, floor))
        excess = xp.maximum(xp.sqrt(squared(update) / size) / d, 1.0)
        put(param, p * keep - update * (rate / excess).astype(p.dtype))


def floor_of(eps: float, dtype: Any) -> float:
    """``eps`` squared, or what ``dtype`` still tells from 0: a gradient of zeros must not become 0 / 0."""
    return max(eps * eps, float(np.finfo(dtype).tiny))


def adafactor_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    row_vars: Sequence[Any],
    col_vars: Sequence[Any],
    variances: Sequence[Any],
    numbers: Any,
    maximize: bool,
    found: Any,
) -> None:
    """``adafactor_by`` of each parameter; those of matrices have no ``variance``, those of vectors no others."""
    for arrays in zip(params, grads, row_vars, col_vars, variances, strict=True):
        adafactor_by(*arrays, numbers, maximize, found)


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
    """Muon: the momentum of a matrix, made nearly orthogonal by Newton-Schulz iterations."""
    numbers = muon_numbers(lr, adjusted_lr, weight_decay, momentum, ns_coefficients, eps)
    muon_by(param, grad, momentum_buffer, numbers, nesterov, ns_steps, matmul)


def muon_numbers(
    lr: float, adjusted_lr: float, weight_decay: float, momentum: float, ns_coefficients: Sequence[float], eps: float
) -> tuple[float, ...]:
    """A step's numbers: what is left of a parameter, the rate, what the momentum takes and keeps, the quintic, ``eps``."""
    return 1 - lr * weight_decay, float(adjusted_lr), 1 - momentum, float(momentum), *map(float, ns_coefficients), float(eps)


def muon_by(
    param: Any, grad: Any, momentum_buffer: Any, numbers: Any, nesterov: bool, ns_steps: int, product: Any, found: Any = None
) -> None:
    """Muon by the numbers of ``muon_numbers``; ``product`` multiplies matrices."""
    p, g = widened(param), widened(grad)
    keep, rate, take, momentum, *coefficients, _ = rounded_numbers(numbers, p.dtype)
    with unless(found, param, momentum_buffer):
        lerp(momentum_buffer, g, take)
        update = g + (momentum_buffer - g) * momentum if nesterov else momentum_buffer
        update = newton_schulz(update, coefficients, numbers[7], ns_steps, product)
        put(param, p * keep - update * rate)


def newton_schulz(x: Any, coefficients: Sequence[Any], eps: Any, steps: int, product: Any) -> Any:
    """U V^T, roughly, where x = U S V^T: an odd quintic that drives the singular values towards 1. ``product`` multiplies."""
    tall, xp = x.shape[0] > x.shape[1], module_of(x)
    a, b, c = coefficients
    x = (x.T if tall else x) / xp.maximum(xp.sqrt(squared(x)), eps).astype(x.dtype)
    for _ in range(steps):
        gram = product(x, x.T)
        x = x * a + product(gram * b + product(gram, gram) * c, x)
    return x.T if tall else x


def muon_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    momentum_buffers: Sequence[Any],
    numbers: Any,
    nesterov: bool,
    ns_steps: int,
    found: Any,
) -> None:
    """``muon_by`` of each parameter."""
    for arrays in zip(params, grads, momentum_buffers, strict=True):
        muon_by(*arrays, numbers, nesterov, ns_steps, matmul, found)
