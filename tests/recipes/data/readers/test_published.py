"""Published sets of pictures as data of a recipe: by name, by the folder they lie in, and without what is damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError, NetworkError
from nyala.recipes.data import datasets
from nyala.recipes.data.batches import Prepared
from nyala.recipes.data.readers.published import PUBLISHED
from nyala.recipes.data.tasks import Images
from nyala.recipes.language.names import DATASETS
from nyala.recipes.language.schema import Columns, Data
from nyala.vision.preprocess import ImagePreprocess
from PIL import Image


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """MNIST's files, with few pictures."""
    for part, count in (("train", 20), ("t10k", 10)):
        pictures = np.arange(count * 784).reshape(count, 28, 28) % 251
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(count) % 10)))
    return tmp_path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("trainval", 6), ("test", 2)):
        rows = [f"{'Sphynx' if i % 2 else 'beagle'}_{split}{i} {1 + i % 2} {2 - i % 2} 1" for i in range(count)]
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{split}.txt").write_text("\n".join(rows))
        for row in rows:
            Image.fromarray(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(
                tmp_path / "images" / f"{row.split()[0]}.jpg"
            )
    return tmp_path


def test_every_name_is_known_to_recipes_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    assert set(PUBLISHED) <= set(DATASETS) and not set(PUBLISHED) & set(datasets.REGISTERED)
    for name in PUBLISHED:
        with pytest.raises(NetworkError, match="is not in the cache"):
            datasets.read(Data(name=name))
        with pytest.raises(DataError, match=r"has its own parts and columns.*leave data\.test out"):
            datasets.read(Data(name=name, test="x"))


def test_arrays_in_a_folder(digits: Path) -> None:
    raw = datasets.read(Data(name=str(digits)))
    assert (raw.kind, len(raw.train), len(raw.test or ()), raw.notes) == ("image", 20, 10, ("read as mnist",))
    assert raw.labels == list("0123456789") and raw.train.inputs[3].shape == (28, 28)
    with pytest.raises(DataError, match=r"holds mnist, which has its own parts.*leave data\.columns out"):
        datasets.read(Data(name=str(digits), columns=Columns(label="x")))


def test_files_in_a_folder_and_their_hash(pets: Path, tmp_path: Path) -> None:
    raw = datasets.read(Data(name=str(pets)))
    assert raw.labels == ["beagle", "Sphynx"] and raw.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert raw.train.files()[0].name == "beagle_trainval0.jpg" and len(raw.test or ()) == 2
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("images", "annotations"):
        (pets / name).rename(moved / name)
    again = datasets.read(Data(name=str(moved)))
    assert again.hashes == raw.hashes, "where they lie does not count"
    (moved / "images" / "beagle_test0.jpg").write_bytes(b"other")
    other = datasets.read(Data(name=str(moved))).hashes
    assert other["train"] == raw.hashes["train"] and other["test"] != raw.hashes["test"]


def test_damaged_pictures_are_left_out_on_demand(pets: Path) -> None:
    (pets / "images" / "Sphynx_trainval1.jpg").write_bytes(b"")
    assert len(datasets.read(Data(name=str(pets))).train) == 6
    with pytest.warns(
        UserWarning, match=r"train: 1 of 6 pictures cannot be read and is left out: .*Sphynx_trainval1\.jpg is empty"
    ):
        raw = datasets.read(Data(name=str(pets), corrupt="skip"))
    assert [path.stem for path in raw.train.files()] == [
        f"{'Sphynx' if i % 2 else 'beagle'}_trainval{i}" for i in (0, 2, 3, 4, 5)
    ]
    assert raw.train.labels.tolist() == [0, 0, 1, 0, 1] and len(raw.test or ()) == 2
    with pytest.raises(DataError, match=r"data\.corrupt='skip', and the data are of the kind 'text'"):
        datasets.read(Data(name="spam-sample", corrupt="skip"))


def test_a_folder_of_classes_too(tmp_path: Path) -> None:
    for name in ("cat/a", "cat/b", "dog/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "cat" / "b.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"b\.png is not a picture"):
        raw = datasets.read(Data(name=str(tmp_path), corrupt="skip"))
    assert [p.name for p in raw.train.files()] == ["a.png", "a.png"]


def test_whoever_meets_a_damaged_picture_is_told_of_the_way_round(pets: Path) -> None:
    for path in (pets / "images").glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    part = datasets.read(Data(name=str(pets))).train
    with pytest.raises(DataError, match=r"\.jpg is .*; data\.corrupt=skip leaves out what cannot be read"):
        Prepared(part, Images(ImagePreprocess((16, 16))))[0]
