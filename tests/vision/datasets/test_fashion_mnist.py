"""Fashion-MNIST: the shipped sample and local copies; the IDX format."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError, NetworkError
from nyala.hub.debian import DebianPackage
from nyala.vision.datasets import FashionMNIST, fashion_mnist
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


def test_debians_package_stands_in_for_the_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "not installed")
    monkeypatch.setattr(FashionMNIST, "mirrors", ("http://127.0.0.1:9/",))
    contents, published = {}, tmp_path / "package"
    published.mkdir()
    for split in ("train", "test"):
        for file in FashionMNIST.files(split, sample=True):
            content = (lzma if file.suffix == ".xz" else gzip).decompress(file.read_bytes())
            contents[f"{file.stem}.gz"] = hashlib.sha256(content).hexdigest()
            (published / f"{file.stem}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(FashionMNIST, "hashes", contents)

    def package(wanted: DebianPackage, choose: Callable[[PurePosixPath], PurePosixPath | None]) -> Path:
        assert wanted.sha256.startswith("39e172fe")
        assert choose(PurePosixPath("usr/share/doc/changelog.gz")) is None
        assert choose(PurePosixPath(f"usr/share/datasets/{file.stem}.gz")) == PurePosixPath(f"{file.stem}.gz")
        return published

    monkeypatch.setattr(fashion_mnist, "unpacked", package)
    assert len(FashionMNIST("test")) == 1000
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    monkeypatch.setattr(fashion_mnist, "unpacked", None)
    assert len(FashionMNIST("train")) == 2000, "it lies in the cache now"


def test_where_neither_is_to_be_had_the_mirrors_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    monkeypatch.setattr(fashion_mnist, "_DEBIAN", tmp_path / "not installed")
    with pytest.raises(NetworkError, match=r"train-images-idx3-ubyte\.gz is not in the cache .*amazonaws"):
        FashionMNIST("train")
