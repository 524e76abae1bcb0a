"""Optimizer steps in float32: one pass over memory, in place, tiles of fixed size on the pool.

Element-wise, so the bits do not depend on the number of threads; sums are taken tile by tile. Other dtypes and memory
orders go to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..reference import optim as reference
from .compiled import njit
from .matmul import matmul
from .threads import run_tiles
from .vector_math import EXACT, SUMS, TILE, ready

_f = np.float32


@njit(**EXACT)
def _sgd(p: Any, g: Any, sign: Any, lr: Any, decay: Any) -> None:
    for i in range(p.size):
        p[i] -= lr * (sign * g[i] + decay * p[i])


@njit(**EXACT)
def _sgd_momentum(p: Any, g: Any, b: Any, sign: Any, decay: Any, old: Any, new: Any, of_grad: Any, of_buffer: Any) -> None:
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        b[i] = old * b[i] + new * d
        p[i] -= of_grad * d + of_buffer * b[i]


@njit(**EXACT)
def _adam(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    sign: Any,
    l2: Any,
    keep: Any,
    new1: Any,
    beta2: Any,
    new2: Any,
    root: Any,
    eps: Any,
    rate: Any,
) -> None:
    for i in range(p.size):
        d = sign * g[i] + l2 * p[i]
        m[i] += (d - m[i]) * new1
        v[i] = v[i] * beta2 + d * d * new2
        p[i] = p[i] * keep - rate * m[i] / (np.sqrt(v[i]) * root + eps)


@njit(**EXACT)
def _amsgrad(
    p: Any, g: Any, m: Any, v: Any, top: Any, sign: Any, l2: Any, keep: Any, new1: Any, beta2: Any, new2: Any, root: Any,
    eps: Any, rate: Any,
) -> None:  # fmt: skip
    for i in range(p.size):
        d = sign * g[i] + l2 * p[i]
        m[i] += (d - m[i]) * new1
        v[i] = v[i] * beta2 + d * d * new2
        top[i] = max(top[i], v[i])
        p[i] = p[i] * keep - rate * m[i] / (np.sqrt(top[i]) * root + eps)


@njit(**EXACT)
def _lion(p: Any, g: Any, m: Any, sign: Any, lr: Any, keep: Any, new1: Any, new2: Any) -> None:
    for i in range(p.size):
        d = sign * g[i]
        p[i] = p[i] * keep - np.sign(m[i] + (d - m[i]) * new1) * lr
        m[i] += (d - m[i]) * new2


@njit(**EXACT)
def _lamb(
    p: Any, g: Any, m: Any, v: Any, out: Any, scale: Any, beta1: Any, new1: Any, beta2: Any, new2: Any, root: Any, eps: Any,
    whole: Any, decay: Any,
) -> None:  # fmt: skip
    for i in range(p.size):
        d = scale * g[i]
        m[i] = m[i] * beta1 + d * new1
        v[i] = v[i] * beta2 + d * d * new2
        out[i] = whole * m[i] / (np.sqrt(v[i]) * root + eps) + decay * p[i]


@njit(**SUMS)
def _moments(g: Any, rows: Any, columns: Any) -> None:
    """Squares of g (R, C) summed along each row into ``rows``, and along each column into ``columns``."""
    columns[:] = _f(0.0)
    for r in range(g.shape[0]):
        total = _f(0.0)
        for c in range(g.shape[1]):
            square = g[r, c] * g[r, c]
            total += square
            columns[c] += square
        rows[r] = total


@njit(**EXACT)
def _factored(g: Any, rows: Any, columns: Any, out: Any, sign: Any, least: Any) -> None:
    for r in range(g.shape[0]):
        for c in range(g.shape[1]):
            out[r, c] = sign * g[r, c] / np.sqrt(max(rows[r] * columns[c], least))


@njit(**EXACT)
def _shrink_move(p: Any, update: Any, keep: Any, rate: Any) -> None:
    for i in range(p.size):
        p[i] = p[i] * keep - rate * update[i]


@njit(**EXACT)
def _move(p: Any, update: Any, rate: Any) -> None:
    for i in range(p.size):
        p[i] -= rate * update[i]


@njit(**EXACT)
def _ema(average: Any, value: Any, weight: Any) -> None:
    for i in range(average.size):
        average[i] += (value[i] - average[i]) * weight


@njit(**SUMS)
def _squares(x: Any) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


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


def _run(kernel: Callable[..., Any], arrays: list[Any], *numbers: float) -> None:
    values = [_f(n) for n in numbers]
    run_tiles(lambda lo, hi: kernel(*[a[lo:hi] for a in arrays], *values), arrays[0].size, TILE)


def sum_of_squares(x: Any) -> float:
    """As the reference: a float64 sum of each tile, these added in their order."""
    if x.dtype != _f:
        return reference.sum_of_squares(x)
    flat = ready(x.transpose(_memory_order(x))).reshape(-1)
    parts = [0.0] * -(-flat.size // TILE)

    def work(lo: int, hi: int) -> None:
        parts[lo // TILE] = _squares(flat[lo:hi])

    run_tiles(work, flat.size, TILE)
    return sum(parts, 0.0)


def scale_step(x: Any, factor: float) -> None:
    """As the reference."""
    order = _memory_order(x)
    turned = x.transpose(order)
    if x.dtype != _f or not turned.flags.c_contiguous:
        reference.scale_step(x, factor)
        return
    flat = turned.reshape(-1)
    run_tiles(lambda lo, hi: np.multiply(flat[lo:hi], _f(factor), out=flat[lo:hi]), flat.size, TILE)


def ema_step(average: Any, value: Any, weight: float) -> None:
    """As the reference."""
    flat = _flat(value, average)
    if flat is None:
        reference.ema_step(average, value, weight)
    else:
        _run(_ema, flat, weight)


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
    """As the reference."""
    flat = _flat(grad, param, *([] if momentum_buffer is None else [momentum_buffer]))
    sign = -1.0 if maximize else 1.0
    if flat is None:
        reference.sgd_step(param, grad, momentum_buffer, first, lr, momentum, dampening, weight_decay, nesterov, maximize)
    elif momentum_buffer is None:
        _run(_sgd, flat, sign, lr, weight_decay)
    else:
        old, new = (0.0, 1.0) if first else (momentum, 1.0 - dampening)
        of_grad, of_buffer = (lr, lr * momentum) if nesterov else (0.0, lr)
        _run(_sgd_momentum, flat, sign, weight_decay, old, new, of_grad, of_buffer)


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
    """As the reference."""
    flat = _flat(grad, param, exp_avg, exp_avg_sq, *([] if max_exp_avg_sq is None else [max_exp_avg_sq]))
    if flat is None:
        reference.adamw_step(
            param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize
        )
        return
    l2, keep = (0.0, 1.0 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    root, rate = 1.0 / math.sqrt(1.0 - beta2**step), lr / (1.0 - beta1**step)
    numbers = (-1.0 if maximize else 1.0, l2, keep, 1.0 - beta1, beta2, 1.0 - beta2, root, eps, rate)
    _run(_adam if max_exp_avg_sq is None else _amsgrad, flat, *numbers)


def lion_step(
    param: Any, grad: Any, exp_avg: Any, lr: float, beta1: float, beta2: float, weight_decay: float, maximize: bool
) -> None:
    """As the reference."""
    flat = _flat(grad, param, exp_avg)
    if flat is None:
        reference.lion_step(param, grad, exp_avg, lr, beta1, beta2, weight_decay, maximize)
        return
    _run(_lion, flat, -1.0 if maximize else 1.0, lr, 1.0 - lr * weight_decay, 1.0 - beta1, 1.0 - beta2)


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
        reference.lamb_step(
            param, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, grad_scale, bias_correction,
            grad_averaging, trust_clip, always_adapt,
        )  # fmt: skip
        return
    p, update = flat[0], np.empty_like(flat[0])
    correction1, correction2 = (1.0 - beta1**step, 1.0 - beta2**step) if bias_correction else (1.0, 1.0)
    new1 = 1.0 - beta1 if grad_averaging else 1.0
    numbers = (beta1, new1, beta2, 1.0 - beta2, 1.0 / math.sqrt(correction2), eps, 1.0 / correction1, weight_decay)
    _run(_lamb, [*flat, update], grad_scale, *numbers)
    adapt = weight_decay != 0 or always_adapt
    ratio = reference.trust_ratio(sum_of_squares(p), sum_of_squares(update), trust_clip) if adapt else 1.0
    _run(_move, [p, update], lr * ratio)


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
        reference.adafactor_step(
            param, grad, row_var, col_var, variance, step, lr, beta2_decay, eps1, eps2, d, weight_decay, maximize
        )
        return
    g, weight = ready(grad), float(step) ** beta2_decay
    rate = max(eps2, math.sqrt(sum_of_squares(param) / param.size)) * min(lr, 1.0 / math.sqrt(step))
    rows, columns = _mean_squares(g)
    row_var += (rows[:, None] - row_var) * weight
    col_var += (columns - col_var) * weight
    scaled = (row_var / max(row_var.mean(), eps1))[:, 0].astype(_f, copy=False)
    update, sign, least, tops = np.empty_like(g), _f(-1.0 if maximize else 1.0), _f(reference.floor_of(eps1, _f)), col_var[0]
    run_tiles(lambda lo, hi: _factored(g[lo:hi], scaled[lo:hi], tops, update[lo:hi], sign, least), len(g), _rows_of(g))
    excess = max(1.0, math.sqrt(sum_of_squares(update) / param.size) / d)
    _run(_shrink_move, [param.reshape(-1), update.reshape(-1)], 1.0 - lr * weight_decay, rate / excess)


def _rows_of(x: Any) -> int:
    """How many rows of a matrix make a tile."""
    return max(1, TILE // x.shape[1])


def _mean_squares(g: Any) -> tuple[Any, Any]:
    """The mean square of each row and of each column of a matrix."""
    tile = _rows_of(g)
    rows, parts = np.empty(len(g), _f), np.empty((-(-len(g) // tile), g.shape[1]), _f)
    run_tiles(lambda lo, hi: _moments(g[lo:hi], rows[lo:hi], parts[lo // tile]), len(g), tile)
    return rows / _f(g.shape[1]), (parts.sum(axis=0, dtype=np.float64) / len(g)).astype(_f)


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
    ema_step(momentum_buffer, g, 1.0 - momentum)
    update = g + (momentum_buffer - g) * momentum if nesterov else momentum_buffer
    update = reference.newton_schulz(update, ns_coefficients, eps, ns_steps, matmul)
    param[...] = (p * (1.0 - lr * weight_decay) - update * adjusted_lr).astype(param.dtype, copy=False)
