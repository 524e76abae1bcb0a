"""Alphabets: numbers and texts, as transformers' tokenizer has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nyala.audio.ctc.letters import Letters
from nyala.errors import DataError, IndexRangeError, MissingFileError
from nyala.hub.files import folder_files

BASE = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6, "A": 7, "'": 8}


def read(folder: Path, numbers: Any, settings: Any = None, count: int | None = None) -> Letters:
    (folder / "vocab.json").write_text(json.dumps(numbers))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return Letters.from_files(folder_files(folder), 0, count)


def test_the_published_alphabet(tmp_path: Path) -> None:
    letters = read(tmp_path, BASE)
    assert letters.encode(" at  tea ") == [7, 6, 4, 6, 5, 7]
    assert letters.decode([1, 7, 6, 4, 4, 6, 5, 7, 0, 2]) == "AT TEA"
    assert letters.encode("z") == [3] and not letters.lower


def test_small_letters_and_marks_of_their_own(tmp_path: Path) -> None:
    settings = {
        "pad_token": {"content": "[PAD]"},
        "unk_token": "[UNK]",
        "word_delimiter_token": " ",
        "do_lower_case": True,
    }
    letters = read(tmp_path, {"[PAD]": 0, "[UNK]": 1, " ": 2, "a": 3, "ß": 4}, settings)
    assert letters.encode("A ß?") == [3, 2, 4, 1] and letters.decode([3, 2, 0, 1, 4]) == "a ß"


def test_an_alphabet_a_language(tmp_path: Path) -> None:
    both = {"eng": {"<pad>": 0, "a": 1}, "deu": {"<pad>": 0, "ä": 1}}
    assert read(tmp_path, both).decode([1]) == "a"
    assert read(tmp_path, both, {"target_lang": "deu"}).decode([1]) == "ä"
    with pytest.raises(DataError, match="'fra'"):
        read(tmp_path, both, {"target_lang": "fra"})


def test_it_is_written_as_it_was_read(tmp_path: Path) -> None:
    letters = read(tmp_path, BASE)
    for name, content in letters.files().items():
        (tmp_path / name).write_text(json.dumps(content))
    assert Letters.from_files(folder_files(tmp_path), 0) == letters


def test_bad_alphabets_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"vocab\.json"):
        Letters.from_files(folder_files(tmp_path), 0)
    with pytest.raises(DataError, match="'a' has no number"):
        read(tmp_path, {"<pad>": 0, "a": "b"})
    with pytest.raises(DataError, match="empty"):
        read(tmp_path, {})
    with pytest.raises(DataError, match="the head knows 8"):
        read(tmp_path, BASE, count=8)
    with pytest.raises(IndexRangeError, match="number 9"):
        read(tmp_path, BASE).decode([9])
    with pytest.raises(DataError, match="'B'"):
        Letters(("-", "A")).encode("ab")
