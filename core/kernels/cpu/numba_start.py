"""Numba without SciPy's share of the start.

Before its first compiled function runs, Numba imports SciPy's linear algebra where SciPy is installed, to learn no more than
whether it is: a sixth of the time from the start of a process to a first prediction. Nothing of nyala calls it. Here the question
is answered by a look for the package. Compiled functions of others still find SciPy's BLAS when they call it.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Any

_ASKS, _ANSWERS = "numba.np.arraymath", "numba.np.linalg"


def _look_for_scipy() -> None:
    if find_spec("scipy") is None:
        raise ImportError("no module named scipy")


def start_without_scipy() -> None:
    """Let Numba's modules load without SciPy; does nothing where they are loaded, or are made differently."""
    if _ASKS in sys.modules:
        return
    answers: Any = importlib.import_module(_ANSWERS)
    real = getattr(answers, "ensure_blas", None)
    if real is None:
        return
    answers.ensure_blas = _look_for_scipy
    try:
        asks: Any = importlib.import_module(_ASKS)
    finally:
        answers.ensure_blas = real
    asks.ensure_blas = real
