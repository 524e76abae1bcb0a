"""Connectionist temporal classification: a loss for sequences whose alignment is not known.

Source: Graves et al., "Connectionist temporal classification", ICML 2006.

Example:
    >>> import nyala
    >>> even = nyala.full((2, 1, 2), -0.6931472)
    >>> ctc_loss(even, nyala.tensor([[1]]), [2], [1])  # paths _1, 1_ and 11, each of probability 1/4
    tensor(0.2877)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..autocast import in_full_precision
from ..devices import check_same, move
from ..errors import ArgumentError, IndexRangeError, ShapeError
from ..operation import Composite
from ..tensor import Tensor
from .elementwise import where
from .index import gather
from .reduce import logsumexp
from .reducing import check_reduction
from .shape import cat, expand, narrow, reshape, stack, unsqueeze

_NEVER = -1e30  # stands for log 0 where a derivative must stay a number


class CTCLoss(Composite):
    """(T, N, C) log-probabilities -> (N,) losses."""

    def __init__(self, targets: Any, input_lengths: Any, target_lengths: Any, blank: int) -> None:
        self.task = targets, input_lengths, target_lengths, blank

    def forward(self, log_probs: Any) -> Any:
        loss, alpha = kernels.of(log_probs).ctc_loss(log_probs, *self.task)
        if self.recording:
            self.saved = loss, alpha
        return loss.astype(log_probs.dtype, copy=False)

    def fused_backward(self, grad: Any, log_probs: Any) -> Any:
        return (kernels.of(log_probs).ctc_loss_backward(grad, log_probs, *self.task, *self.saved),)

    def compose(self, log_probs: Tensor) -> Tensor:
        targets, input_lengths, target_lengths, blank = self.task
        xp, (frames, n, _), s = log_probs._module, log_probs.shape, targets.shape[1]
        labels = xp.full((n, 2 * s + 1), blank, np.int64)
        labels[:, 1::2] = targets
        skip = xp.zeros(labels.shape, bool)
        skip[:, 3::2] = targets[:, 1:] != targets[:, :-1]
        finite = where(log_probs.detach() == -np.inf, _NEVER, log_probs)
        emitted = gather(finite, 2, expand(unsqueeze(Tensor(labels), 0), (frames, *labels.shape)))
        first = xp.arange(2 * s + 1) < xp.minimum(2, 2 * target_lengths + 1)[:, None]
        alphas = [where(Tensor(first), emitted[0], _NEVER)]
        for t in range(1, frames):
            before = alphas[-1]
            moves = [before, _shifted(before, 1), where(Tensor(skip), _shifted(before, 2), _NEVER)]
            alphas.append(logsumexp(stack(moves), 0) + emitted[t])
        return self._end(stack(alphas), input_lengths, target_lengths)

    def _end(self, alpha: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        xp = alpha._module
        n = xp.arange(alpha.shape[1])
        final = alpha[xp.maximum(input_lengths - 1, 0), n]  # (N, 2 S + 1)
        label = where(Tensor(target_lengths > 0), final[n, xp.maximum(2 * target_lengths - 1, 0)], _NEVER)
        loss = -logsumexp(stack([final[n, 2 * target_lengths], label]), 0)
        return where(Tensor(xp.isfinite(self.saved[0]) & (input_lengths > 0)), loss, Tensor(self.saved[0].astype(alpha.dtype)))


def _shifted(a: Tensor, by: int) -> Tensor:
    """Columns moved to the right by ``by``."""
    if a.shape[1] <= by:
        return a * 0.0 + _NEVER
    empty = a._like(a._module.full((a.shape[0], by), _NEVER, a.dtype))
    return cat([empty, narrow(a, 1, 0, a.shape[1] - by)], 1)


def _lengths(name: str, given: Any, count: int, largest: int, bound: str, xp: Any) -> Any:
    """Lengths as an int64 array (N,), checked."""
    array = move(given.array, "cpu") if isinstance(given, Tensor) else np.asarray(given)  # torch keeps lengths there, too
    array = xp.asarray(array).astype(np.int64).reshape(-1)
    if array.shape != (count,):
        raise ShapeError(f"ctc_loss: {name} has {array.size} length(s) for a batch of {count}", fix="give one for each sample")
    bad = (array < 0) | (array > largest)
    if bool(bad.any()):
        i = int(xp.nonzero(bad)[0][0])
        raise ArgumentError(f"ctc_loss: {name}[{i}] is {int(array[i])}", why=f"{bound} is {largest}", fix="check the lengths")
    return array


def _padded(targets: Tensor, lengths: Any, count: int, blank: int) -> Any:
    """(N, S) labels with the blank behind each sample's end, from (N, S) or concatenated ones."""
    xp = targets._module
    if targets.dtype.kind not in "iu":
        raise ArgumentError(f"ctc_loss: targets of {targets.dtype}", fix="pass label numbers, int64")
    longest = int(lengths.max()) if lengths.size else 0
    position = xp.arange(longest)
    inside = position < lengths[:, None]
    if targets.ndim == 2:
        if targets.shape[0] != count or targets.shape[1] < longest:
            raise ShapeError(
                f"ctc_loss: targets (N, S) = {targets.shape} for a batch of {count} with up to {longest} label(s)",
                fix="pad the targets to the longest, or concatenate them into one vector",
            )
        return xp.where(inside, targets.array[:, :longest], blank).astype(np.int64)
    if targets.ndim != 1 or targets.shape[0] != int(lengths.sum()):
        raise ShapeError(
            f"ctc_loss: targets of shape {targets.shape}, target_lengths add up to {int(lengths.sum())}",
            why="concatenated targets hold exactly that many labels",
            fix="pass (N, S) or a vector of all labels",
        )
    starts = xp.cumsum(lengths) - lengths
    places = xp.where(inside, starts[:, None] + position, 0)
    flat = targets.array if targets.array.size else xp.zeros(1, np.int64)
    return xp.where(inside, flat[places], blank).astype(np.int64)


