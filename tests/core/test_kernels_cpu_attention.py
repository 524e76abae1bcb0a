"""The attention kernels against the reference in float64, and their bits under other threads, batches and neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count

Case = dict[str, Any]
SCALE = 0.3


def heads(batch: int, number: int, length: int, width: int, seed: int = 0) -> Any:
    """(batch, number, length, width) whose memory is (batch, length, number, width), as projections leave it."""
    rng = np.random.default_rng([seed, batch, number, length, width])
    return rng.normal(size=(batch, length, number, width)).astype(np.float32).transpose(0, 2, 1, 3)


def qkv(batch: int, many: int, shared: int, length: int, keys: int, width: int, deep: int) -> tuple[Any, Any, Any]:
    return heads(batch, many, length, width), heads(batch, shared, keys, width, 1), heads(batch, shared, keys, deep, 2)


def bools(*shape: int) -> Any:
    return np.random.default_rng(shape).random(shape) < 0.6


def added(*shape: int) -> Any:
    mask = np.random.default_rng(shape).normal(size=shape).astype(np.float32)
    return np.where(bools(*shape) | bools(shape[-1]), mask, np.float32(-np.inf))


CASES: dict[str, tuple[tuple[int, ...], Case]] = {
    "one query, one key": ((1, 1, 1, 1, 1, 8, 8), {}),
    "one query": ((2, 4, 2, 1, 300, 16, 16), {}),
    "one key": ((1, 2, 2, 17, 1, 16, 8), {}),
    "prime lengths": ((2, 3, 3, 17, 129, 32, 32), {}),
    "several blocks": ((1, 2, 1, 197, 257, 64, 64), {}),
    "odd widths": ((1, 2, 2, 33, 35, 7, 5), {}),
    "wide heads": ((1, 1, 1, 9, 140, 300, 130), {"start": 100}),
    "causal": ((1, 2, 2, 150, 150, 32, 32), {"start": 0}),
    "causal after a cache": ((2, 6, 2, 5, 131, 16, 16), {"start": 126}),
    "causal with fewer keys": ((1, 1, 1, 40, 9, 16, 16), {"start": 0}),
    "padding": ((3, 2, 2, 20, 40, 16, 16), {"allowed": bools(3, 1, 1, 40)}),
    "a mask for all heads": ((2, 2, 2, 30, 37, 16, 16), {"allowed": bools(30, 37)}),
    "a mask for each head": ((2, 4, 2, 30, 37, 16, 16), {"allowed": bools(2, 4, 30, 37), "start": 5}),
    "a mask that varies over heads alone": ((1, 4, 2, 9, 20, 16, 16), {"allowed": bools(4, 1, 20)}),
    "a mask turned in memory": ((1, 2, 2, 30, 37, 16, 16), {"allowed": bools(37, 30).T}),
    "a mask for each query": ((1, 2, 2, 30, 37, 16, 16), {"allowed": bools(30, 1)}),
    "an added mask": ((2, 4, 2, 30, 37, 16, 16), {"mask": added(2, 4, 30, 37)}),
    "an added row": ((2, 4, 4, 30, 37, 16, 16), {"mask": added(2, 1, 1, 37)}),
    "an added column": ((2, 4, 4, 30, 37, 16, 16), {"mask": added(30, 1)}),
    "both masks": ((2, 3, 3, 30, 140, 16, 16), {"mask": added(140), "allowed": bools(2, 1, 30, 140), "start": 110}),
    "dropout": ((2, 4, 2, 30, 37, 16, 16), {"dropout": (0.3, (5, 6))}),
    "dropout and causal": ((1, 2, 2, 130, 140, 16, 16), {"dropout": (0.5, (5, 6)), "start": 10}),
}
PARAMETERS = pytest.mark.parametrize(("sizes", "options"), CASES.values(), ids=CASES)


def wide(x: Any) -> Any:
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x


def run(q: Any, k: Any, v: Any, options: Case, table: Any = CPU) -> tuple[Any, ...]:
    """The result, its statistics, and the three gradients."""
    grad = heads(q.shape[0], q.shape[1], q.shape[2], v.shape[3], 3).astype(q.dtype)
    out, found = table.attention(q, k, v, SCALE, statistics=True, **options)
    return out, found, *table.attention_backward(grad, q, k, v, out, found, SCALE, **options)


class Reference:
    attention = staticmethod(reference.KERNELS["attention"])
    attention_backward = staticmethod(reference.KERNELS["attention_backward"])


@PARAMETERS
def test_the_kernels_equal_the_reference(sizes: tuple[int, ...], options: Case) -> None:
    arrays = qkv(*sizes)
    expected = run(*map(wide, arrays), {n: wide(x) for n, x in options.items()}, Reference)
    for got, right in zip(run(*arrays, options), expected, strict=True):
        assert got.dtype == np.float32 and got.shape == right.shape
        np.testing.assert_allclose(got, right, rtol=0, atol=4e-6 * max(1.0, np.abs(right).max()))


@pytest.fixture
def threads() -> Iterator[Any]:
    yield parallel.start
    parallel.start(thread_count())


@PARAMETERS
def test_the_bits_do_not_depend_on_the_threads(sizes: tuple[int, ...], options: Case, threads: Any) -> None:
    arrays, found = qkv(*sizes), []
    for number in (1, 2, 3):
        threads(number)
        found.append([x.tobytes() for x in run(*arrays, options)])
    assert found[0] == found[1] == found[2]


def test_eight_threads_at_once() -> None:
    arrays, options = qkv(2, 4, 2, 33, 150, 16, 16), {"start": 117, "dropout": (0.3, (5, 6))}
    expected = [x.tobytes() for x in run(*arrays, options)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [x.tobytes() for x in run(*arrays, options)], range(32)))
    assert all(f == expected for f in found)


def test_a_sample_alone_gets_what_it_gets_in_a_batch() -> None:
    arrays = qkv(5, 4, 2, 33, 150, 16, 16)
    whole = run(*arrays, {"start": 117})
    for i in range(5):
        q, k, v = (x[i : i + 1] for x in arrays)
        out, found = CPU.attention(q, k, v, SCALE, start=117, statistics=True)
        grad = heads(5, 4, 33, 16, 3)[i : i + 1]
        np.testing.assert_array_equal(out, whole[0][i : i + 1])
        for got, expected in zip(CPU.attention_backward(grad, q, k, v, out, found, SCALE, start=117), whole[2:], strict=True):
            np.testing.assert_array_equal(got, expected[i : i + 1])


def test_a_query_alone_gets_what_it_gets_among_others() -> None:
    q, k, v = qkv(2, 6, 2, 140, 300, 32, 32)
    whole, _ = CPU.attention(q, k, v, SCALE, start=160)
    for i in (0, 1, 63, 64, 139):
        alone, _ = CPU.attention(q[:, :, i : i + 1], k[:, :, : 161 + i], v[:, :, : 161 + i], SCALE, start=160 + i)
        np.testing.assert_array_equal(alone, whole[:, :, i : i + 1])
    for h in range(6):
        alone, _ = CPU.attention(q[:, h : h + 1], k[:, h // 3 : h // 3 + 1], v[:, h // 3 : h // 3 + 1], SCALE, start=160)
        np.testing.assert_array_equal(alone, whole[:, h : h + 1])


def test_any_layout_gives_the_same_bits() -> None:
    q, k, v = qkv(2, 2, 2, 20, 30, 16, 16)
    expected = run(q, k, v, {})
    frozen = [np.ascontiguousarray(x) for x in (q, k, v)]
    for x in frozen:
        x.setflags(write=False)
    spread = [np.repeat(x, 2, axis=3)[..., ::2] for x in (q, k, v)]
    turned = [np.asfortranarray(x) for x in (q, k, v)]
    backwards = [np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1] for x in (q, k, v)]
    for arrays in (frozen, spread, turned, backwards):
        for got, right in zip(run(*arrays, {}), expected, strict=True):
            np.testing.assert_array_equal(got, right)
    memory = np.zeros(q.nbytes + 1, np.uint8)
    crooked = memory[1:].view(np.float32).reshape(q.shape)
    crooked[...] = q
    np.testing.assert_allclose(CPU.attention(crooked, k, v, SCALE)[0], expected[0], atol=1e-6)


def test_the_result_lies_as_the_next_layer_reads_it() -> None:
    out, none = CPU.attention(*qkv(2, 3, 3, 5, 6, 8, 8), SCALE)
    assert out.transpose(0, 2, 1, 3).flags.c_contiguous and none is None


def test_a_query_that_sees_nothing_gives_zero() -> None:
    q, k, v = qkv(1, 1, 1, 3, 4, 8, 8)
    allowed = np.array([[True] * 4, [False] * 4, [True, False] * 2])
    for options in ({"allowed": allowed}, {"mask": np.where(allowed, 0, -np.inf).astype(np.float32)}):
        out, found, gq, gk, gv = run(q, k, v, options)
        assert not out[0, 0, 1].any() and not gq[0, 0, 1].any() and (found[:, 0, 0, 1] == 0).all()
        assert out[0, 0, [0, 2]].all() and np.isfinite(gk).all() and np.isfinite(gv).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_keys_that_nobody_sees_may_hold_anything(bad: float) -> None:
    q, k, v = qkv(1, 2, 2, 20, 140, 16, 16)
    allowed = np.ones(140, bool)
    allowed[[3, 70, 139]] = False
    clean = CPU.attention(q, k, v, SCALE, allowed)[0]
    k[:, :, [3, 70, 139]] = bad
    v[:, :, [3, 139]] = bad
    np.testing.assert_array_equal(CPU.attention(q, k, v, SCALE, allowed)[0], clean)
    expected = reference.KERNELS["attention"](*map(wide, (q, np.nan_to_num(k), v)), SCALE, allowed)[0]
    np.testing.assert_allclose(clean, expected, rtol=0, atol=1e-6)
    for later in (k, v):
        later[:, :, 21:] = bad  # after the last key that anybody sees
    np.testing.assert_array_equal(
        CPU.attention(q[:, :, :1], k, v, SCALE, start=0)[0], CPU.attention(q[:, :, :1], k[:, :, :1], v[:, :, :1], SCALE)[0]
    )


def test_values_that_somebody_sees_come_through() -> None:
    q, k, v = qkv(1, 1, 1, 3, 5, 8, 8)
    v[0, 0, 2, :4] = np.nan, np.inf, -np.inf, np.inf
    v[0, 0, 3, 3] = -np.inf
    for start in (None, 0, 1, 2):
        got, expected = (a(q, k, v, SCALE, start=start)[0] for a in (CPU.attention, reference.KERNELS["attention"]))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
        assert np.isfinite(got[0, 0, 0]).all() == (start in (0, 1))


def test_not_a_number_comes_through() -> None:
    q, k, v = qkv(1, 1, 1, 3, 5, 8, 8)
    q[0, 0, 1, 2] = np.nan
    out = CPU.attention(q, k, v, SCALE)[0]
    assert np.isnan(out[0, 0, 1]).all() and np.isfinite(out[0, 0, [0, 2]]).all()
    k[0, 0, 4, 0] = np.inf
    with np.errstate(invalid="ignore"):
        expected = reference.KERNELS["attention"](q, k, v, SCALE)[0]
    np.testing.assert_array_equal(np.isnan(CPU.attention(q, k, v, SCALE)[0]), np.isnan(expected))


def test_huge_scores_cancel_exactly() -> None:
    q, k, v = qkv(1, 1, 1, 1, 2, 8, 8)
    q[:], k[0, 0, 0], k[0, 0, 1] = 1e18, 1e18, -1e18
    np.testing.assert_array_equal(CPU.attention(q, k, v, SCALE)[0][0, 0, 0], v[0, 0, 0])


def test_keys_and_values_further_apart_than_32_bits_count() -> None:
    q, k, v = qkv(1, 2, 2, 3, 5, 8, 8)
    if np.dtype(np.intp).itemsize < 8:
        pytest.skip("addresses of 32 bits")
    room = np.empty((1 << 31) // 4 + 100, np.float32)  # pages that nobody touches take no memory
    far = np.lib.stride_tricks.as_strided(room, (1, 2, 5, 8), (0, 1 << 31, 32, 4))
    far[:, 0], far[:, 1] = k[:, 0], k[:, 1]
    np.testing.assert_array_equal(CPU.attention(q, far, v, SCALE)[0], CPU.attention(q, k, v, SCALE)[0])


@pytest.mark.parametrize("empty", [0, 2, 3])
def test_empty_arrays(empty: int) -> None:
    """No sample, no query, no key."""
    sizes = [2, 2, 2, 3, 4, 8, 8]
    sizes[{0: 0, 2: 3, 3: 4}[empty]] = 0
    out, _, gq, gk, gv = run(*qkv(*sizes), {})
    assert out.shape == (sizes[0], 2, sizes[3], 8) and not out.any()
    assert not gq.any() and not gk.any() and not gv.any()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes(dtype: str) -> None:
    arrays = [x.astype(dtype) for x in qkv(1, 4, 2, 9, 11, 8, 8)]
    expected = run(*map(wide, (x.astype(np.float32) for x in arrays)), {"start": 2}, Reference)
    for got, right in zip(run(*arrays, {"start": 2}), expected, strict=True):
        assert got.dtype == dtype or got.shape[0] == 2  # the statistics are at least float32
        np.testing.assert_allclose(got, right, rtol=0, atol=4e-3 if dtype == "float16" else 1e-12)
