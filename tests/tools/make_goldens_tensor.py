"""Freezes torch's promotion table and torch's printing into ``goldens/promotion.json`` and ``goldens/printing.json``.

Run in the environment of ``requirements.txt``: ``python tests/tools/make_goldens_tensor.py``.

``promotion.json``: for every pair of dtypes the dtype of a sum of two vectors ("both"), of a vector and a tensor without
dimensions ("zero_dim"), and of a vector and a Python number ("scalar").
``printing.json``: a list of {"dtype", "shape", "made_by", "scale", "values", "text"}: the array is made of its "values" as Python
writes them, or is a "wave" (cos(0.7 i + 0.3) times the scale) or a "range"; "text" is torch's own, without the package's name.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDENS = Path(__file__).parents[1] / "goldens"
DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
SCALARS = {"True": True, "3": 3, "2.5": 2.5, "1j": 1j}


def made(dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.ones(shape, dtype=getattr(torch, dtype))


def result(a: Any, b: Any) -> str:
    return str(torch.result_type(a, b)).removeprefix("torch.")


def promotion() -> dict[str, Any]:
    return {
        "dtypes": DTYPES,
        "both": {a: {b: result(made(a, (2,)), made(b, (2,))) for b in DTYPES} for a in DTYPES},
        "zero_dim": {a: {b: result(made(a, (2,)), made(b, ())) for b in DTYPES} for a in DTYPES},
        "scalar": {a: {name: result(made(a, (2,)), value) for name, value in SCALARS.items()} for a in DTYPES},
    }


def wave(*shape: int) -> np.ndarray[Any, Any]:
    return np.cos(0.7 * np.arange(math.prod(shape)) + 0.3).reshape(shape)


def arrays() -> list[np.ndarray[Any, Any]]:
    f4 = np.float32
    return [
        *(np.array(v, f4) for v in (1.5, 3, 0.1, 100000.5, [1, 2], [0.5, 2], [1e-5, 1], [1e9, 1], [0, 0], [-1, 10, 100])),
        *(np.array(v, f4) for v in ([123456, 1], [0.00012, 0.3], [-0.0, 1.5])),
        *(np.array(v, f4) for v in ([math.nan, 1, math.inf], [math.nan, 0.5, -math.inf])),
        *(np.array(v) for v in (3, [1, -20], [[1, -20], [300, 4]], [True, False], [1.0, 2], [1.25e-7])),
        *(np.zeros(s, f4) for s in ((0,), (2, 0), (0, 3))),
        *(np.array(v, "complex64") for v in ([1 + 2j, 0.5 - 3j], [1 + 2j, -2j])),
        *(wave(*s).astype(f4) for s in ((3, 4), (2, 3, 4), (1, 1, 2, 2), (30,), (40, 40), (7, 7, 30))),
        (wave(100) * 1000).astype(f4), np.arange(1200), np.arange(50), np.arange(3, dtype="int32"), np.array([5], "uint8"),
        np.array([0.1, 2], "float16"), np.zeros((2, 0), "int64"),
    ]  # fmt: skip


def printing() -> list[dict[str, Any]]:
    cases = []
    for array in arrays():
        text = repr(torch.from_numpy(array.copy())).replace("torch.", "")
        numbers = array.reshape(-1)
        values = [str(v) for v in (numbers.tolist() if array.size < 40 else [])]
        recipe = "values" if array.size < 40 else "wave" if array.dtype.kind == "f" else "range"
        scale = 1000 if array.shape == (100,) else 1
        kind = {"dtype": str(array.dtype), "shape": list(array.shape)}
        cases.append({**kind, "made_by": recipe, "scale": scale, "values": values, "text": text})
    return cases


if __name__ == "__main__":
    (GOLDENS / "promotion.json").write_text(json.dumps(promotion(), indent=1) + "\n")
    (GOLDENS / "printing.json").write_text(json.dumps(printing(), indent=1) + "\n")
