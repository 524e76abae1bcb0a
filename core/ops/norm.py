"""Normalisation over the batch, the features, groups of channels, or neighbours.

Example:
    >>> import nyala
    >>> layer_norm(nyala.tensor([[1.0, 3.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..autocast import in_full_precision
from ..devices import check_same
from ..errors import ArgumentError, ShapeError
from ..operation import Composite
from ..tensor import Tensor
from ..unfinished import Unfinished
from .activation import relu6
from .elementwise import clamp, relu, rsqrt
from .operands import floating, require_tensors
from .reduce import norm
from .shape import ZeroPad, narrow, reshape


class _Norm(Composite):
    """Inputs x, then weight and bias where they are given."""

    def __init__(self, weight: bool, bias: bool, eps: float) -> None:
        self.has = weight, bias
        self.eps = eps

    def parameters(self, given: Sequence[Any]) -> tuple[Any, Any]:
        """Weight and bias, None where there is none."""
        if len(given) == 2:
            return given[0], given[1]
        if not given:
            return None, None
        return (given[0], None) if self.has[0] else (None, given[0])

    def remember(self, given: Sequence[Any], *arrays: Any) -> None:
        """Keep ``arrays``, and what the parameters look like, where a backward may follow."""
        if self.recording:
            self.saved = arrays
            self.dtypes = [p.dtype for p in given]
            self.parameter_shape = given[0].shape if given else ()

    def wanted(self, gx: Any, *found: Any) -> tuple[Any, ...]:
        """The gradients of the inputs there are, in the dtypes and shapes of their inputs."""
        grads = [g for g, has in zip(found, self.has, strict=False) if has]
        return gx, *[self._like_parameter(g, d) for g, d in zip(grads, self.dtypes, strict=True)]

    def _like_parameter(self, g: Any, dtype: Any) -> Any:
        if g is None:
            return None
        return (g if g.shape == self.parameter_shape else g.reshape(self.parameter_shape)).astype(dtype, copy=False)

    def trains(self) -> bool:
        """Whether a gradient of weight or bias is wanted."""
        return any(e is not None for e in self.edges[1:])


def _with(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(t for t in (x, weight, bias) if t is not None)


def _per_channel(v: Tensor | None, ndim: int) -> Tensor | None:
    return None if v is None else reshape(v, (1, -1, *[1] * (ndim - 2)))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _standard(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the axes, in differentiable operations."""
    centred = x - x.mean(axes, keepdim=True)
    return centred * rsqrt((centred * centred).mean(axes, keepdim=True) + eps)


def _nothing(x: Tensor, weight: Tensor | None, bias: Tensor | None, channels: bool) -> Tensor:
    """The result for an input without elements: there is nothing to take a mean of, but parameters get their zeros."""
    if channels:
        weight, bias = _per_channel(weight, x.ndim), _per_channel(bias, x.ndim)
    return _affine(x * 1.0, weight, bias)


# ---- batch


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": relu, "relu6": relu6}
"""What a batch norm can end with."""


class BatchNorm(_Norm):
    """With the statistics of the batch, which ``forward`` leaves in ``statistics``, and an activation behind it."""

    def __init__(self, weight: bool, bias: bool, eps: float, activation: str) -> None:
        super().__init__(weight, bias, eps)
        self.activation = activation

    def forward(self, x: Any, *given: Any) -> Any:
        weight, bias = self.parameters(given)
        y, mean, var = kernels.of(x).batch_norm(x, weight, bias, self.eps, self.activation)
        self.statistics = mean, var
        self.remember(given, mean, var)
        return y

    def compose(self, x: Tensor, *given: Tensor) -> Tensor:
        weight, bias = (_per_channel(p, x.ndim) for p in self.parameters(given))
        return ACTIVATIONS[self.activation](_affine(_standard(x, (0, *range(2, x.ndim)), self.eps), weight, bias))

    def fused_backward(self, grad: Any, x: Any, *given: Any) -> Any:
        weight, bias = self.parameters(given)
        return self.wanted(*kernels.of(x).batch_norm_backward(grad, x, weight, *self.saved, self.eps, bias, self.activation))


