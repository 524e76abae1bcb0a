"""What CLAP looks at: log-mel frames of ten seconds, or four pictures of a longer sound, as ``ClapFeatureExtractor`` has it.

Where transformers draws which piece of a longer sound is heard, here it is the middle one: the same sound gives the same vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError, kind_of
from ...core.tensor import Tensor
from ..io import SoundReader
from ..pipelines.sounds import is_source, name_of, samples_of
from . import mel

Array = np.ndarray[Any, Any]
_LEAST = 1e-10  # what smaller powers are taken for
_KEYS = {
    "feature_size": "n_mels", "sampling_rate": "sample_rate", "hop_length": "hop", "max_length_s": "seconds",
    "fft_window_size": "n_fft", "frequency_min": "f_min", "frequency_max": "f_max", "truncation": "truncation",
    "padding": "padding",
}  # fmt: skip
_CHOICES = {"truncation": ("fusion", "rand_trunc"), "padding": ("repeatpad", "repeat", "pad")}


@dataclass(frozen=True)
class ClapMel:
    """Sounds -> ``input_features`` (N, 1 or 4, frames, n_mels) float32, in decibels, and ``is_longer`` (N, 1).

    Attributes:
        n_mels: bands of a frame.
        sample_rate: in Hz.
        hop: samples from frame to frame.
        seconds: that are heard at once.
        n_fft: samples of a frame.
        f_min, f_max: ends of the bands, in Hz.
        truncation: of longer sounds: "rand_trunc" hears the middle of them; "fusion" makes four pictures of every sound, which
            of a longer one are the whole, squeezed to ``seconds``, and the middles of its three thirds.
        padding: a shorter sound is said again and again as often as it fits whole, then comes silence ("repeatpad"); or until
            the end ("repeat"); or once ("pad").

    Example:
        >>> found = ClapMel(seconds=1, truncation="rand_trunc")(np.zeros(24_000))
        >>> found["input_features"].shape, found["is_longer"].tolist()
        ((1, 1, 101, 64), [[True]])
    """

    n_mels: int = 64
    sample_rate: int = 48_000
    hop: int = 480
    seconds: int = 10
    n_fft: int = 1024
    f_min: float = 0.0
    f_max: float = 14_000.0
    truncation: str = "fusion"
    padding: str = "repeatpad"

    @staticmethod
    def from_config(described: Mapping[str, Any], n_mels: int, fusion: bool) -> ClapMel:
        """From a ``preprocessor_config.json``; what it does not say is transformers' default.

        Args:
            described: its content, or nothing.
            n_mels: bands that the model takes.
            fusion: whether the model takes four pictures.

        Raises:
            DataError: a file that makes no sense, or is another model's.
        """
        where, fix = "preprocessor_config.json", "restore the file from where it came"
        given = {"feature_size": n_mels, "truncation": "fusion" if fusion else "rand_trunc", **described}
        for key in _KEYS:
            kind = str if key in _CHOICES else (int, float) if key.startswith("frequency") else int
            value = given.get(key)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise DataError(f"{where}: {key} is {kind_of(value)}", fix=fix)
        made = ClapMel(**{ours: given[theirs] for theirs, ours in _KEYS.items() if given.get(theirs) is not None})
        for name, choices in _CHOICES.items():
            if getattr(made, name) not in choices:
                raise DataError(f"{where}: {name}={getattr(made, name)!r}", why=f"there are {', '.join(choices)}", fix=fix)
        if made.n_mels != n_mels or (made.truncation == "fusion") != fusion:
            told = f"{made.n_mels} bands with truncation {made.truncation!r}"
            why = f"the model takes {n_mels} bands, and {'four pictures' if fusion else 'one picture'} of a sound"
            raise DataError(f"{where}: {told}", why=why, fix=fix)
        if min(made.sample_rate, made.hop, made.seconds) < 1 or made.n_fft < 2:
            raise DataError(f"{where}: a size that is not positive", fix=fix)
        made.filters()  # limits that are no range are an error now
        return made

    def to_preprocessor(self) -> dict[str, Any]:
        """The content of the ``preprocessor_config.json`` that transformers reads."""
        plain = {theirs: getattr(self, ours) for theirs, ours in _KEYS.items()}
        derived = {"nb_max_samples": self.samples, "nb_frequency_bins": self.n_fft // 2 + 1, "top_db": None}
        usual = {"padding_side": "right", "padding_value": 0.0, "return_attention_mask": False}
        return {"feature_extractor_type": "ClapFeatureExtractor", **plain, **derived, **usual}

    @property
    def samples(self) -> int:
        """Samples that are heard at once."""
        return self.seconds * self.sample_rate

    @property
    def frames(self) -> int:
        """Frames of a picture."""
        return self.samples // self.hop + 1

    def filters(self) -> Array:
        """The mel bands: HTK's with fusion, Slaney's without, as CLAP was trained."""
        scale: mel.Scale = "htk" if self.truncation == "fusion" else "slaney"
        return mel.filters(
            self.n_mels, n_fft=self.n_fft, sample_rate=self.sample_rate, f_min=self.f_min, f_max=self.f_max, scale=scale,
            area=scale == "slaney",
        )  # fmt: skip

    def __call__(self, sounds: Any) -> dict[str, Tensor]:
        """Sounds, or one -> what the model takes.

        With fusion every sound is told to be longer than is heard: so transformers does it with a sound that is alone.

        Raises:
            DataError: no sound at all, or one that is none.
            MissingFileError: no such file.
        """
        given = sounds if isinstance(sounds, list) else [sounds]
        pictures = np.stack([self.one(sound, i) for i, sound in enumerate(given)])
        return {"input_features": from_numpy(pictures), "is_longer": from_numpy(np.ones((len(given), 1), np.bool_))}

    def one(self, sound: Any, index: int = 0) -> Array:
        """(1 or 4, frames, n_mels) of one sound."""
        if self.truncation == "rand_trunc":
            samples = samples_of(sound, self.sample_rate, most=self.samples, start=0.5)
            return self._short(samples, name_of(sound, index))[None]
        blocks, total = _stream(sound, self.sample_rate)
        if total <= self.samples:
            return np.repeat(self._short(_joined(blocks), name_of(sound, index))[None], 4, axis=0)
        count = total // self.hop + 1
        if count == self.frames:  # too little longer to make a difference
            return np.repeat(self._decibels(blocks, total, np.arange(count))[None], 4, axis=0)
        return self._fused(blocks, total, count)

    def _short(self, samples: Array, name: str) -> Array:
        """(frames, n_mels) of a sound that is not longer than is heard."""
        if not len(samples):
            raise DataError(f"{name} has no samples", fix="leave out empty sounds")
        times = self.samples // len(samples)
        if self.padding == "repeat":
            samples = np.tile(samples, times + 1)[: self.samples]
        elif self.padding == "repeatpad":
            samples = np.tile(samples, times)
        samples = np.pad(samples, (0, self.samples - len(samples)))
        return self._decibels([samples], len(samples), np.arange(self.frames))

    def _fused(self, blocks: Iterable[Array], total: int, count: int) -> Array:
        """(4, frames, n_mels): the whole squeezed, and the middle of each third. Only frames that count are made."""
        thirds = np.array_split(np.arange(count - self.frames + 1), 3)
        starts = [int(third[len(third) // 2]) if len(third) else 0 for third in thirds]
        at = np.maximum((np.arange(self.frames) + 0.5) * (count / self.frames) - 0.5, 0)  # torch's bilinear, corners not aligned
        low = np.minimum(at.astype(np.int64), count - 1)
        high, share = np.minimum(low + 1, count - 1), (at - low)[:, None]
        wanted = np.unique(np.concatenate([low, high, *[start + np.arange(self.frames) for start in starts]]))
        found = self._decibels(blocks, total, wanted)
        squeezed = found[np.searchsorted(wanted, low)] * (1 - share) + found[np.searchsorted(wanted, high)] * share
        firsts = [int(np.searchsorted(wanted, start)) for start in starts]
        pieces = [found[first : first + self.frames] for first in firsts]
        return np.stack([squeezed.astype(np.float32), *pieces])

    def _decibels(self, blocks: Iterable[Array], total: int, wanted: Array) -> Array:
        """(len(wanted), n_mels) float32: these frames of a sound of ``total`` samples, which is mirrored at its ends."""
        cut = _cut(blocks, total, wanted * self.hop - self.n_fft // 2, self.n_fft)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        power = np.abs(np.fft.rfft(cut * window)) ** 2
        return np.asarray(10 * np.log10(np.maximum(power @ self.filters().T.astype(np.float64), _LEAST)), np.float32)


def _joined(blocks: Iterable[Array]) -> Array:
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def _stream(sound: Any, rate: int) -> tuple[Iterable[Array], int]:
    """The samples in pieces, and how many they are; of a file, no more than a piece is in memory."""
    if not is_source(sound):
        samples = samples_of(sound, rate)
        return [samples], len(samples)
    with SoundReader(sound, rate, mono=True) as reader:
        total = -(-reader.info.frames * rate // reader.info.sample_rate)

    def blocks() -> Iterator[Array]:
        if hasattr(sound, "seek"):
            sound.seek(0)
        with SoundReader(sound, rate, mono=True) as reader:
            for block in reader:
                yield block[0]

    return blocks(), total


def _cut(blocks: Iterable[Array], total: int, starts: Array, size: int) -> Array:
    """(len(starts), size) float32: pieces of a sound, mirrored at its ends.

    Args:
        blocks: its samples in order.
        total: how many they are; more than ``size // 2``.
        starts: where the pieces begin, ascending, the first from ``-size // 2`` on.
        size: of a piece.
    """
    found, done = np.zeros((len(starts), size), np.float32), 0
    held, first = np.zeros(0, np.float32), 0  # samples from ``first`` on
    ends = np.minimum(np.maximum(starts + size, size), total)  # samples that must have come, also those that mirror the start
    for block in blocks:
        held = np.concatenate([held, block])
        ready = int(np.searchsorted(ends, first + len(held), side="right"))
        if ready > done:
            found[done:ready] = held[_mirrored(starts[done:ready, None] + np.arange(size), total) - first]
            done = ready
        if done == len(starts):
            break
        keep = min(int(starts[done]) - size, total - 2 * size, first + len(held))  # at the end, what it mirrors
        held, first = (held[keep - first :], keep) if keep > first else (held, first)
    return found


def _mirrored(places: Array, total: int) -> Array:
    """Places outside 0 .. total - 1 as those that they mirror."""
    period = 2 * (total - 1)
    within = np.abs(places) % period
    return np.where(within < total, within, period - within)
