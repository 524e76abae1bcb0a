"""Telephone prompts: six studio voices that say the same things in five languages, from packages of Debian.

Licences: CC-BY-SA-3.0, the Russian ones CC-BY-3.0. Recorded by Allison Smith (English, Spanish), June Wallack (French), Carlo
(Italian), Maxim Topal's ivrvoice.ru (Russian), and Paola Dal Zot and Marco Menardi (Italian, www.voip.ammdomus.it). All are
8 kHz, one channel, 16 bits. A voice is read from where Debian's package puts it, or fetched once into the cache.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...core.errors import ArgumentError, DataError, did_you_mean
from ...hub.debian import DebianPackage, unpacked
from ..io import info

_INSTALLED = Path("/usr/share/asterisk/sounds")
_SHORTEST = 0.5  # seconds: shorter ones are hardly a word
NUMBERS = tuple(str(n) for n in (*range(21), *range(30, 100, 10)))


@dataclass(frozen=True)
class Voice:
    """A speaker in a language.

    Attributes:
        folder: what the package calls it.
        package: where it is.
    """

    folder: str
    package: DebianPackage


def _core(folder: str, size: int, sha256: str) -> Voice:
    name, pool = f"asterisk-core-sounds-{folder[:2]}-wav", "pool/main/a/asterisk-core-sounds/"
    return Voice(folder, DebianPackage(name, "1.6.1-1", pool, sha256, size))


VOICES: dict[str, Voice] = {
    "allison-en": _core("en_US_f_Allison", 18_272_864, "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d"),
    "allison-es": _core("es_MX_f_Allison", 23_767_256, "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903"),
    "carlo-it": _core("it_IT_m_Carlo", 18_262_124, "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb"),
    "ivrvoice-ru": _core("ru_RU_f_IvrvoiceRU", 18_788_860, "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201"),
    "june-fr": _core("fr_CA_f_June", 18_516_060, "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e"),
    "menardi-it": Voice(
        "it_IT_f_Menardi",
        DebianPackage(
            "asterisk-prompt-it-menardi-wav",
            "1:1.4.22+mm20110907-3.1",
            "pool/main/a/asterisk-prompt-it/",
            "3094530d98f8758ac275572d59624c41f60969fef883f34f4886d144f3dfeb21",
            18776300,
        ),
    ),
}


def voice_folder(name: str) -> Path:
    """The folder with a voice's recordings: ``digits``, ``letters``, ``phonetic`` and others, and sentences beside them.

    Raises:
        ArgumentError: no such voice.
        NetworkError, IntegrityError, StorageError: it is not here, and could not be fetched.
    """
    if name not in VOICES:
        raise ArgumentError(f"there is no voice {name!r}", fix=did_you_mean(name, VOICES) or f"there are {', '.join(VOICES)}")
    voice = VOICES[name]
    installed = _INSTALLED / voice.folder
    if (installed / "digits" / "1.wav").is_file():
        return installed
    return unpacked(voice.package, _recording) / voice.folder


def _recording(path: PurePosixPath) -> PurePosixPath | None:
    """What a file of the package is called in the cache: its recordings, under the voice's folder."""
    inside = PurePosixPath("usr/share/asterisk/sounds")
    return path.relative_to(inside) if path.is_relative_to(inside) and path.suffix == ".wav" else None


@dataclass(frozen=True)
class Recordings:
    """Sounds with a class each.

    Attributes:
        files: the sounds, by number.
        labels: the class of each, a number.
        classes: their names.
        names: what each is called in the data set, wherever it lies.
    """

    files: list[Path]
    labels: list[int]
    classes: tuple[str, ...]
    names: list[str]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Path, int]:
        return self.files[index], self.labels[index]


class Voices(Recordings):
    """Who is speaking, and in which language? Six classes, 3,148 recordings of half a second and more.

    Both halves have every voice, but no prompt is in both: a recording is tested on if the CRC-32 of its name divides by five.
    Channels differ with the voices too, which makes the task easier than telling strangers apart.

    Args:
        split: "train" or "test".

    Raises:
        ArgumentError: another split.
        NetworkError, IntegrityError, StorageError: the recordings are not here, and could not be fetched.
    """

    def __init__(self, split: str) -> None:
        _check_split(split)
        found: list[tuple[Path, int, str]] = []
        for label, name in enumerate(VOICES):
            folder = voice_folder(name)
            for path in sorted(folder.rglob("*.wav")):
                prompt = path.relative_to(folder).as_posix()
                if prompt.startswith("silence/") or (zlib.crc32(prompt.encode()) % 5 == 0) != (split == "test"):
                    continue
                if info(path).duration >= _SHORTEST:
                    found.append((path, label, f"{name}/{prompt}"))
        super().__init__(*_columns(found, tuple(VOICES)))


class SpokenNumbers(Recordings):
    """Which number is said? 28 classes: 0 to 20, and 30, 40, ... 90.

    Trained on five voices in five languages, each of which says every number once, and tested on a sixth voice, Italian as one of
    the five: the model hears every word of the test once.

    Args:
        split: "train" or "test".

    Raises:
        ArgumentError: another split.
        DataError: a voice lacks a number.
        NetworkError, IntegrityError, StorageError: the recordings are not here, and could not be fetched.
    """

    def __init__(self, split: str) -> None:
        _check_split(split)
        found = []
        for name in ("menardi-it",) if split == "test" else [n for n in VOICES if n != "menardi-it"]:
            folder = voice_folder(name) / "digits"
            for label, number in enumerate(NUMBERS):
                path = folder / f"{number}.wav"
                if not path.is_file():
                    raise DataError(f"there is no {path}", fix="remove the folder, so that it is fetched again")
                found.append((path, label, f"{name}/{number}"))
        super().__init__(*_columns(found, NUMBERS))


def _columns(
    found: Sequence[tuple[Path, int, str]], classes: tuple[str, ...]
) -> tuple[list[Path], list[int], tuple[str, ...], list[str]]:
    return [path for path, _, _ in found], [label for _, label, _ in found], classes, [name for _, _, name in found]


def _check_split(split: str) -> None:
    if split not in ("train", "test"):
        raise ArgumentError(f"there is no split {split!r}", fix="use 'train' or 'test'")
