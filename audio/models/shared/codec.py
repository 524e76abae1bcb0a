"""What neural codecs share: sounds turned into a few codes a frame, each a row of a codebook, and back.

A sound goes through in pieces, so that memory does not depend on its length; the codes are those of the whole sound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from ....core import nn
from ....core.create import from_numpy
from ....core.errors import ArgumentError, DataError, ShapeError
from ....core.tensor import Tensor
from ....core.tracing import tells_later

Samples = np.ndarray[Any, np.dtype[np.float32]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Part = tuple[Numbers, float | None]
PIECE = 5  # seconds that go through a model at once


@dataclass(frozen=True)
class CodecConfig:
    """What the pipeline must know of a codec; subclasses add the network's shape."""

    sampling_rate: int = 24_000
    """Samples a second."""
    codebook_size: int = 1024
    """Rows of each codebook, a power of two."""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], **overrides: Any) -> Self:
        """Read transformers' ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, or sizes that do not fit each other.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            named = ", ".join(map(repr, unknown))
            raise ArgumentError(f"this codec has no option {named}", fix=f"it has {', '.join(sorted(known))}")
        values = {**{k: v for k, v in config.items() if k in known}, **overrides}
        changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        made = replace(cls(), **changes)
        made.check()
        return made

    def check(self) -> None:
        """Whether the sizes fit each other.

        Raises:
            ArgumentError: they do not.
        """
        size = self.codebook_size
        if size < 2 or size & (size - 1):
            raise ArgumentError(f"codebook_size={size}", why="a code is a whole number of bits", fix="use a power of two")

    @property
    def bits(self) -> int:
        """Of a code."""
        return self.codebook_size.bit_length() - 1

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the encoder's convolutions."""
        raise NotImplementedError

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.strides)

    @property
    def frame_rate(self) -> int:
        """Frames a second, rounded up."""
        return math.ceil(self.sampling_rate / self.hop)

    @property
    def books(self) -> int:
        """Codebooks there are."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """Of the sounds."""
        return 1

    def kbps(self, count: int) -> float:
        """Thousands of bits a second that ``count`` codebooks take."""
        return count * self.bits * self.sampling_rate / self.hop / 1000


class CodecModel(nn.Model):
    """A codec that works piece by piece.

    Attributes:
        chunked: whether each piece has codes of its own, rather than all pieces together one row of frames.
    """

    config: Any
    config_class: ClassVar[type[CodecConfig]] = CodecConfig
    chunked: bool = False

    def count(self, bandwidth: float | None = None, quantizers: int | None = None) -> int:
        """How many codebooks are used.

        Args:
            bandwidth: thousands of bits a second, as much as is allowed.
            quantizers: the number itself.

        Raises:
            ArgumentError: both; or more than there are, or none.
        """
        books = self.config.books
        if bandwidth is not None and quantizers is not None:
            raise ArgumentError(f"bandwidth={bandwidth:g} and quantizers={quantizers}", fix="say one of them")
        if bandwidth is not None:
            return self.count_within(bandwidth)
        if quantizers is None:
            return self.count_by_default()
        if not 1 <= quantizers <= books:
            raise ArgumentError(f"quantizers={quantizers}", why=f"this model has {books} codebooks", fix=f"use 1 to {books}")
        return quantizers

    def count_by_default(self) -> int:
        """Codebooks that are used where nothing is said."""
        return int(self.config.books)

    def count_within(self, bandwidth: float) -> int:
        """Codebooks that take no more than ``bandwidth``.

        Raises:
            ArgumentError: a bandwidth that is less than one codebook's.
        """
        least, most = self.config.kbps(1), self.config.kbps(self.config.books)
        if not least * (1 - 1e-9) <= bandwidth:
            raise ArgumentError(
                f"bandwidth={bandwidth:g}", why="one codebook takes more", fix=f"use {least:g} to {most:g} thousand bits a second"
            )
        return min(int(self.config.books), math.floor(bandwidth / least * (1 + 1e-9)))

    def encode_pieces(self, sound: Stretches, count: int) -> Iterator[Part]:
        """Codes (count, frames) and the loudness they were divided by, piece by piece."""
        raise NotImplementedError

    def decode_pieces(self, parts: Iterable[Part]) -> Iterator[Samples]:
        """Samples (channels, T), piece by piece; a few more than were encoded, perhaps a few less."""
        raise NotImplementedError

    def check_samples(self, samples: Tensor) -> None:
        """Whether a model can take them.

        Raises:
            ShapeError: not (N, channels, T), or no sample.
        """
        channels = self.config.channels
        if samples.ndim != 3 or samples.shape[1] != channels or not samples.shape[2]:
            raise ShapeError(
                f"samples of shape {samples.shape}",
                why=f"this codec takes (N, {channels}, T) at {self.config.sampling_rate} Hz, T at least 1",
                fix="add or average channels, or leave empty sounds out",
            )

    def check_codes(self, codes: Tensor | Numbers, dim: int) -> None:
        """Whether a model knows these codes.

        Args:
            codes: of any shape.
            dim: the dimension that the codebooks are counted in.

        Raises:
            DataError: codes that are not in the codebooks, or of more codebooks than there are.
        """
        size, books = self.config.codebook_size, self.config.books
        if codes.dtype.kind not in "iu" or not 1 <= codes.shape[dim] <= books:
            raise DataError(
                f"codes of shape {codes.shape}, {codes.dtype}",
                why=f"this model has {books} codebooks, and codes are whole numbers",
                fix="decode with the model they were made by",
            )
        if isinstance(codes, Tensor) and tells_later(
            lambda: ((codes.array < 0) | (codes.array >= size)).any(), f"a code that is not among 0 to {size - 1}", DataError
        ):
            return
        array = codes.detach().cpu().numpy() if isinstance(codes, Tensor) else codes
        if array.size and (array.min() < 0 or array.max() >= size):
            worst = int(array.min()) if array.min() < 0 else int(array.max())
            raise DataError(f"code {worst}", why=f"codes are 0 to {size - 1}", fix="decode with the model they were made by")

    def placed(self, array: np.ndarray[Any, Any]) -> Tensor:
        """A batch of one, where the model is and in its precision."""
        like: Any = next(iter(self.parameters()))
        tensor = from_numpy(np.ascontiguousarray(array[None])).to(like.device)
        return tensor.to(like.dtype) if tensor.is_floating_point() else tensor


class Stretches:
    """A sound that comes in blocks, of which any stretch may be taken as long as they begin ever later.

    Args:
        blocks: samples (channels, T).

    Example:
        >>> sound = Stretches(iter([np.zeros((1, 5), np.float32), np.ones((1, 5), np.float32)]))
        >>> sound.take(0, 4).shape, sound.take(3, 20).shape, sound.ends_by(10), sound.length
        ((1, 4), (1, 7), True, 10)
    """

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks, self._first, self._ended = iter(blocks), 0, False
        self._held: Samples | None = None

    @property
    def length(self) -> int:
        """Samples read so far: all, at the end."""
        return self._first + (0 if self._held is None else self._held.shape[1])

    def take(self, first: int, last: int) -> Samples:
        """The samples from ``first`` to ``last``, fewer at the end; what lies before is forgotten."""
        self._fill(last)
        if self._held is None:
            return np.zeros((1, 0), np.float32)
        self._held = self._held[:, max(0, first - self._first) :]
        self._first = max(first, self._first)
        return self._held[:, : max(0, last - self._first)]

    def ends_by(self, place: int) -> bool:
        """Whether there is nothing behind ``place``."""
        self._fill(place + 1)
        return self.length <= place

    def _fill(self, until: int) -> None:
        parts = [] if self._held is None else [self._held]
        have = self.length
        while have < until and not self._ended:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
            else:
                parts.append(block)
                have += block.shape[1]
        if parts:
            self._held = np.concatenate(parts, 1) if len(parts) > 1 else parts[0]
