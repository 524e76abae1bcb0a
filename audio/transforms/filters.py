"""Linear filters: SciPy's ``lfilter`` and ``sosfilt``, and the second-order sections of Bristow-Johnson's cookbook.

A section is six numbers, b0 b1 b2 a0 a1 a2, as in SciPy; several in a row are a steeper filter.

Example:
    >>> import nyala
    >>> hum = nyala.ones(8_000)
    >>> clean = sosfilt([highpass(8_000, 80.0), notch(8_000, 50.0)], hum)
    >>> abs(round(clean[-1].item(), 6))
    0.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError
from ...core.ops.iir import all_pole
from ...core.ops.pad import pad
from ...core.ops.shape import narrow
from ...core.tensor import Tensor
from .checks import check_waveform

Section = tuple[float, float, float, float, float, float]
_FLAT = 1 / math.sqrt(2)  # Butterworth's


def lfilter(b: Sequence[float], a: Sequence[float], x: Tensor) -> Tensor:
    """a[0] y[n] = b[0] x[n] + b[1] x[n - 1] + ... - a[1] y[n - 1] - ..., along the last dimension.

    Equals ``scipy.signal.lfilter``. Differentiable by the signal; computed in float64, whatever comes in.

    Args:
        b, a: numerator and denominator.
        x: (..., T); floating point.

    Raises:
        ArgumentError: no coefficients, an a[0] of 0, one that is not finite, or something that is no tensor.
        DtypeError: integers.
        ShapeError: a single number.
    """
    check_waveform("lfilter", x)
    above, below = _coefficients("b", b), _coefficients("a", a)
    if below[0] == 0:
        raise ArgumentError("lfilter: a[0] is 0", why="the equation is divided by it", fix="leave out leading zeros of a")
    return _through([v / below[0] for v in above], [v / below[0] for v in below[1:]], x.to("float64")).to(x.dtype)


def sosfilt(sos: Any, x: Tensor) -> Tensor:
    """Sections one after the other, as ``scipy.signal.sosfilt``: more exact than ``lfilter`` where there are many.

    Args:
        sos: (n, 6) numbers, or one section.
        x: (..., T); floating point.

    Raises:
        ArgumentError, DtypeError, ShapeError: as :func:`lfilter`.
    """
    check_waveform("sosfilt", x)
    sections = np.atleast_2d(np.asarray(sos, np.float64))
    if sections.ndim != 2 or sections.shape[1] != 6:
        raise ShapeError(f"sosfilt: sections of shape {sections.shape}", why="they are (n, 6)", fix="pass b0 b1 b2 a0 a1 a2")
    wide = x.to("float64")
    for section in sections:
        wide = lfilter(section[:3].tolist(), section[3:].tolist(), wide)
    return wide.to(x.dtype)


def _through(b: list[float], a: list[float], x: Tensor) -> Tensor:
    length = x.shape[-1]
    padded = pad(x, (len(b) - 1, 0)) if len(b) > 1 else x
    taps = [v * narrow(padded, -1, len(b) - 1 - k, length) for k, v in enumerate(b) if v]
    moved = taps[0] if taps else x * 0.0
    for tap in taps[1:]:
        moved = moved + tap
    while a and a[-1] == 0:
        a.pop()
    return all_pole(moved, a) if a else moved


def _coefficients(name: str, values: Sequence[float]) -> list[float]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise ArgumentError(f"lfilter: {name}={values!r}", fix="pass a list of one or more finite numbers")
    return [float(v) for v in found]


# ---- designs: https://www.w3.org/TR/audio-eq-cookbook


def lowpass(sample_rate: float, cutoff: float, q: float = _FLAT) -> Section:
    """Lets pass what is below ``cutoff``, in Hz; above, it falls by 12 dB an octave.

    Args:
        sample_rate, cutoff: in Hz.
        q: height at the cutoff; 0.707 is flat.

    Raises:
        ArgumentError: a frequency that is not between 0 and half the rate, or a q that is not above 0.
    """
    cos, alpha = _angle(sample_rate, cutoff, q)
    return (1 - cos) / 2, 1 - cos, (1 - cos) / 2, 1 + alpha, -2 * cos, 1 - alpha


def highpass(sample_rate: float, cutoff: float, q: float = _FLAT) -> Section:
    """Lets pass what is above ``cutoff``, in Hz."""
    cos, alpha = _angle(sample_rate, cutoff, q)
    return (1 + cos) / 2, -1 - cos, (1 + cos) / 2, 1 + alpha, -2 * cos, 1 - alpha


def bandpass(sample_rate: float, centre: float, q: float = _FLAT) -> Section:
    """Lets pass what is around ``centre``, in Hz, at height 1; the band is centre / q wide."""
    cos, alpha = _angle(sample_rate, centre, q)
    return alpha, 0.0, -alpha, 1 + alpha, -2 * cos, 1 - alpha


def notch(sample_rate: float, centre: float, q: float = _FLAT) -> Section:
    """Takes away what is around ``centre``, in Hz."""
    cos, alpha = _angle(sample_rate, centre, q)
    return 1.0, -2 * cos, 1.0, 1 + alpha, -2 * cos, 1 - alpha


def allpass(sample_rate: float, centre: float, q: float = _FLAT) -> Section:
    """Turns phases around ``centre``, in Hz, and leaves magnitudes."""
    cos, alpha = _angle(sample_rate, centre, q)
    return 1 - alpha, -2 * cos, 1 + alpha, 1 + alpha, -2 * cos, 1 - alpha


def peaking(sample_rate: float, centre: float, gain: float, q: float = _FLAT) -> Section:
    """Lifts what is around ``centre``, in Hz, by ``gain`` decibels, or lowers it."""
    cos, alpha = _angle(sample_rate, centre, q)
    a = 10 ** (gain / 40)
    return 1 + alpha * a, -2 * cos, 1 - alpha * a, 1 + alpha / a, -2 * cos, 1 - alpha / a


def low_shelf(sample_rate: float, centre: float, gain: float, q: float = _FLAT) -> Section:
    """Lifts what is below ``centre``, in Hz, by ``gain`` decibels, or lowers it."""
    cos, alpha = _angle(sample_rate, centre, q)
    return _shelf(cos, alpha, 10 ** (gain / 40))


def high_shelf(sample_rate: float, centre: float, gain: float, q: float = _FLAT) -> Section:
    """Lifts what is above ``centre``, in Hz, by ``gain`` decibels, or lowers it."""
    cos, alpha = _angle(sample_rate, centre, q)
    # a mirrored frequency axis, z -> -z, turns one shelf into the other
    b0, b1, b2, a0, a1, a2 = _shelf(-cos, alpha, 10 ** (gain / 40))
    return b0, -b1, b2, a0, -a1, a2


def _shelf(cos: float, alpha: float, a: float) -> Section:
    slope = 2 * math.sqrt(a) * alpha
    up, down = (a + 1) + (a - 1) * cos, (a + 1) - (a - 1) * cos
    return (
        a * (down + slope), 2 * a * ((a - 1) - (a + 1) * cos), a * (down - slope),
        up + slope, -2 * ((a - 1) + (a + 1) * cos), up - slope,
    )  # fmt: skip


def _angle(sample_rate: float, frequency: float, q: float) -> tuple[float, float]:
    if not 0 < frequency < sample_rate / 2 or not q > 0:
        raise ArgumentError(
            f"a filter at {frequency:g} Hz with q={q:g}, of sounds at {sample_rate:g} Hz",
            why=f"frequencies go from 0 to half the sample rate, {sample_rate / 2:g} Hz, and q is above 0",
            fix="choose another frequency",
        )
    angle = 2 * math.pi * frequency / sample_rate
    return math.cos(angle), math.sin(angle) / (2 * q)
