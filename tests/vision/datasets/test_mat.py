"""MATLAB's files of version 5: what SciPy wrote is read; damaged and hostile files end in an error that names them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError
from nyala.vision.datasets.mat import read_mat

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision" / "mat"


@pytest.mark.parametrize("name", ["plain.mat", "packed.mat"])
def test_arrays_are_read_and_the_rest_is_left_out(name: str) -> None:
    found = read_mat(GOLDENS / name)
    assert sorted(found) == ["X", "few", "ids", "single", "y"]
    assert found["X"].dtype == np.uint8
    assert (found["X"] == (np.arange(72) % 251).reshape(2, 3, 3, 4)).all()
    assert found["y"].dtype == np.float64 and found["y"].tolist() == [[1.0], [10.0], [3.0], [2.0]]
    assert found["few"].dtype == np.int16 and found["few"].tolist() == [[7, -8]]
    assert found["single"].dtype == np.float32 and found["single"].tolist() == [[0.5, -1.25]]
    assert found["ids"].dtype == np.int64 and (found["ids"] == np.arange(1, 301)).all()


PLAIN, PACKED = (GOLDENS / "plain.mat").read_bytes(), (GOLDENS / "packed.mat").read_bytes()


def _cut_stream() -> bytes:
    body = zlib.compress(bytes(100))
    return bytes(126) + b"IM" + struct.pack("<II", 15, len(body) - 5) + body[:-5]


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing of the kind" * 20, PACKED[:-20], PLAIN[:400], _cut_stream()],
    ids=["empty", "other", "cut", "cut-plain", "cut-stream"],
)
def test_damage_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mat is damaged, or no MATLAB file"):
        read_mat(tmp_path / "x.mat")


def test_every_changed_byte_is_read_or_refused(tmp_path: Path) -> None:
    refused = 0
    for at in range(120, len(PLAIN), 3):
        (tmp_path / "x.mat").write_bytes(PLAIN[:at] + bytes([PLAIN[at] ^ 0xFF]) + PLAIN[at + 1 :])
        try:
            read_mat(tmp_path / "x.mat")
        except DataError:
            refused += 1
    assert refused > 50


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_mat(tmp_path / "x.mat")
