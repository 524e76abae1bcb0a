"""Cells of recurrent networks on CUDA against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import recurrent as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

# the widths of each kernel's arguments, in widths of the state
ARGUMENTS = {"lstm_cell": (4, 1), "lstm_cell_backward": (1, 1, 1, 5), "gru_cell": (3, 3, 1), "gru_cell_backward": (1, 3, 1, 3)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (5, 130)])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_cells(name: str, shape: tuple[int, int], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((shape[0], width * shape[1])).astype(dtype) for width in ARGUMENTS[name]]
    there = [devices.move(a, "cuda:0") for a in arrays]
    there[0] = devices.move(np.asfortranarray(arrays[0]), "cuda:0")  # not one row after another
    ours = getattr(kernels.of(there[0]), name)(*there)
    expected = getattr(reference, name)(*(a.astype(np.float64) for a in arrays))
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape and a.dtype == dtype
        assert np.abs(devices.move(a, "cpu") - b).max() < (1e-6 if dtype == np.float32 else 1e-14) * (1 + np.abs(b).max())


def test_a_step_of_nothing() -> None:
    gates, c = (devices.move(np.ones((0, w), np.float32), "cuda:0") for w in (8, 2))
    assert [a.shape for a in kernels.of(c).lstm_cell(gates, c)] == [(0, 2), (0, 2), (0, 10)]
