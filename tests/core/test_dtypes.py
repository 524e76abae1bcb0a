"""Dtypes: names, promotion as torch's frozen table has it, and the default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core import dtypes
from nyala.errors import DtypeError

TABLE = json.loads((Path(__file__).parents[1] / "goldens" / "promotion.json").read_text())
NUMBERS = {"True": True, "3": 3, "2.5": 2.5, "1j": 1j}


def expected(name: str) -> np.dtype[Any]:
    return dtypes.parse("complex64" if name == "complex32" else name)  # NumPy has no complex32


@pytest.mark.parametrize("a", TABLE["dtypes"])
def test_promotion_equals_torch(a: str) -> None:
    x = nyala.ones(2, dtype=a)
    for b in TABLE["dtypes"]:
        both, alone = nyala.ones(2, dtype=b), nyala.ones((), dtype=b)
        assert (x * both).dtype == expected(TABLE["both"][a][b]), (a, b)
        assert dtypes.promote(x.dtype, both.dtype) == (both * x).dtype
        assert (x * alone).dtype == (alone * x).dtype == expected(TABLE["zero_dim"][a][b]), f"{a} and {b} without dimensions"
    for text, number in NUMBERS.items():
        assert (x * number).dtype == (number * x).dtype == expected(TABLE["scalar"][a][text]), f"{a} and {text}"
        assert nyala.where(x > 0, x, number).dtype == expected(TABLE["scalar"][a][text])


def test_a_half_and_the_other_half_meet_in_float32() -> None:
    assert dtypes.promote(nyala.float16, nyala.bfloat16) == nyala.float32
    assert nyala.cat([nyala.ones(1, dtype="float16"), nyala.ones(1, dtype="bfloat16")]).dtype == nyala.float32


@pytest.mark.parametrize(
    ("given", "name"),
    [("float32", "float32"), (np.float16, "float16"), (float, "float32"), (int, "int64"), (bool, "bool"), (complex, "complex64"),
     ("half", "float16"), ("long", "int64"), ("bfloat16", "bfloat16"), (nyala.int8, "int8"), ("float8_e4m3fn", "float8_e4m3fn")],
)  # fmt: skip
def test_names(given: Any, name: str) -> None:
    assert dtypes.name(dtypes.parse(given)) == name
    assert nyala.zeros(2, dtype=given).dtype == dtypes.ALL[name]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(DtypeError, match=r"unknown dtype 'flaot32'.*did you mean 'float32'"):
        nyala.ones(1, dtype="flaot32")
    with pytest.raises(DtypeError, match="cannot be held by a tensor"):
        nyala.from_numpy(np.array(["a"]))


def test_the_default_dtype() -> None:
    assert dtypes.default_dtype() == nyala.float32
    with dtypes.using_default_dtype("float64"):
        assert nyala.tensor([1.5]).dtype == nyala.ones(1).dtype == (nyala.tensor([1]) / 2).dtype == nyala.float64
        assert repr(nyala.tensor([1.5])) == "tensor([1.5000])"
    assert nyala.tensor([1.5]).dtype == nyala.float32
    with pytest.raises(DtypeError, match="default dtype cannot be int64"):
        nyala.set_default_dtype("int64")


def test_categories() -> None:
    for name in ("float16", "bfloat16", "float32", "float64", "float8_e5m2"):
        assert dtypes.is_floating_point(dtypes.ALL[name]) and dtypes.is_differentiable(dtypes.ALL[name])
    assert not dtypes.is_floating_point(nyala.complex64) and dtypes.is_differentiable(nyala.complex64)
    assert not dtypes.is_differentiable(nyala.int64)


@pytest.mark.parametrize("source", ["float32", "bfloat16", "int32", "bool", "complex64"])
@pytest.mark.parametrize("target", ["float64", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_conversions(source: str, target: str) -> None:
    x = nyala.ones(2, dtype=source)
    y = x.to(target)
    assert y.dtype == dtypes.ALL[target] and y.to("float32").tolist() == [1, 1]


def test_gradients_pass_through_conversions() -> None:
    x = nyala.ones(2, requires_grad=True)
    (x.double().half().bfloat16().float() * 3).sum().backward()
    assert x.grad.dtype == nyala.float32 and x.grad.tolist() == [3, 3]
    z = nyala.ones(2, requires_grad=True)
    (z.to("complex64") * 2j).real.sum().backward()
    assert z.grad.tolist() == [0, 0]
    assert not x.long().requires_grad
