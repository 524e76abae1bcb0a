"""Spectrograms: transforms of short pieces of a signal, the windows they are cut with, and the way back.

Example:
    >>> import nyala
    >>> stft(nyala.ones(8), n_fft=4, window=hann_window(4), return_complex=True).shape  # (bins, frames)
    (3, 9)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes, kernels
from ..errors import ArgumentError, DtypeError, NumericError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import mul
from .fft import adjoint_counts, fft, ifft, irfft, rfft
from .pad import pad
from .shape import ZeroPad, expand, narrow, reshape, stack, transpose, unsqueeze


class Frame(Operation):
    """(..., T) -> (..., F, size)."""

    def __init__(self, size: int, hop: int) -> None:
        self.size, self.hop = size, hop

    def forward(self, x: Any) -> Any:
        self.length = x.shape[-1]
        return kernels.of(x).frame(x, self.size, self.hop)

    def backward(self, g: Tensor) -> Tensor:
        return OverlapAdd(self.hop, self.length).apply(g)


class OverlapAdd(Operation):
    """(..., F, size) -> (..., length): the adjoint of ``Frame``."""

    def __init__(self, hop: int, length: int) -> None:
        self.hop, self.length = hop, length

    def forward(self, frames: Any) -> Any:
        self.size, self.count = frames.shape[-1], frames.shape[-2]
        return kernels.of(frames).overlap_add(frames, self.hop, self.length)

    def backward(self, g: Tensor) -> Tensor:
        needed = (self.count - 1) * self.hop + self.size
        whole = g if needed <= self.length else ZeroPad((*[(0, 0)] * (g.ndim - 1), (0, needed - self.length))).apply(g)
        return narrow(Frame(self.size, self.hop).apply(whole), -2, 0, self.count)


class PowerSpectrum(Operation):
    """(B, T), (n,) -> (B, bins, F): squared magnitudes of the transforms of windowed pieces."""

    keeps = (0, 1)

    def __init__(self, hop: int) -> None:
        self.hop = hop

    def forward(self, x: Any, window: Any) -> Any:
        return kernels.of(x).power_spectrum(x, window, self.hop)

    def backward(self, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, window = self.kept_tensors()
        size = window.shape[0]
        cut = Frame(size, self.hop).apply(x)
        # d|z|^2 is 2 z, and the adjoint of the half transform takes it back to the samples
        bins = rfft(cut * window)
        pieces = irfft(2 * bins * transpose(g, -1, -2) * adjoint_counts(bins, size, 2), size, norm="forward")
        to_x, to_window = self.needs_input_grad
        return (
            OverlapAdd(self.hop, x.shape[-1]).apply(pieces * window) if to_x else None,
            (pieces * cut).sum((0, 1)) if to_window else None,
        )


# ---- complex numbers as pairs


def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor as (..., 2): real and imaginary part."""
    if not input.is_complex():
        raise DtypeError(f"view_as_real of a tensor of {input.dtype}", fix="pass a complex tensor")
    return stack([input.real, input.imag], -1)


def view_as_complex(input: Tensor) -> Tensor:
    """(..., 2) as a complex tensor."""
    if input.dtype not in (dtypes.float32, dtypes.float64) or not input.ndim or input.shape[-1] != 2:
        raise ShapeError(
            f"view_as_complex of a tensor of {input.dtype} and shape {input.shape}",
            why="it takes pairs of float32 or float64 in the last dimension",
            fix="stack the real and the imaginary part along dim=-1",
        )
    return _Pairs().apply(input)


class _Pairs(Operation):
    def forward(self, x: Any) -> Any:
        return x[..., 0] + 1j * x[..., 1]

    def backward(self, g: Tensor) -> Tensor:
        return view_as_real(g)


# ---- windows


def _cosine_window(length: int, periodic: bool, terms: tuple[float, ...], dtype: Any, device: str | None) -> Tensor:
    """a0 - a1 cos(x) + a2 cos(2 x), x once round the window; computed in float64."""
    if length < 0:
        raise ArgumentError(f"a window of length {length}", fix="use a positive length")
    angle = 2 * np.pi * np.arange(length) / max(length if periodic else length - 1, 1)
    values = sum(a * (-1) ** k * np.cos(k * angle) for k, a in enumerate(terms))
    kind = dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype()
    values = np.ones(length) if length == 1 else values
    return Tensor(devices.move(np.asarray(values).astype(kind), devices.parse(device)))


