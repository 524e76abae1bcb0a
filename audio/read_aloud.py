"""Texts as VITS reads them: small letters by their numbers, blanks between them, and long texts in pieces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError

if TYPE_CHECKING:
    from ..hub.files import Files

_MOST = 300  # letters of a piece: what is held in memory grows with it
_ENDS = re.compile("(?<=[.!?;:])\\s+|(?<=[\u3002\uff01\uff1f])\\s*|\\s*\n\\s*")  # those of Chinese and Japanese need no space
_SHOWN = 12


@dataclass(frozen=True)
class ReadAloud:
    """Texts to numbers of letters, as transformers' ``VitsTokenizer`` makes them.

    Attributes:
        numbers: of each letter.
        blank: what stands between letters; None for nothing.
        pad: a letter that texts are cut at before blanks come between; the reference does so to the letter of number 0.
        lower: bring texts to small letters, and leave out what the alphabet lacks.
        phonemes: whether the alphabet is of sounds, which texts must be written in.
        latin: whether texts must be written in Latin letters first, by ``uroman``.
        unknown: the number of what the alphabet lacks; None where that is an error.
        language: code, e.g. "eng".

    Example:
        >>> ReadAloud({"k": 0, "a": 1, "b": 2}, blank=0).encode("A, b!")
        [0, 1, 0, 2, 0]
    """

    numbers: Mapping[str, int]
    blank: int | None = 0
    pad: str = ""
    lower: bool = True
    phonemes: bool = False
    latin: bool = False
    unknown: int | None = None
    language: str = ""

    @staticmethod
    def from_files(files: Files, count: int) -> ReadAloud:
        """From ``vocab.json`` and ``tokenizer_config.json``.

        Args:
            files: the model's.
            count: letters that the model knows.

        Raises:
            DataError: no alphabet, or one of another size.
        """
        numbers: Any = files.read_json("vocab.json")
        told: Any = files.read_json("tokenizer_config.json") if "tokenizer_config.json" in files else {}
        bad = next((k for k, v in numbers.items() if type(v) is not int or v < 0), None)
        # "<unk>" may have a number that the model does not know: no text has it
        most = max((v for k, v in numbers.items() if len(k) == 1 and k != bad), default=count)
        if bad is not None or most >= count:
            why = f"{bad!r} has no number" if bad is not None else f"its numbers go to {most}, and the model knows {count}"
            raise DataError(f"{files.origin}: vocab.json is no alphabet", why=why, fix="restore the file from where it came")
        pad = told.get("pad_token", "<pad>")
        pad = pad.get("content", "") if isinstance(pad, dict) else str(pad)
        blank = 0 if told.get("add_blank", True) else None
        unknown = numbers.get("<unk>")
        return ReadAloud(
            numbers,
            blank,
            pad if len(pad) == 1 else "",
            bool(told.get("normalize", True)),
            bool(told.get("phonemize", True)),
            bool(told.get("is_uroman", False)),
            unknown if unknown is not None and unknown < count else None,
            str(told.get("language") or ""),
        )

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's letters; none where it has no letter of the alphabet.

        Raises:
            DataError: letters that are not Latin where the model reads no others, or one without a number.
        """
        found: list[int] = []
        for part in re.split(f"({re.escape(self.pad)})", self._plain(text)) if self.pad else [self._plain(text)]:
            if part == self.pad and part:
                found.append(self.numbers[part])
            elif part:
                found += self._between([self._number(letter) for letter in part])
        return found

    def _plain(self, text: str) -> str:
        small = "".join(c if c in self.numbers else c.lower() for c in text) if self.lower else text
        if self.language == "ron":
            small = small.replace("ț", "ţ")
        if self.latin and not small.isascii():
            strange = "".join(dict.fromkeys(c for c in small if not c.isascii()))[:_SHOWN]
            raise DataError(
                f"{strange!r} in the text are not Latin letters",
                why="this model reads the language in Latin letters, as uroman writes them",
                fix="write the text so first: pip install uroman",
            )
        if self.lower and not self.phonemes:
            return "".join(c for c in small if c in self.numbers).strip()
        return small

    def _number(self, letter: str) -> int:
        number = self.numbers.get(letter, self.unknown)
        if number is None:
            raise DataError(f"the alphabet has no {letter!r}", fix="leave it out of the text")
        return number

    def _between(self, numbers: list[int]) -> list[int]:
        if self.blank is None:
            return numbers
        found = [self.blank] * (2 * len(numbers) + 1)
        found[1::2] = numbers
        return found


def pieces(text: str, most: int = _MOST) -> list[str]:
    """A text's sentences; what is longer than ``most`` letters is cut between words, or where that is not possible within.

    Example:
        >>> pieces("Good morning. How are you?")
        ['Good morning.', 'How are you?']
        >>> pieces("one two three", 8)
        ['one two', 'three']
    """
    found: list[str] = []
    for sentence in _ENDS.split(text):
        rest = sentence.strip()
        while len(rest) > most:
            cut = rest.rfind(" ", 1, most + 1)
            cut = cut if cut > 0 else most
            found.append(rest[:cut].strip())
            rest = rest[cut:].strip()
        if rest:
            found.append(rest)
    return found
