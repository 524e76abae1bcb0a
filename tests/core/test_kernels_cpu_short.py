"""Products of numbers that are short on both sides: exact sums, equal bits on every way and every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.errors import ArgumentError
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
from nyala.core.kernels.reference.after import After
from nyala.core.ops.quantized import quantized_linear

BFLOAT16 = ml_dtypes.bfloat16
SIZES = [
    (1, 64, 64, 64),
    (5, 40, 20, 40),
    (13, 300, 131, 64),
    (100, 70, 257, 32),
    (8, 2500, 70, 999),
    (20, 4500, 30, 4500),
    (9, 7, 3, 2),
]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng((seed, *shape)).standard_normal(shape, dtype=np.float32)


def int8(outputs: int, width: int, group: int) -> tuple[Any, Any]:
    weight = np.random.default_rng((outputs, width)).integers(-128, 128, (outputs, width)).astype(np.int8)
    return np.asfortranarray(weight), abs(normal(outputs, -(-width // group))) + np.float32(0.1)


def wide(x: Any) -> Any:
    """Rounded to bfloat16, as float32."""
    return x.astype(BFLOAT16).astype(np.float32)


@pytest.fixture
def threads() -> Iterator[Any]:
    yield parallel.start
    parallel.start(thread_count())


class TestInt8:
    @pytest.mark.parametrize(("rows", "width", "outputs", "group"), SIZES)
    def test_has_the_bits_of_the_reference(self, rows: int, width: int, outputs: int, group: int) -> None:
        x, bias, residual = normal(rows, width), normal(outputs), normal(rows, outputs)
        weight, scales = int8(outputs, width, group)
        for after in (None, After(residual=residual, activation="relu")):
            expected = reference.KERNELS["linear_int8_both"](x, weight, scales, group, bias, after)
            for lies in (weight, np.ascontiguousarray(weight)):
                got = CPU.linear_int8_both(x, lies, scales, group, bias, after)
                np.testing.assert_array_equal(got, expected)

    def test_sums_are_exact_where_all_is_largest(self) -> None:
        """The largest sums there can be: more than float32 holds, and just below what int32 holds."""
        width = (1 << 16) + 40
        x, weight = np.ones((9, width), np.float32), np.full((3, width), -127, np.int8, order="F")
        got = CPU.linear_int8_both(x, weight, np.ones((3, 1), np.float32), width)
        parts = [np.float32(-127 * 127 * n) * (np.float32(1) / np.float32(127)) for n in (1 << 16, 40)]
        np.testing.assert_array_equal(got, np.full((9, 3), parts[0] + parts[1]))

    def test_the_largest_number_of_a_row_is_127_and_ties_go_to_even(self) -> None:
        x = np.array([[127, 0.5, 1.5, 2.5, -0.5, -127, -1.5, 126.6]], np.float32)
        got = CPU.linear_int8_both(x, np.asfortranarray(np.eye(8, dtype=np.int8)), np.ones((8, 1), np.float32), 8)
        assert got.tolist() == [[127, 0, 2, 2, 0, -127, -2, 127]]

    def test_rows_that_are_zero_tiny_or_not_finite(self) -> None:
        weight, scales = int8(70, 64, 64)
        x = np.ones((10, 64), np.float32)
        x[0], x[1], x[2, 3], x[3, 5], x[4] = 0, 1e-45, np.inf, np.nan, 1e30
        for rows in (x, x[:4]):
            got = CPU.linear_int8_both(rows, weight, scales, 64)
            np.testing.assert_array_equal(got, reference.KERNELS["linear_int8_both"](rows, weight, scales, 64))
            assert not got[0].any() and np.isnan(got[2:4]).all() and np.isfinite(got[[0, 1, *range(4, len(rows))]]).all()

    def test_the_bits_depend_neither_on_the_rows_beside_nor_on_the_threads(self, threads: Any) -> None:
        x, (weight, scales) = normal(130, 300), int8(200, 300, 100)
        whole = CPU.linear_int8_both(x, weight, scales, 100)
        for number in (1, 2, 3):
            threads(number)
            for rows in (slice(0, 1), slice(5, 12), slice(30, 129)):
                np.testing.assert_array_equal(CPU.linear_int8_both(x[rows], weight, scales, 100), whole[rows])

    def test_how_far_results_are_off(self) -> None:
        """The error's norm over the result's norm, for normal weights and inputs."""
        nyala.manual_seed(0)
        layer = nn.Linear(768, 256)
        layer.weight.data.normal_()
        x = nyala.randn(32, 768)
        expected = layer(x).detach().numpy()
        with nyala.no_grad():
            got = nn.QuantizedLinear.from_linear(layer, activations="int8")(x).numpy()
        assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 0.016


class TestBFloat16:
    @pytest.mark.parametrize(("rows", "width", "outputs", "_"), SIZES)
    def test_has_the_bits_of_linear(self, rows: int, width: int, outputs: int, _: int) -> None:
        x, bias, residual = normal(rows, width), normal(outputs), normal(rows, outputs)
        weight = np.asfortranarray(normal(outputs, width).astype(BFLOAT16))
        for after in (None, After(bias, bias, residual, "silu")):
            expected = CPU.linear(wide(x), weight.astype(np.float32), bias, after)
            for lies in (weight, np.ascontiguousarray(weight)):
                np.testing.assert_array_equal(CPU.linear_bf16_both(x, lies, bias, after), expected)

    @pytest.mark.parametrize("seed", range(12))
    def test_has_the_bits_of_linear_on_numbers_of_all_sizes(self, seed: int) -> None:
        """Exponents far apart, sums that cancel, zeros, infinities, numbers near and below the smallest normal one."""
        rng = np.random.default_rng(seed)
        spread = (4, 30, 60, 100)[seed % 4]

        def any_size(*shape: int) -> Any:
            x = np.ldexp(rng.uniform(1, 2, shape) * rng.choice([-1, 1], shape), rng.integers(-spread, min(spread, 60), shape))
            x[rng.random(shape) < 0.05] = 0
            return x.astype(np.float32)

        x, weight = any_size(40, 700), any_size(90, 700)
        x[:, 350:], weight[:, 350:] = x[:, :350], -weight[:, :350]  # exact cancellation: what is left is a rounding
        if seed % 3 == 0:
            x[7, 3], x[11, 650], weight[5, 5] = np.inf, np.nan, -np.inf
        if seed % 3 == 1:
            x *= np.float32(2.0**-110)  # numbers and products that float32 has only below its smallest normal one
        if seed % 3 == 2:
            x[::6] *= np.float32(2.0**-115)
        half = np.asfortranarray(weight.astype(BFLOAT16))
        with np.errstate(all="ignore"):
            got, expected = CPU.linear_bf16_both(x, half), CPU.linear(wide(x), half.astype(np.float32))
        np.testing.assert_array_equal(got, expected)

    def test_the_bits_depend_neither_on_the_rows_beside_nor_on_the_threads(self, threads: Any) -> None:
        x, weight = normal(130, 300), np.asfortranarray(normal(200, 300).astype(BFLOAT16))
        whole = CPU.linear_bf16_both(x, weight)
        for number in (1, 2, 3):
            threads(number)
            for rows in (slice(0, 1), slice(5, 12), slice(30, 129)):
                np.testing.assert_array_equal(CPU.linear_bf16_both(x[rows], weight), whole[rows])


PRINT = """
import ml_dtypes, numpy as np, zlib
from nyala.core.kernels import CPU
from nyala.core.kernels.cpu.matrix.dots import BFLOAT16, INT8
rng = np.random.default_rng(0)
out = []
for rows, depth, columns in ((13, 300, 131), (100, 40, 257), (5, 2500, 70), (9, 2500, 70)):
    x = rng.standard_normal((rows, depth), dtype=np.float32)
    w = np.asfortranarray(rng.integers(-127, 128, (columns, depth)).astype(np.int8))
    h = np.asfortranarray(rng.standard_normal((columns, depth), dtype=np.float32).astype(ml_dtypes.bfloat16))
    s = rng.uniform(0.1, 1, (columns, -(-depth // 100))).astype(np.float32)
    out += [CPU.linear_int8_both(x, w, s, 100).tobytes(), CPU.linear_bf16_both(x, h).tobytes()]
print(INT8.grown.__name__, BFLOAT16.grown.__name__, zlib.crc32(b"".join(out)))
"""


def on(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_bits_do_not_depend_on_the_instructions_of_the_machine() -> None:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if not features.get("fma") or not features.get("avx2"):
        pytest.skip("this processor has one way")
    here = on()
    narrow = "+avx,+avx2,+fma,+sse2,+sse4.2,+bmi2"
    assert on(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=narrow) == ["_four_apart", "_chain", here[2]]
    assert on(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="+sse4.2,+avx,+fma") == ["_four_apart", "_chain", here[2]]
    if features.get("avxvnni"):
        assert on(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=f"{narrow},+avxvnni") == ["_four", "_chain", here[2]]
    if features.get("avx512bw"):
        wide = f"{narrow},+avx512f,+avx512bw,+avx512vl,+avx512dq"
        assert on(NUMBA_CPU_NAME="skylake-avx512", NUMBA_CPU_FEATURES=wide) == ["_four_apart", "_chain", here[2]]


class TestModules:
    @pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
    @pytest.mark.parametrize("half", [np.float16, BFLOAT16, np.float64])
    def test_inputs_of_other_dtypes(self, dtype: str, half: Any) -> None:
        layer = nn.quantize(nn.Linear(30, 20), dtype, activations=dtype)
        x = nyala.from_numpy(normal(12, 30).astype(half))
        with nyala.no_grad():
            got = layer(x)
            assert got.dtype == half
            expected = layer(x.to("float32")).numpy()
        np.testing.assert_allclose(got.numpy().astype(np.float32), expected, rtol=1e-2, atol=1e-2)

    @pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
    def test_a_model_says_so_and_is_saved_and_loaded(self, dtype: str) -> None:
        nyala.manual_seed(0)
        net = nn.quantize(nn.Sequential(nn.Linear(40, 30), nn.GELU(), nn.Linear(30, 20)), dtype, activations=dtype)
        other = nn.quantize(nn.Sequential(nn.Linear(40, 30), nn.GELU(), nn.Linear(30, 20)), dtype, activations=dtype)
        other.load_state_dict({name: t.numpy().copy() for name, t in net.state_dict().items()})
        assert f"activations={dtype}" in repr(net[0])
        x = nyala.from_numpy(normal(50, 40))
        with nyala.inference_mode():
            whole = net(x).numpy()
            np.testing.assert_array_equal(other(x).numpy(), whole)
            np.testing.assert_array_equal(net(x[3:4]).numpy(), whole[3:4])

    @pytest.mark.parametrize("shape", [(0, 6), (3, 0), (0, 0)])
    def test_empty(self, shape: tuple[int, int]) -> None:
        weight, scales = np.zeros((5, shape[1]), np.int8), np.ones((5, 1), np.float32)
        x = np.ones(shape, np.float32)
        assert CPU.linear_int8_both(x, weight, scales, max(1, shape[1])).tolist() == np.zeros((shape[0], 5)).tolist()
        assert CPU.linear_bf16_both(x, weight.astype(BFLOAT16)).tolist() == np.zeros((shape[0], 5)).tolist()

    @pytest.mark.parametrize(("dtype", "activations"), [("int8", "bfloat16"), ("bfloat16", "int8"), ("int8", "int4")])
    def test_activations_of_another_dtype_are_refused(self, dtype: str, activations: str) -> None:
        with pytest.raises(
            ArgumentError, match=f"(?s)activations='{activations}' with weights of {dtype}.*'float32' or '{dtype}'"
        ):
            nn.quantize(nn.Linear(4, 3), dtype, activations=activations)
        weight = nyala.ones(3, 4, dtype=dtype)
        with pytest.raises(ArgumentError, match=f"quantized_linear: activations='{activations}'"):
            quantized_linear(nyala.ones(2, 4), weight, nyala.ones(3, 1), activations=activations)