def hann_window(window_length: int, periodic: bool = True, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """0.5 - 0.5 cos: (window_length,). ``periodic`` leaves out the last point, which equals the first.

    Example:
        >>> hann_window(4)
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _cosine_window(window_length, periodic, (0.5, 0.5), dtype, device)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """alpha - beta cos: (window_length,)."""
    return _cosine_window(window_length, periodic, (alpha, beta), dtype, device)


def blackman_window(window_length: int, periodic: bool = True, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """0.42 - 0.5 cos(x) + 0.08 cos(2 x): (window_length,)."""
    return _cosine_window(window_length, periodic, (0.42, 0.5, 0.08), dtype, device)


def _window_of(what: str, window: Tensor | None, win_length: int, n_fft: int, like: Any) -> Tensor:
    """The window with zeros on both sides up to ``n_fft``."""
    if not 0 < win_length <= n_fft:
        raise ArgumentError(f"{what}: win_length={win_length} with n_fft={n_fft}", fix="use 1 to n_fft")
    if window is None:
        window = Tensor(devices.module_of(like).ones(win_length, like.real.dtype))
    if window.shape != (win_length,):
        raise ShapeError(f"{what}: window of shape {window.shape}, win_length is {win_length}", fix="make them equal")
    before = (n_fft - win_length) // 2
    return window if win_length == n_fft else pad(window, (before, n_fft - win_length - before))


# ---- there and back


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Tensor:
    """The transforms of overlapping pieces: (T,) or (B, T) -> (..., bins, frames).

    Args:
        input: the signal, real or complex.
        n_fft: samples a transform; bins = n_fft // 2 + 1 where ``onesided``.
        hop_length: samples between pieces, n_fft // 4 unless given.
        win_length: samples the window covers, n_fft unless given; zeros around it.
        window: (win_length,); ones unless given.
        center: pad by n_fft // 2 on both sides, so that frame t is centred on sample t * hop_length.
        pad_mode: how, as in ``nn.functional.pad``.
        normalized: divide by sqrt(n_fft).
        onesided: leave out the conjugate half; True for real signals unless given.
        return_complex: must be given for real signals; False gives pairs (..., 2).

    Raises:
        ShapeError: a signal that is shorter than one piece, or not of one or two dimensions.
        ArgumentError: lengths that make no sense, or ``return_complex`` left out.
    """
    hop, width = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    _check_stft(input, n_fft, hop, return_complex)
    half = not input.is_complex() if onesided is None else onesided
    if half and input.is_complex():
        raise ArgumentError("stft: onesided=True for a complex signal", why="its two halves differ", fix="leave onesided out")
    shape = _window_of("stft", window, width, n_fft, input.array)
    signal = input if input.ndim == 2 else unsqueeze(input, 0)
    if center:
        signal = _centred(signal, n_fft // 2, pad_mode)
    _check_one_piece("stft", signal, input, n_fft)
    pieces = Frame(n_fft, hop).apply(signal) * shape
    norm = "ortho" if normalized else "backward"
    out = transpose(rfft(pieces, norm=norm) if half else fft(pieces, norm=norm), 1, 2)
    out = out if input.ndim == 2 else out.squeeze(0)
    return out if return_complex is not False else view_as_real(out)


def power_spectrogram(
    input: Tensor, window: Tensor, hop_length: int, *, center: bool = True, pad_mode: str = "reflect"
) -> Tensor:
    """Squared magnitudes of ``stft`` in one pass: (T,) or (B, T) -> (..., len(window) // 2 + 1, frames).

    float32 is transformed in float64 and rounded once, so that quiet bins beside loud ones are as exact.

    Args:
        input: a real signal, float32 or float64.
        window: (n_fft,), of the signal's dtype.
        hop_length: samples between pieces.
        center, pad_mode: as for ``stft``.

    Raises:
        ShapeError: a signal shorter than one piece, or not of one or two dimensions.
        DtypeError: a complex signal, or half precision.

    Example:
        >>> import nyala
        >>> power_spectrogram(nyala.ones(8), hann_window(4), 2)[0]
        tensor([4., 4., 4., 4., 4.])
    """
    if not input.is_floating_point() or input.dtype.itemsize < 4:
        raise DtypeError(f"power_spectrogram of a tensor of {input.dtype}", fix="convert it with .float()")
    if window.ndim != 1 or window.dtype != input.dtype:
        raise ShapeError(
            f"power_spectrogram: window of {window.dtype} and shape {window.shape}, signal of {input.dtype}",
            fix=f"pass a window (n_fft,) of {input.dtype}",
        )
    n_fft = window.shape[0]
    _check_stft(input, n_fft, hop_length, True)
    signal = input if input.ndim == 2 else unsqueeze(input, 0)
    signal = _centred(signal, n_fft // 2, pad_mode) if center else signal
    _check_one_piece("power_spectrogram", signal, input, n_fft)
    out = PowerSpectrum(hop_length).apply(signal, window)
    return out if input.ndim == 2 else out.squeeze(0)


def _check_one_piece(what: str, signal: Tensor, input: Tensor, n_fft: int) -> None:
    if signal.shape[1] < n_fft:
        raise ShapeError(
            f"{what}: {signal.shape[1]} sample(s) in a signal of shape {input.shape}, n_fft={n_fft}",
            why="there is not one whole piece",
            fix="pad the signal or use a smaller n_fft",
        )


def _check_stft(input: Tensor, n_fft: int, hop: int, return_complex: bool | None) -> None:
    if input.ndim not in (1, 2):
        raise ShapeError(f"stft: input of shape {input.shape}", why="it takes (T,) or (B, T)", fix="reshape it")
    if n_fft < 1 or hop < 1:
        raise ArgumentError(f"stft: n_fft={n_fft}, hop_length={hop}", fix="use positive numbers")
    if return_complex is None and not input.is_complex():
        raise ArgumentError(
            "stft: return_complex is not given", why="torch requires it for real signals", fix="pass return_complex=True"
        )


def _centred(signal: Tensor, by: int, mode: str) -> Tensor:
    if mode == "reflect" and by >= signal.shape[1]:
        raise ShapeError(
            f"stft: {signal.shape[1]} sample(s), reflected by {by} on both sides",
            why="a reflection needs more samples than it adds",
            fix="use pad_mode='constant', a longer signal or a smaller n_fft",
        )
    return pad(signal, (by, by), mode=mode)


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose ``stft`` comes closest (Griffin and Lim, 1984): (..., bins, frames) -> (..., T).

    Arguments as for ``stft``; ``length`` cuts the signal or fills it with zeros.

    Raises:
        ShapeError: the bins do not fit ``n_fft``.
        NumericError: the windows leave samples uncovered, which nothing can restore.
    """
    if not input.is_complex() or input.ndim not in (2, 3):
        raise ShapeError(
            f"istft: input of {input.dtype} and shape {input.shape}", why="it takes complex (bins, frames) or (B, bins, frames)",
            fix="use view_as_complex for pairs",
        )  # fmt: skip
    hop, width = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    half = input.shape[-2] != n_fft if onesided is None else onesided
    if half and return_complex:
        raise ArgumentError(
            "istft: return_complex=True with one side", why="half a spectrum is that of a real signal", fix="pass onesided=False"
        )
    if input.shape[-2] != (n_fft // 2 + 1 if half else n_fft):
        raise ShapeError(
            f"istft: {input.shape[-2]} bins in {input.shape}, n_fft={n_fft} has {n_fft // 2 + 1 if half else n_fft}",
            fix="check n_fft",
        )
    if not 0 < hop <= width:
        raise ArgumentError(f"istft: hop_length={hop}, win_length={width}", fix="use 1 to win_length")
    shape = _window_of("istft", window, width, n_fft, input.array)
    bins = transpose(input if input.ndim == 3 else unsqueeze(input, 0), 1, 2)
    norm = "ortho" if normalized else "backward"
    # a real signal's other half says nothing new: like torch, it is not looked at
    pieces = ifft(bins, norm=norm) if return_complex else irfft(narrow(bins, -1, 0, n_fft // 2 + 1), n_fft, norm=norm)
    out = _assembled(pieces, shape, hop, center, length)
    return out if input.ndim == 3 else reshape(out, out.shape[1:])


def _assembled(pieces: Tensor, window: Tensor, hop: int, center: bool, length: int | None) -> Tensor:
    """(B, F, n_fft) pieces overlapped, and divided by what the windows add up to."""
    count, n_fft = pieces.shape[1:]
    total = n_fft + hop * (count - 1)
    signal = OverlapAdd(hop, total).apply(mul(pieces, window))
    envelope = OverlapAdd(hop, total).apply(expand(reshape(mul(window, window), (1, 1, -1)), (1, count, n_fft)))
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - start if center else total
    here = min(end, total)
    signal, envelope = narrow(signal, 1, start, here - start), narrow(envelope, 1, start, here - start)
    lowest = float(envelope.array.min()) if envelope.array.size else math.inf
    if lowest < 1e-11:
        raise NumericError(
            f"istft: the squared windows add up to {lowest:.3g} at some sample",
            why="what no window covers cannot be restored",
            fix="use a smaller hop_length, center=True, or a window without zeros at its ends",
        )
    out = signal / envelope
    return out if here == end else pad(out, (0, end - here))
