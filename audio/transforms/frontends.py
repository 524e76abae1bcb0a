"""What classifiers look at: sounds as log-mel frames, of one number, as each architecture was trained with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.tensor import Tensor
from ..pipelines.sounds import name_of, samples_of
from .kaldi import FRAME, HOP, kaldi_fbank
from .whisper import N_FFT as _N_FFT
from .whisper import SAMPLE_RATE, whisper_mel

Array = np.ndarray[Any, Any]


class FrontEnd(Protocol):
    """Samples -> what a classifier takes."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""

    @property
    def samples(self) -> int | None:
        """Samples that are looked at; None for all."""

    def one(self, samples: Array, name: str = "a sound") -> Array:
        """Samples (T,) float32 -> (frames, bands), or samples again; ``name`` is for messages."""

    def count(self, samples: int) -> int:
        """How many of the rows are of a sound of so many samples."""

    def batch(self, rows: Sequence[Array]) -> Any:
        """What :meth:`one` gave, as the model takes it."""

    def hearing(self, seconds: float) -> FrontEnd:
        """The same for the first ``seconds`` of sounds."""

    def to_preprocessor(self) -> dict[str, Any]:
        """The content of the ``preprocessor_config.json`` that transformers reads."""

    def __call__(self, sounds: Any) -> Any:
        """Sounds, or one -> what the model takes."""


def _every(front: FrontEnd, sounds: Any) -> Any:
    rows = []
    for i, sound in enumerate(sounds if isinstance(sounds, list) else [sounds]):
        rows.append(front.one(samples_of(sound, front.sample_rate, most=front.samples), name_of(sound, i)))
    return front.batch(rows)


@dataclass(frozen=True)
class Fbank:
    """Samples -> normalised log mel frames of one length, as transformers' ``ASTFeatureExtractor`` makes them.

    Attributes:
        frames, n_mels: of a picture; shorter sounds are filled with zeros, longer ones lose their end.
        sample_rate: in Hz.
        mean, std: frames become (x - mean) / (2 std); both None for as they are.
    """

    frames: int = 1024
    n_mels: int = 128
    sample_rate: int = 16_000
    mean: float | None = -4.2677393
    std: float | None = 4.5689974

    @staticmethod
    def from_config(described: Mapping[str, Any], frames: int, n_mels: int) -> Fbank:
        """From a ``preprocessor_config.json``; what it does not say is AudioSet's.

        Raises:
            DataError: a deviation that cannot be divided by.
        """
        own = Fbank()
        if not described.get("do_normalize", True):
            return Fbank(frames, n_mels, int(described.get("sampling_rate", own.sample_rate)), None, None)
        mean, std = (float(described.get(key, getattr(own, key))) for key in ("mean", "std"))
        if not std > 0:
            raise DataError(f"preprocessor_config.json: std={std}", fix="restore the file from where it came")
        return Fbank(frames, n_mels, int(described.get("sampling_rate", own.sample_rate)), mean, std)

    @property
    def samples(self) -> int:
        """Samples that are looked at."""
        return FRAME + HOP * (self.frames - 1)

    def hearing(self, seconds: float) -> Fbank:
        """The same for the first ``seconds`` of sounds."""
        return replace(self, frames=1 + max(0, round(seconds * self.sample_rate) - FRAME) // HOP)

    def to_preprocessor(self) -> dict[str, Any]:
        """The content of the ``preprocessor_config.json`` that transformers reads."""
        normalised: dict[str, Any] = {"do_normalize": False}
        if self.mean is not None:
            normalised = {"do_normalize": True, "mean": self.mean, "std": self.std}
        return {
            "feature_extractor_type": "ASTFeatureExtractor",
            "feature_size": 1,
            "max_length": self.frames,
            "num_mel_bins": self.n_mels,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
            "sampling_rate": self.sample_rate,
            **normalised,
        }

    def __call__(self, sounds: Any) -> Tensor:
        """Sounds -> (N, frames, n_mels); one sound is a list of one."""
        return _every(self, sounds)

    def batch(self, rows: Sequence[Array]) -> Tensor:
        """What :meth:`one` gave, as the model takes it: (N, frames, n_mels)."""
        return from_numpy(np.stack(rows))

    def count(self, samples: int) -> int:
        """How many of the frames are of a sound of so many samples."""
        return min(self.frames, 1 + (samples - FRAME) // HOP)

    def one(self, samples: Array, name: str = "a sound") -> Array:
        """Samples (T,) at the model's rate -> (frames, n_mels).

        Args:
            samples: float32.
            name: what messages call the sound.

        Raises:
            DataError: fewer than a frame.
        """
        if len(samples) < FRAME:
            raise DataError(
                f"{name} has {len(samples)} sample(s) at {self.sample_rate} Hz",
                why=f"a frame needs {FRAME}",
                fix="leave out sounds shorter than 25 ms",
            )
        found = kaldi_fbank(from_numpy(np.ascontiguousarray(samples)), self.n_mels, sample_rate=self.sample_rate).numpy()
        padded = np.zeros((self.frames, self.n_mels), np.float32)
        padded[: len(found)] = found[: self.frames]
        return padded if self.mean is None or self.std is None else (padded - self.mean) / np.float32(2 * self.std)


@dataclass(frozen=True)
class LogMel:
    """Samples -> the log-mel picture that Whisper's encoder looks at.

    Attributes:
        frames, n_mels: of a picture; behind shorter sounds comes silence, longer ones lose their end.
        sample_rate: in Hz; Whisper knows one.
    """

    frames: int = 3000
    n_mels: int = 80
    sample_rate: int = SAMPLE_RATE

    @property
    def samples(self) -> int:
        """Samples that are looked at."""
        return HOP * self.frames

    def hearing(self, seconds: float) -> LogMel:
        """The same for the first ``seconds`` of sounds, in whole seconds: so transformers counts them."""
        return replace(self, frames=math.ceil(seconds) * self.sample_rate // HOP)

    def to_preprocessor(self) -> dict[str, Any]:
        """The content of the ``preprocessor_config.json`` that transformers reads."""
        return {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "chunk_length": self.samples // self.sample_rate,
            "feature_size": self.n_mels,
            "hop_length": HOP,
            "n_fft": _N_FFT,
            "n_samples": self.samples,
            "nb_max_frames": self.frames,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
            "sampling_rate": self.sample_rate,
        }

    def __call__(self, sounds: Any) -> Tensor:
        """Sounds -> (N, n_mels, frames); one sound is a list of one."""
        return _every(self, sounds)

    def batch(self, rows: Sequence[Array]) -> Tensor:
        """What :meth:`one` gave, as the model takes it: (N, n_mels, frames)."""
        return from_numpy(np.ascontiguousarray(np.stack(rows).transpose(0, 2, 1)))

    def count(self, samples: int) -> int:
        """How many of the frames are of a sound of so many samples."""
        return min(self.frames, math.ceil(samples / HOP))

    def one(self, samples: Array, name: str = "a sound") -> Array:  # noqa: ARG002 - no sound is too short for it
        """Samples (T,) at 16 kHz -> (frames, n_mels)."""
        padding = max(0, self.samples - len(samples))
        picture = whisper_mel(from_numpy(np.ascontiguousarray(samples[: self.samples])), self.n_mels, padding=padding)
        return picture.numpy().T
