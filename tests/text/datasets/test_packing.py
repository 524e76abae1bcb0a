"""Texts as windows of equal length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError
from nyala.hub.files import folder_files
from nyala.text.datasets.packing import Packed, pack
from nyala.text.tokenizers.tokenizer import Tokenizer

FOLDER = Path(__file__).parents[2] / "goldens" / "text" / "tokenizers"
TEXTS = ["The cat sat on the mat.", "", "Antelopes of southern Africa graze at dawn"] * 5


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.from_files(folder_files(FOLDER / "bert"), 100)


@pytest.mark.parametrize("special", [False, True])
def test_the_stream_is_all_texts_one_after_the_other(
    tokenizer: Tokenizer, special: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [tokenizer.backend.encode(text, add_special_tokens=special).ids for text in TEXTS]
    stream = [token for row in rows for token in (*row, 3)]
    found = pack(iter(TEXTS), tokenizer, 8, between=3, special=special)
    assert np.concatenate(list(found)).tolist() == stream[: len(stream) // 8 * 8] and found[0].dtype == np.int64
    monkeypatch.setattr("nyala.text.datasets.packing._CHUNK", 2)
    again = pack(TEXTS, tokenizer, 8, between=3, special=special)
    assert [w.tolist() for w in again] == [w.tolist() for w in found], "however many are encoded at once"
    assert found.tokens.dtype == np.uint16 and isinstance(found.tokens, np.memmap)


def test_tokens_around_each_window(tokenizer: Tokenizer) -> None:
    found = pack(TEXTS, tokenizer, 10, around=([2], [3]))
    assert all(len(w) == 10 and w[0] == 2 and w[-1] == 3 for w in found)
    assert found[-1].tolist() == found[len(found) - 1].tolist() and len(found[1:3]) == 2


def test_no_text_and_no_room(tokenizer: Tokenizer) -> None:
    assert len(pack([], tokenizer, 8)) == 0 and len(pack(["the"], tokenizer, 8)) == 0
    with pytest.raises(ArgumentError, match="windows of 0 tokens"):
        pack(TEXTS, tokenizer, 2, around=([2], [3]))
    with pytest.raises(IndexError):
        Packed(np.arange(4), 2)[2]
