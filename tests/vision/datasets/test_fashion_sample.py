"""The shipped sample of Fashion-MNIST: the original's format, balance and size."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import nyala
import pytest

FOLDER = Path(nyala.__file__).parent / "vision/datasets/samples/fashion-mnist"


def idx(name: str) -> np.ndarray:
    data = (lzma if name.endswith(".xz") else gzip).decompress((FOLDER / name).read_bytes())
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


@pytest.mark.parametrize(("part", "each"), [("train", 200), ("t10k", 100)])
def test_parts_are_balanced(part: str, each: int) -> None:
    images, labels = idx(f"{part}-images-idx3-ubyte.xz"), idx(f"{part}-labels-idx1-ubyte.gz")
    assert images.shape == (10 * each, 28, 28)
    assert np.bincount(labels).tolist() == [each] * 10
    assert images.max() == 255 and 40 < images.mean() < 110
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images), "no picture stands there twice"


def test_no_picture_stands_in_both_parts() -> None:
    train, test = ({image.tobytes() for image in idx(f"{part}-images-idx3-ubyte.xz")} for part in ("train", "t10k"))
    assert not train & test


def test_the_sample_is_small_and_its_licence_lies_beside_it() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000
    assert "Zalando" in (FOLDER / "LICENSE").read_text()
