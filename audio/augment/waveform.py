"""Changes of samples: (T,) float32 in, about -1 to 1, and the same out. Sounds may be short, silent or empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError
from ...core.random import Key
from ..transforms.resample import resample

Array = np.ndarray[Any, Any]
_FALL = math.log(1000.0)  # amplitudes fall by 60 decibels in the time that rt60 says
_SILENCE = 0.002  # seconds between the direct sound and the first echo
COLOURS = ("white", "pink")


def _between(bounds: tuple[float, float], unit: Any) -> float:
    return bounds[0] + float(unit) * (bounds[1] - bounds[0])


def _power(samples: Array) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def gain(samples: Array, db: tuple[float, float], key: Key) -> Array:
    """Louder or softer by a number of decibels drawn between two bounds; clipped at full scale.

    Example:
        >>> from nyala.core import random
        >>> gain(np.array([0.5, -0.9], np.float32), (6.0206, 6.0206), random.key(0, "doc")).round(3).tolist()
        [1.0, -1.0]
    """
    factor = np.float32(10 ** (_between(db, key.uniform()) / 20))
    return np.clip(samples * factor, -1, 1)


def add_noise(samples: Array, snr: tuple[float, float], key: Key, colour: str = "white") -> Array:
    """Noise at a signal-to-noise ratio drawn between two bounds; silence stays silent.

    Args:
        samples: (T,).
        snr: bounds of the sound's power over the noise's, in decibels.
        key: what the draws are made from.
        colour: "white" or "pink".

    Raises:
        ArgumentError: another colour.
    """
    if colour not in COLOURS:
        raise ArgumentError(f"noise of the colour {colour!r}", fix=f"use {' or '.join(COLOURS)}")
    if not len(samples):
        return samples
    noise = key.fold("noise").normal((len(samples),)).astype(np.float64)
    if colour == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    wanted = _power(samples) / 10 ** (_between(snr, key.uniform()) / 10)
    noise *= math.sqrt(wanted / max(_power(noise), 1e-30))
    return (samples + noise).astype(np.float32)


def time_shift(samples: Array, sample_rate: int, seconds: float, key: Key) -> Array:
    """The sound earlier or later by up to so many seconds, filled up with silence; its length stays.

    Example:
        >>> from nyala.core import random
        >>> time_shift(np.ones(4, np.float32), 10, 0.1, random.key(2, "doc")).tolist()
        [0.0, 1.0, 1.0, 1.0]
    """
    most = min(len(samples), round(seconds * sample_rate))
    by = int(key.integers(-most, most + 1))
    moved = np.zeros_like(samples)
    moved[max(0, by) : len(samples) + min(0, by)] = samples[max(0, -by) : len(samples) - max(0, by)]
    return moved


def speed(samples: Array, factors: Sequence[float], key: Key) -> Array:
    """The sound at one of several speeds: 2 plays it in half the time, an octave higher.

    Args:
        samples: (T,).
        factors: of which one is drawn, to a hundredth.
        key: what the draw is made from.
    """
    factor = factors[int(key.integers(0, len(factors)))] if factors else 1.0
    faster = round(100 * factor)
    if faster == 100 or not len(samples):
        return samples
    return resample(from_numpy(np.ascontiguousarray(samples)), faster, 100).numpy()


def room(samples: Array, sample_rate: int, rt60: tuple[float, float], direct: tuple[float, float], key: Key) -> Array:
    """The sound in a made-up room: its impulse response is the direct sound, then noise that dies away exponentially.

    Length and loudness stay. Echoes begin 2 ms after the direct sound.

    Args:
        samples: (T,).
        sample_rate: in Hz.
        rt60: bounds of the time in which echoes fall by 60 decibels, in seconds.
        direct: bounds of the direct sound's power over that of all echoes, in decibels.
        key: what the draws are made from.
    """
    if not len(samples):
        return samples
    drawn = key.uniform((2,))
    seconds, ratio = _between(rt60, drawn[0]), _between(direct, drawn[1])
    first, length = max(1, round(_SILENCE * sample_rate)), max(2, round(seconds * sample_rate))
    tail = key.fold("echoes").normal((length,)).astype(np.float64) * np.exp(-_FALL * np.arange(length) / length)
    response = np.zeros(first + length)
    response[0], response[first:] = 1.0, tail * math.sqrt(10 ** (-ratio / 10) / np.sum(tail**2))
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]
    return (heard * math.sqrt(_power(samples) / max(_power(heard), 1e-30))).astype(np.float32)
