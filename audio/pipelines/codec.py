"""Codecs: sounds of any length as a few codes a frame, kept in small files, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.checkpoint import load_file, save_file
from ...core.checkpoint.safetensors import read_header
from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError
from ...core.tensor import Tensor
from ...hub.pipeline import Pipeline
from ...hub.results import Results, shortened
from ..io import SoundReader
from ..models.shared.codec import CodecModel, Stretches
from .several import Several
from .sounds import is_source, name_of, samples_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

Heard = Callable[[float, float], None]
ENDING = ".safetensors"
_WIDE, _ROW, _HEAD = 1200, 14, 34


@dataclass(frozen=True)
class Facts:
    """What must be known of codes to hear them again.

    Attributes:
        model_type: of the codec, as its ``config.json`` says.
        model: what it is called, or where it came from.
        sampling_rate: in Hz; channels, samples: of the sound.
        codebook_size: rows of each codebook.
        kbps: thousands of bits a second that the codes take.
        last_frame_pad_length: codes at the end of the last chunk that mean nothing.
    """

    model_type: str
    model: str
    sampling_rate: int
    channels: int
    samples: int
    codebook_size: int
    kbps: float
    last_frame_pad_length: int = 0


@dataclass(frozen=True, eq=False)
class Codes(Results):
    """A sound as codes. Prints a summary; ``save("x.safetensors")`` keeps it, and a picture's ending draws it.

    Attributes:
        codes: (chunks, codebooks, frames) int16 or int32.
        scales: (chunks,) float32, what each chunk was divided by; None where there is no such thing.
        facts: what must be known to hear it again.
        name: of the sound.
    """

    codes: np.ndarray[Any, Any]
    scales: np.ndarray[Any, np.dtype[np.float32]] | None
    facts: Facts
    name: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.facts.samples / self.facts.sampling_rate

    @property
    def bits(self) -> int:
        """What the codes take when no bit is wasted; a file has 16 for each, and a head."""
        count = self.codes.size - self.facts.last_frame_pad_length * self.codes.shape[1]
        return count * (self.facts.codebook_size.bit_length() - 1) + (0 if self.scales is None else 32 * len(self.scales))

    def __repr__(self) -> str:
        return f"{self.name}: {self.summary}"

    @property
    def summary(self) -> str:
        """How long the sound is, and how many codes it takes."""
        facts, books = self.facts, self.codes.shape[1]
        plain = 16 * facts.samples * facts.channels
        ratio = f", 1/{plain / self.bits:.0f} of 16-bit samples" if self.bits else ""
        return (
            f"{self.duration:.2f} s, {facts.channels} channel{'s' * (facts.channels > 1)} at {facts.sampling_rate} "
            f"Hz, as {self.codes.shape[0] * self.codes.shape[2] - facts.last_frame_pad_length} frames of {books} "
            f"code{'s' * (books > 1)} ({facts.kbps:g} kbit/s, {self.bits / 8000:.1f} kB{ratio})"
        )

    def to_dict(self) -> dict[str, Any]:
        """What is known of the codes, not they themselves."""
        known = {f.name: getattr(self.facts, f.name) for f in fields(Facts)}
        return {"input": self.name, "duration": self.duration, "shape": list(self.codes.shape), **known}

    def draw(self) -> Image:
        """Codebooks from top to bottom, time from left to right, each code with a grey of its own."""
        from PIL import Image as Images
        from PIL import ImageDraw, ImageFont

        rows = self.codes.transpose(1, 0, 2).reshape(self.codes.shape[1], -1)
        rows = rows[:, : rows.shape[1] - self.facts.last_frame_pad_length]
        shown = rows[:, np.linspace(0, rows.shape[1] - 1, min(_WIDE, rows.shape[1])).astype(int)] if rows.size else rows
        grey = Images.fromarray((shown * (255 / (self.facts.codebook_size - 1))).astype(np.uint8)) if rows.size else None
        picture = Images.new("RGB", (_WIDE, _HEAD + _ROW * max(1, len(rows))), "white")
        ImageDraw.Draw(picture).text(
            (8, 8), shortened(f"{Path(self.name).name}: {self.summary}", 160), fill="black", font=ImageFont.load_default(size=14)
        )
        if grey is not None:
            picture.paste(grey.resize((_WIDE, _ROW * len(rows)), Images.Resampling.NEAREST), (0, _HEAD))
        return picture

    def save(self, path: str | Path) -> None:
        """Keep the codes in a ``.safetensors`` file, or draw them.

        Raises:
            ArgumentError: another ending, or no such folder.
            StorageError: the file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() != ENDING:
            super().save(path)
            return
        if not target.parent.is_dir():
            raise ArgumentError(f"{path}: there is no folder {target.parent}", fix="make it first, or correct the path")
        arrays = {"codes": self.codes} | ({} if self.scales is None else {"scales": self.scales})
        facts = {f.name: getattr(self.facts, f.name) for f in fields(Facts)}
        save_file(arrays, target, {"format": "nyala codes 1", "facts": json.dumps(facts), "name": self.name})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codes:
        """Codes that :meth:`save` kept.

        Raises:
            CheckpointError: no such file, no safetensors file, or one that is cut off.
            DataError: one that holds something else.
        """
        metadata = read_header(Path(path)).metadata
        arrays = load_file(Path(path))
        if metadata.get("format") != "nyala codes 1" or "codes" not in arrays:
            raise DataError(f"{path} holds no codes of a sound", fix="pass a file that nyala encode wrote")
        try:
            facts = Facts(**json.loads(metadata["facts"]))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path}: what it says about its codes cannot be read", why=str(error), fix="encode again") from error
        found = cls(arrays["codes"], arrays.get("scales"), facts, metadata.get("name", str(path)))
        found.check(str(path))
        return found

    def check(self, where: str) -> None:
        """Whether the numbers fit each other.

        Raises:
            DataError: they do not.
        """
        facts, codes, scales = self.facts, self.codes, self.scales
        numbers = facts.sampling_rate, facts.channels, facts.codebook_size, facts.samples + 1, facts.last_frame_pad_length + 1
        told = isinstance(facts.kbps, (int, float)) and isinstance(facts.model_type, str) and isinstance(facts.model, str)
        whole = told and all(isinstance(n, int) and n > 0 for n in numbers) and codes.dtype.kind in "iu" and codes.ndim == 3
        if not whole or not codes.shape[1] or facts.last_frame_pad_length > codes.shape[2]:
            raise DataError(f"{where}: codes of shape {codes.shape}, {codes.dtype}, for {facts}", fix="encode again")
        if scales is not None and (scales.shape != codes.shape[:1] or not np.isfinite(scales).all()):
            raise DataError(f"{where}: scales of shape {scales.shape} for {codes.shape[0]} chunks", fix="encode again")


