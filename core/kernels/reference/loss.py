"""Losses that are fused: cross entropy over class numbers, and connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import module_of
from .half import widened
from .linalg import Product, matmul
from .softmax import log_softmax

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_step",
    "ctc_loss",
    "ctc_loss_backward",
    "log_sigmoid",
    "scale_unless_one",
]


def _weights_of(xp: Any, target: Any, weight: Any, dtype: Any) -> Any:
    """The weight of each row: that of its class, 0 for a row that does not count (a negative target)."""
    valid = target >= 0
    if weight is None:
        return valid.astype(dtype)
    return xp.where(valid, widened(weight)[xp.where(valid, target, 0)], 0).astype(dtype)


def cross_entropy(x: Any, target: Any, weight: Any, smoothing: float) -> tuple[Any, Any, Any]:
    """(R, C) logits and (R,) classes: loss and weight of each row, and what the backward needs (R, 2).

    That is the largest logit and the logarithm of the sum of exponentials of the differences to it. A row with a negative
    target has loss 0. ``weight`` (C,) may be None. With ``smoothing`` that share of the target is spread over all classes.
    """
    xp, v = module_of(x), widened(x)
    logp = log_softmax(v, 1)
    valid = target >= 0
    row_weight = _weights_of(xp, target, weight, v.dtype)
    picked = xp.take_along_axis(logp, xp.where(valid, target, 0)[:, None], 1)[:, 0]
    loss = -picked * row_weight * v.dtype.type(1 - smoothing)
    if smoothing:
        spread = logp if weight is None else logp * widened(weight)
        loss = loss - spread.sum(axis=1) * v.dtype.type(smoothing / x.shape[1])
    return xp.where(valid, loss, 0).astype(v.dtype), row_weight, _kept(xp, v)


def _kept(xp: Any, v: Any) -> Any:
    if not v.size:
        return xp.zeros((len(v), 2), v.dtype)
    top = v.max(axis=1)
    with np.errstate(invalid="ignore"):  # -inf - -inf is NaN
        return xp.stack([top, xp.log(xp.exp(v - top[:, None]).sum(axis=1))], axis=1)


def cross_entropy_backward(grad: Any, x: Any, kept: Any, target: Any, weight: Any, smoothing: float) -> Any:
    """Gradient of the logits from the gradient of each row's loss (R,), and what ``cross_entropy`` left."""
    xp, v, kind = module_of(x), widened(x), kept.dtype.type
    valid = target >= 0
    rows = xp.where(valid, grad, 0).astype(kept.dtype)
    row_weight = _weights_of(xp, target, weight, kept.dtype) * kind(1 - smoothing)
    share, total = kind(0), row_weight
    if smoothing:
        share = kind(smoothing / x.shape[1]) * (xp.ones(x.shape[1], kept.dtype) if weight is None else widened(weight))
        total = total + share.sum()
    with np.errstate(invalid="ignore"):
        probabilities = xp.exp((v - kept[:, :1]) - kept[:, 1:])
    out = (probabilities * total[:, None] - share) * rows[:, None]
    out[xp.arange(len(target)), xp.where(valid, target, 0)] -= row_weight * rows
    return xp.where(valid[:, None], out, kind(0)).astype(x.dtype, copy=False)


def cross_entropy_step(x: Any, target: Any, weight: Any, smoothing: float, mean: bool) -> tuple[Any, Any, Any, Any, Any]:
    """Loss and gradient together, for training: the logits are read once.

    Returns:
        The ``mean`` or sum of the rows' losses (without dimensions, the logits' dtype), the rows' weights (R,), what the sum of
        the losses was multiplied with (without dimensions, NaN where no row counts), what ``cross_entropy_backward`` needs
        (R, 2), and the logits' gradient (R, C) where that of the result is 1.
    """
    xp = module_of(x)
    loss, row_weight, kept = cross_entropy(x, target, weight, smoothing)
    factor = xp.ones((), loss.dtype)
    if mean:
        count = row_weight.sum()
        factor = xp.asarray(xp.where(count == 0, np.nan, 1 / xp.where(count == 0, 1, count)), loss.dtype)
    gx = cross_entropy_backward(xp.broadcast_to(factor, loss.shape), x, kept, target, weight, smoothing)
    return xp.asarray(loss.sum() * factor, x.dtype), row_weight, factor, kept, gx


def scale_unless_one(x: Any, factor: Any) -> None:
    """``x`` times ``factor``, an array without dimensions, in place; where that is 1 a device neither reads nor writes x."""
    x *= factor.astype(x.dtype)


def _log_add(xp: Any, *terms: Any) -> Any:
    """log of the sum of exponentials, -inf where all are."""
    largest = terms[0]
    for t in terms[1:]:
        largest = xp.maximum(largest, t)
    safe = xp.where(xp.isfinite(largest), largest, 0)
    total = xp.exp(terms[0] - safe)
    for t in terms[1:]:
        total = total + xp.exp(t - safe)
    with np.errstate(divide="ignore"):
        return xp.log(total) + safe


def _labels_of(xp: Any, targets: Any, blank: int) -> tuple[Any, Any]:
    """(N, S) -> (N, 2 S + 1): a blank between all labels and around them; and where a blank may be jumped over."""
    n, s = targets.shape
    labels = xp.full((n, 2 * s + 1), blank, np.int64)
    labels[:, 1::2] = targets
    skip = xp.zeros(labels.shape, bool)
    skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    return labels, skip


