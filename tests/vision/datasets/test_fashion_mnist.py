"""Fashion-MNIST: the shipped sample and local copies; the IDX format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.vision.datasets import FashionMNIST
from nyala.vision.datasets.idx import read_idx


def test_the_sample_is_balanced_and_small() -> None:
    train, test = FashionMNIST("train", sample=True), FashionMNIST("test", sample=True)
    assert train.images.shape == (2000, 28, 28) and train.images.dtype == np.uint8
    assert np.bincount(train.labels).tolist() == [200] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    files = [f for split in ("train", "test") for f in FashionMNIST.files(split, sample=True)]
    assert sum(f.stat().st_size for f in files) <= 2_000_000
    assert (files[0].parent / "LICENSE").is_file()


def test_a_local_copy_is_read(tmp_path: Path) -> None:
    for f in FashionMNIST.files("test", sample=True):
        (tmp_path / f.name).write_bytes(f.read_bytes())
    assert len(FashionMNIST("test", folder=tmp_path)) == 1000
    with pytest.raises(DataError, match=r"there is no file .*train-images"):
        FashionMNIST("train", folder=tmp_path)


def test_unknown_split() -> None:
    with pytest.raises(ArgumentError, match="no split 'valid'"):
        FashionMNIST("valid", sample=True)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00\x00", "ends inside its header"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05ab", "holds 2 bytes"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x01ab", "holds 2 bytes or more"),
        (b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", "claims to hold"),
    ],
)
def test_malformed_files(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "x-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_idx(path)


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x-ubyte.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x05abcde")[:-9])
    with pytest.raises(DataError, match="damaged"):
        read_idx(path)
