"""SentencePiece's models, read without SentencePiece: the same tokens."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from nyala.errors import DataError
from nyala.hub.files import Files
from nyala.text.tokenizers.sentencepiece import Model
from nyala.text.tokenizers.tokenizer import Tokenizer

GOLDENS = Path(__file__).parents[2] / "goldens" / "text" / "sentencepiece"
FROZEN: dict[str, Any] = json.loads((GOLDENS / "ids.json").read_text())


def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_files(Files({p.name: p for p in folder.iterdir()}, origin=f"folder {folder.name}"))


@pytest.mark.parametrize("kind", FROZEN)
def test_tokens_equal_sentencepiece(kind: str) -> None:
    made = tokenizer(GOLDENS / kind)
    for text, ids, back in FROZEN[kind]:
        assert made.ids(text) == ids, text
        if back is not None:
            assert made.decode(ids).lstrip() == back.lstrip(), text


def test_t5_has_sentinels_behind_its_pieces(tmp_path: Path) -> None:
    made = tokenizer(GOLDENS / "t5")
    assert made.vocab_size == 400 and made.pad_id == 0
    assert made.ids("walk <extra_id_0> park")[-1] == 1
    assert [i for i in made.ids("a <extra_id_0> b<extra_id_99>") if i >= 300] == [399, 300]
    assert "<extra_id_3>" in made.decode([396], skip_special_tokens=False)
    shutil.copytree(GOLDENS / "t5", tmp_path / "mt5")
    (tmp_path / "mt5" / "tokenizer_config.json").write_text('{"extra_ids": 0}')
    assert tokenizer(tmp_path / "mt5").vocab_size == 300


def test_pairs_are_joined_as_published() -> None:
    def rows(kind: str) -> tuple[list[int], list[int]]:
        row = tokenizer(GOLDENS / kind).encode(["on"], pairs=["me"])[0]
        return row.ids, row.type_ids

    ids, kinds = rows("deberta")
    assert ids[0] == 1 and ids.count(2) == 2 and kinds[-1] == 1 and kinds[0] == 0
    assert rows("xlm")[0].count(2) == 3 and rows("t5")[0].count(1) == 2


def test_marian_chooses_a_language_by_its_token() -> None:
    made = tokenizer(GOLDENS / "marian")
    number = json.loads((GOLDENS / "marian" / "vocab.json").read_text())[">>fra<<"]
    assert made.ids(">>fra<< call me")[0] == number and made.ids("call me") == made.ids(">>fra<< call me")[1:]
    assert made.decode([number, *made.ids("call me")]) == "call me"
    target = max(json.loads((GOLDENS / "marian" / "vocab.json").read_text()).values()) - 3  # a piece of the target alone
    assert made.decode([target])


def test_a_saved_tokenizer_gives_the_same(tmp_path: Path) -> None:
    for kind in FROZEN:
        tokenizer(GOLDENS / kind).save(tmp_path / "tokenizer.json")
        again = tokenizer(tmp_path)
        assert all(again.ids(text) == ids for text, ids, _ in FROZEN[kind])


# ---- bad files


def message(*fields: tuple[int, bytes]) -> bytes:
    return b"".join(bytes([number << 3 | 2, len(raw)]) + raw for number, raw in fields)


def piece(text: bytes, score: float = 0.0, kind: int = 1) -> tuple[int, bytes]:
    return 1, bytes([10, len(text)]) + text + b"\x15" + struct.pack("<f", score) + bytes([24, kind])


UNKNOWN = piece(b"<unk>", 0.0, 2)
BAD = {
    "nothing": (b"", "holds no pieces"),
    "text": (b"hello world, this is no model", "damaged at byte|holds no pieces"),
    "short": (message(UNKNOWN, piece(b"a"))[:-3], "damaged at byte"),
    "endless": (b"\xff" * 30, "damaged at byte"),
    "no unknown": (message(piece(b"a")), "no piece for the unknown"),
    "words": (message(UNKNOWN, (2, b"\x18\x03")), "Unigram and byte-pair"),
    "no UTF-8": (message(UNKNOWN, piece(b"\xff\xfe")), "no SentencePiece model"),
    "NaN": (message(UNKNOWN, piece(b"</s>"), piece(b"a", float("nan"))), "no number"),
    "rules": (message(UNKNOWN, piece(b"</s>"), (3, b"\x12\x05abcde")), "damaged rules"),
    "no end": (message(UNKNOWN, piece(b"a")), "has no </s>"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named(tmp_path: Path, name: str) -> None:
    content, told = BAD[name]
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(DataError, match=told) as error:
        tokenizer(tmp_path)
    assert "spiece.model" in str(error.value)


def test_damaged_files_end_in_an_error_or_a_tokenizer(tmp_path: Path) -> None:
    whole = (GOLDENS / "albert" / "spiece.model").read_bytes()
    for cut in range(0, len(whole), 97):
        path = tmp_path / "spiece.model"
        path.write_bytes(whole[:cut] + bytes([whole[cut] ^ 0xFF]) + whole[cut + 1 :])
        try:
            Model.read(path)
        except DataError as error:
            assert "spiece.model" in str(error)


def test_numbers_that_leave_gaps_are_refused(tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "marian" / "source.spm", tmp_path / "source.spm")
    (tmp_path / "vocab.json").write_text('{"</s>": 0, "<unk>": 2}')
    with pytest.raises(DataError, match="does not number its tokens"):
        tokenizer(tmp_path)
