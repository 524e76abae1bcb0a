"""Products with weights of few bits on CUDA: the bits of ``linear`` with the widened weight, and the reference's numbers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import quantized as reference
from nyala.core.kernels.reference.after import After

pytestmark = pytest.mark.usefixtures("cuda")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 1.5e-3, "bfloat16": 1.5e-2}
# rows, outputs, width, group
SHAPES = [(1, 1, 1, 1), (1, 6, 2056, 128), (3, 5, 33, 7), (8, 9, 64, 64), (70, 65, 40, 16), (9, 3, 37, 5)]
PAIRS = [(1, 1, 1, 32), (1, 6, 2056, 128), (3, 5, 33, 32), (8, 9, 70, 64), (70, 65, 40, 32), (9, 3, 37, 32)]
rng = np.random.default_rng(3)


def gpu(x: np.ndarray) -> Any:
    return devices.move(x, "cuda:0")


def cpu(x: Any) -> np.ndarray:
    return devices.move(x, "cpu")


def exact(x: Any) -> Any:
    return None if x is None else cpu(x).astype(np.float64)


def numbers(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return gpu(rng.standard_normal(shape).astype(DTYPES[dtype]))


def whole(outputs: int, width: int, group: int) -> tuple[Any, Any]:
    scales = rng.uniform(0.004, 0.016, (outputs, -(-width // group))).astype(np.float32)
    return gpu(rng.integers(-127, 128, (outputs, width)).astype(np.int8)), gpu(scales)


def pairs(outputs: int, width: int, group: int) -> tuple[Any, Any]:
    scales = rng.uniform(-0.4, 0.4, (outputs, -(-width // group))).astype(ml_dtypes.bfloat16)
    return gpu(rng.integers(0, 256, (outputs, -(-width // 2))).astype(np.uint8)), gpu(scales)


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(exact(a) - b).max() / max(1, np.abs(b).max()))


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "outputs", "width", "group"), SHAPES)
def test_weights_of_few_bits(rows: int, outputs: int, width: int, group: int, dtype: str) -> None:
    x, (weight, scales) = numbers((rows, width), dtype), whole(outputs, width, group)
    bias, table = numbers((outputs,), dtype), kernels.of(x)
    wide = reference.dequantized(cpu(weight), cpu(scales), group)
    y = table.linear_int8(x, weight, scales, group, bias, After(activation="silu"))
    assert y.dtype == x.dtype
    sums = exact(x) @ wide.T.astype(np.float64) + exact(bias)
    assert difference(y, sums / (1 + np.exp(-sums))) < TOLERANCE[dtype]
    short = numbers((outputs, width), "bfloat16")
    assert difference(table.linear_bf16(x, short, bias), exact(x) @ exact(short).T + exact(bias)) < TOLERANCE[dtype]


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "outputs", "width", "group"), PAIRS)
def test_two_numbers_a_byte(rows: int, outputs: int, width: int, group: int, dtype: str) -> None:
    x, (weight, scales), bias = numbers((rows, width), dtype), pairs(outputs, width, group), numbers((outputs,), dtype)
    wide = reference.unpacked(cpu(weight), cpu(scales), group, width)
    table, after = kernels.of(x), After(residual=numbers((rows, outputs), dtype))
    y = table.linear_int4(x, weight, scales, group, bias, after)
    assert y.dtype == x.dtype
    assert difference(y, exact(x) @ wide.T.astype(np.float64) + exact(bias) + exact(after.residual)) < TOLERANCE[dtype]
    if dtype == "float32":
        assert cpu(table.linear_int4(x, weight, scales, group)).tobytes() == cpu(table.linear(x, gpu(wide))).tobytes()


@pytest.mark.parametrize(("rows", "outputs", "width", "group"), SHAPES)
def test_the_bits_are_those_of_the_widened_weight(rows: int, outputs: int, width: int, group: int) -> None:
    x, (weight, scales) = numbers((rows, width)), whole(outputs, width, group)
    table, wide = kernels.of(x), gpu(reference.dequantized(cpu(weight), cpu(scales), group))
    assert cpu(table.linear_int8(x, weight, scales, group)).tobytes() == cpu(table.linear(x, wide)).tobytes()
    short = numbers((outputs, width), "bfloat16")
    assert cpu(table.linear_bf16(x, short)).tobytes() == cpu(table.linear(x, gpu(cpu(short).astype(np.float32)))).tobytes()


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "outputs", "width", "group"), SHAPES)
def test_both_in_few_bits(rows: int, outputs: int, width: int, group: int, dtype: str) -> None:
    x, (weight, scales) = numbers((rows, width), dtype), whole(outputs, width, group)
    x[0, 0] = 0
    bias, table = numbers((outputs,)), kernels.of(x)
    given = [cpu(a) for a in (x, weight, scales)]
    expected = reference.linear_int8_both(*given, group).astype(x.dtype)
    assert cpu(table.linear_int8_both(x, weight, scales, group)).tobytes() == expected.tobytes()
    with_bias = reference.linear_int8_both(*given, group, cpu(bias))
    found = table.linear_int8_both(x, weight, scales, group, bias)
    assert found.dtype == x.dtype and np.allclose(exact(found), with_bias.astype(float), 2e-2, 2e-2)
    short, rounded = numbers((outputs, width), "bfloat16"), exact(reference.rounded(cpu(x)))
    assert difference(table.linear_bf16_both(x, short), rounded @ exact(short).T) < TOLERANCE[dtype]


def test_long_groups_are_added_in_parts() -> None:
    x, weight, scales = numbers((2, 70000)), gpu(np.full((1, 70000), 127, np.int8)), gpu(np.ones((1, 1), np.float32))
    expected = reference.linear_int8_both(cpu(x), cpu(weight), cpu(scales), 70000)
    assert cpu(kernels.of(x).linear_int8_both(x, weight, scales, 70000)).tobytes() == expected.tobytes()


def test_rows_that_are_not_finite_give_nan() -> None:
    x, (weight, scales) = numbers((3, 20)), whole(4, 20, 8)
    x[1, 3], x[2, 19] = np.inf, np.nan
    y = cpu(kernels.of(x).linear_int8_both(x, weight, scales, 8))
    assert np.isfinite(y[0]).all() and np.isnan(y[1:]).all()


def test_weights_that_lie_by_columns_and_other_dtypes() -> None:
    x, (weight, scales) = numbers((2, 3, 20)), whole(4, 20, 8)
    columns, table = gpu(np.asfortranarray(cpu(weight))), kernels.of(x)
    assert columns.strides[0] == 1
    for name in ("linear_int8", "linear_int8_both"):
        by_rows, by_columns = (getattr(table, name)(x, w, scales, 8) for w in (weight, columns))
        assert by_rows.shape == (2, 3, 4) and cpu(by_rows).tobytes() == cpu(by_columns).tobytes()
    y = table.linear_int8(x, weight, scales.astype(np.float64), 8)
    assert difference(y, exact(x) @ reference.dequantized(cpu(weight), exact(scales), 8).T) < 2e-6
    assert table.linear_int8(x[:0], weight, scales, 8).shape == (0, 3, 4)


def test_pairs_that_lie_by_columns_or_go_to_the_reference() -> None:
    x, (weight, scales) = numbers((2, 3, 40)), pairs(4, 40, 32)
    table, expected = kernels.of(x), exact(x) @ reference.unpacked(cpu(weight), cpu(scales), 32, 40).T.astype(np.float64)
    columns = gpu(np.asfortranarray(cpu(weight))), gpu(np.asfortranarray(cpu(scales)))
    assert columns[0].strides[0] == 1
    by_rows, by_columns = (cpu(table.linear_int4(x, *lies, 32)) for lies in ((weight, scales), columns))
    assert by_rows.shape == (2, 3, 4) and by_rows.tobytes() == by_columns.tobytes()
    assert difference(table.linear_int4(x, weight, scales.astype(np.float32), 32), expected) < 2e-6
    assert table.linear_int4(x[:0], weight, scales, 32).shape == (0, 3, 4)


@pytest.mark.parametrize("dtype", ["int4", "int8"])
def test_a_layer_lays_its_weight_by_rows_where_it_is_used(dtype: str) -> None:
    layer = nyala.nn.QuantizedLinear.from_linear(nyala.nn.Linear(20, 6), dtype).eval()
    x = nyala.tensor(rng.standard_normal((3, 20)).astype(np.float32))
    expected = layer(x).numpy()
    assert layer.weight.array.flags.f_contiguous and not layer.weight.array.flags.c_contiguous
    layer.to("cuda")
    assert np.allclose(layer(x.cuda()).cpu().numpy(), expected, 1e-5, 1e-6) and layer.weight.array.flags.c_contiguous
    layer.to("cpu")
    assert layer(x).numpy().tobytes() == expected.tobytes()