def _check_labels(labels: Any, classes: int, blank: int) -> None:
    if not 0 <= blank < classes:
        raise IndexRangeError(
            f"ctc_loss: blank={blank}, there are {classes} classes", fix=f"use a number from 0 to {classes - 1}"
        )
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        i, j = (int(p[0]) for p in wrong.nonzero())
        raise IndexRangeError(
            f"ctc_loss: label {int(labels[i, j])} of sample {i} (position {j}), there are {classes} classes",
            why=f"labels run from 0 to {classes - 1}",
            fix="check the vocabulary",
        )


@in_full_precision
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log probability of all alignments of the targets to the frames.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample: log-probabilities, as from ``log_softmax``.
        targets: (N, S), padded with anything, or all samples' labels in one vector.
        input_lengths, target_lengths: (N,) tensors or sequences; a number for one sample.
        blank: the class that stands for no label.
        reduction: "none" gives (N,), "sum" adds them, "mean" divides each by its target length and averages.
        zero_infinity: 0 for samples whose targets do not fit into their frames, instead of infinity. Their gradient is 0
            either way.

    The gradient is that of the log-probabilities themselves; through ``log_softmax`` it is the known closed form.

    Raises:
        ShapeError, ArgumentError: lengths that do not fit the tensors.
        IndexRangeError: a label that is no class.
    """
    check_reduction("ctc_loss", reduction)
    if log_probs.ndim not in (2, 3):
        raise ShapeError(f"ctc_loss: log_probs of shape {log_probs.shape}", why="it takes (T, N, C) or (T, C)", fix="reshape it")
    check_same("ctc_loss", log_probs=log_probs, targets=targets)
    batched = log_probs.ndim == 3
    x = log_probs if batched else unsqueeze(log_probs, 1)
    (frames, count, classes), xp = x.shape, log_probs._module
    ins = _lengths("input_lengths", input_lengths, count, frames, "the number of frames T", xp)
    limit = targets.shape[-1] if targets.ndim else 0
    outs = _lengths("target_lengths", target_lengths, count, limit, "the number of labels", xp)
    labels = _padded(targets, outs, count, blank)
    _check_labels(labels, classes, blank)
    loss = CTCLoss(labels, ins, outs, blank).apply(x)
    if zero_infinity:
        loss = where(Tensor(xp.isinf(loss.array)), 0.0, loss)
    if reduction == "none":
        return loss if batched else reshape(loss, ())
    if reduction == "sum":
        return loss.sum()
    return (loss / Tensor(xp.maximum(outs, 1).astype(loss.dtype))).mean()
