"""Resizing against the definitions written out (torch's own numbers are in the goldens), and finite differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.kernels.reference.spatial import Map, resample
from nyala.core.ops.resample import interpolate, pixel_shuffle, pixel_unshuffle
from nyala.core.ops.taps import Taps
from nyala.errors import ArgumentError, DtypeError, ShapeError
from nyala.testing import Bad, OpCase, Sampler, check_op


def cubic(x: float, a: float) -> float:
    """Keys' cubic convolution (1981)."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def row(i: int, size: int, out: int, ratio: float, mode: str, align: bool, antialias: bool) -> Any:
    """The weights of one result."""
    weights = np.zeros(size)
    if mode == "nearest":
        weights[min(math.floor(i * ratio), size - 1)] = 1
    elif mode == "nearest-exact":
        weights[min(math.floor((i + 0.5) * ratio), size - 1)] = 1
    elif mode == "area":
        lo, hi = i * size // out, -(-(i + 1) * size // out)
        weights[lo:hi] = 1 / (hi - lo)
    elif antialias:
        scale, centre = max(ratio, 1.0), ratio * (i + 0.5)
        half = (2 if mode == "bicubic" else 1) * scale
        for j in range(max(0, int(centre - half + 0.5)), min(size, int(centre + half + 0.5))):
            x = (j + 0.5 - centre) / scale
            weights[j] = cubic(x, -0.5) if mode == "bicubic" else max(0.0, 1 - abs(x))
        weights /= weights.sum()
    else:
        at = i * ratio if align else (i + 0.5) * ratio - 0.5
        if mode != "bicubic":
            at = max(at, 0.0)
        low = math.floor(at)
        for j in range(low - 1, low + 3):
            amount = cubic(j - at, -0.75) if mode == "bicubic" else max(0.0, 1 - abs(j - at))
            weights[min(max(j, 0), size - 1)] += amount
    return weights


def naive(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: Any = None,
    recompute_scale_factor: Any = None, antialias: bool = False,
) -> Any:  # fmt: skip
    n = x.ndim - 2
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * n
    for d in range(n):
        length = x.shape[2 + d]
        if size is not None:
            out = size[d] if isinstance(size, tuple) else size
        else:
            out = math.floor(length * factors[d])
        ratio = length / out if size is not None or recompute_scale_factor else 1 / factors[d]
        if align_corners:
            ratio = (length - 1) / (out - 1) if out > 1 else 0.0
        matrix = np.array([row(i, length, out, ratio, mode, bool(align_corners), antialias) for i in range(out)])
        x = np.moveaxis(np.tensordot(matrix, x, (1, 2 + d)), 0, 2 + d)
    return x


def case(name: str, *shape: int, **kwargs: Any) -> OpCase:
    # places are computed in float32 for float32 inputs, as torch does: a hundred times the rounding of one sum
    return OpCase(name, interpolate, lambda s: (s.normal(*shape),), naive, kwargs, rtol=4 if "nearest" in name else 20)


