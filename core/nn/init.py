"""Filling parameters before training, under PyTorch's names and with its distributions.

Random numbers come from the ambient stream's keys for "init", so ``manual_seed`` fixes them and nothing else disturbs them.
Pass ``generator=`` a ``Key`` to name the stream yourself.

Example:
    >>> import nyala
    >>> from nyala.nn import init
    >>> w = init.constant_(nyala.empty(2), 0.3)
    >>> w
    tensor([0.3000, 0.3000])
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import devices, random
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor

_GAINS = {"sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))


class _Switch(threading.local):
    skipping = False


_switch = _Switch()


@contextlib.contextmanager
def skip_random() -> Iterator[None]:
    """Leave out random filling, for models whose weights are about to be loaded: their memory is not even touched.

    Constants are still written, so norms and counters are what they should be.

    Example:
        >>> from nyala import nn
        >>> with skip_random():
        ...     layer = nn.Linear(1000, 1000)
    """
    before, _switch.skipping = _switch.skipping, True
    try:
        yield
    finally:
        _switch.skipping = before


def skipping() -> bool:
    """Whether random filling is left out now: what is not filled is no number to compute with.

    Example:
        >>> with skip_random():
        ...     print(skipping())
        True
    """
    return _switch.skipping


def _write(tensor: Tensor, values: Any) -> Tensor:
    tensor.array[...] = devices.move(np.asarray(values), tensor.device) if isinstance(values, np.ndarray) else values
    tensor._bump()
    return tensor


def _draw(tensor: Tensor, generator: random.Key | None, how: str) -> Any:
    """Numbers for ``tensor``, in float64 for a float64 tensor and in float32 otherwise."""
    key = random.next_key("init") if generator is None else generator
    wide = np.float64 if tensor.dtype == np.float64 else np.float32
    return getattr(key, how)(tensor.shape, dtype=wide, xp=tensor._module)


def _scaled(values: Any, factor: float, offset: float) -> Any:
    """In the values' own memory: there may be as many as a model has."""
    values *= factor
    values += offset
    return values


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: random.Key | None = None) -> Tensor:
    """Fill with numbers from U(a, b)."""
    return tensor if _switch.skipping else _write(tensor, _scaled(_draw(tensor, generator, "uniform"), b - a, a))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: random.Key | None = None) -> Tensor:
    """Fill with numbers from N(mean, std**2)."""
    return tensor if _switch.skipping else _write(tensor, _scaled(_draw(tensor, generator, "normal"), std, mean))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: random.Key | None = None
) -> Tensor:
    """Fill with numbers from N(mean, std**2) restricted to [a, b]: bounds in absolute values, not in deviations."""
    if _switch.skipping:
        return tensor
    low, high = (0.5 * (1 + math.erf((x - mean) / std / math.sqrt(2))) for x in (a, b))
    key = random.next_key("init") if generator is None else generator
    quantile = key.uniform(tensor.shape, dtype=np.float64) * (high - low) + low
    return _write(tensor, np.clip(_normal_quantile(quantile) * std + mean, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return _write(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _write(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _write(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity."""
    _require(tensor, "eye_", tensor.ndim == 2, "a matrix")
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make a convolution's weight (out, in / groups, ...) pass its input through, channel by channel."""
    _require(tensor, "dirac_", 3 <= tensor.ndim <= 5, "3 to 5 dimensions")
    if tensor.shape[0] % groups:
        raise ArgumentError(f"dirac_: {tensor.shape[0]} output channels in {groups} groups", fix="choose a divisor")
    out = tensor.shape[0] // groups
    values = np.zeros(tensor.shape)
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for c in range(min(out, tensor.shape[1])):
            values[(g * out + c, c, *centre)] = 1
    return _write(tensor, values)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through an activation; ``param`` is leaky_relu's slope.

    Example:
        >>> round(calculate_gain("leaky_relu", 0.2), 4)
        1.3868
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        known = ", ".join((*_LINEAR, *_GAINS, "leaky_relu"))
        raise ArgumentError(f"no gain is known for {nonlinearity!r}", fix=f"use one of {known}")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs that one weight (out, in, ...) ties together."""
    _require(tensor, "fan_in and fan_out", tensor.ndim >= 2, "at least 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: random.Key | None = None) -> Tensor:
    """Fill from U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    a = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: random.Key | None = None) -> Tensor:
    """Fill from N(0, gain**2 * 2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"kaiming: mode={mode!r}", fix="use 'fan_in' or 'fan_out'")
    fan = _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: random.Key | None = None
) -> Tensor:
    """Fill from U(-b, b), b = gain * sqrt(3 / fan) (He et al., arXiv:1502.01852); ``a`` is leaky_relu's slope."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: random.Key | None = None
) -> Tensor:
    """Fill from N(0, gain**2 / fan) (He et al., arXiv:1502.01852); ``a`` is leaky_relu's slope."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: random.Key | None = None) -> Tensor:
    """Make the matrix (out, the rest) orthogonal (Saxe et al., arXiv:1312.6120)."""
    _require(tensor, "orthogonal_", tensor.ndim >= 2, "at least 2 dimensions")
    if _switch.skipping or tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    key = random.next_key("init") if generator is None else generator
    flat = key.normal((rows, columns), dtype=np.float64)
    q, r = np.linalg.qr(flat.T if rows < columns else flat)
    q = q * np.sign(np.diag(r))  # without this the distribution is not uniform over rotations
    return _write(tensor, (q.T if rows < columns else q).reshape(tensor.shape) * gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: random.Key | None = None) -> Tensor:
    """Fill a matrix from N(0, std**2), with a share ``sparsity`` of each column zero (Martens, 2010)."""
    _require(tensor, "sparse_", tensor.ndim == 2, "a matrix")
    if _switch.skipping:
        return tensor
    key = random.next_key("init") if generator is None else generator
    rows, columns = tensor.shape
    values = key.normal(tensor.shape) * std
    for column in range(columns):
        values[key.fold(column).permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return _write(tensor, values)


def _require(tensor: Tensor, what: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise ShapeError(
            f"{what}: a tensor of shape {tensor.shape}",
            why=f"it needs {wanted}",
            fix="choose another initialiser for this tensor",
        )


# Wichura's AS 241 (Applied Statistics 37, 1988): numerator and denominator for the middle and the two parts of the tail.
_MIDDLE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
     1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
     687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_NEAR = (
    (7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.4178072517745061177e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 1.51986665636164571966e-2, 1.4810397642748007459e-1,
     6.8976733498510000455e-1, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     1.48753612908506148525e-2, 1.3692988092273580531e-1, 5.9983220655588793769e-1, 1.0),
)  # fmt: skip


def _normal_quantile(p: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The inverse of the standard normal distribution function, to about 16 digits."""

    def ratio(coefficients: tuple[tuple[float, ...], ...], r: Any) -> Any:
        return np.polyval(coefficients[0], r) / np.polyval(coefficients[1], r)

    q = np.asarray(p, np.float64) - 0.5
    r = np.sqrt(-np.log(np.maximum(np.where(q < 0, p, 1.0 - p), 1e-300)))
    tail = np.where(r <= 5, ratio(_NEAR, r - 1.6), ratio(_FAR, r - 5.0))
    return np.where(np.abs(q) <= 0.425, q * ratio(_MIDDLE, 0.180625 - q * q), np.sign(q) * tail)
