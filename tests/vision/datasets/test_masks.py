"""Pictures with masks: what is read, and scenes that are the same everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.vision.datasets.fashion_scenes import FashionScenes
from nyala.vision.datasets.masks import VOID, MaskedPicture, MaskFolder, is_mask_folder
from PIL import Image


def test_void_is_what_has_no_number() -> None:
    assert MaskedPicture(None, np.array([[0, 255]], np.uint8)).numbers().tolist() == [[0, VOID]]
    assert MaskedPicture(None, np.array([[255, 65535]], np.uint16)).numbers().tolist() == [[255, VOID]]


def test_palettes_and_greys_are_numbers(tmp_path: Path) -> None:
    numbers = np.array([[0, 1], [2, 255]], np.uint8)
    with_palette = Image.fromarray(numbers)
    with_palette.putpalette(bytes(range(256)) * 3)
    for name, image in {
        "p": with_palette,
        "l": Image.fromarray(numbers),
        "i": Image.fromarray(numbers.astype(np.uint16)),
    }.items():
        image.save(tmp_path / f"{name}.png")
    expected = [[0, 1], [2, VOID]]
    assert MaskedPicture(None, tmp_path / "p.png").numbers().tolist() == expected
    assert MaskedPicture(None, tmp_path / "l.png").numbers().tolist() == expected
    assert MaskedPicture(None, tmp_path / "i.png").numbers().tolist() == [[0, 1], [2, 255]]
    with pytest.raises(DataError, match="there is no mask"):
        MaskedPicture(None, tmp_path / "nowhere.png").numbers()


def test_voc_has_masks_of_some_pictures(tmp_path: Path) -> None:
    for folder, names in {"JPEGImages": ("a.jpg", "b.jpg", "c.jpg"), "SegmentationClass": ("a.png", "c.png")}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L", (4, 4), 1).save(tmp_path / folder / name)
    assert is_mask_folder(tmp_path)
    found = MaskFolder(tmp_path)
    assert [Path(one.image).name for one in found] == ["a.jpg", "c.jpg"] and found.classes == ["class 0", "class 1"]


def test_folders_without_what_is_needed(tmp_path: Path) -> None:
    assert not is_mask_folder(tmp_path) and not is_mask_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no pictures with masks"):
        MaskFolder(tmp_path)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="there is no picture in"):
        MaskFolder(tmp_path)


def test_scenes_are_the_same_everywhere() -> None:
    scenes = FashionScenes("test", 3)
    masks = b"".join(one.mask.tobytes() for one in scenes)
    assert hashlib.sha256(masks).hexdigest() == "b6dea3f3e95d38e5642b6bad1e623ecece1e3b7f128e59434b683dabdca29532"
    again = FashionScenes("test", 5)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(scenes, again, strict=False))  # more of them change none
    assert {int(k) for one in FashionScenes("train", 40) for k in np.unique(one.mask)} == set(range(6))
    with pytest.raises(ArgumentError, match="use 'train' or 'test'"):
        FashionScenes("validation")
