"""Sounds as wav2vec 2.0 and its kin take them: the samples themselves, brought to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.tensor import Tensor
from ..pipelines.sounds import name_of, samples_of

Samples = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Waves:
    """Sounds -> samples, padded to one length, as transformers' ``Wav2Vec2FeatureExtractor`` makes them.

    Each sound is normalised by itself, before zeros come behind it.

    Attributes:
        sample_rate: in Hz.
        normalize: whether samples become (x - mean) / sqrt(variance + 1e-7).
        mask: whether batches tell what is padding: models with layer norms want it, those with a group norm never saw it.
        least: samples of the shortest sound that the model takes.
        most: samples that are looked at; None for all.

    Example:
        >>> batch = Waves(least=2)([np.array([0.5, -0.5], np.float32), np.ones(3, np.float32)])
        >>> batch["input_values"].shape
        (2, 3)
    """

    sample_rate: int = 16_000
    normalize: bool = True
    mask: bool = False
    least: int = 400
    most: int | None = None

    @staticmethod
    def from_config(described: Mapping[str, Any], config: Any) -> Waves:
        """From a ``preprocessor_config.json``, and the model's configuration for what it does not say.

        Raises:
            DataError: a sample rate that is none.
        """
        rate = described.get("sampling_rate", 16_000)
        if not isinstance(rate, int) or rate < 1:
            raise DataError(f"preprocessor_config.json: sampling_rate={rate!r}", fix="restore the file from where it came")
        mask = described.get("return_attention_mask", config.feat_extract_norm == "layer")
        return Waves(rate, bool(described.get("do_normalize", True)), bool(mask), config.least)

    def to_preprocessor(self) -> dict[str, Any]:
        """The ``preprocessor_config.json`` from which :meth:`from_config` makes the same, and which transformers reads."""
        return {
            "do_normalize": self.normalize,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": self.mask,
            "sampling_rate": self.sample_rate,
        }

    def hearing(self, seconds: float) -> Waves:
        """The same for the first ``seconds`` of sounds."""
        return replace(self, most=max(self.least, round(seconds * self.sample_rate)))

    @property
    def samples(self) -> int | None:
        """Samples that are looked at; None for all."""
        return self.most

    def __call__(self, sounds: Any) -> dict[str, Tensor]:
        """Sounds -> ``input_values`` (N, T) and, where the model wants it, ``attention_mask``; one sound is a list of one."""
        given = sounds if isinstance(sounds, list) else [sounds]
        read = [samples_of(sound, self.sample_rate, most=self.most) for sound in given]
        return self.batch([self.one(samples, name_of(s, i)) for i, (s, samples) in enumerate(zip(given, read, strict=True))])

    def one(self, samples: Samples, name: str = "a sound") -> Samples:
        """Samples (T,) at the model's rate -> the same, normalised.

        Args:
            samples: float32.
            name: what messages call the sound.

        Raises:
            DataError: fewer than the model takes.
        """
        if len(samples) < self.least:
            raise DataError(
                f"{name} has {len(samples)} sample(s) at {self.sample_rate} Hz",
                why=f"a frame of this model needs {self.least}",
                fix=f"leave out sounds shorter than {1000 * self.least / self.sample_rate:g} ms",
            )
        if not self.normalize:
            return samples
        wide = samples.astype(np.float64)
        return ((wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)).astype(np.float32)

    def batch(self, rows: Sequence[Samples]) -> dict[str, Tensor]:
        """What :meth:`one` gave, as the model takes it."""
        longest = max(len(row) for row in rows)
        values, mask = np.zeros((len(rows), longest), np.float32), np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            values[i, : len(row)], mask[i, : len(row)] = row, 1
        return {"input_values": from_numpy(values), **({"attention_mask": from_numpy(mask)} if self.mask else {})}

    def count(self, samples: int) -> int:
        """How many samples of a sound are looked at."""
        return samples if self.most is None else min(samples, self.most)
