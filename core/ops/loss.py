"""Losses: how far a prediction is from its target.

``reduction`` is "mean", "sum" or "none" throughout. Losses of distances and margins live in ``distance``, the one for
sequences without an alignment in ``ctc``; both are found here too.

Example:
    >>> import nyala
    >>> cross_entropy(nyala.zeros(2, 4), nyala.tensor([0, 3]))
    tensor(1.3863)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..autocast import in_full_precision
from ..devices import check_same, module_of
from ..errors import ArgumentError, DtypeError, ShapeError
from ..operation import Composite, Operation
from ..tensor import Tensor
from .ctc import ctc_loss
from .distance import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    pairwise_distance,
    soft_margin_loss,
    triplet_margin_loss,
)
from .elementwise import abs_, clamp, exp, log, log1p, where
from .index import gather
from .operands import require_tensors
from .reducing import check_labels, check_reduction, reduced, same_shape
from .shape import movedim, reshape, unsqueeze
from .softmax import log_sigmoid, log_softmax

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "pairwise_distance",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
]

# ---- classes


class CrossEntropy(Composite):
    """(R, C) logits -> the mean or sum of the rows' losses, or these (R,); rows with a negative target count for nothing."""

    factor: Any = 1.0  # of the sum: a number, or an array without dimensions

    def __init__(self, target: Any, weight: Any, smoothing: float, reduction: str) -> None:
        self.target, self.weight, self.smoothing, self.reduction = target, weight, smoothing, reduction

    def forward(self, x: Any) -> Any:
        if self.recording and self.reduction != "none" and not isinstance(x, np.ndarray) and x.dtype != np.float16:
            return self._with_gradient(x)
        loss, self.row_weight, kept = kernels.of(x).cross_entropy(x, self.target, self.weight, self.smoothing)
        if self.recording:
            self.saved = (kept,)
        loss = loss.astype(x.dtype, copy=False)
        if self.reduction == "none":
            return loss
        if self.reduction == "mean":
            self.factor = _share(self.row_weight)
        return (kernels.of(x).sum(loss, (0,), False) * self.factor).astype(x.dtype)

    def _with_gradient(self, x: Any) -> Any:
        """A GPU makes the gradient while the logits are at hand, and nothing waits for it: how many rows count stays there.

        Not in float16, where the backward pass starts from a scaled loss: small gradients would be lost before.
        """
        found = kernels.of(x).cross_entropy_step(x, self.target, self.weight, self.smoothing, self.reduction == "mean")
        loss, self.row_weight, self.factor, kept, gx = found
        self.saved = (kept, gx)
        return loss

    def compose(self, x: Tensor) -> Tensor:
        logp = log_softmax(x, 1)
        valid = Tensor(self.target >= 0)
        places = Tensor(x._module.where(valid.array, self.target, 0))
        loss = (
            -reshape(gather(logp, 1, unsqueeze(places, 1)), -1) * Tensor(self.row_weight.astype(x.dtype)) * (1 - self.smoothing)
        )
        if self.smoothing:
            spread = logp if self.weight is None else logp * Tensor(self.weight.astype(x.dtype))
            loss = loss - spread.sum(1) * (self.smoothing / x.shape[1])
        loss = where(valid, loss, 0.0)
        if self.reduction == "none":
            return loss
        return loss.sum() * (self.factor if type(self.factor) is float else Tensor(self.factor.astype(x.dtype)))

    def fused_backward(self, grad: Any, x: Any) -> Any:
        kept, *made = self.saved
        if made:
            self.saved = (kept,)  # a second walk through the graph makes its own
            kernels.of(x).scale_unless_one(*made, grad)
            return (*made,)
        if self.reduction != "none":
            each = grad * self.factor
            grad = module_of(x).empty(len(x), kept.dtype)
            grad[...] = each
        return (kernels.of(x).cross_entropy_backward(grad, x, kept, self.target, self.weight, self.smoothing),)


