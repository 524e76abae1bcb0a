"""Sounds with what is said in them, and the recordings whose names are transcripts."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Utterance:
    """A sound and what is said in it.

    Attributes:
        sound: a path, the bytes of a file, or samples with their rate.
        text: the transcript.
        language: code of what is spoken, e.g. "de", where it is known.
    """

    sound: Any
    text: str
    language: str | None = None


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TH = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth "
    "seventeenth eighteenth nineteenth twentieth"
)
_TENTHS = "thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"
_DAYS = "sunday monday tuesday wednesday thursday friday saturday"
_MONTHS = "january february march april may june july august september october november december"
_ALPHABET = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra tango "
    "uniform victor whiskey xray yankee zulu"
)
_WORDS = "billion hundred million thousand minus oh pound star today tomorrow yesterday dollars at"
_SYMBOLS = {
    "asterisk": "asterisk", "at": "at", "dash": "dash", "dollar": "dollar", "dot": "dot", "equals": "equals",
    "exclaimation-point": "exclamation point", "plus": "plus", "slash": "slash", "space": "space", "zed": "zed",
}  # fmt: skip
_ENDS = {"1": "st", "2": "nd", "3": "rd"}
GROUPS = ("digits", "letters", "phonetic")


def numbers() -> dict[str, str]:
    """Figures -> words: "7" -> "seven", "7th" -> "seventh".

    Example:
        >>> numbers()["20th"], numbers()["15"]
        ('twentieth', 'fifteen')
    """
    found = {str(i): word for i, word in enumerate(_ONES.split())}
    found |= {str(10 * i): word for i, word in enumerate(_TENS.split(), 2)}
    found |= {"100": "hundred", "100th": "hundredth"}
    found |= {f"{i}{_ENDS.get(str(i), 'th')}": word for i, word in enumerate(_TH.split(), 1)}
    return found | {f"{10 * i}th": word for i, word in enumerate(_TENTHS.split(), 3)}


def spoken(group: str, name: str) -> str | None:
    """What a recording of Asterisk's English core sounds says, from its name alone; None where the name does not tell.

    Args:
        group: its folder: "digits", "letters" or "phonetic".
        name: of the file, without its ending.

    Example:
        >>> spoken("digits", "h-3"), spoken("letters", "w"), spoken("phonetic", "b_p"), spoken("digits", "1a")
        ('third', 'w', 'bravo', None)
    """
    figures = numbers()
    if group == "phonetic":
        return next((word for word in _ALPHABET.split() if name == f"{word[0]}_p"), None)
    if group == "letters":
        return name if len(name) == 1 else _SYMBOLS.get(name)
    if name in figures:
        return figures[name]
    for mark, row in (("day-", _DAYS), ("mon-", _MONTHS)):
        if name.startswith(mark) and name[len(mark) :].isdigit():
            return row.split()[int(name[len(mark) :])]
    if name.startswith("h-"):
        return figures.get(name[2:] + _ENDS.get(name[2:], "th"), f"{name[2:]}th" if name[2:] in _WORDS.split() else None)
    return {"a-m": "a m", "p-m": "p m", "oclock": "o'clock"}.get(name, name if name in _WORDS.split() else None)


class SpokenWords:
    """Single words by telephone, and what they are: 157 recordings of one voice, from :mod:`.prompts`' English package.

    Numbers and ordinals, days, months, letters by name and by the phonetic alphabet; no word is in both parts. A recording is
    tested on if the CRC-32 of its name divides by four.

    Args:
        split: "train" or "test".
        folder: holds ``digits``, ``letters`` and ``phonetic``; by default that of the voice allison-en, fetched if need be.

    Attributes:
        utterances: the recordings with their words.
        names: what each is called, wherever it lies.

    Raises:
        ArgumentError: another split.
        DataError: none of the three folders is there.
        NetworkError, IntegrityError, StorageError: the recordings are not here, and could not be fetched.
    """

    def __init__(self, split: str, folder: str | Path | None = None) -> None:
        if split not in ("train", "test"):
            raise ArgumentError(f"spoken words have no split {split!r}", fix="use 'train' or 'test'")
        if folder is None:
            from .prompts import voice_folder

            folder = voice_folder("allison-en")
        every = dict(_named(Path(folder)))
        if not every:
            raise DataError(
                f"{folder} has no recordings in {', '.join(GROUPS)}", fix="name the folder of Asterisk's English core sounds"
            )
        chosen = {name: one for name, one in every.items() if (zlib.crc32(name.encode()) % 4 == 0) == (split == "test")}
        self.names, self.utterances = list(chosen), list(chosen.values())

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]


def _named(folder: Path) -> Iterator[tuple[str, Utterance]]:
    for group in GROUPS:
        for path in sorted((folder / group).glob("*.wav")):
            text = spoken(group, path.stem)
            if text is not None:
                yield f"{group}/{path.stem}", Utterance(path, text)
