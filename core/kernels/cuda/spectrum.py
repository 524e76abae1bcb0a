"""Power spectra of windowed pieces: ``spectrum.cu``; long pieces are the FFT library's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import fft as reference
from .running.launching import contiguous, launch, suffix

_LONGEST = 2048  # elements of a piece: 48 KiB of shared memory, and what an FFT would save stays small
_THREADS = 256


def power_spectrum(x: Any, window: Any, hop: int) -> Any:
    dtype, n, length = suffix(x), window.shape[0], x.shape[-1]
    if dtype not in ("f32", "f64") or not 2 <= n <= min(_LONGEST, length) or not x.size:
        return reference.power_spectrum(x, window, hop)
    pieces = (length - n) // hop + 1
    y = cupy().empty((*x.shape[:-1], n // 2 + 1, pieces), x.dtype)
    arrays = (contiguous(x), contiguous(window).astype(np.float64), y)
    grid = math.prod(x.shape[:-1]) * pieces
    launch("spectrum", f"power_spectrum_{dtype}", grid, _THREADS, *arrays, length, pieces, n, hop, shared=3 * 8 * n)
    return y
