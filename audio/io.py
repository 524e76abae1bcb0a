"""Sound files: reading in pieces, at any rate and with any number of channels, and writing.

Stands on the ``soundfile`` package, whose wheels carry libsndfile: WAV, FLAC, OGG (Vorbis and Opus), MP3, AIFF, AU, CAF and more.
Samples are float32, (channels, T), whole numbers scaled to -1 to 1.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from ..core.atomic import atomic_write, storage_errors
from ..core.create import from_numpy
from ..core.errors import ArgumentError, DataError, DtypeError, MissingFileError, NyalaError, ShapeError, kind_of
from ..core.part import FilePart
from ..core.tensor import Tensor
from .transforms.resample import Resampler

if TYPE_CHECKING:
    from soundfile import SoundFile

Source = str | os.PathLike[str] | BinaryIO
BLOCK = 1 << 16  # samples that are read at once
FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
}
_SHORT = re.compile(r"(?:data|SSND)\s*: (\d+) \(should be (\d+)\)")
_STREAMED = 0x7FFFF000  # who writes into a pipe states such a size, not knowing it yet
_SUBTYPES = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}


@dataclass(frozen=True)
class Info:
    """What a sound file says about itself.

    Attributes:
        sample_rate: in Hz; channels; frames: samples a channel.
        format, subtype: container and kind of numbers, as libsndfile calls them, e.g. "WAV" and "PCM_24".
    """

    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.sample_rate


class SoundReader:
    """A sound file, open for reading in pieces; use it in a ``with`` block.

    Args:
        source: a path, or a binary file object (seekable; it stays open).
        sample_rate: what the samples are resampled to; None keeps the file's rate.
        mono: whether the channels are averaged into one.

    Attributes:
        info: what the file says about itself.
        sample_rate: of the samples that come out.
        channels: of what comes out.

    Raises:
        MissingFileError: no such file.
        DataError: no sound file, or an empty one.
        StorageError: it cannot be read.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write(file, np.zeros((2, 800)), 8_000, format="WAV")
        >>> _ = file.seek(0)
        >>> with SoundReader(file, 16_000, mono=True) as sound:
        ...     sound.info.duration, sum(block.shape[-1] for block in sound)
        (0.1, 1600)
    """

    def __init__(self, source: Source, sample_rate: int | None = None, *, mono: bool = False) -> None:
        self.name = str(getattr(source, "name", "a file object")) if _is_file(source) else str(source)
        self._file = _opened(source, self.name)
        found = self._file
        self.info = Info(found.samplerate, found.channels, max(0, found.frames), found.format, found.subtype)
        self.sample_rate = self.info.sample_rate if sample_rate is None else sample_rate
        self._same = self.sample_rate == self.info.sample_rate
        self._mono, self.channels = mono, 1 if mono else self.info.channels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
        """The samples from where reading stands to the end, in pieces (channels, T)."""
        stream = None if self._same else Resampler(self.info.sample_rate, self.sample_rate)
        for block in self._blocks():
            yield block if stream is None else stream.push(from_numpy(block)).numpy()
        if stream is not None and self._any:
            yield stream.finish().numpy()

    def seek(self, seconds: float) -> None:
        """Reading goes on from there.

        Raises:
            ArgumentError: before the beginning, or behind the end.
        """
        frame = round(seconds * self.info.sample_rate)
        if not 0 <= frame <= self.info.frames:
            raise ArgumentError(f"{self.name}: seek({seconds:g})", fix=f"it lasts {self.info.duration:.2f} s")
        with _sound_errors(self.name):
            self._file.seek(frame)

    def _blocks(self) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
        self._any = False
        self._check_whole()
        with _sound_errors(self.name):
            at = self._file.tell()
        while True:
            with _sound_errors(self.name):
                block = self._file.read(BLOCK, "float32", always_2d=True)
            if not len(block):
                break
            self._any = True
            self._check_finite(block, at)
            at += len(block)
            yield np.ascontiguousarray(block.mean(1, dtype=np.float32)[None] if self._mono else block.T)
        if at < self.info.frames:
            raise DataError(
                f"{self.name} is cut off: it says {self.info.frames} samples and holds {at}",
                fix="get the file again, or convert what is there with another program",
            )

    def _check_whole(self) -> None:
        """What libsndfile notes of a container that states more bytes than follow, and makes no error of."""
        notes = self._file.extra_info
        stated = _SHORT.search(notes)
        short = stated is not None and int(stated[2]) < int(stated[1]) < _STREAMED
        if short or "ended unexpectedly" in notes:
            held = f": it states {stated[1]} bytes of sound and holds {stated[2]}" if short and stated else ""
            raise DataError(
                f"{self.name} is cut off{held}", fix="get the file again, or convert what is there with another program"
            )

    def _check_finite(self, block: np.ndarray[Any, Any], first: int) -> None:
        fine = np.isfinite(block)
        if not fine.all():
            place = first + int(np.argmin(fine.all(1)))
            raise DataError(
                f"{self.name}: sample {place} ({place / self.info.sample_rate:.3f} s) is not a finite number",
                why="NaN or infinity in a float file",
                fix="find out what wrote it, or replace such samples",
            )


def info(source: Source) -> Info:
    """What a sound file says about itself, without reading its samples.

    Raises:
        MissingFileError, DataError, StorageError: as :class:`SoundReader`.
    """
    with SoundReader(source) as sound:
        return sound.info


def read(source: Source, sample_rate: int | None = None, *, mono: bool = False) -> tuple[Tensor, int]:
    """A whole sound file: samples (channels, T) float32, and their rate in Hz.

    Args:
        source: a path, or a binary file object.
        sample_rate: what the samples are resampled to; None keeps the file's rate.
        mono: whether the channels are averaged into one.

    Raises:
        MissingFileError, DataError, StorageError: as :class:`SoundReader`; also NaN samples, and a file that is cut off.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write(file, np.array([0.0, 0.5, -1.0]), 8_000, format="FLAC", bits=24)
        >>> _ = file.seek(0)
        >>> read(file)
        (tensor([[ 0.0000,  0.5000, -1.0000]]), 8000)
    """
    with SoundReader(source, sample_rate, mono=mono) as sound:
        blocks = list(sound)
        joined = np.concatenate(blocks, 1) if blocks else np.zeros((sound.channels, 0), np.float32)
        return from_numpy(joined), sound.sample_rate


def write(
    target: Source, waveform: Any, sample_rate: int, *, format: str | None = None, bits: int = 16, floating: bool = False
) -> None:
    """Write samples as a sound file; a file on the disk appears whole or not at all.

    Args:
        target: a path, or a binary file object.
        waveform: samples, (T,) or (channels, T), a tensor or an array; numbers beyond -1 and 1 are clipped.
        sample_rate: in Hz.
        format: "WAV", "FLAC", "OGG", ...; by the path's ending unless given.
        bits: of a sample: 8 (WAV), 16, 24 or 32 (WAV).
        floating: write float32 numbers as they are, unclipped (WAV).

    Raises:
        ArgumentError: an ending or format that is not known, or bits it does not have.
        DtypeError, ShapeError, DataError: samples that are no floating point numbers, of other dimensions, or not finite.
        StorageError: the file cannot be written.
    """
    samples = _samples_of(waveform)
    write_blocks(target, [samples], sample_rate, samples.shape[0], format=format, bits=bits, floating=floating)


def write_blocks(
    target: Source, blocks: Iterable[Any], sample_rate: int, channels: int, *, format: str | None = None, bits: int = 16,
    floating: bool = False,
) -> None:  # fmt: skip
    """As :func:`write`, of samples that come block by block, (channels, T) each: no more than one is held.

    Raises:
        ArgumentError, DtypeError, ShapeError, DataError, StorageError: as :func:`write`.

    Example:
        >>> file = io.BytesIO()
        >>> write_blocks(file, (np.full((2, 100), 0.5) for _ in range(3)), 8_000, 2, format="WAV")
        >>> _ = file.seek(0)
        >>> info(file).frames
        300
    """
    chosen = format or _format_by_ending(target)
    lossy = chosen in ("OGG", "MP3")
    subtype = None if lossy else "FLOAT" if floating else _SUBTYPES.get(bits, f"PCM_{bits}")
    if chosen != "WAV" and bits == 8:
        subtype = "PCM_S8"

    def put(file: Any) -> None:
        _put(file, blocks, (sample_rate, channels, subtype, chosen), clip=not (floating or lossy))

    if _is_file(target):
        out = io.BytesIO()
        put(out)
        target.write(out.getvalue())  # type: ignore[union-attr]
    else:
        atomic_write(Path(target), put)  # type: ignore[arg-type]


def _put(file: Any, blocks: Iterable[Any], kind: tuple[int, int, str | None, str], *, clip: bool) -> None:
    import soundfile

    sample_rate, channels, subtype, chosen = kind
    if not soundfile.check_format(chosen, subtype):
        raise ArgumentError(f"sound cannot be written as {chosen} {subtype or ''}".strip(), fix="use WAV or FLAC, 16 or 24 bits")
    told = _Telling(file)
    try:
        with soundfile.SoundFile(told, "w", sample_rate, channels, subtype, format=chosen) as sound:
            for block in blocks:
                samples = _samples_of(block)
                sound.write(np.clip(samples, -1, 1).T if clip else samples.T)
                told.check()
    except (soundfile.LibsndfileError, ValueError, TypeError, OverflowError) as error:
        told.check()
        if isinstance(error, NyalaError):
            raise
        raise ArgumentError(
            f"{channels} channel(s) at {sample_rate} Hz cannot be written as {chosen}", why=str(error), fix="use WAV or resample"
        ) from error
    told.check()


class _Telling:
    """A file whose failures libsndfile, which calls it, would not pass on."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._failure: OSError | None = None
        self.seek, self.tell, self.flush = file.seek, file.tell, file.flush

    def write(self, data: Any) -> int:
        try:
            return int(self._file.write(data))
        except OSError as error:
            self._failure = error
            return 0

    def read(self, size: int = -1) -> bytes:
        """What was written, where a format goes back to it."""
        return bytes(self._file.read(size))

    def check(self) -> None:
        """Raise what failed."""
        if self._failure is not None:
            raise self._failure


