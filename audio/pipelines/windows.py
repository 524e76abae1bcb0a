"""Sounds of any length, a window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..io import SoundReader
from .sketch import Sketch
from .sounds import is_source, samples_of


class Windows:
    """A sound of which a window is held at a time; reading goes forward only.

    Args:
        sound: a path, an open file, samples, or samples with their rate; see :func:`~nyala.audio.pipelines.sounds.samples_of`.
        window: samples that are held.
        sample_rate: what the sound is resampled to.

    Attributes:
        name: the file's path.
        total: samples there are, by the file's head.
        sketch: what was read so far looks like.

    Raises:
        DataError: no sound, one that is cut off, or samples that are not finite.
        MissingFileError: no such file.

    Example:
        >>> with Windows(np.zeros(50, np.float32), 20, 16_000) as heard:
        ...     [len(heard.at(first)) for first in (0, 20, 40)]
        [20, 20, 10]
    """

    def __init__(self, sound: Any, window: int, sample_rate: int) -> None:
        self._window, self._first, self._held = window, 0, np.zeros(0, np.float32)
        self._file: SoundReader | None = None
        self._ended, self.sketch = False, Sketch(sample_rate)
        if is_source(sound):
            self._file = SoundReader(sound, sample_rate, mono=True)
            self.name = self._file.name
            self.total = max(1, round(self._file.info.duration * sample_rate))
            self._blocks: Iterator[np.ndarray[Any, Any]] = iter(self._file)
        else:
            self.name, samples = "samples", samples_of(sound, sample_rate)
            self.total = max(1, len(samples))
            self._blocks = iter([samples[None]])

    def __enter__(self) -> Windows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.__exit__(None, None, None)

    @property
    def length(self) -> int:
        """Samples read so far: all, at the end."""
        return self._first + len(self._held)

    def at(self, first: int) -> np.ndarray[Any, Any]:
        """A window's samples from ``first`` on, fewer at the end; what lies before is forgotten."""
        self._fill(first + self._window)
        self._held = self._held[first - self._first :]
        self._first = first
        return self._held[: self._window]

    def more(self, place: int) -> bool:
        """Whether there are samples behind ``place``."""
        self._fill(place + 1)
        return self.length > place

    def _fill(self, until: int) -> None:
        parts = [self._held]
        have = self.length
        while have < until and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
            else:
                parts.append(block[0])
                self.sketch.add(block[0])
                have += block.shape[1]
        if len(parts) > 1:
            self._held = np.concatenate(parts)
