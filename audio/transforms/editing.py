"""Cutting silence away, and laying sounds over each other.

Example:
    >>> import nyala
    >>> sound = nyala.cat([nyala.zeros(4000), nyala.sin(nyala.arange(4000.0)), nyala.zeros(4000)])
    >>> trim(sound, frame_length=512, hop_length=128).shape
    (4480,)
    >>> mix([nyala.ones(2), nyala.ones(3)], decibels=[0.0, -6.0206]).numpy().round(2).tolist()
    [1.5, 1.5, 0.5]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from ...core.ops.pad import pad
from ...core.ops.spectrogram import Frame
from ...core.tensor import Tensor
from .checks import check_waveform


def sounding(waveform: Tensor, *, top_db: float = 60.0, frame_length: int = 2048, hop_length: int = 512) -> list[tuple[int, int]]:
    """Where it is not silent: (first sample, behind the last), in order, as librosa's ``effects.split`` finds them.

    A frame is silent where its power is more than ``top_db`` below that of the loudest; of several channels the loudest counts.

    Args:
        waveform: (T,) or (channels, T); floating point.
        top_db: decibels, above 0.
        frame_length, hop_length: samples of a frame, centred, and between frames.

    Returns:
        None of them where there are no samples; all of it where it is digital silence.

    Raises:
        ArgumentError: sizes that are none, or something that is no tensor.
        DataError: a sample that is NaN or infinite.
        DtypeError: integers.
        ShapeError: other dimensions.
    """
    check_waveform("sounding", waveform, 2)
    if not top_db > 0 or frame_length < 1 or hop_length < 1:
        raise ArgumentError(
            f"sounding: top_db={top_db}, frame_length={frame_length}, hop_length={hop_length}", fix="use positive numbers"
        )
    length = waveform.shape[-1]
    if not length:
        return []
    centred = pad(waveform.detach().to("float64"), (frame_length // 2, frame_length - frame_length // 2))
    count = 1 + length // hop_length
    power = (Frame(frame_length, hop_length).apply(centred)[..., :count, :] ** 2).mean(-1).cpu().numpy().reshape(-1, count).max(0)
    if not np.isfinite(power).all():
        raise DataError(
            f"sounding: samples that are not finite, from about {int(np.argmin(np.isfinite(power))) * hop_length} on",
            why="nothing can be quieter than they are", fix="mend the sound",
        )  # fmt: skip
    heard = 10 * np.log10(np.maximum(power, 1e-10) / max(float(power.max()), 1e-10)) > -top_db
    edges = np.flatnonzero(np.diff(np.concatenate([[False], heard, [False]]).astype(np.int8))).reshape(-1, 2) * hop_length
    return [(int(a), int(min(b, length))) for a, b in edges if a < length]


def trim(waveform: Tensor, *, top_db: float = 60.0, frame_length: int = 2048, hop_length: int = 512) -> Tensor:
    """The sound without the silence before and behind it, as librosa's ``effects.trim``; arguments of :func:`sounding`."""
    parts = sounding(waveform, top_db=top_db, frame_length=frame_length, hop_length=hop_length)
    return waveform[..., parts[0][0] : parts[-1][1]] if parts else waveform


def mix(sounds: Sequence[Tensor], *, decibels: Sequence[float] | None = None) -> Tensor:
    """Sounds of one rate over each other, as long as the longest. Sums may go beyond full scale.

    Args:
        sounds: (..., T) each, of one dtype, with the same or broadcastable channels.
        decibels: how much louder each becomes; 0 unless given.

    Raises:
        ArgumentError: no sounds, or another number of decibels.
        DtypeError: integers.
    """
    if not len(sounds) or (decibels is not None and len(decibels) != len(sounds)):
        raise ArgumentError(
            f"mix of {len(sounds)} sound(s) with {'no' if decibels is None else len(decibels)} decibels",
            fix="pass one sound or more, and as many decibels",
        )
    for sound in sounds:
        check_waveform("mix", sound)
    longest = max(sound.shape[-1] for sound in sounds)
    total: Any = None
    for sound, level in zip(sounds, decibels or [0.0] * len(sounds), strict=True):
        part = pad(sound, (0, longest - sound.shape[-1])) * 10 ** (level / 20)
        total = part if total is None else total + part
    return total
