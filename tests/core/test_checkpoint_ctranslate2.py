"""CTranslate2's files of weights: what is in them, and damage that is named."""

from __future__ import annotations

import struct
from pathlib import Path

import fuzz
import numpy as np
import pytest
from nyala.core.checkpoint import read_ctranslate2
from nyala.errors import CheckpointError

GOOD = fuzz.ctranslate2_file(
    {"enc/w": ((2, 3), 1, bytes([1, 2, 3, 4, 5, 0xFF])), "enc/w_scale": ((2,), 0, struct.pack("<2f", 2, 4))}
)


def read(path: Path, content: bytes):
    path.write_bytes(content)
    return read_ctranslate2(path)


def test_whole_numbers_are_widened_by_the_scale_of_their_row(tmp_path):
    file = read(tmp_path / "model.bin", GOOD)
    assert (file.spec, file.revision, file.aliases) == ("WhisperSpec", 3, {"alias": "enc/w"})
    found = file.load()
    assert list(found) == ["enc/w"]
    np.testing.assert_array_equal(found["enc/w"], np.float32([[0.5, 1, 1.5], [1, 1.25, -0.25]]))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"PK\3\4" + bytes(20), "is no CTranslate2 file of version 3 to 6"),
        (GOOD[:40], "it ends too early|lies behind its end|longer than the file"),
        (GOOD + b"x", r"1 byte\(s\) are left over"),
        (fuzz.ctranslate2_file({"w": ((4,), 9, b"")}), "has numbers of kind 9"),
        (fuzz.ctranslate2_file({"w": ((4,), 0, bytes(12))}), "is said to have 12 bytes"),
        (fuzz.ctranslate2_file({"w": ((0, 2**31, 2**31), 0, b"")}), "which no memory holds"),
        (fuzz.ctranslate2_file({"../w": ((1,), 1, b"\0")}), "climbs out of a folder"),
        (fuzz.ctranslate2_file({"": ((1,), 1, b"\0")}), "is empty"),
    ],
)
def test_damage_is_named(tmp_path, content, shown):
    with pytest.raises(CheckpointError, match=shown) as caught:
        read(tmp_path / "model.bin", content)
    assert "Remedy: " in str(caught.value)
