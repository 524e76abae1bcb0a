"""Sounds as the speaker encoder takes them: pieces of 1.6 s that overlap, as mel frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.ops.spectrogram import hann_window, power_spectrogram
from ...core.tensor import Tensor
from ..pipelines.sounds import name_of, samples_of
from . import mel

Samples = np.ndarray[Any, np.dtype[np.float32]]
_LOUDNESS = 10 ** (-30 / 20)  # -30 dB of full scale: quieter sounds are made as loud


@dataclass(frozen=True)
class VoiceMel:
    """Samples -> mel frames of pieces that overlap, as the package ``resemblyzer`` makes them; it also cuts long silences out.

    Attributes:
        sample_rate: in Hz.
        n_mels: bands of a frame.
        frames: of a piece; one begins every 10 ms.
        step: frames from piece to piece.
        seconds: what is heard of a sound at most.

    Example:
        >>> VoiceMel()(np.zeros(40_000, np.float32)).shape
        (2, 160, 40)
    """

    sample_rate: int = 16_000
    n_mels: int = 40
    frames: int = 160
    step: int = 77
    seconds: float = 300.0

    @staticmethod
    def from_config(described: Mapping[str, Any], config: Any) -> VoiceMel:
        """For a model; how much of each sound is heard may stand in a ``preprocessor_config.json``.

        Raises:
            DataError: a length that is none.
        """
        seconds = described.get("max_seconds", VoiceMel.seconds)
        if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
            raise DataError(f"preprocessor_config.json: max_seconds={seconds!r}", fix="use a length in seconds")
        step = max(1, round(0.48125 * config.partial_frames))  # 1.3 pieces a second of the published length
        return VoiceMel(config.sample_rate, config.num_mel_bins, config.partial_frames, step, float(seconds))

    @property
    def n_fft(self) -> int:
        """Samples of a transform: 25 ms."""
        return self.sample_rate // 40

    @property
    def hop(self) -> int:
        """Samples from frame to frame: 10 ms."""
        return self.sample_rate // 100

    def to_preprocessor(self) -> dict[str, Any]:
        """The ``preprocessor_config.json`` from which :meth:`from_config` makes the same."""
        return {"sampling_rate": self.sample_rate, "max_seconds": self.seconds}

    def __call__(self, sounds: Any) -> Tensor:
        """One sound, or a list of one -> (pieces, frames, n_mels).

        Raises:
            DataError: several sounds, or one without samples.
        """
        if isinstance(sounds, list) and len(sounds) != 1:
            raise DataError(f"{len(sounds)} sounds at once", why="each has pieces of its own", fix="pass one after the other")
        sound = sounds[0] if isinstance(sounds, list) else sounds
        most = round(self.seconds * self.sample_rate)
        return from_numpy(self.one(samples_of(sound, self.sample_rate, most=most), name_of(sound)))

    def one(self, samples: Samples, name: str = "a sound") -> Samples:
        """Samples (T,) at the model's rate -> (pieces, frames, n_mels); what lies behind the end is silence.

        Raises:
            DataError: fewer samples than a frame has.
        """
        if len(samples) < self.n_fft:
            raise DataError(
                f"{name} has {len(samples)} sample(s) at {self.sample_rate} Hz",
                why=f"a frame needs {self.n_fft}",
                fix="leave out sounds shorter than 25 ms",
            )
        starts = self._starts(len(samples))
        rows = starts[-1] + self.frames
        half = self.n_fft // 2
        wide = np.zeros(max(rows * self.hop, len(samples)) + 2 * half, np.float32)
        wide[half : half + len(samples)] = _loud(samples)
        power = power_spectrogram(from_numpy(wide), hann_window(self.n_fft), self.hop, center=False).numpy()
        table = mel.filters(self.n_mels, n_fft=self.n_fft, sample_rate=self.sample_rate)
        bands = (table @ power).T
        return np.stack([bands[i : i + self.frames] for i in starts])

    def _starts(self, count: int) -> list[int]:
        """The frames at which the pieces of so many samples begin; the last has samples in three quarters, unless it is alone."""
        total = math.ceil((count + 1) / self.hop)
        starts = list(range(0, max(1, total - self.frames + self.step + 1), self.step))
        if len(starts) > 1 and count - starts[-1] * self.hop < 0.75 * self.frames * self.hop:
            starts.pop()
        return starts


def _loud(samples: Samples) -> Samples:
    """The same at -30 dB of full scale, if it is quieter; silence stays as it is."""
    mean = math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))
    return samples * np.float32(_LOUDNESS / mean) if 0 < mean < _LOUDNESS else samples
