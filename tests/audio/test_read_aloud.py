"""Texts to letters, against transformers' VitsTokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nyala.audio.read_aloud import ReadAloud, pieces
from nyala.errors import DataError
from nyala.hub.files import folder_files

GOLDENS = Path(__file__).parents[1] / "goldens" / "audio"
TEXTS: dict[str, Any] = json.loads((GOLDENS / "vits_letters.json").read_text())


@pytest.mark.parametrize("text", TEXTS)
def test_letters_are_those_of_transformers(text: str) -> None:
    letters = ReadAloud.from_files(folder_files(GOLDENS / "vits"), 18)
    assert letters.encode(text) == TEXTS[text]


def test_languages_have_rules_of_their_own() -> None:
    assert ReadAloud({"ţ": 1}, language="ron").encode("Ț") == [0, 1, 0]
    assert ReadAloud({"a": 1, "A": 2}, blank=None).encode("aA") == [1, 2]
    with pytest.raises(DataError, match="'я' in the text"):
        ReadAloud({"a": 1}, latin=True).encode("aя")


def test_sounds_are_neither_left_out_nor_stripped() -> None:
    spoken = ReadAloud({"ə": 1, " ": 2}, blank=None, phonemes=True)
    assert spoken.encode(" ə") == [2, 1]
    with pytest.raises(DataError, match="no 'ʃ'"):
        spoken.encode("ʃ")
    assert ReadAloud({"ə": 1}, blank=None, phonemes=True, unknown=3).encode("ʃə") == [3, 1]


def test_long_texts_are_cut_between_sentences_then_words() -> None:
    assert pieces("One. Two! Three?\n\nFour") == ["One.", "Two!", "Three?", "Four"]
    assert pieces("\u4f60\u3002\u597d") == ["\u4f60\u3002", "\u597d"]
    assert pieces("3.14 is pi") == ["3.14 is pi"] and pieces(" \n ") == []
    long = pieces("ab " * 500 + "c" * 700)
    assert max(map(len, long)) <= 300 and "".join(long).replace(" ", "") == "ab" * 500 + "c" * 700


@pytest.mark.parametrize("content", ['{"a": 18}', '{"a": "b"}', "{}"])
def test_no_alphabet_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(DataError, match="no alphabet"):
        ReadAloud.from_files(folder_files(tmp_path), 18)
