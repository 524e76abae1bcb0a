"""Strings of digits, as telephone systems say them: recordings of single digits one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from ...core import random
from ...core.errors import ArgumentError
from ..pipelines.sounds import samples_of
from .utterances import Utterance, spoken

_RATE = 8_000
_COUNTS = {"train": 800, "test": 100}
_SHORTEST, _LONGEST = 1, 4
_GAP = 0.1  # seconds of silence at most, before each digit and at the end


class DigitStrings(Sequence[Utterance]):
    """Strings of one to four digits, joined from ten recordings of one voice; made when they are asked for.

    Which digits, and the pauses between them, are drawn by the split and the string's number: everybody gets the same ones. Test
    strings may have the digits of a training string, with other pauses.

    Args:
        split: "train" (800 strings) or "test" (100).
        folder: holds ``digits``; by default that of the voice allison-en, fetched if need be.

    Raises:
        ArgumentError: another split.
        MissingFileError: a digit is not there.
        NetworkError, IntegrityError, StorageError: the recordings are not here, and could not be fetched.
    """

    def __init__(self, split: str, folder: str | Path | None = None) -> None:
        if split not in _COUNTS:
            raise ArgumentError(f"strings of digits have no split {split!r}", fix="use 'train' or 'test'")
        if folder is None:
            from .prompts import voice_folder

            folder = voice_folder("allison-en")
        self.split = split
        self.files = [Path(folder) / "digits" / f"{digit}.wav" for digit in range(10)]
        self._digits = [samples_of(path, _RATE) for path in self.files]

    def __len__(self) -> int:
        return _COUNTS[self.split]

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> list[Utterance]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        key = random.key(0, f"digit-strings-{self.split}", index % len(self))
        count = int(key.fold("count").integers(_SHORTEST, _LONGEST + 1, (1,))[0])
        digits = key.fold("digits").integers(0, 10, (count,)).tolist()
        pauses = np.rint(key.fold("pauses").uniform((count + 1,)) * _GAP * _RATE).astype(int)
        pieces = [np.zeros(pauses[0], np.float32)]
        for digit, pause in zip(digits, pauses[1:], strict=True):
            pieces += [self._digits[digit], np.zeros(pause, np.float32)]
        return Utterance((np.concatenate(pieces), _RATE), " ".join(str(spoken("digits", str(digit))) for digit in digits))