def _shifted(xp: Any, a: Any, by: int) -> Any:
    """Columns moved to the right by ``by``, -inf moved in."""
    out = xp.full(a.shape, -np.inf, a.dtype)
    if a.shape[1] > by:
        out[:, by:] = a[:, :-by]
    return out


def ctc_loss(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int) -> tuple[Any, Any]:
    """(T, N, C) log-probabilities and (N, S) labels: -log likelihood of each sample (N,), and alpha (T, N, 2 S + 1).

    Source: Graves et al., "Connectionist temporal classification", ICML 2006, in the logarithmic domain.
    """
    xp, lp = module_of(log_probs), widened(log_probs)
    labels, skip = _labels_of(xp, targets, blank)
    emitted = xp.take_along_axis(lp, xp.broadcast_to(labels, (lp.shape[0], *labels.shape)), 2)  # (T, N, 2 S + 1)
    position = xp.arange(labels.shape[1])
    alpha = xp.full(emitted.shape, -np.inf, lp.dtype)
    if len(lp):
        alpha[0] = xp.where((position < 2) & (position < 2 * target_lengths[:, None] + 1), emitted[0], -np.inf)
    for t in range(1, len(lp)):
        before = alpha[t - 1]
        jump = xp.where(skip, _shifted(xp, before, 2), -np.inf)
        alpha[t] = _log_add(xp, before, _shifted(xp, before, 1), jump) + emitted[t]
    return -_ctc_end(xp, alpha, input_lengths, target_lengths), alpha


def _ctc_end(xp: Any, alpha: Any, input_lengths: Any, target_lengths: Any) -> Any:
    """Log likelihood: the last label or the blank behind it, at each sample's last frame."""
    n = xp.arange(alpha.shape[1])
    last = 2 * target_lengths
    empty_input = xp.where(target_lengths == 0, 0, -np.inf).astype(alpha.dtype)
    if not len(alpha):
        return empty_input
    final = alpha[xp.maximum(input_lengths - 1, 0), n]  # (N, 2 S + 1)
    label = xp.where(target_lengths > 0, final[n, xp.maximum(last - 1, 0)], -np.inf)
    return xp.where(input_lengths > 0, _log_add(xp, final[n, last], label), empty_input)


def ctc_loss_backward(
    grad: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, loss: Any, alpha: Any
) -> Any:
    """Gradient of the log-probabilities from the gradient of each sample's loss (N,). An infinite loss gives 0."""
    return ctc_loss_backward_by(matmul, grad, log_probs, targets, input_lengths, target_lengths, blank, loss, alpha)


def ctc_loss_backward_by(
    product: Product, grad: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, loss: Any,
    alpha: Any,
) -> Any:  # fmt: skip
    """``ctc_loss_backward``; ``product`` multiplies matrices."""
    xp, lp = module_of(log_probs), widened(log_probs)
    labels, skip = _labels_of(xp, targets, blank)
    emitted = xp.take_along_axis(lp, xp.broadcast_to(labels, (lp.shape[0], *labels.shape)), 2)
    position, last = xp.arange(labels.shape[1]), 2 * target_lengths[:, None]
    start = xp.where((position == last) | ((position == last - 1) & (last > 0)), 0, -np.inf).astype(lp.dtype)
    forward_skip = xp.concatenate([skip[:, 2:], xp.zeros((len(skip), 2), bool)], 1)[:, : skip.shape[1]]
    finite = xp.isfinite(loss)
    scale = xp.where(finite, widened(grad), 0).astype(lp.dtype)
    shift = xp.where(finite, loss, 0).astype(lp.dtype)
    one_hot = (labels[:, :, None] == xp.arange(lp.shape[2])).astype(lp.dtype)  # (N, 2 S + 1, C)
    out = xp.zeros(lp.shape, lp.dtype)
    beta = xp.full(labels.shape, -np.inf, lp.dtype)
    for t in range(len(lp) - 1, -1, -1):
        ahead = beta + emitted[t + 1] if t + 1 < len(lp) else beta
        jump = xp.where(forward_skip, _shifted(xp, ahead[:, ::-1], 2)[:, ::-1], -np.inf)
        moved = _log_add(xp, ahead, _shifted(xp, ahead[:, ::-1], 1)[:, ::-1], jump)
        beta = xp.where((t == input_lengths - 1)[:, None], start, xp.where((t < input_lengths)[:, None], moved, -np.inf))
        occupied = xp.exp(alpha[t] + beta + shift[:, None]) * (-scale[:, None])
        # a position that cannot be reached has exp(-inf) = 0 here; one product a frame adds equal labels up in a fixed order
        out[t] = product(occupied[:, None, :], one_hot)[:, 0]
    return xp.where(finite[None, :, None], out, 0).astype(log_probs.dtype, copy=False)


def binary_cross_entropy(x: Any, target: Any) -> Any:
    """-(target log(x) + (1 - target) log(1 - x)), the logarithms held above -100."""
    xp, v, t = module_of(x), widened(x), widened(target)
    floor = v.dtype.type(-100)
    with np.errstate(divide="ignore"):
        yes, no = xp.maximum(xp.log(v), floor), xp.maximum(xp.log1p(-v), floor)
    return ((t - v.dtype.type(1)) * no - t * yes).astype(x.dtype, copy=False)


def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))), without overflow."""
    xp, v = module_of(x), widened(x)
    return (xp.minimum(v, v.dtype.type(0)) - xp.log1p(xp.exp(-xp.abs(v)))).astype(x.dtype, copy=False)
