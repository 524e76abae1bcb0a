"""Another sample rate: a band-limited polyphase filter, as ``scipy.signal.resample_poly`` applies one.

The new samples are weighted sums of the old ones around them, by a sinc under a Kaiser window. The weights repeat after a few
samples, so a whole period of new samples is one matrix product. Everything is made of differentiable operations.

Example:
    >>> import nyala
    >>> resample(nyala.zeros(2, 441), 44_100, 16_000).shape  # (channels, samples)
    (2, 160)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, DtypeError, ShapeError, kind_of
from ...core.ops.pad import pad, unfold_dimension
from ...core.ops.shape import cat
from ...core.tensor import Tensor

_ENTRIES = 1 << 22  # of a matrix: where a whole period needs more, each sample gets its own row of weights
_ROWS = 4096


@dataclass(frozen=True)
class Filter:
    """Which low-pass is laid over the samples.

    Attributes:
        zeros: zero crossings of the sinc on each side: the more, the steeper.
        beta: of the Kaiser window: the larger, the quieter what is folded back.
        rolloff: where the pass band ends, as a share of half the lower rate.

    As it stands it is that of ``scipy.signal.resample_poly``: quick, and 6 dB down at half the lower rate, above which some is
    folded back. ``FINE`` is flat up to 0.89 of half the lower rate, and more than 100 dB down above half the lower rate.
    """

    zeros: int = 10
    beta: float = 5.0
    rolloff: float = 1.0

    def __post_init__(self) -> None:
        if self.zeros < 1 or self.beta < 0 or not 0 < self.rolloff <= 1:
            raise ArgumentError(f"{self}", fix="use zeros of 1 or more, beta of 0 or more, rolloff above 0 and up to 1")


FINE = Filter(64, 10.5, 0.945)


def resample(waveform: Tensor, orig_freq: int, new_freq: int, *, filter: Filter | None = None) -> Tensor:
    """The same sound at another sample rate.

    Args:
        waveform: samples, (..., T); floating point.
        orig_freq: its rate in Hz.
        new_freq: the rate wanted, in Hz.
        filter: the low-pass, by default SciPy's; ``FINE`` folds back less, and takes six times as long.

    Returns:
        (..., ceil(T * new_freq / orig_freq)); the input itself where the rates are equal.

    Raises:
        ArgumentError: a rate that is no whole number above 0, or something that is no tensor.
        DtypeError: integers: samples must be scaled to -1 to 1 first.
        ShapeError: a waveform without dimensions.
    """
    _check(waveform, orig_freq, new_freq)
    if orig_freq == new_freq:
        return waveform
    length = -(-waveform.shape[-1] * new_freq // orig_freq)
    if not length:
        return waveform
    stream = Resampler(orig_freq, new_freq, filter=filter)
    return stream.whole(waveform)[..., :length]


class Resampler:
    """Resamples a sound that comes in pieces: the pieces' results, one after the other, are the whole's.

    Args:
        orig_freq, new_freq: rates in Hz.
        filter: see :func:`resample`.

    Example:
        >>> import nyala
        >>> sound = nyala.arange(1000.0) / 1000
        >>> stream = Resampler(8_000, 16_000)
        >>> parts = [stream.push(sound[:300]), stream.push(sound[300:]), stream.finish()]
        >>> bool((nyala.cat(parts) - resample(sound, 8_000, 16_000)).abs().max().item() < 1e-6)
        True
    """

    def __init__(self, orig_freq: int, new_freq: int, *, filter: Filter | None = None) -> None:
        _check_rates(orig_freq, new_freq)
        self._phases = _phases(orig_freq, new_freq, filter or Filter())
        self._rest: Tensor | None = None
        self._taken = self._given = 0
        self._rates = orig_freq, new_freq

    def push(self, waveform: Tensor) -> Tensor:
        """More samples (..., T) -> what can be said after them, (..., T')."""
        _check(waveform, *self._rates)
        phases = self._phases
        self._taken += waveform.shape[-1]
        if self._rest is None:
            waveform = pad(waveform, (phases.reach, 0))
        else:
            waveform = cat([self._rest, waveform], -1)
        periods = max(0, (waveform.shape[-1] - 2 * phases.reach) // phases.taken)
        self._rest = waveform[..., periods * phases.taken :]
        found = phases.apply(waveform[..., : periods * phases.taken + 2 * phases.reach], periods)
        self._given += found.shape[-1]
        return found

    def finish(self) -> Tensor:
        """What the last samples still give; afterwards the next sound may begin.

        Raises:
            ArgumentError: nothing was pushed.
        """
        if self._rest is None:
            raise ArgumentError("Resampler.finish before any push", fix="push samples first")
        total = -(-self._taken * self._rates[1] // self._rates[0])
        missing, phases = total - self._given, self._phases
        periods = -(-missing // phases.given)
        needed = periods * phases.taken + 2 * phases.reach
        waveform = pad(self._rest, (0, max(0, needed - self._rest.shape[-1])))
        self._rest, self._taken, self._given = None, 0, 0
        return phases.apply(waveform[..., :needed], periods)[..., :missing]

    def whole(self, waveform: Tensor) -> Tensor:
        """All of a sound at once, and perhaps a few samples more."""
        phases = self._phases
        periods = -(-waveform.shape[-1] // phases.taken)
        behind = periods * phases.taken - waveform.shape[-1] + phases.reach
        return phases.apply(pad(waveform, (phases.reach, behind)), periods)


@dataclass(frozen=True)
class _Phases:
    """What a period takes and gives.

    Attributes:
        taken, given: old and new samples of a period.
        reach: old samples looked at before and behind it.
        matrix: (taken + 2 reach, given), where it is small enough.
        starts: where the window of each new sample of a period begins; rows: its weights, (given, 2 reach).
    """

    taken: int
    given: int
    reach: int
    matrix: np.ndarray[Any, Any] | None
    starts: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]

    def apply(self, waveform: Tensor, periods: int) -> Tensor:
        """(..., periods * taken + 2 reach) -> (..., periods * given)."""
        lead = waveform.shape[:-1]
        if not periods:
            return waveform[..., :0]
        if self.matrix is not None:
            windows = unfold_dimension(waveform, -1, self.taken + 2 * self.reach, self.taken)
            found = windows @ from_numpy(self.matrix).to(waveform.device, waveform.dtype)
            return found.reshape(*lead, periods * self.given)
        parts = []
        for period in range(periods):
            for first in range(0, self.given, _ROWS):
                starts, rows = self.starts[first : first + _ROWS], self.rows[first : first + _ROWS]
                places = period * self.taken + starts[:, None] + np.arange(rows.shape[1])
                around = waveform[..., from_numpy(places).to(waveform.device)]
                parts.append((around * from_numpy(rows).to(waveform.device, waveform.dtype)).sum(-1))
        return cat(parts, -1)


@lru_cache(maxsize=8)
def _phases(orig_freq: int, new_freq: int, design: Filter) -> _Phases:
    common = math.gcd(orig_freq, new_freq)
    up, down = new_freq // common, orig_freq // common
    half = design.zeros * max(up, down)  # of the filter, on the grid that both rates share
    reach = half // up + 1
    weights = _low_pass(half, design.rolloff / max(up, down), design.beta) * up
    repeats = max(1, -(-reach // down))  # short periods are taken together
    taken, given = down * repeats, up * repeats
    place = np.arange(given, dtype=np.int64) * down  # of each new sample on the shared grid
    starts = place // up + 1  # in the padded samples: the first that can lie within the filter
    offsets = place[:, None] - (starts[:, None] - reach + np.arange(2 * reach)) * up
    inside = np.abs(offsets) <= half
    rows = np.where(inside, weights[np.clip(offsets + half, 0, 2 * half)], 0)
    matrix = None
    if (taken + 2 * reach) * given <= _ENTRIES:
        matrix = np.zeros((taken + 2 * reach, given))
        matrix[starts[:, None] + np.arange(2 * reach), np.arange(given)[:, None]] = rows
    return _Phases(taken, given, reach, matrix, starts, rows)


def _low_pass(half: int, cutoff: float, beta: float) -> np.ndarray[Any, Any]:
    """A sinc under a Kaiser window, (2 half + 1,), that keeps a constant as it is; ``cutoff`` as a share of half the rate."""
    place = np.arange(-half, half + 1)
    weights = np.sinc(cutoff * place) * np.kaiser(2 * half + 1, beta)
    return weights / weights.sum()


def _check_rates(orig_freq: int, new_freq: int) -> None:
    for name, rate in (("orig_freq", orig_freq), ("new_freq", new_freq)):
        if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool) or not 0 < rate <= 10_000_000:
            raise ArgumentError(f"resample: {name}={rate!r}", why="a rate is a whole number of Hz", fix="e.g. 16000")


def _check(waveform: Tensor, orig_freq: int, new_freq: int) -> None:
    if not isinstance(waveform, Tensor):
        raise ArgumentError(f"resample was given {kind_of(waveform)}", fix="pass a tensor: nyala.from_numpy(samples)")
    if not waveform.is_floating_point():
        raise DtypeError(
            f"resample of a tensor of {waveform.dtype}",
            why="samples are numbers between -1 and 1",
            fix="for 16-bit samples: waveform.float() / 32768",
        )
    if not waveform.ndim:
        raise ShapeError("resample of a single number", why="samples are (..., T)", fix="pass a waveform")
    _check_rates(orig_freq, new_freq)
