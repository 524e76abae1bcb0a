"""Folders of pictures: classes, decoding in threads, transforms drawn by keys, damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.data import DataLoader
from nyala.errors import ArgumentError, DataError
from nyala.vision.datasets import ImageFolder
from nyala.vision.transforms import Sample
from PIL import Image


def picture(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes with three pictures each."""
    for i, name in enumerate(("cat/a.png", "cat/b.PNG", "cat/deep/c.webp", "dog/a.bmp", "dog/b.png", "dog/c.png")):
        picture(tmp_path / name, 40 * i)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_a_folder_of_classes(pets: Path) -> None:
    data = ImageFolder(pets)
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [p.name for p, _ in data.samples] == ["a.png", "b.PNG", "c.webp", "a.bmp", "b.png", "c.png"]
    image, label = data[4]
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8 and (image == 160).all() and label == 1
    assert (data[-1][0] == 200).all() and len(list(data)) == 6
    assert ImageFolder(pets, ("bird", "cat", "dog")).labels.tolist() == [1, 1, 1, 2, 2, 2]
    with pytest.raises(DataError, match=r"has class 'dog'.*the classes are cat"):
        ImageFolder(pets, ("cat",))
    (pets / "fox").mkdir()
    with pytest.raises(DataError, match="fox holds no pictures"):
        ImageFolder(pets)
    with pytest.raises(DataError, match="there is no folder"):
        ImageFolder(pets / "none")
    with pytest.raises(DataError, match="has no subfolders"):
        ImageFolder(pets / "fox")


def test_threads_change_nothing(pets: Path) -> None:
    def change(sample: Sample, key) -> np.ndarray:
        return sample.image.astype(np.float32) + key.uniform(sample.image.shape)

    data = ImageFolder(pets, transform=change)
    runs = [
        [(x.numpy(), y.numpy()) for x, y in DataLoader(data, batch_size=4, shuffle=True, num_workers=n, seed=3)] for n in (0, 3)
    ]
    assert [len(x) for x, _ in runs[0]] == [4, 2]
    for (x, y), (again, labels) in zip(*runs, strict=True):
        assert (x == again).all() and (y == labels).all()
    other = next(iter(DataLoader(data, batch_size=4, shuffle=True, seed=4)))[0].numpy()
    assert not (other == runs[0][0][0]).all()
    assert (data[2][0] == data[2][0]).all() and not (data[2][0] == data[1][0]).all()


def test_a_damaged_picture_is_named(pets: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(pets / "dog" / "b.png")
    (pets / "dog" / "b.png").write_bytes((pets / "dog" / "b.png").read_bytes()[:2000])
    (pets / "cat" / "a.png").write_bytes(b"")
    data = ImageFolder(pets)
    with pytest.raises(DataError, match=r"dog/b\.png is damaged"):
        data[4]
    with pytest.raises(DataError, match=r"sample 4: .*dog/b\.png is damaged"):
        list(DataLoader(data, batch_size=1, num_workers=2, sampler=[3, 4]))
    with pytest.warns(
        UserWarning, match=r"2 of 6 pictures cannot be read and are left out: .*a\.png is empty; .*b\.png is damaged"
    ):
        kept = ImageFolder(pets, corrupt="skip", threads=3)
    assert [(one.index, Path(one.why.split()[0]).name) for one in kept.skipped] == [(0, "a.png"), (4, "b.png")]
    assert [p.name for p, _ in kept.samples] == ["b.PNG", "c.webp", "a.bmp", "c.png"] and len(list(kept)) == 4
    with pytest.raises(ArgumentError, match=r"corrupt='ignore'.*'raise' or 'skip'"):
        ImageFolder(pets, corrupt="ignore")  # type: ignore[arg-type]
