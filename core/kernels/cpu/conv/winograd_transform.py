"""The transforms of Winograd's convolution F(4x4, 3x3) on 16 channels at a time: inputs, outputs, weights, and their adjoints.

y = A^T [(G w G^T) * (B^T d B)] A for a tile of 6 x 6 input pixels d and 4 x 4 output pixels y (Lavin and Gray, "Fast
algorithms for convolutional neural networks", 2015). The polynomials are taken at 0, +-5/8, +-3/2 and infinity: opposite points
share half of their arithmetic, the points' powers are exact in float32, and of all such points these keep the error smallest:
half that of the usual 0, +-1, +-2. Addresses are of float32, steps in bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lanes.simd import add, at_least, at_most, fma, load_at, multiply, splat, store_at, subtract
from ..matrix.gemm import RELU6
from ..running.compiled import EXACT, njit

SIDE = 6
"""Rows and columns of an input tile."""
STRIDE = 4
"""Rows and columns of an output tile."""
PLACES = SIDE * SIDE
"""Products for each tile, channel in and channel out."""
VECTOR = 64
"""Bytes of 16 floats."""

_f = np.float32
_A, _B = 5 / 8, 3 / 2
_A1, _A2, _A3, _B1, _B2, _B3 = _f(_A), _f(_A**2), _f(_A**3), _f(_B), _f(_B**2), _f(_B**3)
_MINUS_A1, _MINUS_A2, _MINUS_B1, _MINUS_B2 = -_A1, -_A2, -_B1, -_B2
_MINUS_SUM, _PRODUCT = _f(-(_A**2) - _B**2), _f(_A**2 * _B**2)
_ONE = _f(1 / (_A**2 * _B**2))  # the weights' factors
_AT_A = _f(1 / (2 * _A**2 * (_A**2 - _B**2)))
_AT_B = _f(1 / (2 * _B**2 * (_B**2 - _A**2)))


@njit(**EXACT)
def _input_line(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> Any:
    """B^T d."""
    even_a, odd_a = fma(splat(_MINUS_B2), d2, d4), fma(splat(_MINUS_B2), d1, d3)
    even_b, odd_b = fma(splat(_MINUS_A2), d2, d4), fma(splat(_MINUS_A2), d1, d3)
    return (
        fma(splat(_PRODUCT), d0, fma(splat(_MINUS_SUM), d2, d4)),
        fma(splat(_A1), odd_a, even_a),
        fma(splat(_MINUS_A1), odd_a, even_a),
        fma(splat(_B1), odd_b, even_b),
        fma(splat(_MINUS_B1), odd_b, even_b),
        fma(splat(_PRODUCT), d1, fma(splat(_MINUS_SUM), d3, d5)),
    )


@njit(**EXACT)
def _output_line(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> Any:
    """A^T m."""
    even_a, odd_a, even_b, odd_b = add(m1, m2), subtract(m1, m2), add(m3, m4), subtract(m3, m4)
    return (
        add(add(m0, even_a), even_b),
        fma(splat(_B1), odd_b, multiply(splat(_A1), odd_a)),
        fma(splat(_B2), even_b, multiply(splat(_A2), even_a)),
        fma(splat(_B3), odd_b, fma(splat(_A3), odd_a, m5)),
    )


@njit(**EXACT)
def _weight_line(g0: Any, g1: Any, g2: Any) -> Any:
    """G g."""
    even_a, even_b = fma(splat(_A2), g2, g0), fma(splat(_B2), g2, g0)
    return (
        multiply(splat(_ONE), g0),
        multiply(splat(_AT_A), fma(splat(_A1), g1, even_a)),
        multiply(splat(_AT_A), fma(splat(_MINUS_A1), g1, even_a)),
        multiply(splat(_AT_B), fma(splat(_B1), g1, even_b)),
        multiply(splat(_AT_B), fma(splat(_MINUS_B1), g1, even_b)),
        g2,
    )


@njit(**EXACT)
def _gradient_line(g0: Any, g1: Any, g2: Any, g3: Any) -> Any:
    """A g, the adjoint of ``_output_line``."""
    even_a, odd_a = fma(splat(_A2), g2, g0), fma(splat(_A3), g3, multiply(splat(_A1), g1))
    even_b, odd_b = fma(splat(_B2), g2, g0), fma(splat(_B3), g3, multiply(splat(_B1), g1))
    return g0, add(even_a, odd_a), subtract(even_a, odd_a), add(even_b, odd_b), subtract(even_b, odd_b), g3


@njit(**EXACT)
def _weight_back_line(p0: Any, p1: Any, p2: Any, p3: Any, p4: Any, p5: Any) -> Any:
    """G^T p, the adjoint of ``_weight_line``."""
    even_a, odd_a = multiply(splat(_AT_A), add(p1, p2)), multiply(splat(_AT_A), subtract(p1, p2))
    even_b, odd_b = multiply(splat(_AT_B), add(p3, p4)), multiply(splat(_AT_B), subtract(p3, p4))
    return (
        fma(splat(_ONE), p0, add(even_a, even_b)),
        fma(splat(_B1), odd_b, multiply(splat(_A1), odd_a)),
        fma(splat(_B2), even_b, fma(splat(_A2), even_a, p5)),
    )


@njit(**EXACT)
def input_tile(source: Any, row_step: Any, pixel_step: Any, target: Any, place_step: Any, between: Any) -> None:
    """6 x 6 pixels -> 36 places. ``between``: scratch of 36 vectors."""
    for j in range(SIDE):
        at = source + j * pixel_step
        lines = _input_line(
            load_at(at), load_at(at + row_step), load_at(at + 2 * row_step), load_at(at + 3 * row_step),
            load_at(at + 4 * row_step), load_at(at + 5 * row_step),
        )  # fmt: skip
        _spread(between + VECTOR * j, SIDE * VECTOR, lines)
    for i in range(SIDE):
        at = between + SIDE * VECTOR * i
        _spread(target + SIDE * i * place_step, place_step, _input_line(*_six(at)))


@njit(**EXACT)
def _ended(lines: Any, ends: Any, at: Any, step: Any) -> Any:
    """What ``gemm.finish`` does, on four vectors; ``at``: bytes from the residual's first to the first of them."""
    y0, y1, y2, y3 = lines
    bias, scale, shift, residual, activation = ends
    if bias:
        b = load_at(bias)
        y0, y1, y2, y3 = add(y0, b), add(y1, b), add(y2, b), add(y3, b)
    if scale:
        m, t = load_at(scale), load_at(shift)
        y0, y1, y2, y3 = fma(y0, m, t), fma(y1, m, t), fma(y2, m, t), fma(y3, m, t)
    if residual:
        r = residual + at
        y0, y1 = add(y0, load_at(r)), add(y1, load_at(r + step))
        y2, y3 = add(y2, load_at(r + 2 * step)), add(y3, load_at(r + 3 * step))
    if activation:
        low = splat(_f(0.0))
        y0, y1, y2, y3 = at_least(y0, low), at_least(y1, low), at_least(y2, low), at_least(y3, low)
        if activation == RELU6:
            top = splat(_f(6.0))
            y0, y1, y2, y3 = at_most(y0, top), at_most(y1, top), at_most(y2, top), at_most(y3, top)
    return y0, y1, y2, y3


