"""grid_sample and affine_grid against loops written out, and finite differences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops.grid import affine_grid, grid_sample
from nyala.errors import ArgumentError, DtypeError, ShapeError
from nyala.testing import Bad, OpCase, Sampler, check_op


def cubic(x: float) -> float:
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def bordered(at: float, size: int, padding_mode: str, align: bool) -> float:
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
        while high > low and not low <= at <= high:
            at = 2 * low - at if at < low else 2 * high - at
    return min(max(at, 0.0), size - 1.0)


def taps(at: float, size: int, mode: str, padding_mode: str, align: bool) -> list[tuple[int, float]]:
    """Elements and weights along one dimension; elements outside are left out."""
    at = (at + 1) / 2 * (size - 1) if align else ((at + 1) * size - 1) / 2
    if mode == "bicubic":
        low = math.floor(at)
        found = [(round(bordered(j, size, padding_mode, align)), cubic(at - j)) for j in range(low - 1, low + 3)]
    else:
        at = bordered(at, size, padding_mode, align)
        low = math.floor(at)
        found = [(round(at), 1.0)] if mode == "nearest" else [(low, low + 1 - at), (low + 1, at - low)]
    return [(i, w) for i, w in found if 0 <= i < size]


def naive(x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: Any = None) -> Any:
    out = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n, *place in itertools.product(*map(range, grid.shape[:-1])):
        axes = [
            taps(at, size, mode, padding_mode, bool(align_corners))
            for at, size in zip(grid[(n, *place)][::-1], x.shape[2:], strict=True)
        ]
        for combination in itertools.product(*axes):
            out[(n, slice(None), *place)] += x[(n, slice(None), *[i for i, _ in combination])] * math.prod(
                w for _, w in combination
            )
    return out


def case(mode: str, padding_mode: str, align: bool | None, *size: int) -> OpCase:
    """Places a good way from where two pieces meet (whole and half numbers of elements), inside and far outside."""

    def inputs(s: Sampler) -> list[Any]:
        n = len(size)
        lengths = np.array(size[::-1])
        elements = np.floor(s.uniform((2, *[1] * (n - 1), 3, n), -lengths.max(), 2 * lengths.max())) + s.uniform((n,), 0.15, 0.35)
        grid = elements / (lengths - 1) * 2 - 1 if align else (2 * elements + 1) / lengths - 1
        return [s.normal(2, 1, *size), grid]

    kwargs = {"mode": mode, "padding_mode": padding_mode, "align_corners": align}
    differentiable = [0] if mode == "nearest" else True
    options: dict[str, Any] = {"second": mode != "nearest" and not align, "dtypes": ["float32"], "rtol": 100}
    return OpCase(f"{mode} {padding_mode} {align}", grid_sample, inputs, naive, kwargs, differentiable, **options)


ROWS = [
    *[
        case(mode, padding_mode, align, 3, 4)
        for mode in ("bilinear", "nearest", "bicubic")
        for padding_mode in ("zeros", "border", "reflection")
        for align in (None, True)
    ],
    *[case(mode, padding_mode, False, 2, 3, 3) for mode, padding_mode in (("bilinear", "zeros"), ("nearest", "reflection"))],
    case("bilinear", "reflection", True, 3, 2, 3),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_way_of_sampling(row: OpCase) -> None:
    check_op(row)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 1, 2, 3, 4), (2, 1, 1, 3)])
def test_affine_grids(size: tuple[int, ...], align: bool) -> None:
    n = len(size) - 2

    def reference(theta: Any, size: Any, align_corners: bool) -> Any:
        grid = np.zeros((size[0], *size[2:], n))
        for b, *place in itertools.product(range(size[0]), *map(range, size[2:])):
            ends = [(2 * i / (s - 1) - 1 if s > 1 else 0.0) for i, s in zip(place, size[2:], strict=True)]
            centres = [(2 * i + 1) / s - 1 for i, s in zip(place, size[2:], strict=True)]
            grid[(b, *place)] = theta[b] @ [*(ends if align_corners else centres)[::-1], 1.0]
        return grid

    kwargs = {"size": size, "align_corners": align}
    check_op(OpCase(f"affine_grid {n} {align}", affine_grid, lambda s: (s.normal(2, n, n + 1),), reference, kwargs))


def test_the_identity_map_gives_the_image_back() -> None:
    theta = nyala.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype="float64")
    x = nyala.tensor(Sampler("identity").normal(1, 3, 5, 4))
    for align in (False, True):
        for mode in ("bilinear", "nearest", "bicubic"):
            y = grid_sample(x, affine_grid(theta, (1, 3, 5, 4), align), mode, "border", align)
            np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-12)


def test_places_that_are_not_numbers_count_as_outside() -> None:
    y = grid_sample(nyala.ones(1, 1, 2, 2), nyala.full((1, 1, 1, 2), np.nan), "nearest")
    assert y.tolist() == [[[[0.0]]]]


x, g = nyala.zeros(1, 2, 4, 4), nyala.zeros(1, 3, 3, 2)
ERRORS = [
    Bad(lambda: grid_sample(x, g, mode="linear"), ArgumentError, "bilinear, nearest, bicubic"),
    Bad(lambda: grid_sample(x, g, padding_mode="wrap"), ArgumentError, "zeros, border, reflection"),
    Bad(lambda: grid_sample(x, nyala.zeros(2, 3, 3, 2)), ShapeError, "the input's batch size"),
    Bad(lambda: grid_sample(x, nyala.zeros(1, 3, 3, 3)), ShapeError, r"\(N, H', W', 2\)"),
    Bad(lambda: grid_sample(x[0], g[0]), ShapeError, r"\(N, C, H, W\)"),
    Bad(lambda: grid_sample(nyala.zeros(1, 1, 2, 2, 2), nyala.zeros(1, 1, 1, 1, 3), "bicubic"), ShapeError, "it samples images"),
    Bad(lambda: grid_sample(nyala.zeros(1, 2, 0, 4), g), ShapeError, "nothing to sample"),
    Bad(lambda: grid_sample(x, g.double()), DtypeError, "float32 and a grid of float64"),
    Bad(lambda: affine_grid(nyala.zeros(1, 2, 3), (2, 1, 3, 3)), ShapeError, "affine_grid: theta"),
    Bad(lambda: affine_grid(nyala.zeros(1, 2, 3), (1, 1, 3)), ShapeError, "affine_grid: theta"),
]


@pytest.mark.parametrize("bad", ERRORS, ids=range(len(ERRORS)))
def test_a_wrong_call_says_what_is_wrong(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.text):
        bad.call()