class BatchNormEval(_Norm):
    """With statistics that are given and constant."""

    def __init__(self, mean: Any, var: Any, weight: bool, bias: bool, eps: float) -> None:
        super().__init__(weight, bias, eps)
        self.mean, self.var = mean, var

    def forward(self, x: Any, *given: Any) -> Any:
        weight, bias = self.parameters(given)
        if self.recording:  # a later training step writes to the running statistics
            self.remember(given, self.mean.copy(), self.var.copy())
        return kernels.of(x).batch_norm_eval(x, self.mean, self.var, weight, bias, self.eps)

    def compose(self, x: Tensor, *given: Tensor) -> Tensor:
        weight, bias = (_per_channel(p, x.ndim) for p in self.parameters(given))
        mean, var = (_per_channel(Tensor(s.astype(x.dtype)), x.ndim) for s in self.saved)
        return _affine((x - mean) * rsqrt(var + self.eps), weight, bias)  # type: ignore[operator]  # both are given

    def fused_backward(self, grad: Any, x: Any, *given: Any) -> Any:
        weight, _ = self.parameters(given)
        return self.wanted(*kernels.of(x).batch_norm_eval_backward(grad, x, *self.saved, weight, self.eps))


def _check_channels(what: str, input: Tensor, **tensors: Tensor | None) -> None:
    check_same(what, input=input.operand if type(input) is Unfinished else input, **tensors)
    channels = input.shape[1]
    for name, t in tensors.items():
        if t is not None and t.shape != (channels,):
            raise ShapeError(
                f"{what}: {name} has shape {t.shape}, the input {channels} channel(s) in dimension 1",
                fix=f"{name} must have shape ({channels},); check num_features, or that the input is (N, C, ...)",
            )


