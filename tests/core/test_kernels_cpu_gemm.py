"""Matrix products: against float64 for all remainders of tiles and all memory layouts, and the promises about bits."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.matrix import after as cpu_after
from nyala.core.kernels.cpu.matrix.gemm import DEPTH
from nyala.core.kernels.cpu.matrix.matmul import PART
from nyala.core.kernels.cpu.matrix.microkernel import COLUMNS
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.reference.after import ACTIVATIONS, After

EPS = float(np.finfo(np.float32).eps)


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def check(got: Any, a: Any, b: Any) -> None:
    """``got`` against the product in float64; an error of a sum is at most its length times its absolute terms."""
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    assert got.dtype == np.float32 and got.shape == exact.shape
    assert (np.abs(got - exact) <= EPS * (2 + np.sqrt(a.shape[-1])) * size).all()


def bits(x: Any) -> bytes:
    return np.ascontiguousarray(x).tobytes()


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = parallel.workers() + 1
    yield parallel.start
    parallel.start(before)


@pytest.mark.parametrize("depth", [1, 15, 16, 17, 255, 256, 257, 513])
def test_every_remainder_of_rows_and_columns(depth: int) -> None:
    a, b = normal(13, depth), normal(depth, 2 * COLUMNS + 1)
    whole = CPU.matmul(a, b)
    check(whole, a, b)
    for rows in range(1, 14):
        for columns in (*range(1, 2 * COLUMNS + 2, 1 if rows in (1, 7) else 13), COLUMNS, COLUMNS + 1):
            assert bits(CPU.matmul(a[:rows], b[:, :columns])) == bits(whole[:rows, :columns]), (rows, columns)


@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [
        (1, 576, 1536),
        (197, 384, 1152),
        (385, 300, 1000),
        (64, 10_000, 64),
        (500, 2049, 700),
        (7, 3 * PART + 5, 129),
        (1000, 1, 3),
    ],
)
def test_large_and_long_products(rows: int, depth: int, columns: int, threads: Callable[[int], None]) -> None:
    a, b = normal(rows, depth), normal(depth, columns, seed=1)
    found = []
    for count in (1, 2, 4):
        threads(count)
        found.append(CPU.matmul(a, b))
    check(found[0], a, b)
    assert bits(found[0]) == bits(found[1]) == bits(found[2])
    packs: dict[str, Any] = {}
    for some in (slice(0, 1), slice(rows // 2, rows // 2 + 5), slice(rows - 1, rows)):
        assert bits(CPU.matmul(a[some], b)) == bits(found[0][some])
        assert bits(CPU.linear(a[some], np.ascontiguousarray(b.T), None, None, packs)) == bits(found[0][some])


def views(x: Any) -> Iterator[tuple[str, Any]]:
    """The values of x in memory of every kind."""
    rows, columns = x.shape
    yield "C order", x
    yield "transposed", np.asfortranarray(x)
    wide = np.zeros((rows, 3 * columns), x.dtype)
    wide[:, 1::3] = x
    yield "every third column", wide[:, 1::3]
    yield "rows far apart", np.repeat(x, 2, axis=0)[::2]
    yield "backwards", np.ascontiguousarray(x[::-1])[::-1]
    yield "columns backwards", np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    yield "both backwards, transposed", np.asfortranarray(x[::-1, ::-1])[::-1, ::-1]
    for offset in (1, 2, 3):
        place = np.zeros(x.nbytes + 4, np.uint8)[offset : offset + x.nbytes]
        off = place.view(x.dtype).reshape(x.shape)
        off[:] = x
        assert not off.flags.aligned
        yield f"{offset} bytes off", off
    frozen = x.copy()
    frozen.setflags(write=False)
    yield "read-only", frozen
    swapped = x.astype(x.dtype.newbyteorder())
    yield "other byte order", swapped


def test_every_layout_gives_the_same_bits() -> None:
    a, b = normal(23, 37), normal(37, 71)
    bias = normal(71)
    expected = bits(CPU.matmul(a, b))
    line = bits(CPU.linear(a, np.ascontiguousarray(b.T), bias))
    for (name, x), (other, y) in itertools.product(views(a), views(b)):
        if "byte order" in name + other:
            continue
        assert bits(CPU.matmul(x, y)) == expected, (name, other)
        assert bits(CPU.linear(x, y.T, bias)) == line, (name, other)
        assert bits(CPU.linear(x, y.T, bias, None, {})) == line, (name, other)
    for name, x in views(a):
        np.testing.assert_allclose(CPU.matmul(x, b), a @ b, rtol=1e-5, atol=1e-5, err_msg=name)
    for name, w in views(bias[None]):
        assert bits(CPU.linear(a, np.ascontiguousarray(b.T), w[0] if "byte" not in name else bias)) == line, name


def test_strides_of_zero() -> None:
    row, column = normal(1, 40), normal(30, 1)
    a, b = np.broadcast_to(row, (9, 40)), np.broadcast_to(normal(40, 1, seed=3), (40, 70))
    check(CPU.matmul(a, b), a, b)
    c = np.broadcast_to(column, (30, 40))
    check(CPU.matmul(c, b), c, b)
    check(CPU.linear(c, b.T), c, b)
    one = np.broadcast_to(np.float32(2), (5, 6))
    assert (CPU.matmul(one, one.T) == 24).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((2, 3, 4, 5), (5, 6)), ((4, 5), (3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((2, 3, 4, 5), (2, 3, 5, 6)),
        ((1, 4, 5), (7, 5, 6)), ((3, 0, 5), (3, 5, 6)), ((0, 4, 5), (0, 5, 6)), ((0, 4, 5), (5, 6)), ((4, 0), (0, 6)),
        ((2, 4, 0), (2, 0, 6)), ((4, 5), (5, 0)), ((3, 300, 90), (90, 80)), ((3, 300, 90), (3, 90, 400)),
    ],
)  # fmt: skip
def test_batches_and_nothing(left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> None:
    a, b = normal(*left).astype(dtype), normal(*right, seed=1).astype(dtype)
    got, expected = CPU.matmul(a, b), np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert got.shape == expected.shape and got.dtype == dtype
    rough = {"float32": 1e-4, "float64": 1e-12, "float16": 0.1}[dtype]
    np.testing.assert_allclose(got, expected, rtol=rough, atol=rough)
    if 0 in left or 0 in right:
        assert not got.any()


def test_a_product_of_a_batch_has_the_bits_it_has_alone() -> None:
    a, b = normal(3, 2, 50, 33), normal(2, 33, 70)
    whole = CPU.matmul(a, b)
    flipped = CPU.matmul(a[::-1, ::-1], b[::-1])
    for i, j in np.ndindex(3, 2):
        assert bits(whole[i, j]) == bits(CPU.matmul(a[i, j], b[j])) == bits(flipped[2 - i, 1 - j])
    flat = CPU.matmul(a, b[0])
    assert bits(flat[:, 0]) == bits(whole[:, 0])


def test_wrong_shapes_are_refused() -> None:
    for left, right in (((3, 4), (5, 6)), ((2, 3, 4), (3, 4, 5)), ((2, 3, 4), (5, 6)), ((3, 0), (4, 6))):
        for dtype in ("float32", "float64"):
            with pytest.raises(ValueError, match=r"matmul|broadcast|shape"):
                CPU.matmul(normal(*left).astype(dtype), normal(*right).astype(dtype))
    with pytest.raises(ValueError, match="matmul"):
        CPU.linear(normal(3, 4), normal(5, 6))


def test_nan_and_infinity_stay_in_their_rows_and_columns() -> None:
    a, b = np.abs(normal(20, 300)), np.abs(normal(300, 70, seed=1))
    a[3, 7], a[5, 299], a[8, 0], b[260, 69], b[0, 1] = np.nan, np.inf, -np.inf, np.nan, np.inf
    with np.errstate(invalid="ignore"):
        exact = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(CPU.matmul(a, b), exact, rtol=1e-5)
    huge = np.full((2, 300), 3e38, np.float32)
    assert (CPU.matmul(huge, np.ones((300, 3), np.float32)) == np.inf).all()


def test_the_smallest_numbers_count() -> None:
    a = np.full((7, 40), 1e-23, np.float32)
    b = np.full((40, 5), 1e-20, np.float32)
    exact = 40e-43
    got = CPU.matmul(a, b)
    assert (got > 0).all() and np.abs(got - exact).max() <= 40 * 1.5e-45
    tiny = np.full((1, 3), 1e-45, np.float32)
    assert CPU.matmul(tiny, np.ones((3, 1), np.float32))[0, 0] == np.float32(1e-45) * 3


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "complex128", "mixed"])
def test_other_kinds_of_numbers(dtype: str) -> None:
    rng = np.random.default_rng(0)
    a: Any
    b: Any
    got: Any
    a, b = rng.integers(0, 2, (9, 30)), rng.integers(0, 2, (30, 11))
    if dtype == "mixed":
        got, expected = CPU.matmul(a.astype(np.float32), b.astype(np.float64)), a.astype(np.float32) @ b.astype(np.float64)
    else:
        a, b = a.astype(dtype), b.astype(dtype)
        a, b = (a * (1 + 2j), b * (3 - 1j)) if "complex" in dtype else (a, b)
        a, b = a.astype(dtype), b.astype(dtype)
        got, expected = CPU.matmul(a, b), a @ b
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_float64_is_exact_to_its_own_precision_and_invariant(threads: Callable[[int], None]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(130, 301)), rng.normal(size=(301, 600))
    threads(1)
    alone = CPU.matmul(a, b)
    threads(3)
    whole = CPU.matmul(a, b)
    assert bits(alone) == bits(whole)
    np.testing.assert_allclose(whole, a @ b, rtol=1e-12, atol=1e-12)
    for i in (0, 63, 64, 129):
        assert bits(CPU.matmul(a[i : i + 1], b)) == bits(whole[i : i + 1])
        assert bits(CPU.matmul(a[i : i + 1], np.asfortranarray(b)[:, 5:9])) == bits(whole[i : i + 1, 5:9])
    for name, x in views(a):
        if "byte order" not in name:
            assert bits(CPU.matmul(x, b)) == bits(whole), name


# ---- what comes after a product


@pytest.mark.parametrize("depth", [40, 2 * DEPTH + 3, PART + 70])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parts", list(itertools.product([False, True], repeat=3)), ids=str)
def test_fused_and_unfused_agree_to_the_bit(depth: int, activation: str, parts: tuple[bool, bool, bool]) -> None:
    rows, columns = 31, 2 * COLUMNS + 9
    x, weight = normal(rows, depth), normal(columns, depth, seed=1)
    bias, scale, shift = (normal(columns, seed=s) for s in (2, 3, 4))
    residual = normal(rows, columns, seed=5)
    bias = bias if parts[0] else None
    after = After(
        scale if parts[1] else None, shift if parts[1] else None, residual if parts[2] else None, activation
    )  # fmt: skip
    fused = CPU.linear(x, weight, bias, after)
    assert bits(fused) == bits(CPU.linear(x, weight, bias, after, {}))
    plain = CPU.matmul(x, weight.T)
    step = plain + bias if parts[0] else plain.copy()  # each an addition, rounded once
    step = cpu_after.then(step, None, After(after.scale, after.shift), 1)
    step = step + residual if parts[2] else step
    step = cpu_after.then(step, None, After(activation=activation), 1)
    assert bits(fused) == bits(step)
    wide = [None if v is None else v.astype(np.float64) for v in (x, weight, bias, *after[:3])]
    exact = reference.KERNELS["linear"](*wide[:3], After(wide[3], wide[4], wide[5], activation))
    np.testing.assert_allclose(fused, exact, rtol=1e-4, atol=3e-6 * np.sqrt(depth) * np.abs(exact).max())


def test_a_scale_and_shift_are_one_multiply_add() -> None:
    x, one = np.array([[1 + 2**-12]], np.float32), np.ones((1, 1), np.float32)
    scale, shift = np.array([1 - 2**-12], np.float32), np.array([-1], np.float32)
    assert CPU.linear(x, one, None, After(scale, shift))[0, 0] == -(2.0**-24)


def test_vectors_strided_ends_and_leading_dimensions() -> None:
    x, weight, bias = normal(2, 3, 40), normal(50, 40), normal(100)[::2]
    scale, shift = normal(50, seed=1)[::-1], np.broadcast_to(np.float32(0.5), 50)
    residual = np.broadcast_to(normal(3, 1), (2, 3, 50))
    after = After(scale, shift, residual, "relu")
    got = CPU.linear(x, weight, bias, after)
    np.testing.assert_allclose(got, reference.KERNELS["linear"](x, weight, bias, after), rtol=1e-4, atol=1e-5)
    assert bits(CPU.linear(x[1, 2], weight, bias)) == bits(CPU.linear(x, weight, bias)[1, 2])
    assert CPU.linear(np.zeros((0, 40), np.float32), weight, bias, after=None).shape == (0, 50)
    nothing = CPU.linear(np.zeros((3, 0), np.float32), np.zeros((5, 0), np.float32), np.arange(5, dtype=np.float32))
    np.testing.assert_array_equal(nothing, [[0, 1, 2, 3, 4]] * 3)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_linear_in_other_precisions(dtype: str) -> None:
    import ml_dtypes

    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x, weight, bias = (v.astype(kind) for v in (normal(9, 40), normal(50, 40), normal(50)))
    got = CPU.linear(x, weight, bias, After(activation="relu"))
    assert got.dtype == kind
    exact = np.maximum(x.astype(np.float64) @ weight.astype(np.float64).T + bias.astype(np.float64), 0)
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=0.02, atol=0.1 if kind.itemsize == 2 else 1e-12)


# ---- machines


PRINT = """
import numpy as np, zlib
from nyala.core.kernels import CPU
from nyala.core.kernels.cpu.matrix.microkernel import LANES, VECTORS
from nyala.core.kernels.reference.after import After
rng = np.random.default_rng(0)
out = []
for rows, depth, columns in ((13, 300, 131), (100, 40, 257), (5, 2500, 70)):
    x, w, r = (rng.standard_normal(s, dtype=np.float32) for s in ((rows, depth), (columns, depth), (rows, columns)))
    b, s, t = rng.standard_normal((3, columns), dtype=np.float32)
    for activation in ("none", "relu", "relu6", "gelu", "gelu_tanh", "silu"):
        out.append(CPU.linear(x, w, b, After(s, t, r, activation)).tobytes())
