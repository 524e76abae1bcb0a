"""Losses of pixels and boxes: how far a prediction and a mask overlap, and cross entropy that looks away from what is easy."""

from __future__ import annotations

import numpy as np

from ..autocast import in_full_precision
from ..errors import ArgumentError, IndexRangeError, ShapeError
from ..tensor import Tensor
from .elementwise import sigmoid
from .loss import binary_cross_entropy_with_logits
from .softmax import log_softmax, softmax

_REDUCTIONS = ("none", "mean", "sum")


def _reduced(value: Tensor, reduction: str, what: str) -> Tensor:
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"{what}: reduction={reduction!r}", fix=f"use one of {', '.join(_REDUCTIONS)}")
    return value if reduction == "none" else value.mean() if reduction == "mean" else value.sum()


def _one_hot(target: Tensor, like: Tensor, ignore_index: int | None, what: str) -> tuple[Tensor, Tensor]:
    """Class numbers (N, ...) as (N, C, ...) of ``like``'s dtype, and 1 where a place counts, (N, 1, ...).

    Raises:
        ShapeError: a target that has not the input's places.
        IndexRangeError: a class number outside the input's classes; names the sample.
    """
    classes = max(like.shape[1], 2)  # one number a place: for the class 1, against 0
    if (target.shape[0], *target.shape[1:]) != (like.shape[0], *like.shape[2:]):
        why = "an input (N, C, ...) has a target (N, ...) of class numbers"
        raise ShapeError(f"{what}: input {like.shape}, target {target.shape}", why=why, fix="drop the target's axis of classes")
    xp, numbers = like._module, target.array
    counts = xp.ones(numbers.shape, bool) if ignore_index is None else numbers != ignore_index
    strange = counts & ((numbers < 0) | (numbers >= classes))
    if bool(strange.any()):
        place = tuple(int(v[0]) for v in xp.nonzero(strange))
        raise IndexRangeError(
            f"{what}: sample {place[0]} has class {int(numbers[place])} at {place[1:]}",
            why=f"there are {classes} classes, from 0",
            fix="correct the target, or name what does not count as ignore_index",
        )
    known = xp.where(counts, numbers, 0)[:, None]
    shape = (1, -1, *[1] * (numbers.ndim - 1))
    columns = (xp.arange(classes) if like.shape[1] > 1 else xp.ones(1, np.int64)).reshape(shape)
    hot = ((known == columns) & counts[:, None]).astype(like.dtype)
    return Tensor(hot), Tensor(counts[:, None].astype(like.dtype))


@in_full_precision
def dice_loss(
    input: Tensor,
    target: Tensor,
    *,
    include_background: bool = True,
    squared_pred: bool = False,
    jaccard: bool = False,
    smooth_nr: float = 1e-5,
    smooth_dr: float = 1e-5,
    batch: bool = False,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - 2 |P and T| / (|P| + |T|) of each class, with P the probabilities (Milletari et al., arXiv:1606.04797).

    Equal to MONAI's ``DiceLoss(to_onehot_y=True, softmax=True)``, or ``sigmoid=True`` where the input has one class.

    Args:
        input: scores (N, C, ...), before softmax; or (N, 1, ...), before a sigmoid.
        target: class numbers (N, ...).
        include_background: whether class 0 counts.
        squared_pred: square probabilities and target in the denominator.
        jaccard: 1 - |P and T| / |P or T| instead.
        smooth_nr, smooth_dr: added to numerator and denominator.
        batch: add up the places of all samples before dividing.
        ignore_index: a class number that does not count.
        reduction: "mean", "sum", or "none": (N, C), or (C,) with ``batch``.

    Raises:
        ShapeError: a target that has not the input's places.
        IndexRangeError: a class number outside 0..C-1; names the sample.

    Example:
        >>> import nyala
        >>> scores = nyala.tensor([[[9.0, -9.0], [-9.0, 9.0]]])
        >>> bool(dice_loss(scores, nyala.tensor([[0, 1]])) < 1e-3), bool(dice_loss(scores, nyala.tensor([[1, 0]])) > 0.99)
        (True, True)
    """
    probability = softmax(input, 1) if input.shape[1] > 1 else sigmoid(input)
    hot, counts = _one_hot(target, input, ignore_index, "dice_loss")
    if ignore_index is not None:
        probability = probability * counts
    if not include_background and input.shape[1] > 1:
        probability, hot = probability[:, 1:], hot[:, 1:]
    axes = tuple(range(2, input.ndim)) if not batch else (0, *range(2, input.ndim))
    both = (probability * hot).sum(axes)
    size = (probability * probability if squared_pred else probability).sum(axes) + hot.sum(axes)
    if jaccard:  # of MONAI: twice both over twice the union
        return _reduced(1 - (2 * both + smooth_nr) / (2 * (size - both) + smooth_dr), reduction, "dice_loss")
    return _reduced(1 - (2 * both + smooth_nr) / (size + smooth_dr), reduction, "dice_loss")


@in_full_precision
def sigmoid_focal_loss(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """Binary cross entropy of scores, times (1 - p)^gamma where p is the probability of the truth (Lin et al., arXiv:1708.02002).

    Equal to torchvision's ``sigmoid_focal_loss``.

    Args:
        inputs: scores of any shape, before a sigmoid.
        targets: 0 or 1 for each, in the inputs' dtype.
        alpha: weight of the positive ones, 1 - alpha of the others; below 0 for no weights.
        gamma: how far what is easy is left out of account.
        reduction: "none", "mean" or "sum".

    Example:
        >>> import nyala
        >>> sigmoid_focal_loss(nyala.tensor([0.0]), nyala.tensor([1.0]))
        tensor([0.0433])
    """
    loss = binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p = sigmoid(inputs)
    truth = p * targets + (1 - p) * (1 - targets)
    loss = loss * (1 - truth) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return _reduced(loss, reduction, "sigmoid_focal_loss")


@in_full_precision
def focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of classes, times (1 - p)^gamma where p is the probability of the truth.

    Args:
        input: scores (N, C, ...), before softmax.
        target: class numbers (N, ...).
        gamma: how far what is easy is left out of account; 0 makes it ``cross_entropy`` of "none" and "sum".
        weight: (C,), a factor for each class.
        ignore_index: a class number that does not count.
        reduction: "none" (N, ...), "sum", or "mean" over the places that count.

    Example:
        >>> import nyala
        >>> focal_loss(nyala.zeros(1, 2, 1), nyala.tensor([[1]]))
        tensor(0.1733)
    """
    if input.shape[1] < 2:
        raise ShapeError(f"focal_loss: input {input.shape} has one class", why="softmax needs two", fix="use sigmoid_focal_loss")
    hot, counts = _one_hot(target, input, ignore_index, "focal_loss")
    logs = (log_softmax(input, 1) * hot).sum(1)
    loss = -logs * (1 - logs.exp()) ** gamma * counts[:, 0]
    if weight is not None:
        loss = loss * (hot * weight.reshape(1, -1, *[1] * (input.ndim - 2))).sum(1)
    if reduction == "mean":
        return loss.sum() / max(float(np.asarray(counts.sum().item())), 1.0)
    return _reduced(loss, reduction, "focal_loss")