SIZES = {"up": (7, 9), "down": (3, 2), "same": (5, 4), "one": (1, 1)}
ROWS = [
    *[
        case(f"{mode} {label}", 1, 2, 5, 4, size=size, mode=mode)
        for mode in ("nearest", "nearest-exact", "area", "bilinear", "bicubic")
        for label, size in SIZES.items()
    ],
    *[
        case(f"{mode} corners {label}", 1, 2, 5, 4, size=size, mode=mode, align_corners=True)
        for mode in ("bilinear", "bicubic")
        for label, size in SIZES.items()
    ],
    *[
        case(f"{mode} antialias {label}", 1, 2, 5, 4, size=size, mode=mode, antialias=True)
        for mode in ("bilinear", "bicubic")
        for label, size in SIZES.items()
    ],
    *[case(f"{mode} scale", 1, 2, 5, 6, scale_factor=(1.7, 0.6), mode=mode) for mode in ("nearest", "bilinear", "bicubic")],
    case("bilinear recomputed", 1, 2, 5, 6, scale_factor=(1.7, 0.6), mode="bilinear", recompute_scale_factor=True),
    case("linear", 2, 2, 5, size=8, mode="linear"),
    case("linear corners", 2, 2, 5, size=(3,), mode="linear", align_corners=True),
    case("nearest of 3 dimensions", 1, 1, 3, 4, 2, scale_factor=2, mode="nearest"),
    case("trilinear", 1, 1, 3, 4, 2, size=(2, 5, 3), mode="trilinear"),
    case("trilinear corners", 1, 1, 3, 4, 2, size=(2, 5, 3), mode="trilinear", align_corners=True),
    OpCase(
        "pixel_shuffle",
        pixel_shuffle,
        lambda s: (s.normal(2, 8, 2, 3),),
        lambda x, **_: x.reshape(2, 2, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3).reshape(2, 2, 4, 6),
        {"upscale_factor": 2},
    ),
    OpCase(
        "pixel_unshuffle",
        pixel_unshuffle,
        lambda s: (s.normal(2, 2, 4, 6),),
        lambda x, **_: x.reshape(2, 2, 2, 2, 3, 2).transpose(0, 1, 3, 5, 2, 4).reshape(2, 8, 2, 3),
        {"downscale_factor": 2},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_resizing(row: OpCase) -> None:
    check_op(row)


def test_whole_numbers_keep_their_dtype_in_nearest_mode() -> None:
    for dtype in ("uint8", "int64"):
        out = interpolate(nyala.tensor([[[1, 250]]], dtype=dtype), scale_factor=2)
        assert out.tolist() == [[[1, 1, 250, 250]]] and str(out.dtype) == dtype


def test_the_same_size_gives_a_copy() -> None:
    x = nyala.zeros(1, 1, 2, 2)
    interpolate(x, size=2).fill_(1.0)
    assert not x.numpy().any()


def test_an_empty_batch() -> None:
    assert interpolate(nyala.zeros(0, 3, 4, 4), size=(2, 5), mode="bilinear").shape == (0, 3, 2, 5)


def test_shuffling_there_and_back() -> None:
    x = nyala.tensor(Sampler("shuffle").normal(3, 4, 6))
    np.testing.assert_array_equal(pixel_shuffle(pixel_unshuffle(x, 2), 2).numpy(), x.numpy())


def test_the_transpose_of_a_table_is_its_adjoint() -> None:
    s = Sampler("taps")
    taps = Taps(s.integers(0, 7, (5, 3)), s.normal(5, 3), 7)
    x, g = s.normal(2, 7, 3), s.normal(2, 5, 3)
    there = resample(x, [Map(1, taps.index, taps.weight, {})])
    back = resample(g, [Map(1, taps.transposed.index, taps.transposed.weight, {})])
    np.testing.assert_allclose((there * g).sum(), (x * back).sum(), rtol=1e-12)
    again = taps.transposed.transposed
    np.testing.assert_allclose(resample(x, [Map(1, again.index, again.weight, {})]), there, rtol=1e-12, atol=1e-12)


x = nyala.zeros(1, 2, 4, 4)
ERRORS = [
    Bad(lambda: interpolate(x, 2, mode="cubic"), ArgumentError, "use one of 'nearest'"),
    Bad(lambda: interpolate(x), ArgumentError, "exactly one"),
    Bad(lambda: interpolate(x, 2, 2.0), ArgumentError, "exactly one"),
    Bad(lambda: interpolate(x, (2, 2, 2)), ArgumentError, "has 3 numbers"),
    Bad(lambda: interpolate(x, 0), ArgumentError, "size=0"),
    Bad(lambda: interpolate(x, scale_factor=(1.0, 2.0, 3.0)), ArgumentError, "scale_factor"),
    Bad(lambda: interpolate(x, scale_factor=-1.0), ArgumentError, "positive"),
    Bad(lambda: interpolate(x, scale_factor=0.1), ShapeError, r"would have size \(0, 0\)"),
    Bad(lambda: interpolate(x, 2, mode="linear"), ShapeError, "'linear' on an input.*use mode 'bilinear'"),
    Bad(lambda: interpolate(x[0], 2, mode="bicubic"), ShapeError, "this mode resizes 2 dimension"),
    Bad(lambda: interpolate(x[0, 0], 2), ShapeError, r"takes \(N, C, \*S\)"),
    Bad(lambda: interpolate(x, 2, align_corners=False), ArgumentError, "no corners to align"),
    Bad(lambda: interpolate(x, 2, mode="nearest", antialias=True), ArgumentError, "'bilinear' or 'bicubic'"),
    Bad(lambda: interpolate(x.long(), 2, mode="bilinear"), DtypeError, r"\.float\(\)"),
    Bad(lambda: interpolate(x, 2, recompute_scale_factor=True), ArgumentError, "recompute_scale_factor with a size"),
    Bad(lambda: interpolate(nyala.zeros(1, 2, 0, 4), 2), ShapeError, "nothing to resize"),
    Bad(lambda: pixel_shuffle(nyala.zeros(1, 6, 2, 2), 2), ShapeError, "channels must divide by 4"),
    Bad(lambda: pixel_unshuffle(nyala.zeros(1, 6, 3, 2), 2), ShapeError, "height and width must divide by 2"),
]


@pytest.mark.parametrize("bad", ERRORS, ids=range(len(ERRORS)))
def test_a_wrong_call_says_what_is_wrong(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.text):
        bad.call()
