"""What every transform of samples asks of them."""

from __future__ import annotations

from typing import Any

from ...core.errors import ArgumentError, DtypeError, ShapeError, kind_of
from ...core.tensor import Tensor


def check_waveform(what: str, waveform: Any, most: int | None = None, *, half: bool = True) -> None:
    """Samples are a tensor of floating point, (..., T), of at most ``most`` dimensions.

    Args:
        what: what the caller is called.
        waveform: what it was given.
        most: dimensions; None for any number from 1 on.
        half: whether half precision will do.

    Raises:
        ArgumentError, DtypeError, ShapeError: the first that does not hold.

    Example:
        >>> import nyala
        >>> check_waveform("echo", nyala.zeros(3, dtype=nyala.int16))
        Traceback (most recent call last):
        ...
        nyala.core.errors.DtypeError: echo of a tensor of int16. Remedy: for 16-bit samples: waveform.float() / 32768. [E102]
    """
    if not isinstance(waveform, Tensor):
        raise ArgumentError(f"{what} was given {kind_of(waveform)}", fix="pass a tensor: nyala.from_numpy(samples)")
    if not waveform.is_floating_point() or (not half and waveform.dtype.itemsize < 4):
        fix = "convert it with .float()" if waveform.is_floating_point() else "for 16-bit samples: waveform.float() / 32768"
        raise DtypeError(f"{what} of a tensor of {waveform.dtype}", fix=fix)
    if not waveform.ndim:
        raise ShapeError(f"{what} of a single number", why="samples are (..., T)", fix="pass a waveform")
    if most is not None and waveform.ndim > most:
        raise ShapeError(
            f"{what}: waveform of shape {waveform.shape}", why="it takes (T,) or (B, T)", fix="take the others one by one"
        )