print(LANES, VECTORS, zlib.crc32(b"".join(out)))
"""


def _on(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_bits_do_not_depend_on_the_width_of_the_machines_vectors() -> None:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if not features.get("fma") or not features.get("avx2"):
        pytest.skip("this processor has one width of vectors with fused multiply-add")
    here = _on()
    narrow = _on(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx,+avx2,+fma,+sse4.2,+bmi2")
    assert narrow == ["8", "2", here[2]]
    narrowest = _on(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="+sse4.2,+avx,+fma")
    assert narrowest == ["4", "2", here[2]]


SHORT = """
import resource
import numpy as np
from nyala.core.kernels import CPU
CPU.matmul(np.ones((9, 9), np.float32), np.ones((9, 9), np.float32))
a, b = np.ones((512, 20_000), np.float32), np.ones((20_000, 512), np.float32)
with open("/proc/self/statm") as pages:
    used = int(pages.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (3 << 20),) * 2)
try:
    print(CPU.matmul(a, b)[0, 0])
except MemoryError as error:
    print("MemoryError", error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory in use")
def test_without_memory_for_its_sums_a_product_raises() -> None:
    environment = {**os.environ, "NYALA_NUM_THREADS": "2", "NYALA_KEEP_MEMORY": "0"}
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout == "MemoryError no memory was left for the sums of a matrix product\n", done.stderr


@pytest.mark.slow
def test_arrays_of_more_than_two_gigabytes() -> None:
    try:
        with open("/proc/meminfo") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except OSError:
        pytest.skip("the system does not say how much memory is free")
    rows, depth = 2**15 + 1, 2**14 + 1
    if free < 2 * 4 * rows * depth:
        pytest.skip(f"needs {4 * rows * depth >> 30} GiB of memory and as much to spare; {free >> 30} GiB are free")
    a = np.zeros((rows, depth), np.float32)
    a[-1], a[0, -1], a[-2, 5] = 1, 2, 3
    b = normal(depth, 8)
    got = CPU.matmul(a, b)
    check(got[-1:], a[-1:], b)
    np.testing.assert_array_equal(got[0], 2 * b[-1])
    np.testing.assert_array_equal(got[-2], 3 * b[5])
    assert not got[1:-2].any()
    np.testing.assert_array_equal(CPU.matmul(b.T, a.T), got.T)
    np.testing.assert_allclose(CPU.linear(b.T, a), got.T)
