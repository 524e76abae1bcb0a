"""Kernels run without SciPy being loaded, and compiled functions of others still find it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

_KERNEL = """
import sys
import numpy as np
from nyala.core.kernels.cpu.compiled import njit
assert njit()(lambda x: x + 1)(1) == 2
print("scipy.linalg" in sys.modules)
"""
_DOT = """
import numba
print(numba.njit(lambda a: np.dot(a, a))(np.full((2, 2), 2.0)).tolist(), numba.njit(lambda a: np.linalg.det(a))(np.eye(2)))
"""


def _run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_kernels_do_not_load_scipy() -> None:
    assert _run(_KERNEL) == ["False"]


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="SciPy is not installed")
def test_compiled_functions_of_others_find_scipys_blas() -> None:
    assert _run(_KERNEL + _DOT) == ["False", "[[8.0, 8.0], [8.0, 8.0]] 1.0"]


def test_without_scipy_they_are_told_so() -> None:
    script = "import sys\nsys.modules['scipy'] = None\n" + _KERNEL + _DOT
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "np.dot" in done.stderr or "scipy" in done.stderr.lower()
