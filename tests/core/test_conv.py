"""Convolutions against loops written out, finite differences, and the CPU kernels against the reference."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala.core import kernels
from nyala.core.kernels.reference import conv as reference
from nyala.core.ops.conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from nyala.errors import ArgumentError, DtypeError, ShapeError
from nyala.testing import Bad, OpCase, Sampler, check_op


def each(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def same_or_numbers(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [each(p, 2) for p in each(padding, len(kernel))]


def naive_conv(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """One output element after the other, as the definition has it."""
    n = w.ndim - 2
    if x.ndim == n + 1:
        return naive_conv(x[None], w, bias, stride, padding, dilation, groups)[0]
    kernel, stride, dilation = w.shape[2:], each(stride, n), each(dilation, n)
    x = np.pad(x, [(0, 0), (0, 0), *same_or_numbers(padding, kernel, dilation)])
    out = [(s - d * (k - 1) - 1) // t + 1 for s, k, t, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    inner, outer = w.shape[1], w.shape[0] // groups
    y = np.zeros((x.shape[0], w.shape[0], *out))
    for b, o in itertools.product(range(x.shape[0]), range(w.shape[0])):
        first = o // outer * inner
        for place in itertools.product(*map(range, out)):
            window = [
                slice(p * t, p * t + d * (k - 1) + 1, d) for p, t, d, k in zip(place, stride, dilation, kernel, strict=True)
            ]
            y[(b, o, *place)] = (x[(b, slice(first, first + inner), *window)] * w[o]).sum()
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


def naive_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Each input element spreads the kernel over the output."""
    n = w.ndim - 2
    if x.ndim == n + 1:
        return naive_transpose(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
    kernel, stride, dilation, padding, extra = w.shape[2:], *(each(v, n) for v in (stride, dilation, padding, output_padding))
    wide = [(s - 1) * t + d * (k - 1) + 1 + e for s, t, d, k, e in zip(x.shape[2:], stride, dilation, kernel, extra, strict=True)]
    inner, outer = w.shape[0] // groups, w.shape[1]
    y = np.zeros((x.shape[0], outer * groups, *wide))
    for b, c in itertools.product(range(x.shape[0]), range(x.shape[1])):
        target = slice(c // inner * outer, (c // inner + 1) * outer)
        for place in itertools.product(*map(range, x.shape[2:])):
            window = [
                slice(p * t, p * t + d * (k - 1) + 1, d) for p, t, d, k in zip(place, stride, dilation, kernel, strict=True)
            ]
            y[(b, target, *window)] += x[(b, c, *place)] * w[c]
    y = y[(..., *[slice(p, s - p) for p, s in zip(padding, wide, strict=True)])]
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


def case(name: str, op: Any, *shapes: tuple[int, ...], **kwargs: Any) -> OpCase:
    naive = naive_transpose if "transpose" in op.__name__ else naive_conv
    return OpCase(name, op, lambda s: [s.normal(*shape) for shape in shapes], naive, kwargs, rtol=4)


ROWS = [
    case("conv1d", conv1d, (2, 3, 7), (4, 3, 3), (4,)),
    case("conv1d strided groups", conv1d, (2, 4, 9), (6, 2, 3), stride=2, padding=3, dilation=2, groups=2),
    case("conv1d same", conv1d, (1, 2, 5), (3, 2, 4), padding="same"),
    case("conv1d unbatched", conv1d, (3, 6), (2, 3, 3), (2,), padding=(1,)),
    case("conv2d", conv2d, (2, 3, 5, 4), (4, 3, 3, 2), (4,), padding=(1, 0)),
    case("conv2d pointwise", conv2d, (2, 3, 4, 3), (5, 3, 1, 1), (5,)),
    case("conv2d pointwise strided", conv2d, (2, 3, 5, 4), (4, 3, 1, 1), stride=2),
    case("conv2d strided dilated", conv2d, (1, 2, 7, 8), (3, 2, 2, 3), (3,), stride=(2, 3), padding=(1, 2), dilation=(3, 2)),
    case("conv2d groups", conv2d, (2, 4, 4, 5), (6, 2, 3, 3), (6,), stride=2, padding=1, groups=2),
    case("conv2d depthwise", conv2d, (2, 3, 5, 4), (3, 1, 3, 3), (3,), padding=1, groups=3),
    case("conv2d depthwise strided", conv2d, (1, 3, 7, 6), (3, 1, 5, 5), stride=2, padding=2, groups=3),
    case("conv2d depthwise multiplier", conv2d, (1, 2, 4, 4), (4, 1, 3, 3), padding=1, groups=2),
    case("conv2d same dilated", conv2d, (1, 2, 5, 6), (2, 2, 2, 3), (2,), padding="same", dilation=(1, 2)),
    case("conv2d uneven padding", conv2d, (1, 2, 6, 5), (3, 2, 3, 2), (3,), padding=((0, 1), (2, 1)), stride=2),
    case("conv2d uneven padding depthwise", conv2d, (2, 3, 6, 7), (3, 1, 3, 3), padding=((0, 1), (1, 2)), stride=2, groups=3),
    case("conv2d uneven padding beside even", conv2d, (1, 4, 5, 6), (2, 2, 3, 3), padding=(1, (2, 0)), groups=2),
    case("conv1d uneven padding", conv1d, (1, 2, 6), (3, 2, 4), (3,), padding=((3, 0),)),
    case("conv3d uneven padding", conv3d, (1, 1, 3, 4, 3), (2, 1, 2, 3, 2), padding=((0, 1), 1, (1, 0))),
    case("conv2d more padding than kernel", conv2d, (1, 2, 3, 3), (2, 2, 2, 2), padding=3),
    case("conv3d", conv3d, (1, 2, 3, 4, 3), (2, 2, 2, 3, 2), (2,), padding=1, stride=(1, 2, 1)),
    case("conv_transpose1d", conv_transpose1d, (2, 4, 4), (4, 2, 3), (4,), stride=3, padding=1, output_padding=2, groups=2),
    case("conv_transpose2d", conv_transpose2d, (2, 3, 3, 4), (3, 2, 3, 2), (2,), stride=(2, 1), padding=1, dilation=(1, 2)),
    case("conv_transpose2d depthwise", conv_transpose2d, (1, 3, 3, 3), (3, 1, 4, 4), stride=2, padding=1, groups=3),
    case("conv_transpose2d unbatched", conv_transpose2d, (3, 3, 2), (3, 2, 2, 2), (2,), stride=2),
    case("conv_transpose3d", conv_transpose3d, (1, 2, 2, 3, 2), (2, 1, 2, 2, 2), (1,), stride=(1, 2, 2), output_padding=(0, 1, 1)),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_convolution(row: OpCase) -> None:
    check_op(row)


def zeros(*shape: int, dtype: Any = nyala.float32) -> nyala.Tensor:
    return nyala.zeros(*shape, dtype=dtype)


x, w = zeros(2, 3, 8, 8), zeros(4, 3, 3, 3)
ERRORS = [
    Bad(lambda: conv2d(zeros(2, 4, 8, 8), w), ShapeError, r"conv2d: an input \(N=2, C=4, H=8, W=8\).*expects C=3.*Remedy"),
    Bad(lambda: conv2d(x, zeros(4, 1, 3, 3), groups=2), ShapeError, r"groups=2.*expects C=2"),
    Bad(lambda: conv2d(x, zeros(4, 3, 3)), ShapeError, r"weight of shape \(4, 3, 3\).*\(O, C / groups, KH, KW\)"),
    Bad(lambda: conv2d(x, zeros(5, 3, 3, 3), groups=2), ShapeError, "5 channels do not divide into 2 groups"),
    Bad(lambda: conv2d(x, w, zeros(3)), ShapeError, r"bias of shape \(3,\).*gives 4 channels"),
    Bad(lambda: conv2d(x, zeros(4, 3, 9, 9)), ShapeError, r"the kernel covers \(9, 9\), more than the padded input"),
    Bad(lambda: conv2d(x, zeros(4, 3, 3, 3), dilation=4), ShapeError, r"the kernel covers \(9, 9\)"),
    Bad(lambda: conv2d(zeros(3, 8), w), ShapeError, r"takes \(N, C, H, W\) or \(C, H, W\)"),
    Bad(lambda: conv2d(x, w, stride=0), ArgumentError, "conv2d: stride=0"),
    Bad(lambda: conv2d(x, w, padding=-1), ArgumentError, "conv2d: padding=-1"),
    Bad(lambda: conv2d(x, w, padding=((1, 1),)), ArgumentError, r"padding=\(\(1, 1\),\).*2 numbers or pairs"),
    Bad(lambda: conv2d(x, w, padding=((1, -1), 0)), ArgumentError, r"padding=\(1, -1\)"),
    Bad(lambda: conv2d(x, w, padding=((1, 1, 1), 0)), ArgumentError, r"padding=\(1, 1, 1\) has 3 numbers"),
    Bad(lambda: conv2d(x, zeros(4, 3, 9, 9), padding=((0, 0), (1, 0))), ShapeError, r"padding \(0, \(1, 0\)\), a kernel"),
    Bad(lambda: conv2d(x, w, padding=(1, 1, 1)), ArgumentError, r"padding=\(1, 1, 1\) has 3 numbers"),
    Bad(lambda: conv2d(x, w, stride=1.5), ArgumentError, "stride=1.5.*whole number"),
    Bad(lambda: conv2d(x, w, padding="full"), ArgumentError, "'same' or 'valid'"),
    Bad(lambda: conv2d(x, w, padding="same", stride=2), ArgumentError, "strided convolution changes the size"),
    Bad(lambda: conv2d(x, w.to(nyala.float64)), DtypeError, "an input of float32 and a weight of float64"),
    Bad(lambda: conv2d(x.long(), w.long()), DtypeError, "takes floating point"),
    Bad(lambda: conv_transpose2d(x, w), ShapeError, "expects C=4.*input's channels first"),
    Bad(
        lambda: conv_transpose2d(x, zeros(3, 2, 3, 3), output_padding=1), ArgumentError, "smaller than the stride or the dilation"
    ),
    Bad(lambda: conv_transpose2d(zeros(1, 3, 1, 1), zeros(3, 2, 3, 3), padding=2), ShapeError, r"would give the size \(-1, -1\)"),
]


@pytest.mark.parametrize("bad", ERRORS, ids=range(len(ERRORS)))
def test_a_wrong_call_says_what_is_wrong(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.text):
        bad.call()


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 4])
def test_uneven_padding_is_a_copy_with_zeros_around_without_the_copy(kernel: int, stride: int, groups: int) -> None:
    s, pads = Sampler("uneven"), ((0, 1), (1, 2))
    made = [s.normal(2, 16, 11, 12).astype("f"), s.normal(16, 16 // groups, kernel, kernel).astype("f")]
    results = []
    for padded in (False, True):
        a, b = (nyala.tensor(m, requires_grad=True) for m in made)
        image, padding = (F.pad(a, [1, 2, 0, 1]), 0) if padded else (a, pads)
        y = conv2d(image, b, None, stride, padding, groups=groups)
        gradients = nyala.autograd.grad((y * y).sum(), [a, b], create_graph=True)
        second = nyala.autograd.grad((gradients[0] ** 2).sum(), [b])
        results.append([t.numpy() for t in (y.detach(), *(g.detach() for g in gradients), *second)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients() -> None:
    for op, weight in ((conv2d, (4, 3, 3, 3)), (conv_transpose2d, (3, 4, 3, 3))):
        a, b = zeros(0, 3, 8, 8).requires_grad_(), nyala.ones(*weight).requires_grad_()
        y = op(a, b, padding=1)
        y.sum().backward()
        assert y.shape == (0, 4, 8, 8) and a.grad is not None and b.grad is not None
        assert a.grad.shape == a.shape and not b.grad.numpy().any()


# ---- the CPU kernels against the reference: N, C, H, W, O, KH, KW, stride, padding, dilation, groups

GEOMETRIES = {
    "stem": (3, 3, 33, 31, 32, 3, 3, (2, 2), (0, 0), (1, 1), 1),
    "large kernel": (2, 3, 40, 37, 16, 7, 7, (2, 2), (3, 3), (1, 1), 1),
    "3x3": (2, 20, 13, 30, 24, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "3x3 wide, tap by tap": (40, 264, 5, 6, 24, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "3x3 strided": (5, 260, 11, 12, 16, 3, 3, (2, 2), (1, 1), (1, 1), 1),
    "3x3 dilated": (2, 8, 15, 16, 12, 3, 3, (1, 1), (2, 3), (2, 3), 1),
    "more padding than kernel": (2, 4, 5, 6, 3, 2, 2, (1, 1), (3, 2), (1, 1), 1),
    "pointwise": (4, 24, 21, 20, 16, 1, 1, (1, 1), (0, 0), (1, 1), 1),
    "pointwise strided": (4, 24, 9, 8, 16, 1, 1, (2, 2), (0, 0), (1, 1), 1),
    "pointwise padded": (2, 5, 4, 3, 6, 1, 1, (1, 1), (1, 2), (1, 1), 1),
    "depthwise": (3, 48, 9, 8, 48, 3, 3, (1, 1), (1, 1), (1, 1), 48),
    "depthwise 5x5, odd channels": (2, 85, 12, 11, 85, 5, 5, (1, 1), (2, 2), (1, 1), 85),
    "depthwise strided": (2, 115, 13, 12, 115, 3, 3, (2, 2), (1, 1), (1, 1), 115),
    "depthwise strided, no padding": (2, 16, 13, 12, 16, 5, 5, (2, 2), (0, 0), (1, 1), 16),
    "depthwise dilated": (2, 20, 11, 12, 20, 3, 3, (1, 2), (2, 2), (2, 2), 20),
    "depthwise, window wider than the image": (2, 64, 2, 3, 64, 5, 5, (1, 1), (2, 2), (1, 1), 64),
    "groups": (2, 32, 8, 9, 48, 3, 3, (2, 1), (1, 1), (1, 1), 4),
    "narrow groups": (2, 8, 8, 9, 8, 3, 3, (1, 1), (1, 1), (1, 1), 4),
}
KERNELS = ("conv_forward", "conv_input_grad", "conv_weight_grad")


def arguments(name: str, geometry: Any, dtype: Any = np.float32, last: bool = True) -> list[list[Any]]:
    """For each of the three kernels its arguments; ``last`` puts the images in channels-last memory."""
    n, c, h, wd, o, kh, kw, stride, padding, dilation, groups = geometry
    s, rest = Sampler(name), (stride, padding, dilation, groups)
    images, weight, bias = s.normal(n, c, h, wd), s.normal(o, c // groups, kh, kw), s.normal(o)
    out = reference.output_size((h, wd), (kh, kw), stride, padding, dilation)
    images, grad = (
        (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else a).astype(dtype)
        for a in (images, s.normal(n, o, *out))
    )
    weight, bias = weight.astype(dtype), bias.astype(dtype)
    return [[images, weight, *rest, bias], [grad, weight, images.shape, *rest], [grad, images, weight.shape, *rest]]


def widened(given: list[Any]) -> list[Any]:
    return [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in given]


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_cpu_kernels_equal_the_reference_in_float64(name: str, last: bool) -> None:
    for kernel, given in zip(KERNELS, arguments(name, GEOMETRIES[name], last=last), strict=True):
        got, expected = getattr(kernels.CPU, kernel)(*given), getattr(reference, kernel)(*widened(given))
        assert got.shape == expected.shape and got.dtype == np.float32
        assert np.abs(got - expected).max() <= 3e-6 * np.abs(expected).max(), f"{kernel}: {np.abs(got - expected).max()}"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(dtype: str) -> None:
    half = nyala.tensor([0], dtype=dtype).array.dtype
    for kernel, given in zip(KERNELS, arguments("half", GEOMETRIES["3x3"], half), strict=True):
        got, expected = getattr(kernels.CPU, kernel)(*given), getattr(reference, kernel)(*widened(given))
        assert got.dtype == half
        one_rounding = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
        np.testing.assert_allclose(got.astype(np.float64), expected, rtol=1.1 * one_rounding, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 16])
def test_one_dimension_takes_the_same_way(groups: int) -> None:
    s = Sampler("one dimension")
    a, b = s.normal(3, 16, 1001).astype("f"), s.normal(16, 16 // groups, 5).astype("f")
    rest = ((2,), (2,), (1,), groups)
    g = s.normal(3, 16, 501).astype("f")
    for kernel, given in zip(KERNELS, ([a, b, *rest], [g, b, a.shape, *rest], [g, a, b.shape, *rest]), strict=True):
        got, expected = getattr(kernels.CPU, kernel)(*given), getattr(reference, kernel)(*widened(given))
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-4)


HASHES = """
import sys
sys.path.insert(0, {folder!r})
import test_conv
print(test_conv.digest())
"""


def digest() -> str:
    """One hash of the bits of every kernel's result for every geometry."""
    sums = hashlib.sha256()
    for name, geometry in GEOMETRIES.items():
        for kernel, given in zip(KERNELS, arguments(name, geometry), strict=True):
            sums.update(np.ascontiguousarray(getattr(kernels.CPU, kernel)(*given)).tobytes())
    return sums.hexdigest()


def test_one_and_two_threads_give_the_same_bits() -> None:
    found = []
    for threads in ("1", "2"):
        script = HASHES.format(folder=os.path.dirname(__file__))
        environment = {**os.environ, "NYALA_NUM_THREADS": threads}
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
        found.append(run.stdout.strip())
    assert found[0] == found[1] == digest()


def test_repeated_calls_give_the_same_bits() -> None:
    assert digest() == digest()
