"""Tensors print as torch prints them: its own texts, frozen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest

CASES = json.loads((Path(__file__).parents[1] / "goldens" / "printing.json").read_text())


def array_of(case: dict[str, Any]) -> np.ndarray[Any, Any]:
    size = math.prod(case["shape"])
    if case["made_by"] == "wave":
        flat: Any = np.cos(0.7 * np.arange(size) + 0.3) * case["scale"]
    elif case["made_by"] == "range":
        flat = np.arange(size)
    else:
        kind = {"c": complex, "f": float, "i": int, "u": int, "b": lambda v: v == "True"}[np.dtype(case["dtype"]).kind]
        flat = np.array([kind(v) for v in case["values"]], case["dtype"])
    return np.asarray(flat, case["dtype"]).reshape(case["shape"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['dtype']}-{case['shape']}-{case['text'][7:27]}")
def test_printing_equals_torch(case: dict[str, Any]) -> None:
    assert repr(nyala.from_numpy(array_of(case))) == case["text"]


def test_what_is_not_the_default_is_said() -> None:
    x = nyala.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x * 0.5) == "tensor([0.5000, 0.5000], grad_fn=<MulBackward>)"
    assert repr(nyala.ones(2, dtype="bfloat16") * 0.3) == "tensor([0.3008, 0.3008], dtype=bfloat16)"
    assert str(nyala.tensor(2.0)) == "tensor(2.)"


def test_a_long_line_breaks_before_what_is_added() -> None:
    assert repr(nyala.ones(15, requires_grad=True)).endswith("1.],\n       requires_grad=True)")


def test_format() -> None:
    assert f"{nyala.tensor(2.5):.3f} {nyala.tensor(3)}" == "2.500 tensor(3)"
    with pytest.raises(ValueError, match="format"):
        f"{nyala.ones(2):.3f}"
