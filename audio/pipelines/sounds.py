"""What users pass as a sound: a path, an open file, samples, or samples with their rate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError, kind_of
from ...core.tensor import Tensor
from ..io import SoundReader
from ..transforms.resample import Resampler, resample


def is_source(sound: Any) -> bool:
    """Whether it is a path or an open file, rather than samples."""
    return isinstance(sound, (str, os.PathLike)) or hasattr(sound, "read")


def name_of(sound: Any, index: int = 0) -> str:
    """The file's path, or the sound's number."""
    return str(sound) if isinstance(sound, (str, os.PathLike)) else str(getattr(sound, "name", f"sound {index}"))


def samples_of(
    sound: Any, sample_rate: int, *, most: int | None = None, start: float = 0.0
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(T,) float32, one channel.

    Args:
        sound: a path, an open binary file, float samples (T,) or (channels, T) at ``sample_rate``, or a pair (samples, rate).
        sample_rate: what they are resampled to.
        most: samples that are wanted at most: no more is read of a file.
        start: of a longer sound, where they begin: 0 for its first, 1 for its last ``most`` samples.

    Raises:
        DataError: none of these, samples that are not finite, or a file that is no sound.
        MissingFileError: no such file.

    Example:
        >>> samples_of((np.zeros((2, 80)), 8_000), 16_000).shape
        (160,)
    """
    if is_source(sound):
        return _read(sound, sample_rate, most, start)
    samples, rate = sound if isinstance(sound, tuple) and len(sound) == 2 else (sound, sample_rate)
    array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2) or array.dtype.kind != "f":
        what = f"an array of {array.dtype}, {array.ndim} dimensions" if isinstance(array, np.ndarray) else kind_of(sound)
        raise DataError(
            f"a sound is {what}",
            why=f"it is a path, an open file, float samples (T,) or (channels, T) at {sample_rate} Hz, or a pair (samples, rate)",
            fix="for 16-bit samples: samples / 32768",
        )
    if not np.isfinite(array).all():
        raise DataError("the samples are not all finite", why="NaN or infinity", fix="find out where they came from")
    mono = (array.mean(0) if array.ndim == 2 else array).astype(np.float32, copy=False)
    found = mono if rate == sample_rate else resample(from_numpy(np.ascontiguousarray(mono)), rate, sample_rate).numpy()
    begin = int(start * max(0, len(found) - most)) if most is not None else 0
    return found[begin:][:most]


def resampled(blocks: Iterable[Any], orig_freq: int, new_freq: int) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """Blocks of samples that are still coming in, at another rate: together what the whole sound would give.

    Args:
        blocks: float samples (T,), arrays or tensors, of any lengths.
        orig_freq, new_freq: rates in Hz.

    Raises:
        DataError: a block of other numbers, of several channels, or with one that is not finite.

    Example:
        >>> sum(len(block) for block in resampled([np.zeros(7)] * 100, 8_000, 16_000))
        1400
    """
    stream = None if orig_freq == new_freq else Resampler(orig_freq, new_freq)
    taken = 0
    for block in blocks:
        samples = _checked_block(block, taken)
        taken += len(samples)
        yield samples if stream is None else stream.push(from_numpy(samples)).numpy()
    if stream is not None and taken:
        yield stream.finish().numpy()


def _checked_block(block: Any, taken: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    array = np.asarray(block.detach().cpu().numpy() if isinstance(block, Tensor) else block)
    if array.dtype.kind != "f" or array.size != max(array.shape, default=0):
        raise DataError(
            f"a block of live sound is of {array.dtype} and shape {array.shape}",
            why="it is float samples (T,) of one channel",
            fix="average channels; for 16-bit samples: block / 32768",
        )
    samples = np.ascontiguousarray(array, np.float32).reshape(-1)
    if not np.isfinite(samples).all():
        place = taken + int(np.argmin(np.isfinite(samples)))
        raise DataError(f"sample {place} of live sound is not a finite number", fix="find out where it came from")
    return samples


def _read(sound: Any, sample_rate: int, most: int | None, start: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    parts, have = [np.zeros(0, np.float32)], 0
    with SoundReader(sound, sample_rate, mono=True) as reader:
        left = reader.info.duration - most / sample_rate if most is not None else 0.0
        if start and left > 0:
            reader.seek(start * left)
        for block in reader:
            parts.append(block[0])
            have += block.shape[1]
            if most is not None and have >= most:
                break
    return np.concatenate(parts)[:most]
