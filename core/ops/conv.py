"""Convolutions in one, two and three dimensions, and transposed ones.

Three operations are closed under differentiation: the convolution, the gradient of its input (which is also the
transposed convolution) and the gradient of its weight. Each one's backward is made of the other two.

Example:
    >>> import nyala
    >>> x, w = nyala.ones(1, 1, 3, 3), nyala.ones(1, 1, 2, 2)
    >>> conv2d(x, w)
    tensor([[[[4., 4.],
              [4., 4.]]]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import kernels
from ..autocast import in_low_precision
from ..devices import check_same
from ..errors import ArgumentError, DtypeError, ShapeError
from ..graph import state
from ..kernels.reference.after import After
from ..kernels.reference.windows import Pads, output_size, padded_size
from ..operation import Operation
from ..tensor import Tensor
from ..unfinished import postponed, waits
from .operands import require_tensors
from .reduce import sum as sum_
from .shape import reshape, squeeze
from .sizes import NAMES, batched, dimensions, each, named

Size = tuple[int, ...]
Number = int | Sequence[int]
Padding = str | int | Sequence[int | tuple[int, int]]


class Geometry(NamedTuple):
    """How a window moves: one number for each spatial dimension, and the number of groups.

    Padding may differ before and after a dimension: then a pair stands for it.
    """

    stride: Size
    padding: Pads
    dilation: Size
    groups: int


class Convolution(Operation):
    """(N, C, *S) with (O, C / groups, *K) and perhaps a bias (O,) -> (N, O, *L)."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry

    def keeping(self, needs: Any) -> tuple[int, ...]:
        self._order = tuple(i for i in (1, 0) if needs[1 - i])
        return self._order

    def forward(self, x: Any, w: Any, bias: Any = None) -> Any:
        self.shapes = x.shape, w.shape
        return kernels.of(x).conv_forward(x, w, *self.geometry, bias)

    def backward(self, g: Tensor) -> Any:
        kept = dict(zip(self._order, self.kept_tensors(), strict=True))
        gx = ConvInputGrad(self.geometry, self.shapes[0]).apply(g, kept[1]) if self.edges[0] is not None else None
        gw = ConvWeightGrad(self.geometry, self.shapes[1]).apply(g, kept[0]) if self.edges[1] is not None else None
        if len(self.edges) == 2:
            return gx, gw
        return gx, gw, sum_(g, (0, *range(2, g.ndim))) if self.edges[2] is not None else None


class ConvInputGrad(Operation):
    """The gradient of a convolution's input, or a transposed convolution: (N, O, *L), (O, C / groups, *K) -> ``shape``."""

    def __init__(self, geometry: Geometry, shape: Size) -> None:
        self.geometry, self.shape = geometry, shape

    def keeping(self, needs: Any) -> tuple[int, ...]:
        self._order = tuple(i for i in (1, 0) if needs[1 - i])
        return self._order

    def forward(self, g: Any, w: Any) -> Any:
        self.weight_shape = w.shape
        return kernels.of(g).conv_input_grad(g, w, self.shape, *self.geometry)

    def backward(self, gg: Tensor) -> Any:
        kept = dict(zip(self._order, self.kept_tensors(), strict=True))
        return (
            Convolution(self.geometry).apply(gg, kept[1]) if self.edges[0] is not None else None,
            ConvWeightGrad(self.geometry, self.weight_shape).apply(kept[0], gg) if self.edges[1] is not None else None,
        )


class ConvWeightGrad(Operation):
    """The gradient of a convolution's weight: (N, O, *L), (N, C, *S) -> ``shape``."""

    def __init__(self, geometry: Geometry, shape: Size) -> None:
        self.geometry, self.shape = geometry, shape

    def keeping(self, needs: Any) -> tuple[int, ...]:
        self._order = tuple(i for i in (1, 0) if needs[1 - i])
        return self._order

    def forward(self, g: Any, x: Any) -> Any:
        self.input_shape = x.shape
        return kernels.of(g).conv_weight_grad(g, x, self.shape, *self.geometry)

    def backward(self, gw: Tensor) -> Any:
        kept = dict(zip(self._order, self.kept_tensors(), strict=True))
        return (
            Convolution(self.geometry).apply(kept[1], gw) if self.edges[0] is not None else None,
            ConvInputGrad(self.geometry, self.input_shape).apply(kept[0], gw) if self.edges[1] is not None else None,
        )


# ---- checks