@dataclass(frozen=True, eq=False, repr=False)
class Codec(Pipeline):
    """Sounds -> codes -> sounds. Call it on one sound (:class:`Codes`) or a list (several of them).

    A sound is a path, an open binary file, samples (T,) or (channels, T) at the model's rate, or a pair (samples, sample rate).
    Files of any length are read in pieces.

    Example:
        >>> import nyala
        >>> from nyala.audio.models import dac
        >>> model = dac.build({"encoder_hidden_size": 2, "decoder_hidden_size": 16, "codebook_size": 16})
        >>> codec = Codec(model, None, None, config={"model_type": "dac"})
        >>> codes = codec(np.zeros(2000, np.float32), quantizers=2)
        >>> codes.codes.shape, codec.decode(codes).shape
        ((1, 2, 4), (1, 2000))
    """

    preprocess: Any
    postprocess: Any

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> Codec:
        """Nothing but the weights is needed."""
        return cls(model, None, None, card, files, config)

    def __call__(
        self, inputs: Any, *, bandwidth: float | None = None, quantizers: int | None = None, progress: Heard | None = None
    ) -> Any:
        """One sound -> :class:`Codes`; a list -> :class:`~nyala.audio.pipelines.several.Several`.

        Args:
            inputs: sounds.
            bandwidth: thousands of bits a second; for EnCodec one of those it was trained with, its lowest where None.
            quantizers: the number of codebooks instead; all of DAC's where None.
            progress: called with the seconds heard so far, and those there are.

        Raises:
            MissingFileError: no such file.
            DataError: no sound, one that is cut off, or samples that are not finite.
            ArgumentError: a bandwidth or a number that the model does not have.
        """
        count = self._model.count(bandwidth, quantizers)
        if isinstance(inputs, list):
            if not inputs:
                raise DataError("no sound to work on", fix="pass at least one")
            return Several([self._encoded(sound, count, progress) for sound in inputs])
        return self._encoded(inputs, count, progress)

    def decode(self, codes: Codes | str | os.PathLike[str]) -> Tensor:
        """Codes, or the path of a file of them -> samples (channels, T) float32, as many as were encoded.

        Raises:
            CheckpointError: as :meth:`Codes.load`.
            DataError: no codes, or another model's.
        """
        found = codes if isinstance(codes, Codes) else Codes.load(codes)
        parts = list(self.decode_pieces(found))
        return from_numpy(np.concatenate(parts, 1) if parts else np.zeros((found.facts.channels, 0), np.float32))

    def decode_pieces(self, codes: Codes, progress: Heard | None = None) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
        """As :meth:`decode`, piece by piece, so that memory does not depend on the length.

        Raises:
            DataError: another model's codes.
        """
        self._check(codes)
        facts, left = codes.facts, codes.facts.samples
        with inference_mode():
            for part in self._model.decode_pieces(self._parts(codes)):
                yield part[:, :left]
                left -= min(left, part.shape[1])
                if progress is not None:
                    progress((facts.samples - left) / facts.sampling_rate, codes.duration)
        if left:  # DAC gives a few samples less where a stride is odd
            yield np.zeros((facts.channels, left), np.float32)

    @property
    def _model(self) -> CodecModel:
        model: Any = self.model
        return model

    def _parts(self, codes: Codes) -> Iterator[tuple[Any, float | None]]:
        for i, chunk in enumerate(codes.codes.astype(np.int64, copy=False)):
            last = i == len(codes.codes) - 1
            kept = chunk[:, : chunk.shape[1] - codes.facts.last_frame_pad_length] if last else chunk
            if kept.shape[1]:
                yield kept, None if codes.scales is None else float(codes.scales[i])

    def _encoded(self, sound: Any, count: int, progress: Heard | None) -> Codes:
        model, config = self._model, self._model.config
        parts: list[Any] = []
        with _heard(sound, config.sampling_rate, config.channels) as (name, total, blocks), inference_mode():
            stretches = Stretches(blocks)
            for part in model.encode_pieces(stretches, count):
                parts.append(part)
                if progress is not None:
                    progress(min(stretches.length / config.sampling_rate, total), total)
            samples = stretches.length
        kind = np.int16 if config.codebook_size <= 2**15 else np.int32
        chunks = [codes.astype(kind) for codes, _ in parts] or [np.zeros((count, 0), kind)]
        missing = 0
        if model.chunked:
            missing = chunks[0].shape[1] - chunks[-1].shape[1]
            chunks[-1] = np.pad(chunks[-1], ((0, 0), (0, missing)))
        codes = np.stack(chunks) if model.chunked else np.concatenate(chunks, 1)[None]
        scales = np.array([scale for _, scale in parts], np.float32) if parts and parts[0][1] is not None else None
        kbps = round(float(config.kbps(count)), 3)
        facts = Facts(
            str(self.config.get("model_type", "")), self.name, int(config.sampling_rate), int(config.channels), samples,
            int(config.codebook_size), kbps, missing,
        )  # fmt: skip
        return Codes(codes, scales, facts, name)

    def _check(self, codes: Codes) -> None:
        """Whether these are codes of such a model."""
        facts, config, model = codes.facts, self._model.config, self._model
        theirs = facts.model_type, facts.sampling_rate, facts.channels, facts.codebook_size
        ours = str(self.config.get("model_type", "")), config.sampling_rate, config.channels, config.codebook_size
        if theirs != ours:
            shown = [f"{k or 'a codec'} of {rate} Hz, {c} channel(s), codebooks of {size}" for k, rate, c, size in (theirs, ours)]
            raise DataError(
                f"{codes.name}: codes of {shown[0]}", why=f"{self.name} is {shown[1]}", fix=f"decode with {facts.model}"
            )
        model.check_codes(codes.codes, 1)
        most = codes.codes.shape[0] * codes.codes.shape[2] * config.hop
        if facts.samples > most:
            told = f"{codes.name}: codes of {most} samples, which states {facts.samples}"
            raise DataError(told, why="the file was changed, or frames are missing", fix="encode again")
        if not model.chunked and len(codes.codes) != 1:
            raise DataError(
                f"{codes.name}: {len(codes.codes)} chunks", why="this model has one", fix=f"decode with {facts.model}"
            )


@contextmanager
def _heard(sound: Any, rate: int, channels: int) -> Iterator[tuple[str, float, Iterator[np.ndarray[Any, Any]]]]:
    """A sound's name, its seconds by its head, and its samples (channels, T) in blocks."""
    if is_source(sound):
        with SoundReader(sound, rate, mono=channels == 1) as reader:
            yield name_of(sound), reader.info.duration, (_spread(block, channels) for block in reader)
        return
    samples, given = sound if isinstance(sound, tuple) and len(sound) == 2 else (sound, rate)
    sides = [samples[0], samples[1]] if getattr(samples, "ndim", 0) == 2 and samples.shape[0] == channels == 2 else [samples]
    block = np.stack([samples_of((side, given), rate) for side in sides])
    yield "samples", block.shape[1] / rate, iter([_spread(block, channels)])


def _spread(block: np.ndarray[Any, Any], channels: int) -> np.ndarray[Any, Any]:
    """As many channels as are wanted: one for both sides, or the mean of many."""
    if block.shape[0] == channels:
        return block
    return np.repeat(block.mean(0, dtype=np.float32, keepdims=True), channels, 0)