def _update(running: Tensor | None, new: Any, momentum: float) -> None:
    if running is not None:
        kept = running.array * running.dtype.type(1 - momentum)
        running.array[...] = kept + new.astype(running.dtype) * running.dtype.type(momentum)
        running._bump()


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str = "none",
) -> Tensor:
    """Each channel of (N, C, ...) normalised over the batch, times weight (C,) plus bias (C,).

    Args:
        input: (N, C) or (N, C, ...), floating point.
        running_mean, running_var: (C,), written to where ``training``: ``(1 - momentum) * old + momentum * new``, the new
            variance being the unbiased one. Without training they are what is normalised with.
        weight, bias: (C,), or None.
        training: normalise with the mean and (biased) variance of this batch.
        momentum: share of the new statistics.
        eps: added to the variance.
        activation: "none", "relu" or "relu6" of the result: the same numbers as ``relu(batch_norm(...))``, with less to read
            and write in training.

    Raises:
        ShapeError: a parameter does not have C elements, or there is only one value a channel to train on.
        ArgumentError: no running statistics to evaluate with, or an activation that there is not.

    Source: Ioffe and Szegedy, arXiv:1502.03167.
    """
    if input.ndim < 2:
        raise ShapeError(
            f"batch_norm: input of shape {input.shape}", why="it takes (N, C) or (N, C, ...)", fix="add the dimension"
        )
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"batch_norm: activation={activation!r}", fix=f"use one of {', '.join(map(repr, ACTIVATIONS))}")
    channels = input.shape[1]
    _check_channels("batch_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if 0 in input.shape:
        return ACTIVATIONS[activation](_nothing(input, weight, bias, True))
    if not training:
        return ACTIVATIONS[activation](_evaluated(input, running_mean, running_var, weight, bias, eps))
    count = input.numel() // channels
    if count == 1:
        raise ShapeError(
            f"batch_norm: one value a channel in an input of shape {input.shape}",
            why="its variance is 0, there is nothing to learn from",
            fix="use a larger batch (drop_last=True in the DataLoader), or eval()",
        )
    operation = BatchNorm(weight is not None, bias is not None, eps, activation)
    out = operation.apply(*_with(input, weight, bias))
    mean, var = operation.statistics
    _update(running_mean, mean, momentum)
    _update(running_var, var * var.dtype.type(count / (count - 1)), momentum)
    return out


def _evaluated(
    input: Tensor, mean: Tensor | None, var: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    if mean is None or var is None:
        raise ArgumentError("batch_norm without running statistics", fix="pass training=True, or running_mean and running_var")
    if type(input) is Unfinished and (joined := _joined(input, mean, var, weight, bias, eps)) is not None:
        return joined
    operation = BatchNormEval(mean.array, var.array, weight is not None, bias is not None, eps)
    return operation.apply(*_with(input, weight, bias))


def _joined(input: Unfinished, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
    """The norm as a part of the product that it follows; None where it does not fit."""
    if input.channels != 1:
        return None
    arrays = [None if t is None else t.array for t in (weight, bias, mean, var)]
    wide = np.float32 if input.dtype.itemsize == 2 else input.dtype
    if any(a is not None and a.dtype not in (input.dtype, wide) for a in arrays):
        return None
    return input.with_scale(*kernels.of(mean.array).batch_norm_scale(*arrays, eps))


# ---- features


class _TrailingNorm(_Norm):
    """Over the last ``axes`` dimensions."""

    def __init__(self, axes: int, weight: bool, bias: bool, eps: float) -> None:
        super().__init__(weight, bias, eps)
        self.axes = axes

    def rows(self, x: Any) -> Any:
        """With the normalised dimensions as one, the last."""
        return x if self.axes == 1 else x.reshape(*x.shape[: x.ndim - self.axes], -1)

    def flat(self, parameter: Any) -> Any:
        return parameter if parameter is None or self.axes == 1 else parameter.reshape(-1)

    def shaped(self, rows: Any, x: Any) -> Any:
        return rows if self.axes == 1 else rows.reshape(x.shape)


class LayerNorm(_TrailingNorm):
    """With a mean."""

    def forward(self, x: Any, *given: Any) -> Any:
        weight, bias = self.parameters(given)
        y, mean, inverse = kernels.of(x).layer_norm(self.rows(x), self.flat(weight), self.flat(bias), self.eps)
        self.remember(given, mean, inverse)
        return self.shaped(y, x)

    def compose(self, x: Tensor, *given: Tensor) -> Tensor:
        return _affine(_standard(x, tuple(range(x.ndim - self.axes, x.ndim)), self.eps), *self.parameters(given))

    def fused_backward(self, grad: Any, x: Any, *given: Any) -> Any:
        weight, _ = self.parameters(given)
        gx, gw, gb = kernels.of(x).layer_norm_backward(
            self.rows(grad), self.rows(x), self.flat(weight), *self.saved, self.trains()
        )
        return self.wanted(self.shaped(gx, x), gw, gb)


def check_trailing(what: str, input: Tensor, normalized_shape: Any, **tensors: Tensor | None) -> int:
    """How many dimensions ``normalized_shape`` has, checked against the input and the parameters."""
    if not isinstance(input, Tensor):
        require_tensors(what, input=input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"{what}: input of shape {input.shape}, normalized_shape {shape}",
            why="the input's last dimensions must be normalized_shape",
            fix="check the width of the layer before",
        )
    for name, t in tensors.items():
        if t is not None and t.shape != shape:
            raise ShapeError(f"{what}: {name} has shape {t.shape}, normalized_shape is {shape}", fix="make them equal")
    return len(shape)


@in_full_precision
def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each row over the last dimensions normalised, times weight plus bias, both of ``normalized_shape``.

    Raises:
        ShapeError: the input does not end in ``normalized_shape``, or a parameter has another shape.

    Source: Ba et al., arXiv:1607.06450.
    """
    axes = check_trailing("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    if not input.array.size:
        return _nothing(input, weight, bias, False)
    return LayerNorm(axes, weight is not None, bias is not None, eps).apply(*_with(input, weight, bias))


class RMSNorm(_TrailingNorm):
    """Without a mean."""

    def forward(self, x: Any, *given: Any) -> Any:
        weight, _ = self.parameters(given)
        y, inverse = kernels.of(x).rms_norm(self.rows(x), self.flat(weight), self.eps)
        self.remember(given, inverse)
        return self.shaped(y, x)

    def compose(self, x: Tensor, *given: Tensor) -> Tensor:
        axes = tuple(range(x.ndim - self.axes, x.ndim))
        return _affine(x * rsqrt((x * x).mean(axes, keepdim=True) + self.eps), *self.parameters(given))

    def fused_backward(self, grad: Any, x: Any, *given: Any) -> Any:
        weight, _ = self.parameters(given)
        gx, gw = kernels.of(x).rms_norm_backward(self.rows(grad), self.rows(x), self.flat(weight), *self.saved, self.trains())
        return self.wanted(self.shaped(gx, x), gw)


@in_full_precision
def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Each row over the last dimensions divided by its root mean square, times weight of ``normalized_shape``.

    ``eps`` is added to the mean square; None takes the smallest step of the dtype that is computed in (float32 for half
    precision, else the input's).

    Source: Zhang and Sennrich, arXiv:1910.07467.
    """
    axes = check_trailing("rms_norm", input, normalized_shape, weight=weight)
    step = step_of(input.dtype) if eps is None else eps
    if not input.array.size:
        return _nothing(input, weight, None, False)
    return RMSNorm(axes, weight is not None, False, step).apply(*_with(input, weight, None))


def step_of(dtype: Any) -> float:
    """The smallest step of the dtype that ``dtype`` is computed in, at 1."""
    return float(np.finfo(np.float32 if dtype.itemsize < 4 else dtype).eps)


# ---- groups of channels


class GroupNorm(_Norm):
    def __init__(self, groups: int, weight: bool, bias: bool, eps: float) -> None:
        super().__init__(weight, bias, eps)
        self.groups = groups

    def forward(self, x: Any, *given: Any) -> Any:
        y, mean, inverse = kernels.of(x).group_norm(x, self.groups, *self.parameters(given), self.eps)
        self.statistics = mean, inverse
        self.remember(given, mean, inverse)
        return y

    def compose(self, x: Tensor, *given: Tensor) -> Tensor:
        rows = reshape(x, (x.shape[0] * self.groups, -1))
        weight, bias = (_per_channel(p, x.ndim) for p in self.parameters(given))
        return _affine(reshape(_standard(rows, (1,), self.eps), x.shape), weight, bias)

    def fused_backward(self, grad: Any, x: Any, *given: Any) -> Any:
        weight, _ = self.parameters(given)
        return self.wanted(*kernels.of(x).group_norm_backward(grad, x, self.groups, weight, *self.saved))


@in_full_precision
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each sample's channels in ``num_groups`` groups, each normalised; times weight (C,) plus bias (C,).

    Raises:
        ShapeError: C is not a multiple of ``num_groups``, or a parameter does not have C elements.

    Source: Wu and He, arXiv:1803.08494.
    """
    if input.ndim < 2 or num_groups < 1 or input.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: input of shape {input.shape} in {num_groups} group(s)",
            why="the channels, dimension 1, must divide into the groups",
            fix="choose a divisor of the channel count",
        )
    _check_channels("group_norm", input, weight=weight, bias=bias)
    if not input.array.size:
        return _nothing(input, weight, bias, True)
    return GroupNorm(num_groups, weight is not None, bias is not None, eps).apply(*_with(input, weight, bias))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample of (N, C, ...) normalised over its places.

    Running statistics, where given, take up the samples' average; with ``use_input_stats=False`` they are what is
    normalised with. The rest as in ``batch_norm``.

    Source: Ulyanov et al., arXiv:1607.08022.
    """
    if input.ndim < 3:
        raise ShapeError(
            f"instance_norm: input of shape {input.shape}", why="it takes (N, C, L...)", fix="add the batch dimension"
        )
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    channels = input.shape[1]
    _check_channels("instance_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ShapeError(
            f"instance_norm: one value a channel in an input of shape {input.shape}",
            why="its variance is 0",
            fix="use larger inputs",
        )
    if not input.array.size:
        return _nothing(input, weight, bias, True)
    operation = GroupNorm(channels, weight is not None, bias is not None, eps)
    out = operation.apply(*_with(input, weight, bias))
    if running_mean is not None or running_var is not None:
        mean, inverse = (s.reshape(-1, channels) for s in operation.statistics)
        var = (1 / (inverse * inverse) - inverse.dtype.type(eps)) * inverse.dtype.type(count / (count - 1))
        _update(running_mean, mean.mean(axis=0), momentum)
        _update(running_var, var.mean(axis=0), momentum)
    return out


# ---- lengths and neighbours


@in_full_precision
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along ``dim`` divided by their p-norm, or by ``eps`` where that is larger.

    Example:
        >>> import nyala
        >>> normalize(nyala.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    x = floating(input)
    return x / clamp(norm(x, p, dim, keepdim=True), min=eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean of the squares of ``size`` neighbouring channels) ** beta, for (N, C, ...).

    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012.
    """
    if input.ndim < 3:
        raise ShapeError(f"local_response_norm: input of shape {input.shape}", why="it takes (N, C, L...)", fix="add a dimension")
    widths = [(0, 0)] * input.ndim
    widths[1] = (size // 2, (size - 1) // 2)
    squares = ZeroPad(tuple(widths)).apply(input * input)
    total = narrow(squares, 1, 0, input.shape[1])
    for i in range(1, size):
        total = total + narrow(squares, 1, i, input.shape[1])
    return input / (total * (alpha / size) + k) ** beta
