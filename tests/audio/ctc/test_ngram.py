"""ARPA files: read, and refused where they make no sense; probabilities by back-off."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from nyala.audio.ctc.ngram import NGram, Vocabulary
from nyala.errors import DataError, MissingFileError

ARPA = """
\\data\\
ngram 1=4
ngram 2=2
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-0.5\tgood\t-0.25
-0.75\tday\t-0.125

\\2-grams:
-0.25\t<s> good\t-0.0625
-0.125\tgood day

\\3-grams:
-0.03125\t<s> good day

\\end\\
"""


def test_probabilities_back_off(tmp_path: Path) -> None:
    path = tmp_path / "a.arpa"
    path.write_text(ARPA)
    model = NGram.read(path)

    def told(*words: str) -> float:
        state, total = model.start(), 0.0
        for word in words:
            score, state = model.score(state, word)
            total += score
        return total / math.log(10)

    assert model.order == 3 and model.start() == ("<s>",)
    assert told("good") == pytest.approx(-0.25)
    assert told("good", "day") == pytest.approx(-0.25 - 0.03125)
    assert told("day") == pytest.approx(-0.5 - 0.75)  # the back-off of <s>
    assert told("good", "good") == pytest.approx(-0.25 - 0.0625 - 0.25 - 0.5)  # of <s> good, then of good
    assert model.end(("good", "day")) / math.log(10) == pytest.approx(-1.0 - 0.125)
    assert told("night") == pytest.approx(-99)


def test_the_case_of_the_words_is_the_models(tmp_path: Path) -> None:
    path = tmp_path / "a.arpa"
    path.write_text(ARPA)
    assert NGram.read(path).knows("GOOD") and NGram.read(path).cased("DAY") == "day"
    path.write_text(ARPA.replace("good", "GOOD").replace("day", "DAY"))
    assert NGram.read(path).knows("good")


def test_packed_files_and_spaces_for_tabs(tmp_path: Path) -> None:
    path, packed = tmp_path / "a.arpa", tmp_path / "a.arpa.gz"
    path.write_text(ARPA)
    packed.write_bytes(gzip.compress(ARPA.replace("\t", " ").encode()))
    assert NGram.read(path) == NGram.read(packed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\\end\\", ""), "cut off"),
        (("ngram 2=2", "ngram 2=3"), "holds 2 2-grams, and says 3"),
        (("-0.125\tgood day", "-0.125\tgood"), r":15: .* is no 2-gram"),
        (("-0.75\tday", "x\tday"), r":11: 'x' is no number"),
        (("\\data\\", "hello"), "stands where"),
    ],
)
def test_nonsense_is_named_with_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "a.arpa"
    path.write_text(ARPA.replace(*change))
    with pytest.raises(DataError, match=message):
        NGram.read(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no file"):
        NGram.read(tmp_path / "none.arpa")
    (tmp_path / "a.arpa.gz").write_bytes(b"not packed")
    with pytest.raises(DataError, match="cannot be read"):
        NGram.read(tmp_path / "a.arpa.gz")
    (tmp_path / "b.arpa").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        NGram.read(tmp_path / "b.arpa")


def test_lists_of_words(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("yes\nno maybe\n")
    assert Vocabulary.lines(path) == ["yes", "no", "maybe"]
    with pytest.raises(MissingFileError, match="list of words"):
        Vocabulary.lines(tmp_path / "none.txt")
    with pytest.raises(DataError, match="without words"):
        Vocabulary([])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        Vocabulary.lines(path)