@njit(**EXACT)
def output_tile(source: Any, place_step: Any, target: Any, row_step: Any, pixel_step: Any, between: Any, ends: Any) -> None:
    """36 places -> 4 x 4 pixels. ``between``: scratch of 24 vectors.

    ``ends`` are those of ``gemm.finish``, at the addresses for these channels and pixels, the residual's pixels as far apart as
    the target's; of activations there may be RELU and RELU6.
    """
    for j in range(SIDE):
        at, step = source + j * place_step, SIDE * place_step
        lines = _output_line(
            load_at(at), load_at(at + step), load_at(at + 2 * step), load_at(at + 3 * step), load_at(at + 4 * step),
            load_at(at + 5 * step),
        )  # fmt: skip
        for i in range(STRIDE):
            store_at(between + VECTOR * (SIDE * i + j), lines[i])
    for i in range(STRIDE):
        y0, y1, y2, y3 = _ended(_output_line(*_six(between + SIDE * VECTOR * i)), ends, i * row_step, pixel_step)
        at = target + i * row_step
        store_at(at, y0)
        store_at(at + pixel_step, y1)
        store_at(at + 2 * pixel_step, y2)
        store_at(at + 3 * pixel_step, y3)


@njit(**EXACT)
def weight_tile(source: Any, tap_step: Any, target: Any, place_step: Any) -> None:
    """3 x 3 taps -> 36 places."""
    a = _weight_column(source, 3 * tap_step)
    b = _weight_column(source + tap_step, 3 * tap_step)
    c = _weight_column(source + 2 * tap_step, 3 * tap_step)
    step = SIDE * place_step
    _spread(target, place_step, _weight_line(a[0], b[0], c[0]))
    _spread(target + step, place_step, _weight_line(a[1], b[1], c[1]))
    _spread(target + 2 * step, place_step, _weight_line(a[2], b[2], c[2]))
    _spread(target + 3 * step, place_step, _weight_line(a[3], b[3], c[3]))
    _spread(target + 4 * step, place_step, _weight_line(a[4], b[4], c[4]))
    _spread(target + 5 * step, place_step, _weight_line(a[5], b[5], c[5]))