def _check_dtypes(what: str, input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if not isinstance(input, Tensor):
        require_tensors(what, input=input)
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.dtype != input.dtype:
            raise DtypeError(f"{what}: an input of {input.dtype} and a {name} of {t.dtype}", fix="convert one with .to(dtype)")
    if not input.is_floating_point():
        raise DtypeError(f"{what}: an input of {input.dtype}", why="it takes floating point", fix="convert it with .float()")


def _check_weight(what: str, weight: Tensor, bias: Tensor | None, n: int, groups: int, transposed: bool = False) -> int:
    """The number of output channels.

    Raises:
        ShapeError: the weight has another number of dimensions, does not divide into groups, or does not fit the bias.
    """
    channels = "C, O / groups" if transposed else "O, C / groups"
    if weight.ndim != n + 2:
        raise ShapeError(
            f"{what}: a weight of shape {weight.shape}",
            why=f"it takes a weight ({channels}, {', '.join(f'K{i}' for i in NAMES[n])}) with {n + 2} dimensions",
            fix="reshape the weight, or use the convolution of its number of dimensions",
        )
    if weight.shape[0] % groups:
        raise ShapeError(
            f"{what}: a weight ({channels}, ...) = {weight.shape} with groups={groups}",
            why=f"its {weight.shape[0]} channels do not divide into {groups} groups",
            fix="change groups",
        )
    out_channels = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (out_channels,):
        raise ShapeError(
            f"{what}: a bias of shape {bias.shape}, the weight {weight.shape} gives {out_channels} channels",
            fix=f"pass a bias of shape ({out_channels},)",
        )
    return out_channels


def _same_padding(kernel: Size, stride: Size, dilation: Size, what: str) -> list[tuple[int, int]]:
    """Zeros before and after each dimension that keep the size; the odd one comes last."""
    if any(s != 1 for s in stride):
        raise ArgumentError(
            f"{what}: padding='same' with stride {stride}", why="a strided convolution changes the size", fix="pass numbers"
        )
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def _padding(padding: Any, kernel: Size, stride: Size, dilation: Size, what: str) -> Pads:
    """For each dimension the zeros at both ends, or the pair (before, after) where they differ."""
    n = len(kernel)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ArgumentError(f"{what}: padding={padding!r}", fix="use numbers, 'same' or 'valid'")
        sides = _same_padding(kernel, stride, dilation, what) if padding == "same" else [(0, 0)] * n
    elif isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding):
        if len(padding) != n:
            raise ArgumentError(f"{what}: padding={padding!r}", fix=f"pass {n} numbers or pairs, one for each dimension")
        sides = [(before, after) for before, after in (each(p, 2, f"{what}: padding") for p in padding)]
    else:
        return each(padding, n, f"{what}: padding")
    return tuple(before if before == after else (before, after) for before, after in sides)


def _conv(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int, n: int
) -> Tensor:
    what = f"conv{n}d"
    x, had_batch = batched(input, n, what)
    steps, spread = each(stride, n, f"{what}: stride", 1), each(dilation, n, f"{what}: dilation", 1)
    (groups,) = each(groups, 1, f"{what}: groups", 1)
    _check_dtypes(what, x, weight, bias)
    _check_weight(what, weight, bias, n, groups)
    expected = weight.shape[1] * groups
    if x.shape[1] != expected:
        raise ShapeError(
            f"{what}: an input {named(x.shape, n)}, a weight (O, C / groups, ...) = {weight.shape} with groups={groups}",
            why=f"the weight expects C={expected}",
            fix=f"check the channels of the layer before, or the order of the input's dimensions: {dimensions(n)}",
        )
    kernel = weight.shape[2:]
    pads = _padding(padding, kernel, steps, spread, what)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, spread, strict=True))
    if any(s < r for s, r in zip(padded_size(x.shape[2:], pads), reach, strict=True)):
        raise ShapeError(
            f"{what}: an input {named(x.shape, n)} with padding {pads}, a kernel {kernel} with dilation {spread}",
            why=f"the kernel covers {reach}, more than the padded input",
            fix="use a larger input or more padding",
        )
    geometry = Geometry(steps, pads, spread, groups)
    if not state.grad:
        out = _unrecorded(x, weight, bias, geometry)
    else:
        out = Convolution(geometry).apply(*((x, weight) if bias is None else (x, weight, bias)))
    return out if had_batch else squeeze(out, 0)


def _unrecorded(input: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """With the weight as the kernel packed it before; inside a module's forward, waiting for what follows."""
    check_same(f"conv{input.ndim - 2}d", input=input, weight=weight, bias=bias)
    x, w, b, packs = input.array, weight.array, None if bias is None else bias.array, weight.packs()

    def compute(after: After | None) -> Any:
        return kernels.of(x).conv_forward(x, w, *geometry, b, after, packs)

    if not waits(x):
        return Tensor._made(compute(None), None, 0)
    size = output_size(x.shape[2:], w.shape[2:], *geometry[:3])
    return postponed(compute, (x.shape[0], w.shape[0], *size), x, 1)


@in_low_precision
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along one dimension: (N, C, L) or (C, L), weight (O, C / groups, K), bias (O,) -> (N, O, L').

    Args:
        padding: zeros at both ends, ((before, after),), or "same" (for stride 1: keep the length) or "valid" (none).

    Raises:
        ShapeError: the channels do not fit the weight, or the kernel is longer than the padded input.

    Example:
        >>> import nyala
        >>> conv1d(nyala.tensor([[1.0, 2.0, 4.0]]), nyala.tensor([[[-1.0, 1.0]]]))
        tensor([[1., 2.]])
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 1)


@in_low_precision
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of images: (N, C, H, W) or (C, H, W), weight (O, C / groups, KH, KW), bias (O,) -> (N, O, H', W').

    Args:
        padding: zeros at both ends of each dimension, or "same" (for stride 1: keep the size) or "valid" (none). Beyond torch,
            a pair (before, after) may stand for a dimension: ``padding=((0, 1), (0, 1))``.

    Raises:
        ShapeError: the channels do not fit the weight, or the kernel is larger than the padded input.

    Example:
        >>> import nyala
        >>> conv2d(nyala.ones(2, 4, 8, 8), nyala.ones(6, 2, 3, 3), stride=2, padding=1, groups=2).shape
        (2, 6, 4, 4)
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 2)


