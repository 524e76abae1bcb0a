"""Discrete Fourier transforms, and the cutting of a signal into frames. float32 stays complex64."""

from __future__ import annotations

from typing import Any

from ...devices import module_of

__all__ = ["fft", "frame", "ifft", "irfft", "overlap_add", "power_spectrum", "rfft"]


def fft(x: Any, axis: int, norm: str) -> Any:
    """The transform along an axis."""
    return module_of(x).fft.fft(x, axis=axis, norm=norm)


def ifft(x: Any, axis: int, norm: str) -> Any:
    """The inverse transform along an axis."""
    return module_of(x).fft.ifft(x, axis=axis, norm=norm)


def rfft(x: Any, axis: int, norm: str) -> Any:
    """The first n // 2 + 1 bins of a real signal of length n; the others are their conjugates."""
    return module_of(x).fft.rfft(x, axis=axis, norm=norm)


def irfft(x: Any, n: int, axis: int, norm: str) -> Any:
    """The real signal of length ``n`` that has these n // 2 + 1 bins; imaginary parts of the ends count for nothing."""
    return module_of(x).fft.irfft(x, n, axis=axis, norm=norm)


def frame(x: Any, size: int, hop: int) -> Any:
    """(..., T) -> (..., F, size): F = (T - size) // hop + 1 pieces, each ``hop`` after the one before."""
    xp = module_of(x)
    windows = xp.lib.stride_tricks.sliding_window_view(x, size, axis=-1)
    return xp.ascontiguousarray(windows[..., ::hop, :])


def overlap_add(frames: Any, hop: int, length: int) -> Any:
    """(..., F, size) -> (..., length): the frames added up where they lay; the adjoint of ``frame``."""
    xp = module_of(frames)
    *batch, count, size = frames.shape
    parts = -(-size // hop)
    # cut each frame into pieces of one hop: piece j of all frames is added in one go, in the order of j
    padded = xp.zeros((*batch, count, parts * hop), frames.dtype)
    padded[..., :size] = frames
    padded = padded.reshape(*batch, count, parts, hop)
    blocks = max(count + parts - 1, -(-length // hop))
    out = xp.zeros((*batch, blocks, hop), frames.dtype)
    for j in range(parts):
        out[..., j : j + count, :] += padded[..., j, :]
    return out.reshape(*batch, blocks * hop)[..., :length].copy()


def power_spectrum(x: Any, window: Any, hop: int) -> Any:
    """(..., T) -> (..., bins, F): squared magnitudes of the half transforms of windowed pieces, in the dtype of x.

    Pieces are as long as the window, (n,), and ``hop`` apart, as in ``frame``. float32 is transformed in float64.
    """
    pieces = frame(x, window.shape[0], hop).astype("float64") * window
    bins = rfft(pieces, -1, "backward")
    return (bins.real**2 + bins.imag**2).swapaxes(-1, -2).astype(x.dtype)