@njit(**EXACT)
def _weight_column(at: Any, step: Any) -> Any:
    return _weight_line(load_at(at), load_at(at + step), load_at(at + 2 * step))


@njit(**EXACT)
def gradient_tile(source: Any, row_step: Any, pixel_step: Any, target: Any, place_step: Any, between: Any) -> None:
    """4 x 4 pixels of the output's gradient -> 36 places. ``between``: scratch of 24 vectors."""
    for j in range(STRIDE):
        at = source + j * pixel_step
        lines = _gradient_line(load_at(at), load_at(at + row_step), load_at(at + 2 * row_step), load_at(at + 3 * row_step))
        _spread(between + VECTOR * j, STRIDE * VECTOR, lines)
    for i in range(SIDE):
        at = between + STRIDE * VECTOR * i
        lines = _gradient_line(load_at(at), load_at(at + VECTOR), load_at(at + 2 * VECTOR), load_at(at + 3 * VECTOR))
        _spread(target + SIDE * i * place_step, place_step, lines)


@njit(**EXACT)
def weight_back_tile(source: Any, place_step: Any, target: Any, between: Any) -> None:
    """36 places -> 3 x 3 taps, vectors side by side. ``between``: scratch of 18 vectors."""
    for j in range(SIDE):
        at, step = source + j * place_step, SIDE * place_step
        lines = _weight_back_line(
            load_at(at), load_at(at + step), load_at(at + 2 * step), load_at(at + 3 * step), load_at(at + 4 * step),
            load_at(at + 5 * step),
        )  # fmt: skip
        for i in range(3):
            store_at(between + VECTOR * (SIDE * i + j), lines[i])
    for i in range(3):
        lines = _weight_back_line(*_six(between + SIDE * VECTOR * i))
        for j in range(3):
            store_at(target + VECTOR * (3 * i + j), lines[j])


@njit(**EXACT)
def _six(at: Any) -> Any:
    """Six vectors side by side."""
    return (
        load_at(at), load_at(at + VECTOR), load_at(at + 2 * VECTOR), load_at(at + 3 * VECTOR), load_at(at + 4 * VECTOR),
        load_at(at + 5 * VECTOR),
    )  # fmt: skip


@njit(**EXACT)
def _spread(target: Any, step: Any, lines: Any) -> None:
    store_at(target, lines[0])
    store_at(target + step, lines[1])
    store_at(target + 2 * step, lines[2])
    store_at(target + 3 * step, lines[3])
    store_at(target + 4 * step, lines[4])
    store_at(target + 5 * step, lines[5])