@in_low_precision
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Padding = 0,
    dilation: Number = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of volumes: (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, KD, KH, KW), bias (O,).

    Raises:
        ShapeError: the channels do not fit the weight, or the kernel is larger than the padded input.

    Example:
        >>> import nyala
        >>> conv3d(nyala.ones(1, 1, 4, 4, 4), nyala.ones(2, 1, 3, 3, 3), padding="same").shape
        (1, 2, 4, 4, 4)
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 3)


def _conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    n: int,
) -> Tensor:
    what = f"conv_transpose{n}d"
    x, had_batch = batched(input, n, what)
    steps, spread = each(stride, n, f"{what}: stride", 1), each(dilation, n, f"{what}: dilation", 1)
    pads, extra = each(padding, n, f"{what}: padding"), each(output_padding, n, f"{what}: output_padding")
    (groups,) = each(groups, 1, f"{what}: groups", 1)
    _check_dtypes(what, x, weight, bias)
    out_channels = _check_weight(what, weight, bias, n, groups, transposed=True)
    if x.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"{what}: an input {named(x.shape, n)} with C={x.shape[1]}, a weight (C, O / groups, ...) = {weight.shape}",
            why=f"the weight expects C={weight.shape[0]}",
            fix="check the channels of the layer before; a transposed convolution's weight has the input's channels first",
        )
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, spread, strict=True)):
        raise ArgumentError(
            f"{what}: output_padding {extra} with stride {steps} and dilation {spread}",
            why="it must be smaller than the stride or the dilation",
            fix="make it smaller",
        )
    out = tuple(
        (s - 1) * t - 2 * p + d * (k - 1) + e + 1
        for s, t, p, d, k, e in zip(x.shape[2:], steps, pads, spread, weight.shape[2:], extra, strict=True)
    )
    if min(out) < 1:
        raise ShapeError(
            f"{what}: an input {named(x.shape, n)} would give the size {out}", fix="use less padding or a larger input"
        )
    y = ConvInputGrad(Geometry(steps, pads, spread, groups), (x.shape[0], out_channels, *out)).apply(x, weight)
    if bias is not None:
        y = y + reshape(bias, (out_channels, *[1] * n))
    return y if had_batch else squeeze(y, 0)


@in_low_precision
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Number = 0,
    output_padding: Number = 0,
    groups: int = 1,
    dilation: Number = 1,
) -> Tensor:
    """The adjoint of ``conv1d``: (N, C, L) or (C, L), weight (C, O / groups, K), bias (O,) -> (N, O, L').

    L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Raises:
        ShapeError: the channels do not fit the weight.

    Example:
        >>> import nyala
        >>> conv_transpose1d(nyala.tensor([[1.0, 2.0]]), nyala.tensor([[[1.0, 1.0]]]), stride=2)
        tensor([[1., 1., 2., 2.]])
    """
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 1)


@in_low_precision
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Number = 0,
    output_padding: Number = 0,
    groups: int = 1,
    dilation: Number = 1,
) -> Tensor:
    """The adjoint of ``conv2d``: (N, C, H, W) or (C, H, W), weight (C, O / groups, KH, KW), bias (O,) -> (N, O, H', W').

    Raises:
        ShapeError: the channels do not fit the weight.

    Example:
        >>> import nyala
        >>> conv_transpose2d(nyala.ones(1, 3, 4, 4), nyala.ones(3, 2, 2, 2), stride=2).shape
        (1, 2, 8, 8)
    """
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 2)


@in_low_precision
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Number = 1,
    padding: Number = 0,
    output_padding: Number = 0,
    groups: int = 1,
    dilation: Number = 1,
) -> Tensor:
    """The adjoint of ``conv3d``: (N, C, D, H, W) or (C, D, H, W), weight (C, O / groups, KD, KH, KW), bias (O,).

    Raises:
        ShapeError: the channels do not fit the weight.

    Example:
        >>> import nyala
        >>> conv_transpose3d(nyala.ones(1, 1, 2, 2, 2), nyala.ones(1, 1, 2, 2, 2), stride=2, output_padding=1).shape
        (1, 1, 5, 5, 5)
    """
    return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 3)
