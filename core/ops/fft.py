"""Discrete Fourier transforms, under the names of ``torch.fft``; ``stft`` and its inverse live in ``spectrogram``.

The gradient of a complex tensor z is dL/d(Re z) + i dL/d(Im z), as in torch. float32 in, complex64 out.

Example:
    >>> import nyala
    >>> rfft(nyala.tensor([1.0, 0.0, 0.0, 0.0])).abs()
    tensor([1., 1., 1.])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, kernels
from ..errors import ArgumentError, DtypeError, ShapeError
from ..operation import Operation
from ..tensor import Tensor
from .operands import axes_of, axis_of, floating
from .shape import ZeroPad, narrow, roll

_NORMS = ("backward", "ortho", "forward")
_ADJOINT = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


class FFT(Operation):
    """The complex transform or its inverse. The adjoint of one is the other, scaled at the other end."""

    def __init__(self, axis: int, norm: str, inverse: bool) -> None:
        self.axis, self.norm, self.inverse = axis, norm, inverse

    def forward(self, x: Any) -> Any:
        self.real = x.dtype.kind != "c"
        return getattr(kernels.of(x), "ifft" if self.inverse else "fft")(x, self.axis, self.norm)

    def backward(self, g: Tensor) -> Tensor:
        out = FFT(self.axis, _ADJOINT[self.norm], not self.inverse).apply(g)
        return out.real if self.real else out


class RFFT(Operation):
    """The half transform of a real signal."""

    def __init__(self, axis: int, norm: str) -> None:
        self.axis, self.norm = axis, norm

    def forward(self, x: Any) -> Any:
        self.length = x.shape[self.axis]
        return kernels.of(x).rfft(x, self.axis, self.norm)

    def backward(self, g: Tensor) -> Tensor:
        # irfft counts the bins between the ends twice, the adjoint once
        return IRFFT(self.length, self.axis, _ADJOINT[self.norm]).apply(g * adjoint_counts(g, self.length, self.axis))


class IRFFT(Operation):
    """The real signal of a half transform."""

    def __init__(self, length: int, axis: int, norm: str) -> None:
        self.length, self.axis, self.norm = length, axis, norm

    def forward(self, x: Any) -> Any:
        return kernels.of(x).irfft(x, self.length, self.axis, self.norm)

    def backward(self, g: Tensor) -> Tensor:
        out = RFFT(self.axis, _ADJOINT[self.norm]).apply(g)
        return out * _counts(out, self.length, self.axis, 2.0)


def adjoint_counts(z: Tensor, length: int, axis: int) -> Tensor:
    """What the gradient of a half transform is multiplied by before it goes back by ``irfft``."""
    return _counts(z, length, axis, 0.5)


def _counts(z: Tensor, length: int, axis: int, between: float) -> Tensor:
    """1 at the bins that are their own conjugates (0 and, for even lengths, the last), ``between`` at the others."""
    bins = z.shape[axis]
    counts = np.full(bins, between, z.array.real.dtype)
    counts[0] = 1
    if length % 2 == 0:
        counts[-1] = 1
    shape = [-1 if i == axis else 1 for i in range(z.ndim)]
    return Tensor(z._module.asarray(counts.reshape(shape)))


def _norm_of(what: str, norm: str | None) -> str:
    if norm is not None and norm not in _NORMS:
        raise ArgumentError(f"{what}: norm={norm!r}", fix=f"use one of {', '.join(map(repr, _NORMS))}")
    return norm or "backward"


def _fitted(x: Tensor, n: int, axis: int) -> Tensor:
    """Cut, or lengthened with zeros, to ``n`` along the axis."""
    have = x.shape[axis]
    if n == have:
        return x
    if n < have:
        return narrow(x, axis, 0, n)
    return ZeroPad(tuple((0, n - have) if i == axis else (0, 0) for i in range(x.ndim))).apply(x)


def _prepared(what: str, input: Tensor, n: int | None, dim: int) -> tuple[Tensor, int]:
    """The input as a dtype that has a transform, fitted to ``n``; and the axis."""
    x = floating(input)
    if x.dtype.itemsize < 4:
        raise DtypeError(
            f"{what} of a tensor of {x.dtype}", why="half precision has no transform", fix="convert it with .float()"
        )
    if x.ndim == 0:
        raise ShapeError(f"{what} of a tensor without dimensions", fix="pass a signal")
    axis = axis_of(dim, x.ndim, what)
    length = x.shape[axis] if n is None else n
    if length < 1:
        raise ArgumentError(f"{what}: a signal of length {length}", fix="pass at least one sample")
    return _fitted(x, length, axis), axis


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """X[k] = sum of x[j] exp(-2 pi i j k / n) along ``dim``; the input is cut or filled with zeros to ``n``.

    ``norm`` says which direction is divided by n: "backward" (the inverse), "forward", or "ortho" for sqrt(n) in both.
    """
    x, axis = _prepared("fft", input, n, dim)
    return FFT(axis, _norm_of("fft", norm), False).apply(x)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of ``fft``, with the same arguments."""
    x, axis = _prepared("ifft", input, n, dim)
    return FFT(axis, _norm_of("ifft", norm), True).apply(x)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 bins of the transform of a real signal; the others are their conjugates."""
    if input.is_complex():
        raise DtypeError("rfft of a complex tensor", why="it takes real signals", fix="use fft")
    x, axis = _prepared("rfft", input, n, dim)
    return RFFT(axis, _norm_of("rfft", norm)).apply(x)


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real signal of length ``n`` (2 * (bins - 1) unless given) whose transform begins with these bins."""
    x = input if input.is_complex() else _complex(floating(input))
    if x.ndim == 0:
        raise ShapeError("irfft of a tensor without dimensions", fix="pass the bins of rfft")
    axis = axis_of(dim, x.ndim, "irfft")
    length = 2 * (x.shape[axis] - 1) if n is None else n
    if length < 1:
        raise ArgumentError(f"irfft: a signal of length {length}", fix="pass n")
    return IRFFT(length, axis, _norm_of("irfft", norm)).apply(_fitted(x, length // 2 + 1, axis))


def _complex(x: Tensor) -> Tensor:
    return x.to(dtypes.complex128 if x.dtype == dtypes.float64 else dtypes.complex64)


def fftn(input: Tensor, dim: int | Sequence[int] | None = None, norm: str | None = None) -> Tensor:
    """``fft`` along several dimensions, all of them unless said."""
    x = input
    for axis in axes_of(dim, input.ndim, "fftn"):
        x = fft(x, None, axis, norm)
    return x


def ifftn(input: Tensor, dim: int | Sequence[int] | None = None, norm: str | None = None) -> Tensor:
    """The inverse of ``fftn``."""
    x = input
    for axis in axes_of(dim, input.ndim, "ifftn"):
        x = ifft(x, None, axis, norm)
    return x


def fft2(input: Tensor, dim: Sequence[int] = (-2, -1), norm: str | None = None) -> Tensor:
    """``fft`` along two dimensions."""
    return fftn(input, dim, norm)


def ifft2(input: Tensor, dim: Sequence[int] = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of ``fft2``."""
    return ifftn(input, dim, norm)


def fftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The zero frequency moved to the middle."""
    axes = axes_of(dim, input.ndim, "fftshift")
    return roll(input, [input.shape[a] // 2 for a in axes], axes)


def ifftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of ``fftshift``."""
    axes = axes_of(dim, input.ndim, "ifftshift")
    return roll(input, [-(input.shape[a] // 2) for a in axes], axes)


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None) -> Tensor:
    """The frequency of each bin of ``fft`` for samples ``d`` apart, in cycles per unit of ``d``."""
    return Tensor(np.fft.fftfreq(n, d).astype(dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype()))


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None) -> Tensor:
    """The frequency of each bin of ``rfft``."""
    return Tensor(np.fft.rfftfreq(n, d).astype(dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype()))
