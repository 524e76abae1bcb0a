"""Damaged files of rows: whatever their bytes, they are read or refused with a message, never more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from nyala.errors import NyalaError
from nyala.recipes.data import datasets
from nyala.recipes.language.schema import Data

SEEDS = {
    "a.csv": b'id,text,label\n1,"hello, ""you""",ham\n2,bye\xc3\xa9,spam\n3,"two\nlines",ham\n4,x,spam\n',
    "a.tsv": b"text\tlabel\nhello\tham\nbye\tspam\n",
    "a.jsonl": b'{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n{"text": "c", "label": 1}\n',
    "a.json": b'[{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]',
}
PIECES = [
    b'"',
    b",",
    b"\n",
    b"\t",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"{",
    b"]",
    b"null",
    b"NaN",
    b"1e999",
    b"-1",
    b'"text"',
]


def mutated(content: bytes, draw: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(found) + 1)
        kind = draw.random()
        if kind < 0.4:
            found[place:place] = draw.choice(PIECES)
        elif kind < 0.6:
            del found[place : place + draw.randint(1, 8)]
        elif kind < 0.8 and place < len(found):
            found[place] = draw.randrange(256)
        else:
            found[place:place] = found[: draw.randrange(len(found) + 1)]
    return bytes(found)


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    draw = random.Random(name)
    path = tmp_path / name
    refused = 0
    for _ in range(150):
        path.write_bytes(mutated(SEEDS[name], draw))
        try:
            raw = datasets.read(Data(name=str(path)))
            assert all(text.strip() for text in raw.train.inputs) and len(raw.labels) >= 2
        except NyalaError as error:
            refused += 1
            assert name in str(error) and "Remedy" in str(error)
    assert 0 < refused < 150