@in_full_precision
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input) at the target class.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...).
        target: class numbers (), (N,) or (N, d1, ...); or probabilities (floating point) in the shape of ``input``.
        weight: (C,), a factor for each class; the mean divides by the sum of the factors used.
        ignore_index: a class number whose samples count for nothing. Where all are ignored the mean is NaN.
        reduction: "mean", "sum" or "none".
        label_smoothing: this share of each target is spread evenly over the classes (Szegedy et al., arXiv:1512.00567).

    Raises:
        IndexRangeError: a label outside 0..C-1, named with its sample.
        ShapeError: input and target do not go together.
    """
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"cross_entropy: label_smoothing={label_smoothing}", fix="use a number from 0 to 1")
    require_tensors("cross_entropy", input=input, target=target)
    _check_weight("cross_entropy", input, weight)
    if target.dtype.kind in "fV":
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    _check_target("cross_entropy", input, target)
    classes = input.shape[0 if input.ndim == 1 else 1]
    places = check_labels("cross_entropy", target, classes, ignore_index)
    rows = input
    if input.ndim != 2:
        rows = reshape(input if input.ndim < 3 else movedim(input, 1, -1), (-1 if classes else target.numel(), classes))
    weights = None if weight is None else weight.array
    loss = CrossEntropy(places.reshape(-1), weights, label_smoothing, reduction).apply(rows)
    return reshape(loss, target.shape) if reduction == "none" and input.ndim != 2 else loss


def _share(weights: Any) -> Any:
    """1 / the sum of the weights, which makes NaN of a sum of nothing; on a GPU it stays there."""
    if not isinstance(weights, np.ndarray):
        return 1.0 / weights.sum(dtype=np.float64)
    count = float(weights.sum())
    return 1.0 / count if count else math.nan


def _over(total: Tensor, count: float) -> Tensor:
    """total / count, NaN where nothing was counted."""
    return total * (1.0 / count if count else math.nan)


def _soft_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    if input.shape != target.shape:
        raise ShapeError(
            f"cross_entropy: input {input.shape}, target of probabilities {target.shape}",
            why="a floating-point target holds a probability for each class",
            fix="give it the input's shape, or pass class numbers (int64)",
        )
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    target = target.to(input.dtype)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    if weight is not None:
        target = target * reshape(weight.to(input.dtype), (-1, *[1] * (input.ndim - axis - 1)))
    loss = -(log_softmax(input, axis) * target).sum(axis)
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else _over(loss.sum(), float(loss.numel()))


def _check_weight(what: str, input: Tensor, weight: Tensor | None) -> None:
    if input.ndim == 0:
        raise ShapeError(
            f"{what}: input without dimensions", why="it takes (C,), (N, C) or (N, C, d1, ...)", fix="add the class dimension"
        )
    check_same(what, input=input, weight=weight)
    classes = input.shape[0 if input.ndim == 1 else 1]
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(f"{what}: weight of shape {weight.shape} for {classes} class(es)", fix=f"give it shape ({classes},)")


def _check_target(what: str, input: Tensor, target: Tensor) -> None:
    check_same(what, input=input, target=target)
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{what}: a target of {target.dtype}", why="class numbers are whole", fix="convert it with .long()")
    expected = () if input.ndim == 1 else (input.shape[0], *input.shape[2:])
    if target.shape != expected:
        raise ShapeError(
            f"{what}: input (N, C, ...) = {input.shape}, target {target.shape}",
            why=f"class numbers for this input have shape {expected}",
            fix="squeeze the target, or check that the classes lie in dimension 1",
        )


@in_full_precision
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-input at the target class: ``cross_entropy`` for log-probabilities. Arguments and errors as there."""
    check_reduction("nll_loss", reduction)
    require_tensors("nll_loss", input=input, target=target)
    _check_weight("nll_loss", input, weight)
    _check_target("nll_loss", input, target)
    axis = 0 if input.ndim == 1 else 1
    places = check_labels("nll_loss", target, input.shape[axis], ignore_index)
    xp, valid = input._module, places >= 0
    safe = xp.where(valid, places, 0)
    factor = valid.astype(input.dtype) if weight is None else xp.where(valid, weight.array[safe], 0).astype(input.dtype)
    picked = reshape(gather(input, axis, unsqueeze(Tensor(safe), axis)), target.shape)
    loss = where(Tensor(xp.asarray(valid)), -picked * Tensor(xp.asarray(factor)), 0.0)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else _over(loss.sum(), float(factor.sum()))


# ---- probabilities


class BinaryCrossEntropy(Operation):
    """Logarithms are held above -100, as in torch, so that a saturated probability costs 100 and not infinity."""

    keeps = (0, 1)

    def forward(self, x: Any, target: Any) -> Any:
        return kernels.of(x).binary_cross_entropy(x, target)

    def backward(self, g: Tensor) -> Any:
        x, target = self.kept_tensors()
        gx = g * (x - target) / clamp((1.0 - x) * x, min=1e-12) if self.edges[0] is not None else None
        gt = g * (clamp(log1p(-x), min=-100.0) - clamp(log(x), min=-100.0)) if self.edges[1] is not None else None
        return gx, gt


