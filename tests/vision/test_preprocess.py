"""Preprocessing equals timm's; every kind of input, and every kind of bad one."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError
from nyala.vision.io import load_image
from nyala.vision.preprocess import ImagePreprocess
from PIL import Image

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
CASES = json.loads((GOLDENS / "data_configs.json").read_text())["cases"]


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return checkpoint.load_file(GOLDENS / "preprocess.safetensors")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_equals_timms_transform(case: dict[str, Any], frozen: dict[str, np.ndarray]) -> None:
    prepare = ImagePreprocess.from_config(case["config"])
    ours, theirs = prepare.one(frozen[case["picture"]]), frozen[case["name"]]
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    assert np.array_equal(prepare.restore(ours), prepare.restore(theirs)), "the crop differs in its uint8 values"
    assert np.abs(ours - theirs).max() <= 1e-6


def test_configuration_survives_a_round_trip() -> None:
    prepare = ImagePreprocess.from_config(CASES[0]["config"])
    assert ImagePreprocess.from_config(prepare.to_config()) == prepare


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_every_kind_of_input_gives_the_same_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    path = tmp_path / "a.png"
    image.save(path)
    for source in (pixels, image, path, str(path), path.read_bytes()):
        assert np.array_equal(np.asarray(load_image(source)), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "F"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (5, 4))
    assert load_image(image).mode == "RGB" and load_image(image).size == (5, 4)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    grey = np.array([[0, 257], [32896, 65535]], np.uint16)
    assert np.asarray(load_image(_png(Image.fromarray(grey))))[:, :, 0].tolist() == [[0, 1], [128, 255]]
    assert np.asarray(load_image(Image.fromarray(grey.astype(np.int32))))[:, :, 2].tolist() == [[0, 1], [128, 255]]


def test_a_picture_too_thin_to_enlarge_is_refused() -> None:
    with pytest.raises(DataError, match=r"the picture has 1 x 100000 pixels: that is too thin: .* 6554 million pixels"):
        ImagePreprocess()(np.zeros((100_000, 1, 3), np.uint8))


def test_exif_orientation_is_followed() -> None:
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    assert load_image(buffer.getvalue()).size == (20, 30)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no/such.png", "there is no file no/such.png"),
        (b"not a picture", "the picture of 13 bytes is not a picture"),
        (_png(Image.new("RGB", (64, 64), "red"))[:60], "damaged|not a picture"),
        ("https://example.com/cat.jpg", "fetches no pictures unless it is told to"),
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\) is not a picture.*transpose"),
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((0, 8, 3), np.uint8), "is not a picture"),
        (b"", "the picture of 0 bytes is empty"),
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "the picture holds int32 values from 70000 to 70000"),
        (Image.fromarray(np.full((2, 2), 0.5, np.float32)), "scale it to 0..255"),
        (None, "None is not a picture"),
        (42, "an int is not a picture"),
    ],
)
def test_bad_input_names_itself(source: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        load_image(source)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(DataError, match=r"half\.jpg is damaged"):
        load_image(path)


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    bomb = _png(Image.new("1", (20_000, 20_000)))
    with pytest.raises(DataError, match="pixels"):
        load_image(bomb)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ArgumentError, match="use one of nearest"):
        ImagePreprocess(interpolation="cubic")
    with pytest.raises(ArgumentError, match="makes no sense"):
        ImagePreprocess(crop_pct=0)
    with pytest.raises(DataError, match="no picture to work on"):
        ImagePreprocess()([])


def test_the_callers_picture_stays_as_it_is() -> None:
    image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    loaded = load_image(image)
    loaded.paste((255, 255, 255), (0, 0, 6, 4))
    assert loaded is not image
    assert not np.asarray(image).any()


@pytest.mark.parametrize(
    "config",
    [
        {"input_size": [3, 32]},
        {"input_size": [3, 32, 32, 32]},
        {"input_size": None},
        {"input_size": "3x32x32"},
        {"input_size": [3, 32.5, 32]},
        {"input_size": {"height": 3}},
        {"input_size": [3, 100_000_000, 100_000_000]},
        {"mean": None},
        {"mean": ["a", "b", "c"]},
        {"std": 0.5},
        {"crop_pct": "x"},
        {"std": [float("nan")] * 3},
    ],
)
def test_a_configuration_of_nonsense_is_refused(config: dict[str, object]) -> None:
    with pytest.raises((ArgumentError, DataError), match="makes no sense"):
        ImagePreprocess.from_config(config)
