"""Element-wise kernels, written by a program, against the reference in float64; chains have the bits of their single steps."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels import expressions
from nyala.core.kernels.cuda import chains, elementwise
from nyala.core.kernels.cuda.running import compiler
from nyala.core.kernels.reference import elementwise as reference

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 4e-15, "float16": 1e-3, "bfloat16": 8e-3}
NUMBERS: dict[str, list[tuple[Any, ...]]] = {
    "clip": [(-1.0, 2.0), (None, 0.5), (0.5, None)],
    "elu": [(0.5,)],
    "gelu": [("none",), ("tanh",), ("quick",)],
    "hardtanh_backward": [(-1.0, 1.5)],
    "leaky_relu": [(0.25,)],
    "softplus": [(2.0, 3.0)],
}
for name in ("elu", "gelu", "leaky_relu", "softplus"):
    NUMBERS[f"{name}_backward"] = NUMBERS[name]


def on_device(x: Any, dtype: str) -> Any:
    return devices.move(x.astype(DTYPES[dtype]), "cuda:0")


def exact(x: Any) -> Any:
    return devices.move(x, "cpu").astype(np.float64)


def given(count: int, shape: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(1)
    return [on_device(np.abs(x) + 0.1 if count == 0 else x, dtype) for x in 3 * rng.standard_normal((max(count, 1), *shape))]


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", elementwise.NAMES)
def test_is_the_reference(name: str, dtype: str) -> None:
    count = 0 if name == "rsqrt" else 2 if name.endswith("_backward") else 1
    for shape in ((3, 347), (1,), ()):
        arrays = given(count, shape, dtype)
        for numbers in NUMBERS.get(name, [()]):
            found = getattr(kernels.of(arrays[0]), name)(*arrays, *numbers)
            expected = getattr(reference, name)(*map(exact, arrays), *numbers)
            assert found.dtype == arrays[0].dtype and found.shape == shape
            np.testing.assert_allclose(exact(found), expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())


@pytest.mark.usefixtures("cuda")
def test_the_ends_and_nan() -> None:
    x = np.array([-np.inf, -1e30, -0.0, 0.0, 1e30, np.inf, np.nan], np.float32)
    grad, device = np.ones(7, np.float32), [devices.move(np.ones(7, np.float32), "cuda:0"), devices.move(x, "cuda:0")]
    with np.errstate(all="ignore"):
        for name in ("relu", "sigmoid", "silu", "clip", "hardswish", "softplus", "leaky_relu", "elu", "erf", "relu_backward"):
            numbers = NUMBERS.get(name, [()])[0]
            arrays, on = ((grad, x), device) if name.endswith("_backward") else ((x,), device[1:])
            found = exact(getattr(kernels.of(on[0]), name)(*on, *numbers))
            np.testing.assert_array_equal(np.isnan(found), np.isnan(getattr(reference, name)(*arrays, *numbers)), err_msg=name)


@pytest.mark.usefixtures("cuda")
def test_memory_order_stays_and_other_arrays_go_to_the_reference() -> None:
    x = on_device(np.random.default_rng(2).standard_normal((4, 6, 5)), "float32")
    turned, table = x.transpose(2, 0, 1), kernels.of(x)
    assert table.silu(turned).strides == turned.strides
    for view in (turned, x[:, 1:4], x[::2, :, ::-1]):
        np.testing.assert_allclose(exact(table.silu(view)), reference.silu(exact(view)), atol=1e-6)
        np.testing.assert_allclose(
            exact(table.silu_backward(view, view.copy())), reference.silu_backward(*[exact(view)] * 2), atol=1e-6
        )
    whole = devices.move(np.array([-2, 3]), "cuda:0")
    assert table.relu(whole).tolist() == [0, 3] and table.relu(x[:0]).shape == (0, 6, 5)


STEPS = [
    chains.Step("multiply", (-1, -2)),
    chains.Step("add", (0, -3)),
    chains.Step("gelu tanh", (1,)),
    chains.Step("leaky_relu", (2,), (0.5,)),
    chains.Step("true_divide", (3, -4)),
]


@pytest.mark.usefixtures("cuda", "schedule")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_chain_has_the_bits_of_its_steps(dtype: str) -> None:
    rng = np.random.default_rng(3)
    for rows, width in ((7, 40), (3, 33), (1, 1)):
        a, row, column, one = (on_device(rng.standard_normal(s), dtype) for s in ((rows, width), (width,), (rows, 1), (1,)))
        found = chains.run(STEPS, [a, row, column, one], ["full", "row", "column", "one"], width)
        rows_of, columns_of, ones_of = (on_device(np.broadcast_to(exact(x), a.shape), dtype) for x in (row, column, one))
        values = [a, rows_of, columns_of, ones_of]
        for step in STEPS:
            operands = [values[-1 - o] if o < 0 else values[4 + o] for o in step.operands]
            places = tuple(-1 - i for i in range(len(operands)))
            values.append(chains.run([step._replace(operands=places)], operands, ["full"] * len(operands)))
        np.testing.assert_array_equal(exact(found), exact(values[-1]))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
def test_every_expression_compiles(dtype: str) -> None:
    pytest.importorskip("cupy.cuda")
    names = [*expressions.SIMPLE, *expressions.COMPOSED]
    shape = tuple((name, (k - 1, -2) if k else (-1, -2), 2) for k, name in enumerate(names))
    assert all(map(chains.known, names)) and not chains.known("sort")
    text = chains.text_of(shape, ("full", "row"), dtype)
    assert compiler.compiled(text, "chain", "sm_90")[:4] == b"\x7fELF"