@in_full_precision
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)) for probabilities; logarithms are held above -100.

    Raises:
        ShapeError: input and target differ in shape.
        ArgumentError: an input outside [0, 1]; logits belong into ``binary_cross_entropy_with_logits``.
    """
    check_reduction("binary_cross_entropy", reduction)
    same_shape("binary_cross_entropy", input, target)
    bad = ~((input.array >= 0) & (input.array <= 1))
    if bool(bad.any()):
        place = tuple(int(i[0]) for i in input._module.nonzero(input._module.atleast_1d(bad)))
        raise ArgumentError(
            f"binary_cross_entropy: input {float(input._module.atleast_1d(input.array)[place]):.6g} at {place}",
            why="probabilities lie between 0 and 1",
            fix="apply a sigmoid, or use binary_cross_entropy_with_logits, which is exact for large logits too",
        )
    loss = BinaryCrossEntropy().apply(input, target.to(input.dtype))
    return reduced(loss if weight is None else loss * weight, reduction)


@in_full_precision
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None
) -> Tensor:
    """``binary_cross_entropy(sigmoid(input), target)``, exact for large logits too.

    Args:
        input: logits, any shape.
        target: 0 to 1, the same shape.
        weight: broadcasts to the input; a factor for each element.
        reduction: "mean", "sum" or "none".
        pos_weight: broadcasts to the input; a factor for the positive part.
    """
    check_reduction("binary_cross_entropy_with_logits", reduction)
    same_shape("binary_cross_entropy_with_logits", input, target)
    target = target.to(input.dtype)
    inside = -log_sigmoid(input)
    if pos_weight is not None:
        inside = inside * ((pos_weight - 1.0) * target + 1.0)
    loss = (1.0 - target) * input + inside
    return reduced(loss if weight is None else loss * weight, reduction)


@in_full_precision
def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input), elementwise: the Kullback-Leibler divergence once summed.

    Args:
        input: log-probabilities, any shape.
        target: probabilities, or their logarithms with ``log_target``.
        reduction: "batchmean" (the divergence: the sum over the first dimension's length), "mean", "sum" or "none".
        log_target: whether ``target`` holds logarithms.
    """
    check_reduction("kl_div", reduction, ("mean", "sum", "none", "batchmean"))
    same_shape("kl_div", input, target, broadcast=True)
    if log_target:
        loss = exp(target) * (target - input)
    else:
        zero = Tensor(input._module.asarray(target.array == 0))
        loss = where(zero, 0.0, target * log(where(zero, 1.0, target))) - target * input
    if reduction == "batchmean":
        return loss.sum() * (1.0 / max(input.shape[0] if input.ndim else 1, 1))
    return reduced(loss, reduction)


@in_full_precision
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Half of log(var) + (input - target)^2 / var, the variance held above ``eps`` without changing its gradient.

    ``full`` adds the constant log(2 pi) / 2.
    """
    check_reduction("gaussian_nll_loss", reduction)
    check_same("gaussian_nll_loss", input=input, target=target, var=var if isinstance(var, Tensor) else None)
    variance = var if isinstance(var, Tensor) else input.detach() * 0.0 + var
    if variance.shape != input.shape and variance.ndim == input.ndim - 1 and variance.shape == input.shape[:-1]:
        variance = unsqueeze(variance, -1)
    if bool((variance.array < 0).any()):
        raise ArgumentError("gaussian_nll_loss: a negative variance", fix="pass softplus(x) or exp(x)")
    raised = variance + Tensor((clamp(variance.detach(), min=eps) - variance.detach()).array)
    difference = input - target
    loss = (log(raised) + difference * difference / raised) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@in_full_precision
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
) -> Tensor:
    """exp(input) - target * input; without ``log_input``, input - target * log(input + eps).

    ``full`` adds Stirling's approximation of log(target!) where the target is above 1.
    """
    check_reduction("poisson_nll_loss", reduction)
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        safe = clamp(target, min=1.0)
        loss = loss + where(target > 1, safe * log(safe) - safe + 0.5 * log(safe * (2 * math.pi)), 0.0)
    return reduced(loss, reduction)


# ---- numbers


@in_full_precision
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target)^2, times ``weight`` where given (the mean then divides by the weights' sum)."""
    difference = _difference("mse_loss", input, target, reduction)
    return _weighted("mse_loss", difference * difference, weight, reduction)


@in_full_precision
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target|; its gradient at 0 is 0. ``weight`` as in ``mse_loss``."""
    return _weighted("l1_loss", abs_(_difference("l1_loss", input, target, reduction)), weight, reduction)


@in_full_precision
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere (Girshick, arXiv:1504.08083)."""
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta={beta}", fix="use 0 or a positive number")
    if beta == 0:
        return l1_loss(input, target, reduction)
    difference = _difference("smooth_l1_loss", input, target, reduction)
    size = abs_(difference)
    small = Tensor(size._module.asarray(size.array < beta))
    return reduced(where(small, difference * difference * (0.5 / beta), size - 0.5 * beta), reduction)


@in_full_precision
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) elsewhere (Huber, 1964). ``weight`` as in ``mse_loss``."""
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta={delta}", fix="use a positive number")
    difference = _difference("huber_loss", input, target, reduction)
    size = abs_(difference)
    small = Tensor(size._module.asarray(size.array <= delta))
    loss = where(small, difference * difference * 0.5, (size - 0.5 * delta) * delta)
    return _weighted("huber_loss", loss, weight, reduction)


def _difference(what: str, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    check_reduction(what, reduction)
    same_shape(what, input, target, broadcast=True)
    return input - target


def _weighted(what: str, loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    if weight.shape != loss.shape:
        raise ShapeError(f"{what}: weight of shape {weight.shape} for losses of shape {loss.shape}", fix="make the shapes equal")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)
