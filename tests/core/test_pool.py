"""Pooling against loops written out, finite differences, and the CPU kernels against the reference."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core import kernels
from nyala.core.kernels.reference import pool as reference
from nyala.core.ops import pool
from nyala.errors import ArgumentError, DtypeError, ShapeError
from nyala.testing import Bad, OpCase, Sampler, check_op


def each(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def count(size: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    places = (size + 2 * p - d * (k - 1) - 1) / s + 1
    n = math.ceil(places) if ceil else math.floor(places)
    return n - 1 if ceil and (n - 1) * s >= size + p else n


def windows(shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Any:
    """For each output place, the positions its window covers along each dimension, padding included."""
    n = len(shape)
    kernel = each(kernel, n)
    stride, padding, dilation = each(kernel if stride is None else stride, n), each(padding, n), each(dilation, n)
    out = [count(*numbers, ceil) for numbers in zip(shape, kernel, stride, padding, dilation, strict=True)]
    for place in itertools.product(*map(range, out)):
        yield (
            place,
            [
                [o * s - p + i * d for i in range(k)]
                for o, k, s, p, d in zip(place, kernel, stride, padding, dilation, strict=True)
            ],
        )


def collect(x: Any, spans: Any, take: Any) -> tuple[Any, Any]:
    """``take(values, flat positions, spans)`` for every plane and window."""
    spans = list(spans)
    out = tuple(np.max([place for place, _ in spans], 0) + 1)
    values, indices = np.zeros((*x.shape[:2], *out)), np.zeros((*x.shape[:2], *out), np.int64)
    for plane in itertools.product(*map(range, x.shape[:2])):
        for place, span in spans:
            inside = [[i for i in axis if 0 <= i < s] for axis, s in zip(span, x.shape[2:], strict=True)]
            at = list(itertools.product(*inside))
            flat = [int(np.ravel_multi_index(a, x.shape[2:])) for a in at]
            values[(*plane, *place)], indices[(*plane, *place)] = take([x[(*plane, *a)] for a in at], flat, span)
    return values, indices


def first_largest(values: Any, flat: Any, _: Any) -> tuple[float, int]:
    best = max(range(len(values)), key=lambda i: (values[i], -i))
    return values[best], flat[best]


def naive_max(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    found = collect(x, windows(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode), first_largest)
    return found if return_indices else found[0]


def naive_avg(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:  # fmt: skip
    pads = each(padding, x.ndim - 2)

    def mean(values: Any, _: Any, span: Any) -> tuple[float, int]:
        within = [sum(i < s + p for i in axis) for axis, s, p in zip(span, x.shape[2:], pads, strict=True)]
        return sum(values) / (divisor_override or (math.prod(within) if count_include_pad else len(values))), 0

    return collect(x, windows(x.shape[2:], kernel_size, stride, padding, 1, ceil_mode), mean)[0]


def adaptive_windows(shape: Any, output_size: Any) -> Any:
    out = [s if o is None else o for o, s in zip(each(output_size, len(shape)), shape, strict=True)]
    for place in itertools.product(*map(range, out)):
        yield (
            place,
            [list(range(math.floor(p * s / o), math.ceil((p + 1) * s / o))) for p, o, s in zip(place, out, shape, strict=True)],
        )


def naive_adaptive_avg(x: Any, output_size: Any) -> Any:
    return collect(x, adaptive_windows(x.shape[2:], output_size), lambda v, *_: (sum(v) / len(v), 0))[0]


def naive_adaptive_max(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    found = collect(x, adaptive_windows(x.shape[2:], output_size), first_largest)
    return found if return_indices else found[0]


def naive_lp(x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    def norm(values: Any, *_: Any) -> tuple[float, int]:
        return sum(v**norm_type for v in values) ** (1 / norm_type), 0

    return collect(x, windows(x.shape[2:], kernel_size, stride, 0, 1, ceil_mode), norm)[0]


def most(name: str, op: Any, *shape: int, **kwargs: Any) -> OpCase:
    naive = naive_adaptive_max if "adaptive" in op.__name__ else naive_max
    return OpCase(name, op, lambda s: (s.distinct(*shape),), naive, kwargs, also=(lambda s: (s.distinct(*shape) * 0 + 1,),))


def mean(name: str, op: Any, *shape: int, **kwargs: Any) -> OpCase:
    naive = naive_adaptive_avg if "adaptive" in op.__name__ else naive_avg
    return OpCase(name, op, lambda s: (s.normal(*shape),), naive, kwargs, rtol=4)


ROWS = [
    most("max_pool1d", pool.max_pool1d, 2, 2, 8, kernel_size=3, stride=2, padding=1),
    most("max_pool1d dilated ceil", pool.max_pool1d, 1, 2, 9, kernel_size=3, stride=3, dilation=2, ceil_mode=True),
    most("max_pool2d", pool.max_pool2d, 2, 2, 5, 6, kernel_size=3, stride=2, padding=1),
    most("max_pool2d default stride", pool.max_pool2d, 1, 2, 5, 4, kernel_size=2),
    most("max_pool2d ceil", pool.max_pool2d, 1, 2, 6, 7, kernel_size=(3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True),
    most("max_pool2d dilated", pool.max_pool2d, 1, 2, 7, 6, kernel_size=2, stride=2, padding=1, dilation=(2, 3)),
    most("max_pool3d", pool.max_pool3d, 1, 2, 4, 3, 4, kernel_size=(2, 3, 2), stride=2, padding=(0, 1, 1), ceil_mode=True),
    most("adaptive_max_pool1d", pool.adaptive_max_pool1d, 2, 2, 7, output_size=3),
    most("adaptive_max_pool2d", pool.adaptive_max_pool2d, 1, 2, 5, 7, output_size=(3, 4)),
    most("adaptive_max_pool2d larger", pool.adaptive_max_pool2d, 1, 1, 2, 3, output_size=(3, None)),
    most("adaptive_max_pool3d", pool.adaptive_max_pool3d, 1, 1, 3, 4, 5, output_size=2),
    mean("avg_pool1d", pool.avg_pool1d, 2, 2, 8, kernel_size=3, stride=2, padding=1),
    mean("avg_pool1d ceil", pool.avg_pool1d, 1, 2, 9, kernel_size=4, stride=3, padding=2, ceil_mode=True),
    mean("avg_pool2d", pool.avg_pool2d, 2, 2, 6, 5, kernel_size=(2, 3)),
    mean("avg_pool2d without padding", pool.avg_pool2d, 1, 2, 5, 6, kernel_size=3, stride=2, padding=1, count_include_pad=False),
    mean("avg_pool2d ceil", pool.avg_pool2d, 1, 1, 6, 7, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    mean("avg_pool2d divisor", pool.avg_pool2d, 1, 2, 5, 4, kernel_size=2, stride=1, padding=1, divisor_override=3),
    mean("avg_pool3d", pool.avg_pool3d, 1, 2, 4, 3, 4, kernel_size=(2, 3, 2), stride=2, padding=(1, 1, 0), ceil_mode=True),
    mean("adaptive_avg_pool1d", pool.adaptive_avg_pool1d, 2, 2, 7, output_size=3),
    mean("adaptive_avg_pool2d", pool.adaptive_avg_pool2d, 1, 2, 5, 7, output_size=(3, 4)),
    mean("adaptive_avg_pool2d one", pool.adaptive_avg_pool2d, 2, 3, 4, 3, output_size=1),
    mean("adaptive_avg_pool2d larger", pool.adaptive_avg_pool2d, 1, 1, 2, 3, output_size=(3, None)),
    mean("adaptive_avg_pool3d", pool.adaptive_avg_pool3d, 1, 1, 3, 4, 5, output_size=(2, 1, 3)),
    OpCase(
        "lp_pool1d", pool.lp_pool1d, lambda s: (s.positive(1, 2, 7),), naive_lp, {"norm_type": 3, "kernel_size": 3, "stride": 2}
    ),
    OpCase("lp_pool2d", pool.lp_pool2d, lambda s: (s.positive(1, 2, 4, 6),), naive_lp, {"norm_type": 2.0, "kernel_size": 2}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_pool(row: OpCase) -> None:
    check_op(row)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", [r for r in ROWS if "max" in r.name], ids=lambda row: row.name)
def test_indices_name_the_first_largest_element(row: OpCase, dtype: str) -> None:
    x = np.round(np.random.default_rng(0).standard_normal(row.inputs(Sampler(row.name))[0].shape))
    out, indices = row.op(nyala.tensor(x, dtype=dtype), **row.kwargs, return_indices=True)
    values, expected = row.reference(x, **row.kwargs, return_indices=True)
    np.testing.assert_array_equal(out.numpy(), values)
    np.testing.assert_array_equal(indices.numpy(), expected)
    assert indices.dtype == nyala.int64


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_nan_is_the_largest(dtype: str) -> None:
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    x[0, 0, 1, 2] = x[0, 0, 3, 3] = np.nan
    out, indices = pool.max_pool2d(nyala.tensor(x, dtype=dtype), 3, 2, 1, return_indices=True)
    expected = [[7, np.nan, 11], [19, np.nan, np.nan], [31, np.nan, np.nan]]
    np.testing.assert_array_equal(out.numpy()[0, 0].astype(np.float64), expected)
    assert indices[0, 0, 0, 1].item() == 8 and indices[0, 0, 1, 1].item() == 21


def test_windows_of_negative_infinity_point_inside() -> None:
    for dtype in (nyala.float32, nyala.float64):
        out, indices = pool.max_pool2d(nyala.full((1, 1, 3, 3), -np.inf, dtype=dtype), 3, 2, 1, return_indices=True)
        assert np.isneginf(out.numpy()).all()
        np.testing.assert_array_equal(indices.numpy()[0, 0], [[0, 1], [3, 4]])


def test_integers_have_maxima() -> None:
    out = pool.max_pool1d(nyala.tensor([[[3, -5, -7, -6]]]), 2)
    assert out.tolist() == [[[3, -6]]] and out.dtype == nyala.int64


def test_inputs_without_a_batch() -> None:
    x = nyala.tensor(np.random.default_rng(1).standard_normal((2, 6, 7)))
    for op, size in ((pool.max_pool2d, 2), (pool.avg_pool2d, 2), (pool.adaptive_avg_pool2d, 3), (pool.adaptive_max_pool2d, 3)):
        np.testing.assert_array_equal(op(x, size).numpy(), op(x[None], size)[0].numpy())
    assert pool.max_pool2d(x, 2, return_indices=True)[1].shape == (2, 3, 3)


def test_an_empty_batch_gives_an_empty_result() -> None:
    x = nyala.zeros(0, 3, 6, 6).requires_grad_()
    for op in (pool.max_pool2d, pool.avg_pool2d, pool.adaptive_avg_pool2d, pool.adaptive_max_pool2d):
        y = op(x, 2)
        y.sum().backward()
        assert y.shape[:2] == (0, 3) and x.grad is not None and x.grad.shape == x.shape


TABLES = {
    "3x3 stride 2": lambda: tuple(pool._max_table(n, 3, 2, 1, 1, (n - 1) // 2 + 1) for n in (13, 10)),
    "adaptive": lambda: (pool._adaptive_table(13, 5), pool._adaptive_table(10, 4)),
}


@pytest.mark.parametrize("name", TABLES)
def test_cpu_kernels_equal_the_reference(name: str) -> None:
    x = np.round(4 * np.random.default_rng(2).standard_normal((3, 20, 13, 10))).astype("f")  # with many equal elements
    x[0, :3, 5, 5] = np.nan
    got, expected = kernels.CPU.max_pool(x, TABLES[name]()), reference.max_pool(x, TABLES[name]())
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype.kind == b.dtype.kind
    g = np.random.default_rng(3).standard_normal(got[0].shape).astype("f")
    back = kernels.CPU.scatter_planes(g, got[1], (13, 10))
    np.testing.assert_allclose(back, reference.scatter_planes(g.astype("d"), expected[1], (13, 10)), rtol=1e-5, atol=1e-6)


def zeros(*shape: int) -> nyala.Tensor:
    return nyala.zeros(*shape)


x = zeros(2, 3, 8, 8)
ERRORS = [
    Bad(lambda: pool.max_pool2d(x, 9), ShapeError, r"a window \(9, 9\).*an input \(N=2, C=3, H=8, W=8\).*does not fit once"),
    Bad(lambda: pool.max_pool2d(x, 2, padding=2), ArgumentError, "pad at most half the window"),
    Bad(lambda: pool.avg_pool2d(x, (2, 2, 2)), ArgumentError, "has 3 numbers"),
    Bad(lambda: pool.avg_pool2d(x, 2, 0), ArgumentError, "stride=0"),
    Bad(lambda: pool.avg_pool2d(x, 2, divisor_override=0), ArgumentError, "divisor_override=0"),
    Bad(lambda: pool.avg_pool2d(x.long(), 2), DtypeError, "averages need floating point"),
    Bad(lambda: pool.max_pool2d(zeros(8, 8), 2), ShapeError, r"takes \(N, C, H, W\) or \(C, H, W\)"),
    Bad(lambda: pool.max_pool2d(zeros(1, 1, 1, 1), 2, 1, 1, 2), ShapeError, "steps over the whole input"),
    Bad(lambda: pool.adaptive_avg_pool2d(x, (1, 2, 3)), ArgumentError, "None keeps a length"),
    Bad(lambda: pool.adaptive_max_pool2d(zeros(1, 3, 0, 2), 1), ShapeError, "nothing to pool"),
]


@pytest.mark.parametrize("bad", ERRORS, ids=range(len(ERRORS)))
def test_a_wrong_call_says_what_is_wrong(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.text):
        bad.call()
