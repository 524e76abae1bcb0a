"""Distances between vectors, and the losses built on them.

Example:
    >>> import nyala
    >>> cosine_similarity(nyala.tensor([[1.0, 0.0]]), nyala.tensor([[1.0, 1.0]]))
    tensor([0.7071])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autocast import in_full_precision
from ..devices import check_same
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from .elementwise import clamp, minimum, sqrt, where
from .index import gather
from .reduce import norm
from .reducing import check_labels, check_reduction, reduced, same_shape
from .shape import unsqueeze
from .softmax import log_sigmoid


@in_full_precision
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along ``dim``; norms are held above ``eps``. Shapes broadcast."""
    first = x1 / clamp(norm(x1, 2, dim, keepdim=True), min=eps)
    second = x2 / clamp(norm(x2, 2, dim, keepdim=True), min=eps)
    return (first * second).sum(dim)


@in_full_precision
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dimension."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


@in_full_precision
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, reduction: str = "mean") -> Tensor:
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1.

    Args:
        input1, input2: (N, D), or (D,) with a target without dimensions.
        target: (N,), 1 for pairs that belong together and -1 for others.
        margin: from -1 to 1.
        reduction: "mean", "sum" or "none".
    """
    check_reduction("cosine_embedding_loss", reduction)
    same_shape("cosine_embedding_loss", input1, input2)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ShapeError(
            f"cosine_embedding_loss: inputs {input1.shape}, target {target.shape}",
            why="it takes (N, D) with a target (N,), or (D,) with one number",
            fix="reshape them",
        )
    squares = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / sqrt(squares)
    apart = where(target == -1, clamp(cosine - margin, min=0.0), 0.0)
    return reduced(where(target == 1, 1.0 - cosine, apart), reduction)


@in_full_precision
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, reduction: str = "mean") -> Tensor:
    """max(0, -target (input1 - input2) + margin): target 1 wants input1 the larger, -1 the smaller."""
    check_reduction("margin_ranking_loss", reduction)
    if input1.ndim != input2.ndim or input1.ndim != target.ndim:
        raise ShapeError(
            f"margin_ranking_loss: input1 {input1.shape}, input2 {input2.shape}, target {target.shape}",
            why="all three must have equally many dimensions",
            fix="reshape one of them",
        )
    return reduced(clamp(-target.to(input1.dtype) * (input1 - input2) + margin, min=0.0), reduction)


@in_full_precision
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with ``pairwise_distance`` over (N, D).

    ``swap`` takes d(positive, negative) for the negative distance where that is smaller (Balntas et al., BMVC 2016).
    """
    check_reduction("triplet_margin_loss", reduction)
    if margin <= 0:
        raise ArgumentError(f"triplet_margin_loss: margin={margin}", fix="use a positive number")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(clamp(near - far + margin, min=0.0), reduction)


@in_full_precision
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """The input where the target is 1, max(0, margin - input) where it is -1."""
    check_reduction("hinge_embedding_loss", reduction)
    apart = where(target != 1, clamp(margin - input, min=0.0), 0.0)
    return reduced(apart + where(target != -1, input, 0.0), reduction)


@in_full_precision
def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)) for targets 1 and -1."""
    check_reduction("soft_margin_loss", reduction)
    return reduced(-log_sigmoid(target.to(input.dtype) * input), reduction)


@in_full_precision
def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """sum over the other classes of max(0, margin - input[y] + input[i])^p, over the class count.

    Args:
        input: scores (N, C) or (C,).
        target: class numbers (N,) or one number.
        p: 1 or 2.
        margin: how much larger the right class's score shall be.
        weight: (C,), a factor for each target class.
        reduction: "mean", "sum" or "none".
    """
    check_reduction("multi_margin_loss", reduction)
    if p not in (1, 2):
        raise ArgumentError(f"multi_margin_loss: p={p}", fix="use 1 or 2")
    if target.shape != input.shape[:-1] or input.ndim not in (1, 2):
        raise ShapeError(
            f"multi_margin_loss: input (N, C) = {input.shape}, target {target.shape}", fix="give the target shape (N,)"
        )
    check_same("multi_margin_loss", input=input, target=target, weight=weight)
    classes = input.shape[-1]
    labels = unsqueeze(Tensor(check_labels("multi_margin_loss", target, classes, -1 - 2**62)), -1)
    gap = clamp(margin - gather(input, -1, labels) + input, min=0.0)
    gap = gap if p == 1 else gap * gap
    if weight is not None:
        gap = gap * Tensor(weight.array[labels.array].astype(input.dtype))
    others = Tensor(labels.array != _class_numbers(input, classes))
    return reduced(where(others, gap, 0.0).sum(-1) * (1.0 / classes), reduction)


def _class_numbers(input: Tensor, classes: int) -> Any:
    return input._module.arange(classes, dtype=np.int64)