def _samples_of(waveform: Any) -> np.ndarray[Any, Any]:
    """(channels, T) float samples."""
    samples = waveform.detach().cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if samples.dtype.kind != "f":
        raise DtypeError(f"write was given samples of {samples.dtype}", fix="for 16-bit samples: waveform / 32768")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] > 1024):
        raise ShapeError(
            f"write was given samples of shape {samples.shape}", why="it takes (T,) or (channels, T)", fix="transpose"
        )
    if not np.isfinite(samples).all():
        raise DataError("write was given samples that are not finite", fix="find out where NaN or infinity came from")
    return np.atleast_2d(samples)


def _format_by_ending(target: Source) -> str:
    ending = "" if _is_file(target) else Path(target).suffix.lower()  # type: ignore[arg-type]
    if ending not in FORMATS:
        shown = f"the ending {ending!r}" if ending else "a target without an ending"
        raise ArgumentError(f"{shown} is no sound format's", fix=f"use {', '.join(FORMATS)}, or pass format=")
    return FORMATS[ending]


def _is_file(source: Any) -> bool:
    return hasattr(source, "read") or hasattr(source, "write")


def _opened(source: Source, name: str) -> SoundFile:
    import soundfile

    if _is_file(source):
        if not source.seekable():  # type: ignore[union-attr]
            raise ArgumentError(
                f"{name} cannot be read at any place, as a pipe cannot", fix="copy it into a file, or into io.BytesIO"
            )
        with _sound_errors(name):
            return soundfile.SoundFile(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ArgumentError(f"a sound file is {kind_of(source)}", fix="pass a path, or an open binary file")
    if isinstance(source, FilePart):
        return _opened(source.open(), name)
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a sound file", fix="name the files in it")
    if not path.exists():
        raise MissingFileError(f"there is no file {path}", fix="check the path")
    with storage_errors(path, "read"), open(path, "rb") as file:
        empty = not file.read(1)
    if empty:
        raise DataError(f"{path} is empty", fix="get the file again")
    with _sound_errors(name):
        return soundfile.SoundFile(str(path))


@contextmanager
def _sound_errors(name: str) -> Iterator[None]:
    import soundfile

    try:
        yield
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{name} cannot be read as sound: {error.error_string}",
            why="WAV, FLAC, OGG, MP3, AIFF, AU and CAF are read",
            fix="check that it is a sound file and whole, or convert it",
        ) from error
