"""The attention kernels against the reference in float64, in every order of threads: masks, shared heads, dropout, odd sizes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import attention as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-13, "float16": 2e-3, "bfloat16": 1.6e-2}
SCALE = 0.3


def heads(batch: int, number: int, length: int, width: int, dtype: str, seed: int = 0) -> Any:
    """(batch, number, length, width) whose memory is (batch, length, number, width), as projections leave it."""
    rng = np.random.default_rng([seed, batch, number, length, width])
    made = rng.standard_normal((batch, length, number, width)).astype(DTYPES[dtype])
    return devices.move(made, "cuda:0").transpose(0, 2, 1, 3)


def bools(*shape: int) -> Any:
    return np.random.default_rng(shape).random(shape) < 0.6


def added(*shape: int) -> Any:
    mask = np.random.default_rng(shape).standard_normal(shape)
    return np.where(bools(*shape) | bools(shape[-1]), mask, -np.inf)


# batch, heads, heads of keys, queries, keys, width of keys, of values
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "one number": ((1, 1, 1, 1, 1, 1, 1), {}),
    "one query and many keys": ((2, 4, 2, 1, 300, 16, 8), {"start": 290}),
    "few queries of many heads": ((1, 6, 1, 3, 131, 24, 20), {"mask": added(1, 6, 3, 131), "allowed": bools(131)}),
    "few queries, some dropped": ((1, 4, 4, 2, 140, 9, 11), {"dropout": (0.4, (7, 8))}),
    "several tiles": ((1, 2, 1, 70, 67, 8, 16), {}),
    "odd widths": ((1, 2, 2, 19, 11, 7, 5), {}),
    "wide heads": ((1, 1, 1, 15, 20, 130, 72), {"start": 10}),
    "causal": ((1, 2, 2, 66, 66, 16, 16), {"start": 0}),
    "causal after a cache": ((2, 4, 2, 15, 31, 16, 16), {"start": 16}),
    "causal with fewer keys": ((1, 1, 1, 12, 9, 16, 16), {"start": -3}),
    "padding": ((2, 2, 2, 16, 40, 16, 16), {"allowed": bools(2, 1, 1, 40)}),
    "masks of all kinds": ((2, 4, 2, 17, 37, 16, 16), {"allowed": bools(4, 1, 37), "mask": added(2, 1, 17, 37), "start": 30}),
    "dropout": ((2, 4, 2, 17, 37, 16, 16), {"dropout": (0.3, (5, 6)), "start": 20}),
}


def on_device(given: dict[str, Any], dtype: str) -> dict[str, Any]:
    cast = {"mask": lambda m: m.astype(DTYPES[dtype])}
    return {n: devices.move(cast.get(n, lambda m: m)(v), "cuda:0") if isinstance(v, np.ndarray) else v for n, v in given.items()}


def exact(x: Any) -> Any:
    return devices.move(x, "cpu").astype(np.float64)


def check(found: Any, expected: Any, dtype: str) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(exact(found), expected, rtol=0, atol=TOLERANCE[dtype] * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward(name: str, dtype: str) -> None:
    (batch, many, shared, length, keys, width, deep), given = CASES[name]
    q, k, v = (
        heads(batch, many, length, width, dtype),
        heads(batch, shared, keys, width, dtype, 1),
        heads(batch, shared, keys, deep, dtype, 2),
    )
    grad = heads(batch, many, length, deep, dtype, 3)
    table, wide = kernels.of(q), [exact(x) for x in (q, k, v)]
    out, statistics = table.attention(q, k, v, SCALE, statistics=True, **on_device(given, dtype))
    expected, known = reference.attention(*wide, SCALE, statistics=True, **given)
    assert out.dtype == q.dtype
    check(out, expected, dtype)
    check(statistics, known, dtype)
    assert table.attention(q, k, v, SCALE, **on_device(given, dtype))[1] is None
    found = table.attention_backward(grad, q, k, v, out, statistics, SCALE, **on_device(given, dtype))
    for a, b in zip(found, reference.attention_backward(exact(grad), *wide, None, None, SCALE, **given), strict=True):
        assert a.dtype == q.dtype
        check(a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("queries", "many"), [(1, 4), (3, 12), (9, 2)])
def test_a_start_that_the_device_knows_gives_the_same_bits_in_any_room(queries: int, many: int, dtype: str) -> None:
    """What lies in a cache's room behind its steps takes no part; nor does the number of blocks."""
    seen, room = 140, 400
    q = heads(2, many, queries, 24, dtype)
    k, v = heads(2, 2, room, 24, dtype, 1), heads(2, 2, room, 16, dtype, 2)
    k[:, :, seen:], v[:, :, seen:] = np.nan, np.inf
    allowed = np.arange(room) != 3
    place = devices.move(np.array([float(seen - queries)]), "cuda:0")
    for mask in (None, devices.move(allowed, "cuda:0")):
        wanted = kernels.of(q).attention(
            q, k[:, :, :seen], v[:, :, :seen], SCALE, None if mask is None else mask[:seen], start=seen - queries
        )[0]
        found = kernels.of(q).attention(q, k, v, SCALE, mask, start=place)[0]
        if queries <= 8:
            assert exact(found).tobytes() == exact(wanted).tobytes()
        check(found, exact(wanted), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("length", [4, 20])
def test_what_is_not_seen_takes_no_part(length: int, dtype: str) -> None:
    q, k, v = heads(1, 2, length, 8, dtype), heads(1, 2, 70, 8, dtype, 1), heads(1, 2, 70, 8, dtype, 2)
    allowed = bools(70)
    allowed[[3, 66]] = False
    expected = reference.attention(*(exact(x) for x in (q, k, v)), SCALE, allowed)[0]
    k[:, :, 3], v[:, :, 3], v[:, :, 66] = np.nan, np.inf, np.nan
    moved = devices.move(allowed, "cuda:0")
    check(kernels.of(q).attention(q, k, v, SCALE, moved)[0], expected, dtype)
    allowed[66] = True
    assert np.isnan(exact(kernels.of(q).attention(q, k, v, SCALE, devices.move(allowed, "cuda:0"))[0])).all()
    v[:, :, 66, 0], v[:, :, 66, 1:] = np.inf, 1.0
    found = exact(kernels.of(q).attention(q, k, v, SCALE, devices.move(allowed, "cuda:0"))[0])
    assert (found[..., 0] == np.inf).all() and np.isfinite(found[..., 1:]).all()


def test_widths_without_a_kernel_and_arrays_of_two_dtypes_go_to_the_reference() -> None:
    for width, mask in ((300, None), (8, np.zeros((2, 3), np.float64))):
        q, k, v = (heads(1, 1, n, width, "float32", n) for n in (2, 3, 3))
        expected = reference.attention(*(exact(x) for x in (q, k, v)), SCALE, mask=mask)[0]
        moved = None if mask is None else devices.move(mask, "cuda:0")
        check(kernels.of(q).attention(q, k, v, SCALE, mask=moved)[0].astype(np.float32), expected, "float32")
