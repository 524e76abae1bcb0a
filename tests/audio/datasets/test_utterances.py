"""What recordings say by their names, and strings of digits made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.audio import io
from nyala.audio.datasets.strings import DigitStrings
from nyala.audio.datasets.utterances import SpokenWords, numbers, spoken
from nyala.errors import ArgumentError, DataError, MissingFileError


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    names = {
        "digits": [*map(str, range(10)), "h-3", "day-1", "ascii"],
        "letters": ["a", "zed", "ascii36"],
        "phonetic": ["b_p", "9_p"],
    }
    for group, members in names.items():
        (tmp_path / group).mkdir()
        for i, name in enumerate(members):
            io.write(tmp_path / group / f"{name}.wav", np.full(400 + 10 * i, (i + 1) / 32), 8_000)
    return tmp_path


@pytest.mark.parametrize(
    ("group", "name", "text"),
    [
        ("digits", "13", "thirteen"), ("digits", "90", "ninety"), ("digits", "h-1", "first"), ("digits", "h-20", "twentieth"),
        ("digits", "h-90", "ninetieth"), ("digits", "h-hundred", "hundredth"), ("digits", "mon-11", "december"),
        ("digits", "day-6", "saturday"), ("digits", "a-m", "a m"), ("digits", "oclock", "o'clock"), ("digits", "day-x", None),
        ("letters", "q", "q"), ("letters", "exclaimation-point", "exclamation point"), ("letters", "ascii36", None),
        ("phonetic", "x_p", "xray"), ("phonetic", "9_p", None),
    ],
)  # fmt: skip
def test_names_are_transcripts(group: str, name: str, text: str | None) -> None:
    assert spoken(group, name) == text


def test_numbers_in_words() -> None:
    assert (numbers()["0"], numbers()["30"], numbers()["3rd"], numbers()["100"]) == ("zero", "thirty", "third", "hundred")


def test_spoken_words_are_split_by_name(voice: Path) -> None:
    parts = {name: SpokenWords(name, voice) for name in ("train", "test")}
    names = [*parts["train"].names, *parts["test"].names]
    assert len(names) == len(set(names)) == 10 + 2 + 2 + 1 and 0 < len(parts["test"]) < len(parts["train"])
    assert parts["train"][0].sound == voice / f"{parts['train'].names[0]}.wav"
    with pytest.raises(ArgumentError, match="no split 'dev'"):
        SpokenWords("dev", voice)
    with pytest.raises(DataError, match="has no recordings in digits, letters, phonetic"):
        SpokenWords("train", voice / "digits")


def test_strings_are_what_they_say_and_always_the_same(voice: Path) -> None:
    strings = DigitStrings("test", voice)
    assert len(strings) == 100 and len(strings[3:5]) == 2
    one, again = strings[7], DigitStrings("test", voice)[7]
    assert one.text == again.text and np.array_equal(one.sound[0], again.sound[0])
    levels = {
        (i + 1) / 32: word
        for i, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    }
    samples, rate = one.sound
    edges = samples[np.flatnonzero(np.diff(samples, prepend=-1.0))]  # each recording has one level
    assert rate == 8_000 and [levels[float(level)] for level in edges if level] == one.text.split()
    assert DigitStrings("train", voice)[7].text != one.text or DigitStrings("train", voice)[8].text != strings[8].text
    assert {len(u.text.split()) for u in strings} == {1, 2, 3, 4}
    with pytest.raises(ArgumentError, match="no split"):
        DigitStrings("dev", voice)
    (voice / "digits" / "4.wav").unlink()
    with pytest.raises(MissingFileError, match=r"4\.wav"):
        DigitStrings("train", voice)
